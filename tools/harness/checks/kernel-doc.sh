#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# kernel-doc reports nothing about the C files that the series adds or edits that it
# does not report about the base.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# said COMMIT FILE: the tool's output, without line numbers
said()
{
	mkdir -p "$SCRATCH/$1/$(dirname "$2")"
	git -C "$tree" show "$1:$2" >"$SCRATCH/$1/$2" 2>/dev/null || : >"$SCRATCH/$1/$2"
	(cd "$SCRATCH/$1" && "$tree/tools/docs/kernel-doc" -none -Wall "$2" 2>&1 || echo "exit status $?") |
		sed "s|^\(Warning: [^ :]*\):[0-9]*|\1|" | sort -u
}

compare()
{
	local new
	new=$(comm -13 <(said base "$1") <(said "$last" "$1"))
	[[ -z $new ]] || { echo "$new"; return 1; }
}

for file in $(touched '*.[ch]'); do
	check "$file" compare "$file"
done
plan
