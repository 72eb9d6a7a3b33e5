/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_OVERFLOW_H
#define _FMAP_SHIM_OVERFLOW_H

#include <linux/limits.h>

#define check_add_overflow(a, b, sum)	__builtin_add_overflow(a, b, sum)

static inline size_t size_add(size_t a, size_t b)
{
	size_t sum;

	return check_add_overflow(a, b, &sum) ? (size_t)-1 : sum;
}

static inline size_t array_size(size_t n, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? (size_t)-1 : bytes;
}

#define struct_size(p, member, n)	\
	size_add(sizeof(*(p)), array_size(n, sizeof((p)->member[0])))

#endif /* _FMAP_SHIM_OVERFLOW_H */
