#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# fs/fuse/fmap.c and the fuzzer: ten million runs, or as many as there is time
# for in FUZZ_SECONDS.
set -uo pipefail
. "$(dirname "$0")/../../../harness/common.sh"
. "$(dirname "$0")/../../../harness/tap.sh"

seconds=${FUZZ_SECONDS:-1800}

fmap() { make -s --no-print-directory -C "$TOP/tools/testing/fmap" OUT="$BUILD/fmap" "$@"; }

check "the fuzzer is built" fmap "$BUILD/fmap/fmap_fuzz"
check "10 million runs of the fuzzer, or what it does in $seconds s, find nothing" fmap fuzz RUNS=10000000 LIMIT="$seconds"
sed -n 's/^Done /# /p' "$SCRATCH/output"
plan
