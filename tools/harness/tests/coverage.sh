#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# coverage, with a small program in place of the kernel.
set -uo pipefail
. "$(dirname "$0")/../tap.sh"

export BUILD=$SCRATCH/build CACHE=$SCRATCH/cache
repo=$SCRATCH/repo
explained=$repo/tools/harness/coverage.explained
kernel=$BUILD/kernel-debug
mkdir -p "$repo/tools" "$repo/fs/fuse" "$BUILD/linux/fs/fuse" "$kernel/fs/fuse"
cp -r "$HARNESS" "$repo/tools/harness"
coverage() { "$repo/tools/harness/coverage" "$@"; }

cat >"$repo/fs/fuse/fmap.h" <<'EOT'
static inline int half(int x)
{
	return x / 2;
}
EOT
cat >"$repo/fs/fuse/fmap.c" <<'EOT'
#include <stdio.h>
#include "fmap.h"

static int step(const char *what)
{
	return printf("%s\n", what);
}

int main(int argc, char **argv)
{
	if (argc == 1)
		step("none");
	else if (argc == 2)
		step("one");
	else
		step("many");
	return half(argc) > 4;
}
EOT
cp "$repo"/fs/fuse/* "$BUILD/linux/fs/fuse/"

# build: compile the program. run NAME ARGUMENT...: run it, and save its counts as
# those of the VM NAME.
build() { (cd "$kernel" && gcc --coverage -c ../linux/fs/fuse/fmap.c -o fs/fuse/fmap.o && gcc --coverage fs/fuse/fmap.o -o toy); }
run()
{
	local name=$1
	shift
	(cd "$kernel" && ./toy "$@") &&
		mkdir -p "$BUILD/results/$name/gcov" && mv "$kernel/fs/fuse/fmap.gcda" "$BUILD/results/$name/gcov/"
}

# shows LINE COMMAND...: the command prints that line; repeated blanks don't matter
shows()
{
	local line=$1 output
	shift
	output=$("$@" 2>&1)
	echo "$output"
	tr -s ' ' <<<"$output" | grep -qxF -e "$line"
}

header='# SPDX-License-Identifier: GPL-2.0'
echo "$header" >"$explained"
check "the program is built" build
check "without a run the message says how to make one" refused 'KERNEL=debug' coverage
check "a run" run a
check "too few lines fail" refused 'not ok 1 - 95 % of the lines' coverage
check "... the table counts them" shows '# fmap.c 9 6 66.7' coverage
check "... a header is counted" shows '# fmap.h 2 2 100.0' coverage
check "a line without an explanation fails" shows '# fmap.c:14: main: step("one");' coverage
check "... and its file" shows 'not ok 2 - fmap.c: each line that is not executed is explained' coverage
mkdir -p "$BUILD/results/lost/gcov"
: >"$BUILD/results/lost/gcov/fmap.gcda"
check "missing counts fail" refused 'could not save its counts' coverage
rm -r "$BUILD/results/lost"
check "a second run" run b x
check "runs are added up" shows '# fmap.c 9 8 88.9' coverage
check "only the named runs count" shows '# fmap.c 9 6 66.7' coverage a
echo 'fmap.c | main | step("many") | No test has so many.' >>"$explained"
check "an explained line passes" shows 'ok 2 - fmap.c: each line that is not executed is explained' coverage
check "... and is listed with the reason" grep -qx '	No test has so many.' "$BUILD/results/coverage/coverage.txt"
check "... but too few lines still fail" refused 'not ok 1' coverage
check "an explanation applies to its function only" refused 'not ok 2' \
	env sh -c "sed -i 's/ main / half /' '$explained' && '$repo/tools/harness/coverage'"
sed -i 's/ half / main /' "$explained"
check "a third run" run c x y
check "all lines executed pass" coverage
check "an explanation that no line needs is stale" shows '# stale: fmap.c | main | step("many")' coverage
echo 'fmap.c: main' >>"$explained"
check "an explanation with a missing part is refused" refused 'coverage.explained:3: not FILE' coverage
sed -i '$d' "$explained"
sed -i 's/ > 4/ > 5/' "$BUILD/linux/fs/fuse/fmap.c"
sleep 0.01
check "another build" build
check "... invalidates the runs" refused 'run the tests again' coverage
plan
