#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# After each patch, the directories that the series touches are built with the option
# built in, with fuse as a module, and with the option off, by gcc and clang, with
# W=1.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

if [[ ${1:-} == one ]]; then
	shift
	build "$@" >"$checks/$3-$2.log" 2>&1 || true
	exit 0
fi

result()
{
	[[ -d $(passed "$@") ]] || { cat "$checks/$3-$2.log"; return 1; }
}

# exported COMMIT COMPILER: all symbols that the module imports are exported.
# Symbols that a macro exports are found by their use in the base's objects.
exported()
{
	local objects base
	objects=$(passed "$1" m "$2")
	base=$(passed base off "$2")
	[[ -d $objects && -d $base ]] || { echo "was not built"; return 1; }
	comm -23 <(nm -u "$objects"/*.o | awk 'NF == 2 { print $2 }' | sort -u) \
		<({ nm --defined-only "$objects"/*.o | awk 'NF == 3 { print $3 }'; cat "$known"
			nm -u "$base"/*.o | awk 'NF == 2 { print $2 }'
			echo __this_module
			# shellcheck disable=SC2046  # names without spaces
			exports "$1" $(touched '*.c'); } | sort -u) |
		{ if grep .; then echo "not exported"; return 1; fi; }
}

exports() { git -C "$tree" grep -hoE 'EXPORT_[A-Z_]*SYMBOL[A-Z_]*\([A-Za-z0-9_]+' "$1" -- "${@:2}" | sed 's/.*(//'; }

mkdir -p "$checks/passed"
# cached, because this reads the whole tree
known=$checks/exports-$(git -C "$tree" rev-parse --short 'base^{tree}')
[[ -e $known ]] || { exports base '*.[chS]' | sort -u >"$known.part" && mv "$known.part" "$known"; }

# build_all COMMIT CONFIG...: in parallel, by both compilers
build_all()
{
	local commit=$1 config compiler
	shift
	have_source "$commit"
	say "  $(subject "$commit")"
	for config; do
		for compiler in "${compilers[@]}"; do echo "$commit $config $compiler"; done
	done | xargs -L 1 -P "$JOBS" "$0" one
	for config; do
		for compiler in "${compilers[@]}"; do
			check "$what, $config, $compiler" result "$commit" "$config" "$compiler"
		done
	done
}

what="the base"
build_all base off
n=0
for commit in $(commits); do
	n=$((n + 1))
	what="patch $n"
	build_all "$commit" "${configs[@]}"
	check "$what: the module finds what it uses" exported "$commit" gcc
done
plan
