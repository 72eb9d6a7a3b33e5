#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Data races: selftests on a kernel with KCSAN, which watches the memory accesses of
# fs/fuse and drivers/dax, with two and with four processors. A race that involves a
# function of this project is a failure. Other races are only listed, because they
# exist without the series.
set -uo pipefail
. "$(dirname "$0")/../../../harness/common.sh"
. "$(dirname "$0")/../../../harness/tap.sh"

export KERNEL=kcsan
programs=(fmap_basic_test fmap_server_death_test fmap_random_test fmap_removal_test fmap_uring_test)
memory=cxl:2x256M,nvdimm:2x256M
limit=300 # seconds per program
# A race is noticed only if two tasks meet at the same place, which takes time.
export FMAP_RANDOM_SECONDS=${FMAP_RANDOM_SECONDS:-100}

# The functions of the project's files, as reports name them
our_functions()
{
	local file
	for file in "$TOP"/fs/fuse/*.c; do
		[[ $file == */fmap_test.c ]] || nm "$BUILD/kernel-kcsan/fs/fuse/$(basename "$file" .c).o"
	done | awk '$2 ~ /^[tT]$/ { print $3 }' | sort -u
}

console() { tr -d '\r' <"$BUILD/results/kcsan-$1/console.log"; }

# races SMP: a line for each report: both functions, or the one that saw a
# value change
races() { console "$1" | sed -n 's/^.*BUG: KCSAN: [a-z: -]* in //p' | sed 's/+0x[0-9a-f/x]*//g' | sort | uniq -c; }

# runs SMP: status 2 is accepted, because reports of KCSAN count as kernel warnings;
# other warnings are checked below
runs()
{
	local status=0
	"$HARNESS/vm" --name "kcsan-$1" --smp "$1" --memory "$memory" --no-panic --quiet \
		--timeout $((60 + limit * ${#programs[@]})) -- /harness/run-tests /payload/selftests "$limit" "${programs[@]}" ||
		status=$?
	"$HARNESS/summarize" "$BUILD/results/kcsan-$1/tap.log"
	((status <= 2)) && grep -q '^exit=0$' "$BUILD/results/kcsan-$1/verdict"
}

# watched SMP: KCSAN is enabled, and the files are instrumented. Otherwise there
# would be no reports.
watched() { console "$1" | grep 'kcsan: .*enabled' && [[ -s $SCRATCH/ours ]] && nm "$BUILD/kernel-kcsan/fs/fuse/daxdev.o" | grep ' U __tsan_'; }

# no_race_of_ours SMP: shows the report, with stacks, of each race that involves a
# function of the project
no_race_of_ours()
{
	console "$1" | awk -v ours="$SCRATCH/ours" '
		BEGIN { while ((getline name <ours) > 0) is_ours[name] = 1 }
		/BUG: KCSAN:/ {
			show = 0
			for (i = 1; i <= NF; i++) {
				name = $i
				sub(/\+0x.*/, "", name)
				if (name in is_ours) show = bad = 1
			}
		}
		/^=====/ { show = 0 }
		show
		END { exit bad }'
}

no_other_warning() { ! console "$1" | grep -E 'WARNING: |BUG: |Oops: |INFO: task .* blocked|soft lockup' | grep -v 'BUG: KCSAN:'; }

check "the kernel that reports data races is built" "$HARNESS/kernel"
check "the selftests are built" "$HARNESS/selftests" build
our_functions >"$SCRATCH/ours"
for smp in 2 4; do
	check "$smp processors: the tests pass" runs "$smp"
	check "... on a kernel that watches the project's files" watched "$smp"
	races "$smp" | sed 's/^/# races: /'
	check "... no race in the project's functions" no_race_of_ours "$smp"
	check "... no other warning" no_other_warning "$smp"
done
plan
