#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The fuzzer on fs/fuse/fmap.c: ten million runs, or as many as FUZZ_SECONDS allow.
set -uo pipefail
. "$(dirname "$0")/../../../harness/common.sh"
. "$(dirname "$0")/../../../harness/tap.sh"

seconds=${FUZZ_SECONDS:-1800}

fmap() { make -s --no-print-directory -C "$TOP/tools/testing/fmap" OUT="$BUILD/fmap" "$@"; }

check "the fuzzer is built" fmap "$BUILD/fmap/fmap_fuzz"
check "10 million runs of the fuzzer, or as many as $seconds s allow, find nothing" fmap fuzz RUNS=10000000 LIMIT="$seconds"
sed -n 's/^Done /# /p' "$SCRATCH/output"
plan
