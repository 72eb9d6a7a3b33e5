/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_MINMAX_H
#define _FMAP_SHIM_MINMAX_H

#define min_t(type, a, b)			\
	({					\
		type __a = (a), __b = (b);	\
		__a < __b ? __a : __b;		\
	})
#define min(a, b)		min_t(u64, a, b)
#define max(a, b)			\
	({					\
		u64 __a = (a), __b = (b);	\
		__a > __b ? __a : __b;		\
	})

#endif /* _FMAP_SHIM_MINMAX_H */
