#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Files of this repository have a licence tag, and scripts pass shellcheck.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

mapfile -t files < <(our_files)

licences()
{
	local f bad=0
	for f in "${files[@]}"; do
		case $f in
		# patches and the cover letter begin with the subject
		patches/*.patch | patches/cover-letter | */patches/*.patch | MAINTAINERS | README.md | CONTRIBUTING.md | LICENSES/*) continue ;;
		esac
		if ! head -n 5 "$f" | grep -q 'SPDX-License-Identifier:'; then
			echo "$f: no SPDX-License-Identifier in the first lines"
			bad=1
		fi
	done
	return "$bad"
}

scripts()
{
	local f
	local -a scripts
	mapfile -t scripts < <(for f in "${files[@]}"; do if head -n 1 "$f" | grep -q '^#!.*sh$' || [[ $f == *.sh ]]; then echo "$f"; fi; done)
	# SC2317: it believes that functions called by name (check NAME FUNCTION) are unreachable
	shellcheck -x -e SC2317 --source-path=SCRIPTDIR "${scripts[@]}"
}

check "every file has a licence tag" licences
check "shellcheck reports nothing" scripts
plan
