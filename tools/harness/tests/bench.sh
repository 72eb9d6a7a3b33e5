#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The report of `make bench`, for invented figures; and its profile, for invented
# counts of instructions.
set -uo pipefail
. "$(dirname "$0")/../tap.sh"
bench=$HARNESS/../bench

# a replacement for gnuplot
mkdir "$SCRATCH/bin"
printf '#!/bin/sh\ncat >>"%s/plots"\n' "$SCRATCH" >"$SCRATCH/bin/gnuplot"
chmod +x "$SCRATCH/bin/gnuplot"
export PATH=$SCRATCH/bin:$PATH

# row GROUP SUBJECT MEASURE FIGURE...: a line of the benchmark's output
row() { (IFS=$'\t'; printf 'bench\t%s\n' "$*"); }

{
	row fault ext4 read-4k-later 1000 5000 990
	row fault extent read-4k-later 760 700 9000
	row fault ext4 write-4k-later 1000
	row fault extent write-4k-later 621
	row fault stripes-2 read-4k-later 770
	row fault stripes-16 read-4k-later 765
	row open fuse open-later 100
	row open fuse stat-synced 50
	row open extent open-later 100
	row open extent open-first 151
	row map stripes-4 memory 512
	row scale extent one-1 10 20 30
	row scale extent one-2 30
	for m in one-4 each-1 each-2 each-4; do row scale extent $m 20; done
	echo 'something else'
} >"$SCRATCH/figures"
mkdir "$SCRATCH/out"

# goal VERDICT START: the goal whose line begins with START has this verdict
goal() { grep -E "^$2.* $1\$" "$SCRATCH/out/table.txt" || { cat "$SCRATCH/out/table.txt"; false; }; }
valid() { python3 -m json.tool "$SCRATCH/out/bench.json" >/dev/null; }

check "a report is made" "$bench/report" "$SCRATCH/out" "$SCRATCH/figures"
check "the median counts, and a ratio at its limit is met" goal met 'read-4k-later / ext4'
check "a ratio that is one thousandth too large is not" goal 'NOT MET' 'write-4k-later / ext4'
check "the most expensive stripe set counts" goal 'NOT MET' 'read-4k-later: slowest stripe set .* 1.013'
check "the first open is compared to an ordinary open and a round trip" goal 'NOT MET' 'open, first .* 1.007'
check "as many bytes as allowed are met" goal met 'kernel memory'
check "the goals that are met are counted" grep -qx '3 of 6 goals are met.' "$SCRATCH/out/table.txt"
check "rates are relative to that of one process" grep -qE '^map: one extent +1.00 +1.50 ' "$SCRATCH/out/table.txt"
check "bench.json is valid JSON" valid
check "the figures are plotted" grep -q '"ext4 -o dax" NaN 1000.0 NaN 1000.0' "$SCRATCH/plots"

printf '%s\n' '1000 T before' '2000 t fuse_fmap_iomap_next' '2010 T fuse_fmap_resolve' '2020 D data' '3000 T other' >"$SCRATCH/map"
printf 'section\t\tread-4k-later\t2\nsection\textent\tread-4k-later\t2\n' >"$SCRATCH/sections"
printf '%s\n' section '2000 99' section '2000 4' '200f 4' '2010 2' '2fff 6' '3004 1' >"$SCRATCH/counts"
profile() { "$bench/profile" "$SCRATCH/map" "$SCRATCH/sections" "$SCRATCH/counts" | tee "$SCRATCH/profile"; }

check "a profile is made" profile
check "... with the sum for each page" grep -q '^extent, read-4k-later: 8.5 instructions' "$SCRATCH/profile"
check "... and the instructions and calls of each function" grep -qE '^ +4.0 +2.00 fuse_fmap_iomap_next$' "$SCRATCH/profile"
check "the instructions that find the memory are a goal" "$bench/report" "$SCRATCH/out" "$SCRATCH/profile"
check "... and is met" goal met 'iomap_begin'
echo section >>"$SCRATCH/counts"
check "sections that don't match the counts are refused" refused '2 sections are named, 3 were counted' profile
plan
