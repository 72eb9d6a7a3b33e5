#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# summarize tells kinds of results apart.
set -uo pipefail
. "$(dirname "$0")/tap.sh"

# says LINE STATUS INPUT: the last line and the exit status for that TAP
says()
{
	local output status=0
	output=$(printf '%b' "$3" | "$HARNESS/summarize" -) || status=$?
	echo "$output, exit status $status"
	[[ $(tail -n 1 <<<"$output") == "$1" && $status == "$2" ]]
}

check "all passed" says '2 passed, 0 failed' 0 \
	'# group: a\nTAP version 13\n1..1\nok 1 x\n# exit: 0\n# group: b\n1..1\nok 1 y\n# exit: 0\n'
check "one failed" says '1 passed, 1 failed' 1 '# group: a\n1..2\nok 1 x\nnot ok 2 y\n# exit: 1\n'
check "one skipped" says '1 passed, 0 failed, 1 skipped' 0 '# group: a\n1..2\nok 1 x\nok 2 y # SKIP no\n# exit: 0\n'
check "a whole program skipped" says '1 passed, 0 failed, 1 skipped' 0 \
	'# group: a\n1..0 # SKIP no device\n# exit: 4\n# group: b\n1..1\nok 1 y\n# exit: 0\n'
check "fewer results than planned" says '1 passed, 1 failed' 1 '# group: a\n1..2\nok 1 x\n# exit: 0\n'
check "the plan may come last" says '1 passed, 0 failed' 0 '# group: a\nok 1 x\n1..1\n# exit: 0\n'
check "no plan" says '1 passed, 1 failed' 1 '# group: a\nok 1 x\n# exit: 0\n'
check "no end" says '1 passed, 1 failed' 1 '# group: a\n1..1\nok 1 x\n'
check "no result" says '0 passed, 1 failed' 1 '# group: a\nSegmentation fault\n# exit: 139\n'
check "a bad exit status with good results" says '1 passed, 1 failed' 1 '# group: a\n1..1\nok 1 x\n# exit: 139\n'
check "a failed result explains the exit status" says '0 passed, 1 failed' 1 '# group: a\n1..1\nnot ok 1 x\n# exit: 1\n'
check "nested results do not count" says '1 passed, 0 failed' 0 '# group: a\n1..1\n    ok 1 in\n    not ok 2 in\nok 1 x\n# exit: 0\n'
check "lines of a serial console" says '1 passed, 0 failed' 0 '# group: a\r\n1..1\r\nok 1 x\r\n# exit: 0\r\n'
check "nothing ran" says '0 passed, 0 failed' 1 ''
check "only skipped is not a pass" says '0 passed, 0 failed, 1 skipped' 1 '# group: a\n1..0 # SKIP\n# exit: 4\n'
plan
