/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_TYPES_H
#define _FMAP_SHIM_TYPES_H

#include_next <linux/types.h>

#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

/* From the kernel's compiler headers */
#define noinline		__attribute__((noinline))
#define __aligned(x)		__attribute__((aligned(x)))
#define sizeof_field(type, member)	sizeof(((type *)0)->member)
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#endif /* _FMAP_SHIM_TYPES_H */
