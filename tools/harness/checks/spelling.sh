#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# codespell on every file of this repository, and on the lines that patches add to
# upstream files. (checkpatch, in the check `style`, uses the kernel's own list of
# misspellings.)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# ours PATCH: the patch without upstream's lines
ours() { sed -e '/^[-+ ]/!b' -e '/^[-+][-+][-+] /d' -e '/^+/b' -e '/^---$/b' -e d "$1"; }

spelling()
{
	local dir=$SCRATCH/spelling f
	for f; do
		mkdir -p "$dir/$(dirname "$f")"
		case $f in
		*.patch) ours "$f" >"$dir/$f" ;;
		*) cp "$f" "$dir/$f" ;;
		esac
	done
	(cd "$dir" && codespell --check-filenames --check-hidden --ignore-words "$HARNESS/checks/spelling.words" .)
}

mapfile -t files < <(our_files | grep -v -e '^LICENSES/' -e 'checks/spelling.words$')
check "codespell reports nothing" spelling "${files[@]}"
plan
