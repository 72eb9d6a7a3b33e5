#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# vm distinguishes the ways in which a machine can end. Each test boots one.
set -uo pipefail
. "$(dirname "$0")/../tap.sh"

# ends STATUS REASON [OPTION]... -- COMMAND...: the machine ends with this exit
# status, and the last line matches REASON
ends()
{
	local want=$1 reason=$2 output status=0
	shift 2
	output=$("$HARNESS/vm" --name harness-test "$@" 2>&1) || status=$?
	echo "$output"
	echo "exit status $status, not $want"
	[[ $status == "$want" && $(tail -n 1 <<<"$output") =~ $reason ]]
}

crash=/sys/kernel/debug/provoke-crash/DIRECT

check "true passes" ends 0 'pass' -- true
check "output comes through" ends 0 'pass' -- bash -c 'echo "one  two" | grep -q "one  two" && id -u'
check "false fails" ends 1 'exit status 1' -- false
check "a program that does not exist fails" ends 1 'exit status 127' -- /nonexistent
check "a signal" ends 1 'exit status 139' -- bash -c 'kill -SEGV $$'
check "a kernel warning" ends 2 'kernel warning: .*WARNING' -- bash -c "echo WARNING >$crash"
check "a kernel warning without a panic" ends 2 'kernel warning: .*WARNING' --no-panic -- bash -c "echo WARNING >$crash"
check "a panic" ends 3 'panic' -- bash -c 'echo c >/proc/sysrq-trigger'
check "an oops" ends 3 'panic' -- bash -c "echo EXCEPTION >$crash"
check "a timeout" ends 4 'timeout after 8 s' --timeout 8 -- sleep 1000
check "a machine that powers off on its own" ends 5 'without a verdict' -- bash -c 'echo o >/proc/sysrq-trigger; sleep 100'
check "a failed set-up" ends 5 'set-up in the guest failed' --memory cxl:1x256M --append initcall_blacklist=cxl_acpi_init -- true
# shellcheck disable=SC2016  # expanded by the guest's shell
check "CXL memory and an NVDIMM in famfs mode" ends 0 'pass' --memory cxl:2x256M,nvdimm:1x256M -- \
	bash -c '[[ $(wc -l </run/dax-devices) == 3 ]] && for d in $DAX_DEVICES; do [[ -c /dev/$d ]] || exit 1; done'
plan
