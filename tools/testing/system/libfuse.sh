#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The library for servers, lib/libfuse-famfs: the tests that need no kernel.
set -uo pipefail
. "$(dirname "$0")/../../harness/common.sh"
. "$(dirname "$0")/../../harness/tap.sh"

ours=$TOP/lib/libfuse-famfs
new=$BUILD/libfuse/build
old=$BUILD/libfuse/unchanged-build
src=$BUILD/libfuse/src
out=$BUILD/libfuse/tests
strict=(-std=gnu11 -g -O1 -Wall -Wextra -Werror)
sanitize=(-fsanitize="address,undefined" -fno-sanitize-recover=all)
decoder=(-Wno-sign-compare -I"$TOP/tools/testing/fmap" -I"$TOP/include/uapi" -I"$TOP/fs/fuse")
new_lib=(-L"$new/lib" "-Wl,-rpath,$new/lib" -lfuse3 -lpthread)
mkdir -p "$out"


# --- the builder, against the kernel's decoder -------------------------------

build_decoder()
{
	gcc "${strict[@]}" "${sanitize[@]}" "${decoder[@]}" -c "$ours/test/kernel_fmap.c" -o "$out/kernel_fmap.o" &&
		gcc "${strict[@]}" "${decoder[@]}" -c "$ours/test/kernel_fmap.c" -o "$out/kernel_fmap_plain.o"
}

# build_builder SUFFIX FLAGS...
build_builder()
{
	gcc "${strict[@]}" "${@:2}" -Wno-sign-compare -I"$src/include" -I"$ours/test" "$ours/test/test_fmap_builder.c" \
		"$ours/lib/fuse_fmap.c" "$out/kernel_fmap$1.o" -o "$out/builder$1"
}

# each PROGRAM: a result for each of its tests
each()
{
	local t tests
	tests=$("$out/$1" list) || check "$1 lists its tests" false
	for t in $tests; do
		check "${t//_/ }" "$out/$1" "$t"
	done
}

# --- the session -------------------------------------------------------------

build_session()
{
	gcc "${strict[@]}" -I"$TOP/include/uapi" -I"$src/include" -I"$new" "$ours/test/test_fmap_session.c" \
		"${new_lib[@]}" -o "$out/session"
}

build_old_server()
{
	gcc "${strict[@]}" -I"$TOP/include/uapi" -I"$BUILD/libfuse/unchanged/include" -I"$old" \
		"$ours/test/test_old_server.c" -L"$old/lib" -lfuse3 -o "$out/old_server"
}

old_server() { LD_LIBRARY_PATH=$new/lib "$out/old_server"; }

# libfuse itself leaks the outermost of the pushed modules
without_modules() { "$out/session" list | grep -v ^modules_; }

no_errors() { valgrind -q --leak-check=full --error-exitcode=9 "$@"; }

session_valgrind()
{
	local -a names
	mapfile -t names < <(without_modules)
	((${#names[@]})) && no_errors "$out/session" "${names[@]}"
}

# --- published servers -------------------------------------------------------

# names FLAGS...: compile and run the program that uses the published names
names()
{
	gcc "${strict[@]}" "${sanitize[@]}" -I"$ours/test" "$@" "$ours/test/test_famfs_names.c" "$out/kernel_fmap.o" \
		"${new_lib[@]}" -o "$out/names" && "$out/names"
}

names_in_build() { names "${flags[@]}"; }

names_installed()
{
	local prefix=$SCRATCH/root
	DESTDIR=$prefix PREFIX=$(<"$BUILD/libfuse/prefix") "$HARNESS/libfuse" install || return
	local -x PKG_CONFIG_SYSROOT_DIR=$prefix PKG_CONFIG_PATH
	PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name fuse3.pc)")
	local -a flags
	read -r -a flags < <(pkg-config --cflags fuse3) || return
	names "${flags[@]}" "${flags[0]}/internal"
}

cxx()
{
	printf '%s\n' '#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)' '#include <fuse.h>' '#include <fuse_lowlevel.h>' \
		'#include "fuse_kernel.h"' 'int main() { return sizeof(fuse_famfs_iext) != 24; }' >"$SCRATCH/cxx.cc"
	g++ -Wall -Wextra -Werror "${flags[@]}" -o "$SCRATCH/cxx" "$SCRATCH/cxx.cc" && "$SCRATCH/cxx"
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
# The flags of a server that is compiled against the build tree
read -r -a flags < <(PKG_CONFIG_PATH=$new/meson-uninstalled pkg-config --cflags fuse3)

check "the kernel's decoder compiles here" build_decoder
check "the builder compiles, with ASan and UBSan" build_builder "" "${sanitize[@]}"
each builder
check "... and without" build_builder _plain
check "the builder has no errors under valgrind" env ROUNDS=3000 valgrind -q --leak-check=full --error-exitcode=9 \
	"$out/builder_plain" all
check "the session's test compiles" build_session
each session
check "the session has no errors under valgrind" session_valgrind
check "a server for the old library compiles" build_old_server
check "... and is a plain FUSE server with the new one" old_server
check "published famfs names compile and have the right meaning" names_in_build
check "... also with an installed library" names_installed
check "the headers compile as C++" cxx
check "fuse_kernel.h is the header of the patched kernel" kernel_header
check "no exported symbol was removed" no_symbol_gone
check "new symbols are in the new version node" new_ones_in_new_node
check "no public structure or function has changed" layouts
check "libfuse's own sizes have not changed" "$new/test/test_abi"
plan
