#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# checkpatch --strict reports nothing about the patches, except for the entries in
# style.leftovers.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

leftovers=$HARNESS/checks/style.leftovers
seen=$SCRATCH/seen
: >"$seen"

# allowed TYPE FILE: the list has an entry for this. Records the entry as seen.
allowed()
{
	local type file _
	while read -r type file _; do
		# shellcheck disable=SC2053  # a pattern
		if [[ $type == "$1" && $2 == $file ]]; then
			echo "$type $file" >>"$seen"
			return 0
		fi
	done < <(sed '/^#/d' "$leftovers")
	return 1
}

style()
{
	local output line bad=0
	# its exit status is 1 if it reports something
	output=$(cd "$tree" && scripts/checkpatch.pl --strict --terse --showfile --show-types --quiet "$1" 2>&1) || true
	while read -r line; do
		if [[ $line =~ ^(.*):[0-9]*:\ (ERROR|WARNING|CHECK):([A-Z0-9_]+):\  ]]; then
			allowed "${BASH_REMATCH[3]}" "${BASH_REMATCH[1]}" && continue
		elif [[ -z $line || $line == total:* ]]; then
			continue
		fi
		echo "$line"
		bad=1
	done <<<"$output"
	return "$bad"
}

stale()
{
	local stale
	stale=$(awk '!/^#/ && NF { print $1, $2 }' "$leftovers" | grep -vxF -f "$seen" || true)
	[[ -z $stale ]] || { echo "$stale"; return 1; }
}

reasons() { awk '!/^#/ && NF > 0 && NF < 4 { print; bad = 1 } END { exit bad }' "$leftovers"; }

for mail in "$BUILD"/series/*.patch; do
	# skip the cover letter
	[[ ${mail##*/} == 0000-* ]] || check "${mail##*/}" style "$mail"
done
check "every entry in style.leftovers is used" stale
check "every entry has a reason" reasons
plan
