#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory goes bad and devices are removed, as in ../fio-failures.sh, on the debug
# kernel.
KERNEL=debug exec "$(dirname "$0")/../fio-failures.sh"
