#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory goes bad and devices leave, while fio with checksums runs on other
# files. What happens in the VM is in guest-fio-failures, which writes the TAP.
set -euo pipefail
. "$(dirname "$0")/../../harness/common.sh"

"$HARNESS/examples"
exec "$HARNESS/vm" --name "fio-failures-${KERNEL:-default}" --memory cxl:2x256M,nvdimm:2x256M --timeout 900 -- /tests/guest-fio-failures
