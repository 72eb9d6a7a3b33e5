#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# With the option off, the object code of fs/fuse is identical to the base's after
# each patch.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

have_objects()
{
	[[ -d $(passed "$1" off "$2") ]] || { have_source "$1" && build "$1" off "$2"; }
}

# functions OBJECT: a line for each function and section, with its content
functions()
{
	objdump -dr --no-show-raw-insn "$1" |
		awk '/^[0-9a-f]+ <.*>:$/ { name = $2; next } NF { sub(/^[ \t]*[0-9a-f]+:/, ""); gsub(/[0-9a-f]+ </, "<"); text[name] = text[name] $0 }
			END { for (name in text) print name, text[name] }' | sort
	objdump -h "$1" | awk '$1 ~ /^[0-9]+$/ { print "section", $2, $3 }' | sort
}

same()
{
	local before after o bad=0
	before=$(passed base off "$2")
	after=$(passed "$1" off "$2")
	[[ -d $before && -d $after ]] || { echo "was not built"; return 1; }
	diff <(cd "$before" && ls) <(cd "$after" && ls) || bad=1
	for o in "$before"/*.o; do
		cmp -s "$o" "$after/${o##*/}" && continue
		echo "${o##*/} differs:"
		diff <(functions "$before/named/${o##*/}") <(functions "$after/named/${o##*/}") |
			sed -n -e 's/^[<>] <\(.*\)>: .*/  \1/p' -e 's/^[<>] \(section .*\)/  \1/p' | sort -u
		bad=1
	done
	return "$bad"
}

mkdir -p "$checks/passed"
for compiler in "${compilers[@]}"; do
	check "the base, $compiler" have_objects base "$compiler"
	n=0
	for commit in $(commits); do
		n=$((n + 1))
		check "patch $n, built, $compiler" have_objects "$commit" "$compiler"
		check "patch $n, the same as the base's, $compiler" same "$commit" "$compiler"
	done
done
plan
