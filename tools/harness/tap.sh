# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by tests and checks: they report their results as TAP.

HARNESS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
count=0 failed=0
: "$HARNESS"

# check NAME COMMAND...: report one result. If the command fails, its output is shown.
check()
{
	local name=$1
	shift
	count=$((count + 1))
	if "$@" >"$SCRATCH/output" 2>&1; then
		echo "ok $count - $name"
	else
		sed 's/^/# /' "$SCRATCH/output"
		echo "not ok $count - $name"
		failed=1
	fi
}

# refused TEXT COMMAND...: the command must fail, with TEXT (a pattern) in its output.
refused()
{
	local text=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "was accepted: $*"
		return 1
	fi
	echo "$output"
	grep -q -e "$text" <<<"$output"
}

plan()
{
	echo "1..$count"
	exit "$failed"
}
