#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# include/uapi/linux/fuse.h of this repository, which extends the system's header, and
# the header of the patched kernel must have the same definitions.
set -uo pipefail
. "$(dirname "$0")/../../harness/common.sh"
. "$(dirname "$0")/../../harness/tap.sh"

source=$TOP/tools/testing/selftests/famfs/uapi_agree.c

compile() { gcc -Wall -Wextra -Werror -Wno-type-limits -o "$SCRATCH/$1" "${@:2}" "$source"; }

# The repository's header may change nothing when it extends the patched kernel's
both()
{
	compile both -I"$TOP/include/uapi" -isystem "$BUILD/headers/include" && "$SCRATCH/both" >"$SCRATCH/both.txt" &&
		diff "$SCRATCH/kernel.txt" "$SCRATCH/both.txt"
}

twice()
{
	printf '#include <linux/fuse.h>\n#include <linux/fuse.h>\nint main(void) { return sizeof(struct fuse_fmap_header) != 32; }\n' >"$SCRATCH/twice.c"
	gcc -Wall -Werror -I"$TOP/include/uapi" -o "$SCRATCH/twice" "$SCRATCH/twice.c" && "$SCRATCH/twice"
}

cxx()
{
	printf '#include <linux/fuse.h>\nint main() { return sizeof(fuse_daxdev_out) != 280; }\n' >"$SCRATCH/cxx.cc"
	g++ -Wall -Werror -I"$TOP/include/uapi" -o "$SCRATCH/cxx" "$SCRATCH/cxx.cc" && "$SCRATCH/cxx"
}

check "the repository's header compiles with the system's" compile system -I"$TOP/include/uapi"
"$SCRATCH/system" >"$SCRATCH/system.txt"
check "... and can be included twice" twice
if command -v g++ >/dev/null; then check "... and compiles as C++" cxx; fi
check "the patched kernel's header compiles" compile kernel -isystem "$BUILD/headers/include"
"$SCRATCH/kernel" >"$SCRATCH/kernel.txt"
check "both have the same values, sizes and offsets" diff "$SCRATCH/system.txt" "$SCRATCH/kernel.txt"
check "the repository's header adds nothing to the kernel's" both
plan
