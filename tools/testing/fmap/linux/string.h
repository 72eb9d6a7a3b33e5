/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_STRING_H
#define _FMAP_SHIM_STRING_H

#include <string.h>

static inline void *memchr_inv(const void *start, int c, size_t n)
{
	const u8 *p = start;

	for (; n; n--, p++)
		if (*p != (u8)c)
			return (void *)p;
	return NULL;
}

#endif /* _FMAP_SHIM_STRING_H */
