#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's documentation build, for the directory of FUSE, makes a page from each
# file of the series, without a warning.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

out=$checks/documentation
log=$out/log
mkdir -p "$out"

# -E: from scratch, so that all warnings are repeated
build_pages() { make -C "$tree" O="$out" SPHINXDIRS=filesystems/fuse SPHINXOPTS=-E htmldocs >"$log" 2>&1 || { cat "$log"; return 1; }; }

warnings() { { if grep -F -A 20 "$1:" "$log"; then return 1; fi; }; }

page()
{
	local name=${1#Documentation/filesystems/fuse/}
	find "$out" -path "*/${name%.rst}.html" | grep .
}

check "the pages are built" build_pages
for file in $(touched 'Documentation/*.rst'); do
	check "$file: no warnings" warnings "$file"
	check "$file: a page" page "$file"
done
plan
