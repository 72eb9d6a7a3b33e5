#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# libfuse's own tests, in a VM, with the unmodified and with the patched library. A
# test that passes with the unmodified one must pass with the patched one. A test that
# both skip is skipped, with the reason. guest-libfuse-suite runs in the VM.
#
# Without KVM the tests are slow: one test of passthrough takes as long as all tests of
# notify. Therefore the variants below, which differ from another test only in an
# option, run only with
#
#   LIBFUSE_SUITE=full tools/testing/system/long/libfuse-suite.sh
#
# This also repeats all tests over io_uring.
set -uo pipefail
. "$(dirname "$0")/../../../harness/common.sh"
. "$(dirname "$0")/../../../harness/tap.sh"

source=$BUILD/libfuse/unchanged/test
payload=$BUILD/payload/libfuse-suite
results=$BUILD/results/libfuse-suite

variants=('examples/*-clone_fd' 'examples/*hello*-dropcaps' examples/passthrough-{'*-debug',fh,hp,hp-nocache,ll-writeback,plus,zero-ino}
	'mount/attrs-*-hello' 'mount/mountinfo-*-hello')
limit=400

if [[ ${LIBFUSE_SUITE:-} == full ]]; then
	variants=()
	limit=3600
fi

# copy_tree NAME BUILD: copy the tests and the parts of a build tree that they need
copy_tree()
{
	mkdir -p "$payload.part/$1/test" &&
		cp -r "$source/cases" "$source/run-tests.py" "$payload.part/$1/test/" &&
		rsync -r --links --perms --exclude='*.p/' --exclude='*.a' --include='/example/***' --include='/lib/' \
			--include='/lib/libfuse3.so*' --include='/test/***' --include='/util/***' \
			--include='/fuse_config.h' --exclude='*' "$2/" "$payload.part/$1/build/"
}

# runs: a line for each run: name, user, options. Tests that require a user other than
# root have a separate run.
runs()
{
	local -a for_users left_out
	mapfile -t for_users < <(cd "$source/cases" && grep -rl --include='*.sh' '^_require_nonroot' [!l]* | sed 's/\.sh$//' | sort)
	# shellcheck disable=SC2068,SC2012  # patterns, of names without blanks
	mapfile -t left_out < <(cd "$source/cases" && ((${#variants[@]})) && ls -d ${variants[@]/%/.sh} | sed 's/\.sh$//')
	((${#for_users[@]} && (${#variants[@]} == 0 || ${#left_out[@]}))) || return
	echo "root root ${for_users[*]/#/-X } ${left_out[*]/#/-X }"
	echo "user tester ${for_users[*]/#/-t }"
	[[ ${LIBFUSE_SUITE:-} != full ]] || echo "io_uring root --io-uring ${for_users[*]/#/-X }"
}

prepare()
{
	rm -rf "$payload" "$payload.part"
	copy_tree unchanged "$BUILD/libfuse/unchanged-build" && copy_tree ours "$BUILD/libfuse/build" &&
		runs >"$payload.part/runs" && mv "$payload.part" "$payload"
}

# verdicts RUN: a line for each test: name; PASS, FAIL or SKIP; the reason
verdicts() { sed -n 's/^+ *[0-9.]*s \(PASS\|FAIL\|SKIP\) *\([^ ]*\) *[0-9.]*s *\(.*\)$/\2 \1 \3/p' "$results/$1" | sort; }

# complete RUN: the run finished, and no result is missing
complete()
{
	local wanted seen
	tail -n 20 "$results/$1"
	wanted=$(sed -n 's/^running \([0-9]*\) tests .*/\1/p' "$results/$1")
	seen=$(verdicts "$1" | wc -l)
	echo "results: $seen of $wanted"
	grep -q '^exit: [01]$' "$results/$1" && ((wanted > 0 && seen == wanted))
}

totals() { sed -n 's/^[0-9]* tests: .*/# '"${1/./, }"': &/p' "$results/$1"; }

# judge RUN: report a result for each test
judge()
{
	local name old new old_why new_why
	while IFS=$'\t' read -r name old old_why new new_why; do
		count=$((count + 1))
		case $old/$new in
		SKIP/SKIP)
			echo "ok $count - $1: $name # SKIP ${new_why:-no reason given}"
			;;
		*/PASS)
			[[ $old == PASS ]] || echo "# with the unmodified library: $old $old_why"
			echo "ok $count - $1: $name"
			;;
		*)
			echo "# with the unmodified library: $old $old_why"
			echo "# with ours: $new $new_why"
			echo "not ok $count - $1: $name"
			failed=1
			;;
		esac
	done < <(join -a 1 -a 2 -e - -o 0,1.2,1.3,2.2,2.3 -t $'\t' <(verdicts "unchanged.$1" | tabs) <(verdicts "ours.$1" | tabs))
}

tabs() { sed 's/\t/ /g; s/ /\t/; s/ /\t/'; }

check "libfuse with our patches is built" "$HARNESS/libfuse" build
check "... and so is the unmodified one" "$HARNESS/libfuse" unchanged
check "both are copied for the VM" prepare
check "the VM runs the tests" "$HARNESS/vm" --name libfuse-suite --memory pmem:1x64M --timeout "$limit" --quiet -- \
	/tests/long/guest-libfuse-suite unchanged ours
while read -r run _; do
	for library in unchanged ours; do
		check "$run: the run with the ${library/ours/patched} library finishes" complete "$library.$run"
		totals "$library.$run"
	done
	judge "$run"
done <"$payload/runs"
plan
