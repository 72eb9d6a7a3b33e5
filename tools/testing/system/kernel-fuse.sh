#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own tests of FUSE, on the kernel with the series: those of
# filesystems/fuse, with the patched libfuse if they need libfuse 3, and the test of
# memfd on FUSE. A skipped test has not passed. guest-kernel-fuse runs in the VM.
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail
. "$(dirname "$0")/../../harness/common.sh"
. "$(dirname "$0")/../../harness/tap.sh"

out=$BUILD/kernel-fuse
installed=$BUILD/payload/kernel-fuse
results=$BUILD/results/kernel-fuse
programs=(filesystems/fuse/{fusectl_test,write_extend_eof_test,fuse_acl_cache_test} memfd/run_fuse_test.sh)

# The environment is that of a shell prompt, because the kernel's Makefile also uses
# variables of the harness and of the make that called it.
build()
{
	rm -rf "$out" "$installed"
	mkdir -p "$out/usr" "$installed/lib"
	ln -s "$BUILD/headers/include" "$out/usr/include"
	"$HARNESS/libfuse" build || return
	env -u BUILD -u KERNEL -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		PKG_CONFIG_PATH="$BUILD/libfuse/build/meson-uninstalled" \
		make -C "$BUILD/linux/tools/testing/selftests" TARGETS='filesystems/fuse memfd' FORCE_TARGETS=1 \
		-j"$JOBS" O="$out" INSTALL_PATH="$installed" install || return
	cp -L "$BUILD/libfuse/build/lib/libfuse3.so.4" "$installed/lib/" &&
		ldd "$installed/memfd/fuse_mnt" | awk '$1 == "libfuse.so.2" { print $3 }' | xargs cp -L -t "$installed/lib"
}

all_known()
{
	diff <(printf '%s\n' "${programs[@]}" | grep ^filesystems/fuse | sort) \
		<(sed -n 's|^filesystems/fuse:|filesystems/fuse/|p' "$installed/kselftest-list.txt" | sort)
}

ended_well() { cat "$results/$1"; grep -q -x 'exit: 0' "$results/$1"; }
# passed KIND DIRECTIVE: a test that is skipped or expected to fail has not passed
passed() { [[ "$1 $2" == 'ok -' ]]; }

check "the kernel's own tests of FUSE are built" build
check "they are all tests of filesystems/fuse" all_known
check "a VM runs them without a kernel warning" \
	"$HARNESS/vm" --name kernel-fuse --timeout 300 -- /tests/guest-kernel-fuse "${programs[@]}"
for program in "${programs[@]##*/}"; do
	check "$program: exit status 0" ended_well "$program"
	while IFS=$'\t' read -r kind _ directive name _; do
		check "$program: $name" passed "$kind" "$directive"
	done < <("$HARNESS/parse-tap" "$results/$program" | sed -n -E '/^(ok|not ok|skip)\t/p')
done
check "each of the three test programs prints results" [ "$(grep -l '^ok 1 ' "$results"/*_test | wc -l)" = 3 ]
plan
