#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The example servers of lib/libfuse-famfs in a VM, over both transports, and their
# error messages. guest-examples runs in the VM and writes the TAP.
set -euo pipefail
. "$(dirname "$0")/../../harness/common.sh"

"$HARNESS/examples"
gcc -O2 -Wall -o "$BUILD/payload/examples/mmap_cmp" "$(dirname "$0")/mmap_cmp.c"
exec "$HARNESS/vm" --name examples --memory cxl:2x256M,nvdimm:1x256M --timeout 240 -- /tests/guest-examples
