# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by every script of the harness: paths, messages, locks.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$TOP/build}
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fuse-dax-fmap}
HARNESS=$TOP/tools/harness
# shellcheck disable=SC2034  # for the scripts that source this file
JOBS=${JOBS:-$(nproc)}

mkdir -p "$BUILD" "$CACHE"
BUILD=$(cd "$BUILD" && pwd)
CACHE=$(cd "$CACHE" && pwd)
export BUILD CACHE HARNESS

# Seconds since the outermost command began: `make test` runs many scripts.
: "${HARNESS_T0:=$EPOCHSECONDS}"
export HARNESS_T0

# Report the place of a command that fails unexpectedly.
set -E
shopt -s inherit_errexit
trap 'printf "%s: line %d: failed: %s\n" "${0##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR

say() { printf '[%4ds] %s\n' $((EPOCHSECONDS - HARNESS_T0)) "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# with_progress FUNCTION MESSAGE LOG COMMAND...: run COMMAND with its output in
# LOG, and set $status to its exit status. Every 10 seconds MESSAGE is shown, with
# what FUNCTION prints when called with LOG and the seconds since the start.
#
# The status is not returned: a caller that tested it would switch off errexit
# in COMMAND, which may be a function.
with_progress()
{
	local progress=$1 what=$2 log=$3 begin=$EPOCHSECONDS next=10 pid
	shift 3
	# a process group of its own, so that an interrupt reaches all of it
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	trap 'kill -- "-$pid" 2>/dev/null; exit 130' INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.3
		if ((EPOCHSECONDS - begin >= next)); then
			next=$((next + 10))
			say "  ${what:0:60}: $("$progress" "$log" $((EPOCHSECONDS - begin)))"
		fi
	done
	trap - INT TERM HUP
	status=0
	wait "$pid" || status=$?
}

# run_quietly [--progress FUNCTION] LOG MESSAGE COMMAND...: the output goes to
# LOG; if COMMAND fails, the end of LOG is shown. For FUNCTION see with_progress.
run_quietly()
{
	local progress=seconds_so_far status
	if [[ $1 == --progress ]]; then
		progress=$2
		shift 2
	fi
	local log=$1 what=$2 begin=$EPOCHSECONDS
	shift 2
	mkdir -p "$(dirname "$log")"
	say "$what"
	with_progress "$progress" "$what" "$log" "$@"
	if ((status)); then
		tail -n 40 "$log" >&2
		die "$what: failed, see $(short_path "$log")"
	fi
	say "$what: done in $((EPOCHSECONDS - begin)) s"
}

# The progress of a command that has no better figure
seconds_so_far() { echo "$2 s so far"; }

# short_path PATH: relative to the repository, if it is below it
short_path() { echo "${1#"$TOP"/}"; }

# The Debian mirrors in this machine's apt configuration, one per line
mirrors()
{
	# shellcheck disable=SC2016  # apt fills in the $(...)
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		sort -u | grep -v -e '-security/*$' || true
}

# lock FILE: take a lock until this script ends, also against another `make` in
# the same build tree. A script does not wait for a lock that its caller holds.
lock()
{
	[[ ${HARNESS_LOCK:-} != *"<$1>"* ]] || return 0
	exec {lock_fd}>"$1"
	if ! flock -n "$lock_fd"; then
		say "waiting for another build ($1)"
		flock "$lock_fd"
	fi
	export HARNESS_LOCK="${HARNESS_LOCK:-}<$1>"
}

# Whether another test may start. HARNESS_UNTIL, in seconds since the epoch, is
# the end of the time for tests; without it there is no limit.
time_left() { ((EPOCHSECONDS < ${HARNESS_UNTIL:-EPOCHSECONDS + 1})); }

# not_run NAME...: report tests as skipped for lack of time, as TAP
not_run() { (($# == 0)) || printf '# group: %s\n1..0 # SKIP no time left\n# exit: 0\n' "$@"; }

# host_test SECONDS SCRIPT: run a test on this machine, as a TAP group
host_test()
{
	local begin=$SECONDS status=0
	echo "# group: $(basename "$2" .sh)"
	timeout "$1" "$2" || status=$?
	echo "# seconds: $((SECONDS - begin))"
	echo "# exit: $status"
}

# beside LOG ONE OTHER: run two functions at the same time. The output of ONE
# goes to LOG and is shown when both have finished.
beside()
{
	local log=$1 one=$2 other=$3 pid
	# a process group of its own, so that an interrupt reaches all of it
	set -m
	"$one" >"$log" &
	pid=$!
	set +m
	trap 'kill -- "-$pid" 2>/dev/null; exit 130' INT TERM HUP
	"$other"
	while kill -0 "$pid" 2>/dev/null; do
		say "waiting for ${one//_/ }: $(grep -c '^ok ' "$log" || true) passed"
		sleep 15
	done
	wait "$pid" || printf '# group: %s\n# exit: 1\n' "${one//_/ }" >>"$log"
	trap - INT TERM HUP
	cat "$log"
}
