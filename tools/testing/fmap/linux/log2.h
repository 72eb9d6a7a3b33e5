/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_LOG2_H
#define _FMAP_SHIM_LOG2_H

#define ilog2(x)		(63 - __builtin_clzll(x))
#define is_power_of_2(x)	((x) && !((x) & ((x) - 1)))

#endif /* _FMAP_SHIM_LOG2_H */
