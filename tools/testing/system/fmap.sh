#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# fs/fuse/fmap.c in user space, with the sanitizers: the cases of its KUnit suite,
# and a bounded run of the fuzzer.
set -uo pipefail
. "$(dirname "$0")/../../harness/common.sh"
. "$(dirname "$0")/../../harness/tap.sh"

out=$BUILD/fmap
fmap() { make -s --no-print-directory -C "$TOP/tools/testing/fmap" OUT="$out" "$@"; }

check "the suite is built" fmap "$out/fmap_test"
"$out/fmap_test" >"$SCRATCH/suite" 2>&1
while IFS=$'\t' read -r kind _ _ name line; do
	case $kind in
	ok) check "$name" true ;;
	'not ok') check "$name" false ;;
	text) [[ $line == TAP* ]] || echo "# ${line#'# '}" ;;	# also reports of a sanitizer
	esac
done < <("$HARNESS/parse-tap" "$SCRATCH/suite")
# a report of a sanitizer ends it early
check "the suite finishes" grep -qx '1\.\.[1-9][0-9]*' "$SCRATCH/suite"

check "the fuzzer is built" fmap "$out/fmap_fuzz"
check "200000 runs of the fuzzer find nothing" fmap fuzz RUNS=200000
plan
