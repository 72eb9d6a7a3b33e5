#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs the KUnit suite of the DAX file maps, fs/fuse/fmap_test.c, through
# debugfs and shows its results as TAP, one a case and parameter.

suite=/sys/kernel/debug/kunit/fuse_fmap

echo "TAP version 13"
if [ "$(id -u)" != 0 ]; then
	echo "1..0 # SKIP root is needed"
	exit 4
fi
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
if [ ! -e $suite/run ]; then
	echo "1..0 # SKIP no KUnit suite fuse_fmap in this kernel, or it needs kunit.enable=1"
	exit 4
fi

if ! echo run >$suite/run; then
	echo "not ok 1 - the suite runs"
	echo "1..1"
	exit 1
fi

# In KTAP the suite stands at the margin, its cases and then their parameters
# each four spaces further in. What a case has no parameters for is a result
# itself, and so is what failed with no parameter failing.
awk '
function result(bad, name) {
	print (bad ? "not ok " : "ok ") ++count " - " name
	failed += bad
}
{
	bad = /^ *not ok /
	name = $0
	sub(/^ *(not )?ok [0-9]+ /, "", name)
}
/^        # Subtest: / { parent = $3 }
/^        (not )?ok / { result(bad, parent ": " name); params++; next }
/^    (not )?ok / {
	if (!params || (bad && failed == before))
		result(bad, name)
	params = 0
	before = failed
	next
}
/^(not )?ok / {
	if (!count || (bad && !failed))
		result(1, name)
	next
}
/^ *#/ { sub(/^ */, ""); print }
END {
	print "1.." count + 0
	exit failed || !count
}' $suite/results
