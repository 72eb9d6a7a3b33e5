#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Each deliberate defect of the kernel code is noticed by a test.
exec "$(dirname "$0")/../../../harness/mutations"
