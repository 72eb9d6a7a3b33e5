// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: definitions of the tracepoints.
 */
#define CREATE_TRACE_POINTS
#include "fmap_trace.h"
