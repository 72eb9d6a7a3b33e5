#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Two machines share memory and have no network. Both serve the same files from this
# memory, and each sees the other's writes by mmap. tools/run/two-hosts boots them, as
# in `make run HOSTS=2`.
#
# First, two processes on this machine show that the program that compares the files
# notices memory that is not shared and a host that does not answer.
# shellcheck disable=SC2317  # functions are called by name
set -euo pipefail
. "$(dirname "$0")/../../harness/tap.sh"

run=$HARNESS/../run
plan=$SCRATCH/plan
memory=$BUILD/run/two-hosts
results=$BUILD/results
said=$SCRATCH/said

# --- the program alone ---------------------------------------------------------
gcc -O2 -Wall -Werror -o "$SCRATCH/two_hosts" "$run/two_hosts.c"

# have_in_common [FILE]...: of the three files, both hosts share these
have_in_common()
{
	local dir name
	for dir in "$SCRATCH"/{0,1}; do
		rm -rf "$dir"
		mkdir "$dir"
		truncate -s 300001 "$dir"/{from-0,from-1,data}
	done
	for name; do ln -f "$SCRATCH/0/$name" "$SCRATCH/1/$name"; done
}

# ends STATUS0 STATUS1: run both hosts on these files; they end with these statuses
ends()
{
	local status0=0 status1=0
	"$SCRATCH/two_hosts" -t 2 0 "$SCRATCH/0" data >"$said.0" 2>&1 &
	"$SCRATCH/two_hosts" -t 2 1 "$SCRATCH/1" data >"$said.1" 2>&1 || status1=$?
	wait $! || status0=$?
	cat "$said.0" "$said.1"
	echo "exit status $status0 and $status1, not $1 and $2"
	[[ "$status0 $status1" == "$1 $2" ]]
}

sees()
{
	have_in_common from-0 from-1 data
	ends 0 0
}

misses_data()
{
	have_in_common from-0 from-1
	ends 1 1 &&
		grep -q '^host 1 reads .* differs from byte [0-7] on$' "$said.1" &&
		grep -q '^host 1: 5[0-9]* bytes differ from what host 0 wrote$' "$said.1" &&
		grep -q '^host 0: host 1 sees 5[0-9]* bytes that differ$' "$said.0"
}

misses_flag()
{
	have_in_common from-0 data
	ends 1 1 && grep -q '^host 0: nothing from host 1 for 2 s, waiting for a sign of life$' "$said.0"
}

# --- two machines --------------------------------------------------------------
boots() { HOSTS_WAIT=30 "$run/two-hosts"; }

other() { echo $((1 - $1)); }

# wrote HOST: it wrote all files, flushed them with an instruction of this CPU, and
# announced them
wrote()
{
	local name size
	while read -r name size; do
		grep -E "^host $1 writes +$name +$size bytes by mmap, (clwb|clflushopt|clflush), " "$results/host$1/tap.log" || return 1
	done <"$SCRATCH/files"
	grep -E "^host $1 announces it: host $(other "$1") has seen that, the answer was back after [0-9]+ us$" "$results/host$1/tap.log"
}

# saw HOST: it saw all files of the other host
saw()
{
	local name size
	grep -E "^host $1 sees the announcement, " "$results/host$1/tap.log" || return 1
	while read -r name size; do
		grep -E "^host $1 reads +$name +$size bytes, 0 differ by mmap, 0 by read\(2\), " "$results/host$1/tap.log" || return 1
	done <"$SCRATCH/files"
}

no_network() { [[ -f $results/host$1/net ]] && ! grep -vx lo "$results/host$1/net"; }

# from_memory FILE: its bytes, read from the memories according to the manifest
from_memory()
{
	local size chunk list pos dev off i
	local -a strips
	read -r size chunk list < <(awk -v name="$1" '$NF == name { print $2, $3 ? $3 : $2, $4 }' "$plan")
	IFS=, read -ra strips <<<"$list"
	for ((i = 0, pos = 0; pos < size; i++, pos += chunk)); do
		IFS=: read -r dev off _ <<<"${strips[i % ${#strips[@]}]}"
		dd if="$memory/cxl$dev" bs=64K status=none iflag=skip_bytes,count_bytes \
			skip=$((off + chunk * (i / ${#strips[@]}))) count=$((size - pos < chunk ? size - pos : chunk))
	done
}

# same_as_memory HOST: a program there read the same bytes that the memories have now
same_as_memory()
{
	local name
	while read -r name _; do
		echo "$(from_memory "$name" | sha256sum | cut -d' ' -f1)  $name"
	done <"$SCRATCH/files" | diff - "$results/host$1/sums"
}

check "two processes that share memory see each other's writes" sees
check "they notice data that is not shared" misses_data
check "they notice a flag that does not arrive" misses_flag
check "two machines boot with the same memories, without errors" boots
awk -f "$run/two-hosts.awk" "$run/two-hosts.manifest" >"$plan"
awk '$NF !~ /^from-/ { print $NF, $2 }' "$plan" >"$SCRATCH/files"
for host in 0 1; do
	check "host $host has no network" no_network "$host"
	check "host $host writes by mmap, flushes, announces, and gets an answer" wrote "$host"
	check "... the other host sees each byte by mmap and by read(2)" saw "$(other "$host")"
	check "... an unrelated program on host $host reads the bytes of the memories" same_as_memory "$host"
done
plan
