#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# parse-tap tells lines of TAP apart, summarize counts the results, and junit
# writes them as XML.
set -uo pipefail
. "$(dirname "$0")/../tap.sh"

# parsed INPUT RECORD: the record that parse-tap makes of that line, with "|" for
# a tab and without the line itself
parsed()
{
	local output
	output=$(printf '%b' "$1" | "$HARNESS/parse-tap" - | cut -f 1-4 | tr '\t' '|')
	echo "$output"
	[[ $output == "$2" ]]
}

check "a passed result, from a serial console" parsed 'ok 3 - a  b\r\n' 'ok|3|-|a  b'
check "a failed result" parsed 'not ok 3 a.b\n' 'not ok|3|-|a.b'
check "a result without a name" parsed 'ok 3\n' 'ok|3|-|-'
check "a skipped result" parsed 'ok 3 a # SKIP no device\n' 'skip|3|SKIP no device|a'
check "a failed result marked TODO is skipped" parsed 'not ok 3 a # TODO later\n' 'skip|3|TODO later|a'
check "an expected failure" parsed 'ok 3 a # XFAIL as known\n' 'ok|3|XFAIL as known|a'
check "a plan, and one that skips all" parsed '1..12\n1..0 # SKIP not root\n' $'plan|12|-|-\nplan|0|SKIP not root|-'
check "a program begins and ends" parsed '# group: a\tb\n# exit: 4\n' $'group|-|-|a b\nexit|4|-|-'
check "nested results and other lines" parsed '    ok 1 a\n# ok 1 a\nok, then\n' $'text|-|-|-\ntext|-|-|-\ntext|-|-|-'

# says LINE STATUS INPUT: the last line and the exit status of summarize for that TAP
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
check "a skipped test alone is no success" says '0 passed, 0 failed, 1 skipped' 1 '# group: a\n1..0 # SKIP\n# exit: 4\n'

# names TEXT INPUT: summarize names the failed tests with this text
names()
{
	local output
	output=$(printf '%b' "$2" | "$HARNESS/summarize" -)
	echo "$output"
	[[ $(sed '$d' <<<"$output") == "$(printf '%b' "$1")" ]]
}

check "a failed result is named with the lines before it" names '# failed: a: y\n#   t.c:7: 1 != 2' \
	'# group: a\n1..3\n# before x\nok 1 x\n#  RUN           y ...\n# t.c:7: 1 != 2\n#          FAIL  y\nnot ok 2 y\nok 3 z\n# exit: 1\n'

# in_junit TEXT...: the XML that junit writes for three groups contains each TEXT
in_junit()
{
	local xml text
	printf '%b' '# group: a b\n1..3\nok 1 x\n# 7 is \033 not <8>\nnot ok 2 y & z\nok 3 - q # SKIP no device\n# exit: 1\n' \
		'# group: b\n1..0 # SKIP not root\n# exit: 4\n# group: c\n1..2\nok 1 x\n# exit: 139\n' |
		"$HARNESS/summarize" --split "$SCRATCH/groups" - >/dev/null
	xml=$("$HARNESS/junit" "$SCRATCH"/groups/*.tap) || return
	echo "$xml"
	for text; do grep -q -e "$text" <<<"$xml" || return; done
}

check "JUnit: a failed result with the lines before it" in_junit 'name="y &amp; z"' '7 is ? not &lt;8&gt;'
check "JUnit: skipped results, with the reason" in_junit 'skipped="1" tests="3"' 'message="SKIP no device"' 'message="not root"'
check "JUnit: a program that ended early" in_junit 'name="1 of 2 results"' 'failures="2"'

plan
