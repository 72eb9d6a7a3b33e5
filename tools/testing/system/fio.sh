#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# fio with checksums on mapped files: several engines, block sizes and patterns, with
# one extent and with stripe sets, on NVDIMMs and on CXL memory. guest-fio runs in the
# VM and writes the TAP.
set -euo pipefail
. "$(dirname "$0")/../../harness/common.sh"

"$HARNESS/examples"
exec "$HARNESS/vm" --name fio --memory cxl:2x256M,nvdimm:2x256M --timeout 600 -- /tests/guest-fio
