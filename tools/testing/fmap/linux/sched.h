/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_SCHED_H
#define _FMAP_SHIM_SCHED_H

#define cond_resched()		do { } while (0)

#endif /* _FMAP_SHIM_SCHED_H */
