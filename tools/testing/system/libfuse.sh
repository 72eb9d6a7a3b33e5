#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The library for servers, lib/libfuse-famfs: its own tests, which meson runs, and the
# comparison with the unmodified libfuse. All of this needs no kernel.
set -uo pipefail
. "$(dirname "$0")/../../harness/common.sh"
. "$(dirname "$0")/../../harness/tap.sh"

ours=$TOP/lib/libfuse-famfs
new=$BUILD/libfuse/build
old=$BUILD/libfuse/unchanged-build
src=$BUILD/libfuse/src
out=$BUILD/libfuse/tests
strict=(-std=gnu11 -g -O1 -Wall -Wextra -Werror)
mkdir -p "$out"


# --- the library's own tests -------------------------------------------------

# meson_log: what meson logged, in the form that parse-tap reads, one group per test
meson_log()
{
	python3 - "$new/meson-logs/testlog.json" <<-'END'
		import json, sys
		tests = [json.loads(line) for line in open(sys.argv[1])]
		for test in sorted(tests, key=lambda test: test["name"]):
		    print("# group: " + test["name"].split(" / ")[-1].split(":")[-1])
		    for text in test.get("stderr", "").splitlines():
		        print("# " + text)
		    print(test.get("stdout", ""))
		    print("# exit: %d" % (test["result"] not in ("OK", "SKIP")))
	END
}

# meson_results: report each result in meson's log. A test that is not TAP has one
# result. A test that fails although none of its results did has one more
meson_results()
{
	local kind number reason name line group='' results=0 bad=0
	while IFS=$'\t' read -r kind number reason name line; do
		case $kind in
		group)
			group=$name results=0 bad=0
			continue
			;;
		exit)
			if ((number ? !bad : !results)); then
				check "$group" test "$number" = 0
			fi
			continue
			;;
		ok | skip | 'not ok') ;;
		*)
			[[ $line != '#'* ]] || echo "$line"
			continue
			;;
		esac
		results=$((results + 1))
		case $kind in
		ok) check "$group: $name" true ;;
		skip)
			count=$((count + 1))
			echo "ok $count - $group: $name # $reason"
			;;
		*)
			bad=1
			check "$group: $name" false
			;;
		esac
	done < <(meson_log | "$HARNESS/parse-tap")
}

# Without valgrind or C++, meson leaves tests out
all_groups()
{
	diff - <(meson_log | sed -n 's/^# group: //p' | sort) <<-'END'
		builder
		builder, valgrind
		headers in C++
		published famfs names
		session
		session, valgrind
	END
}

# --- a server of the unmodified library --------------------------------------

# fuse_lowlevel.h is the old one, the protocol of the fake kernel the new one
build_old_server()
{
	gcc "${strict[@]}" -include "$src/include/fuse_kernel.h" -I"$BUILD/libfuse/unchanged/include" -I"$old" \
		"$ours/test/test_old_server.c" -L"$old/lib" -lfuse3 -o "$out/old_server"
}

old_server() { LD_LIBRARY_PATH=$new/lib "$out/old_server"; }

# --- an installed library ----------------------------------------------------

names_installed()
{
	local prefix=$SCRATCH/root
	DESTDIR=$prefix PREFIX=$(<"$BUILD/libfuse/prefix") "$HARNESS/libfuse" install || return
	local -x PKG_CONFIG_SYSROOT_DIR=$prefix PKG_CONFIG_PATH
	PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name fuse3.pc)")
	local -a flags libs
	read -r -a flags < <(pkg-config --cflags fuse3) || return
	read -r -a libs < <(pkg-config --libs fuse3) || return
	gcc "${strict[@]}" "${flags[@]}" "${flags[0]}/internal" -I"$ours/test" "$ours/test/test_famfs_names.c" \
		"$new/test/libkernel_fmap_plain.a" "${libs[@]}" -o "$out/names" &&
		LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH") "$out/names"
}

# --- headers -----------------------------------------------------------------

# fuse_kernel.h without the line that includes the published names
kernel_header()
{
	grep -v -e fuse_famfs_compat.h -e 'names that published famfs servers use' "$src/include/fuse_kernel.h" |
		diff -B - "$BUILD/linux/include/uapi/linux/fuse.h"
}

# --- ABI ---------------------------------------------------------------------

# Without the names of version nodes, which are absolute symbols
symbols() { nm -D --defined-only --with-symbol-versions "$1/lib/libfuse3.so" | awk '$2 != "A" { print $NF }' | sort -u; }

no_symbol_gone()
{
	local gone
	gone=$(comm -23 <(symbols "$old") <(symbols "$new"))
	echo "gone: $gone"
	[[ -z $gone && $(symbols "$old" | wc -l) -gt 100 ]]
}

new_ones_in_new_node()
{
	local added
	added=$(comm -13 <(symbols "$old") <(symbols "$new"))
	echo "$added"
	[[ -n $added ]] && ! grep -v -e '@@FUSE_3\.19$' <<<"$added"
}

layouts()
{
	abidiff --no-added-syms --suppressions "$ours/test/abi.suppr" --headers-dir1 "$BUILD/libfuse/unchanged/include" \
		--headers-dir2 "$src/include" "$old/lib/libfuse3.so" "$new/lib/libfuse3.so"
}

check "libfuse with our patches is built" "$HARNESS/libfuse" build
check "... and so is the unmodified one" "$HARNESS/libfuse" unchanged
check "meson runs the library's tests" "$HARNESS/libfuse" test
meson_results
check "no test was left out" all_groups
check "a server for the old library compiles" build_old_server
check "... and is a plain FUSE server with the new one" old_server
check "published famfs names compile with an installed library" names_installed
check "fuse_kernel.h is the header of the patched kernel" kernel_header
check "no exported symbol was removed" no_symbol_gone
check "new symbols are in the new version node" new_ones_in_new_node
check "no public structure or function has changed" layouts
check "libfuse's own sizes have not changed" "$new/test/test_abi"
plan
