#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The selftests in the form that the kernel tree wants: built, installed and
# packed by its own Makefile, and run by its own run_kselftest.sh, from the
# package, by root and by somebody else. What happens in the VM is in
# guest-kselftest-form.
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

# kselftest MAKE-ARGUMENT...: as Documentation/dev-tools/kselftest.rst has it.
# The environment is that of a shell prompt: variables of the harness and of
# the make that called it mean something to this make, too.
kselftest()
{
	env -u BUILD -u KERNEL -u PREFIX -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		make TARGETS=famfs FORCE_TARGETS=1 -j"$JOBS" "$@"
}

# --- with O= ------------------------------------------------------------------

# What `make O=DIR headers` leaves in DIR is there already
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

# Each program that there is a source for
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
check "... and nothing is written into the tree" untouched
check "every test is in the package's list" listed
check "... and in the package, with config and settings" there
check "make clean with O=" kselftest -C "$selftests" O="$out/objects" clean
check "... leaves nothing" nothing_built

# --- in the tree --------------------------------------------------------------

# A tree of just these files, in git
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
# without optimization: seconds
check "make in the tree, with clang: no warning" \
	kselftest -C "$copy/tools/testing/selftests" LLVM=1 USERCFLAGS='-O0 -Werror'
check "... builds something" git_sees --ignored
check "... and .gitignore has all of it" git_sees_nothing
check "make clean in the tree" kselftest -C "$copy/tools/testing/selftests" clean
check "... leaves nothing" git_sees_nothing --ignored

# --- the configuration --------------------------------------------------------

# What a CI does that knows only the fragment, for a VM
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
check "... each symbol comes through" came_through
check "... each once, in order" sorted

# --- in the VM ----------------------------------------------------------------

# status NAME STATUS
status() { cat "$results/$1"; [[ $(<"$results/$1.exit") == "$2" ]]; }

# has NAME LINE: this is one of its lines
has() { cat "$results/$1"; grep -q -x -e "$2" "$results/$1"; }
lacks() { cat "$results/$1"; ! grep -E -e "$2" "$results/$1"; }

# Whoever is not root gets a skip with a reason for each
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

check "a VM with the package, no kernel warning" \
	"$HARNESS/vm" --name kselftest-form --memory nvdimm:2x256M --timeout 300 -- /tests/guest-kselftest-form
check "run_kselftest.sh runs one test" status root 0
check "... and prints TAP" has root 'TAP version 13'
check "... with the test's result" has root 'ok 1 selftests: famfs: fmap_uring_test'
check "... which ran tests" has root '# # Totals: pass:[1-9][0-9]* fail:0 .*'
check "... and skipped none" lacks root '# SKIP'
check "... within the time that settings allow" has root "# timeout set to $timeout"
check "run_kselftest.sh runs the collection for a user" status user 0
check "... each program is skipped" all_skipped
check "... with exit status 4" code_4
check "... and says why" reasons
check "a program that takes too long is stopped" has slow 'not ok 1 selftests: famfs: fmap_lifetime_test # TIMEOUT 1 seconds'
check "... as is one with open files and a server to be told" has slow 'not ok 2 selftests: famfs: fmap_random_test # TIMEOUT 1 seconds'
check "... and nothing of them is left" none_left
plan
