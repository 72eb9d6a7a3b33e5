#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory goes bad and devices are removed, while fio with checksums runs on other
# files. guest-fio-failures runs in the VM and writes the TAP.
set -euo pipefail
. "$(dirname "$0")/../../harness/common.sh"

"$HARNESS/examples"
exec "$HARNESS/vm" --name "fio-failures-${KERNEL:-default}" --memory cxl:2x256M,nvdimm:2x256M --timeout 900 -- /tests/guest-fio-failures
