#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The selftests follow the kernel's conventions: its own Makefile builds, installs and
# packs them, and its own run_kselftest.sh runs them from the package, as root and as
# a user. guest-kselftest-form runs in the VM.
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail
. "$(dirname "$0")/../../harness/common.sh"
. "$(dirname "$0")/../../harness/tap.sh"

tree=$BUILD/linux
selftests=$tree/tools/testing/selftests
out=$BUILD/kselftest-form
installed=$BUILD/payload/kselftest
results=$BUILD/results/kselftest-form

rm -rf "$out" "$installed"
mkdir -p "$out/objects" "$installed"

# kselftest MAKE-ARGUMENT...: call make as in Documentation/dev-tools/kselftest.rst.
# The environment is that of a shell prompt, because the kernel's Makefile also uses
# variables of the harness and of the make that called it.
kselftest()
{
	env -u BUILD -u KERNEL -u PREFIX -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		make TARGETS=famfs FORCE_TARGETS=1 -j"$JOBS" "$@"
}

# --- with O= ------------------------------------------------------------------

# The result of `make O=DIR headers` exists already
mkdir "$out/objects/usr"
ln -s "$BUILD/headers/include" "$out/objects/usr/include"

in_tree() { (cd "$selftests/famfs" && find . -type f | sort); }

pack()
{
	in_tree >"$out/before"
	kselftest -C "$selftests" O="$out/objects" USERCFLAGS=-Werror INSTALL_PATH="$out/install" gen_tar &&
		tar -C "$installed" -xf "$out/install/kselftest-packages/kselftest.tar.gz"
}

untouched() { diff "$out/before" <(in_tree); }

# All programs that have a source
programs() { (cd "$selftests/famfs" && printf '%s\n' *_test.c *.sh) | sed 's/\.c$//' | sort; }

listed() { diff <(programs) <(sed -n 's/^famfs://p' "$installed/kselftest-list.txt" | sort); }

there()
{
	local f
	for f in $(programs) config settings; do
		[[ -s $installed/famfs/$f ]] || { echo "no $f"; return 1; }
	done
	for f in $(programs); do
		[[ -x $installed/famfs/$f ]] || { echo "$f is no program"; return 1; }
	done
}

nothing_built() { [[ -z $(find "$out/objects/kselftest" -type f -print -quit) ]]; }

check "make with O= and gen_tar: no warning" pack
check "... and nothing is written to the tree" untouched
check "every test is in the package's list" listed
check "... and in the package, with config and settings" there
check "make clean with O=" kselftest -C "$selftests" O="$out/objects" clean
check "... removes everything" nothing_built

# --- in the tree --------------------------------------------------------------

# A git repository with only these files
copy=$out/tree
copy_tree()
{
	local to=$copy/tools/testing/selftests
	mkdir -p "$to" "$copy/scripts" "$copy/usr" "$copy/tools/include"
	cp -r "$selftests"/{famfs,kselftest*,lib.mk,Makefile,.gitignore} "$to/" &&
		cp "$tree/scripts/subarch.include" "$copy/scripts/" &&
		cp -r "$tree/tools/include/io_uring" "$copy/tools/include/" &&
		ln -s "$BUILD/headers/include" "$copy/usr/include" &&
		git -C "$copy" init -q && git -C "$copy" add -A
}

git_sees()
{
	local seen
	seen=$(git -C "$copy" status --porcelain "$@" | grep -v '^A  ')
	echo "$seen"
	[[ -n $seen ]]
}

git_sees_nothing() { ! git_sees "$@"; }

check "a copy of the tree" copy_tree
# without optimization this takes only seconds
check "make in the tree, with clang: no warning" \
	kselftest -C "$copy/tools/testing/selftests" LLVM=1 USERCFLAGS='-O0 -Werror'
check "... builds something" git_sees --ignored
check "... and .gitignore covers all of it" git_sees_nothing
check "make clean in the tree" kselftest -C "$copy/tools/testing/selftests" clean
check "... removes everything" git_sees_nothing --ignored

# --- the configuration --------------------------------------------------------

# The steps of a CI that uses only the fragment, for a VM
configure()
{
	local config=$out/config
	mkdir "$config"
	env -u BUILD -u KERNEL -u MAKEFLAGS make -C "$tree" O="$config" -j"$JOBS" x86_64_defconfig kvm_guest.config &&
		(cd "$tree" && scripts/kconfig/merge_config.sh -y -m -O "$config" "$config/.config" "$selftests/famfs/config") &&
		env -u BUILD -u KERNEL -u MAKEFLAGS make -C "$tree" O="$config" olddefconfig
}

came_through()
{
	local missing
	missing=$(grep '^CONFIG_' "$selftests/famfs/config" | grep -v -x -F -f "$out/config/.config")
	echo "$missing"
	[[ -z $missing && -s $out/config/.config ]]
}

sorted() { grep '^CONFIG_' "$selftests/famfs/config" | LC_ALL=C sort -c -u; }

check "the config fragment on a defconfig for VMs" configure
check "... each symbol takes effect" came_through
check "... each occurs once, in order" sorted

# --- in the VM ----------------------------------------------------------------

# status NAME STATUS: the command's exit status
status() { cat "$results/$1"; [[ $(<"$results/$1.exit") == "$2" ]]; }

# has NAME LINE: the command printed this line
has() { cat "$results/$1"; grep -q -x -e "$2" "$results/$1"; }
lacks() { cat "$results/$1"; ! grep -E -e "$2" "$results/$1"; }

# Without root each program is skipped, with a reason
all_skipped()
{
	local n
	n=$(programs | wc -l)
	cat "$results/user"
	grep -q -x "1\.\.$n" "$results/user" && [[ $(grep -c -E '^ok [0-9]+ selftests: famfs: .* # SKIP' "$results/user") == "$n" ]]
}

code_4() { cat "$results/user.statuses"; diff <(programs | sed 's/$/ 4/') <(sort "$results/user.statuses"); }
reasons() { [[ $(grep -c -x '# 1\.\.0 # SKIP root is needed' "$results/user") == "$(programs | wc -l)" ]]; }
none_left() { cat "$results/slow.left"; [[ -e $results/slow.left && ! -s $results/slow.left ]]; }

timeout=$(sed -n 's/^timeout=//p' "$selftests/famfs/settings")

check "a VM runs the package without a kernel warning" \
	"$HARNESS/vm" --name kselftest-form --memory nvdimm:2x256M --timeout 300 -- /tests/guest-kselftest-form
check "run_kselftest.sh runs one test" status root 0
check "... and prints TAP" has root 'TAP version 13'
check "... with the test's result" has root 'ok 1 selftests: famfs: fmap_uring_test'
check "... whose tests ran" has root '# # Totals: pass:[1-9][0-9]* fail:0 .*'
check "... and none was skipped" lacks root '# SKIP'
check "... with the time limit from settings" has root "# timeout set to $timeout"
check "run_kselftest.sh runs the collection as a user" status user 0
check "... each program is skipped" all_skipped
check "... with exit status 4" code_4
check "... and prints the reason" reasons
check "a program that takes too long is stopped" has slow 'not ok 1 selftests: famfs: fmap_server_death_test # TIMEOUT 1 seconds'
check "... also one with open files and a running server" has slow 'not ok 2 selftests: famfs: fmap_random_test # TIMEOUT 1 seconds'
check "... and no process is left" none_left
plan
