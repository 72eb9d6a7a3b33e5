#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# A test notices each deliberate defect of the kernel code.
exec "$(dirname "$0")/../../../harness/mutations"
