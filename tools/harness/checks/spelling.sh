#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# codespell on every file of this repository, edits to upstream's files by
# what they add. (checkpatch, in the check of style, knows the kernel's own
# list of misspellings.)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# upstream's lines in our patches are not ours
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
check "codespell has nothing to say" spelling "${files[@]}"
plan
