#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# fio with checksums on mapped files: engines, block sizes, patterns, one extent
# and stripe sets, on NVDIMM and on CXL memory. What happens in the VM is in
# guest-fio, which writes the TAP.
set -euo pipefail
. "$(dirname "$0")/../../harness/common.sh"

"$HARNESS/examples"
exec "$HARNESS/vm" --name fio --memory cxl:2x256M,nvdimm:2x256M --timeout 600 -- /tests/guest-fio
