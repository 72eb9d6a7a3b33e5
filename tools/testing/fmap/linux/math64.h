/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_MATH64_H
#define _FMAP_SHIM_MATH64_H

#define div64_u64(x, by)	((u64)(x) / (u64)(by))

static inline u64 div64_u64_rem(u64 x, u64 by, u64 *rest)
{
	*rest = x % by;
	return x / by;
}

static inline u64 mul_u64_u64_shr(u64 a, u64 b, unsigned int shift)
{
	return ((unsigned __int128)a * b) >> shift;
}

#endif /* _FMAP_SHIM_MATH64_H */
