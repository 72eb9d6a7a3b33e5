/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_SLAB_H
#define _FMAP_SHIM_SLAB_H

#include <stdlib.h>
#include <string.h>

#define GFP_KERNEL		0
#define kvmalloc(size, gfp)	malloc(size)
#define kvfree(p)		free(p)
#define kfree(p)		free(p)

static inline void *kmemdup(const void *from, size_t size, int gfp)
{
	void *p = malloc(size);

	(void)gfp;
	return p ? memcpy(p, from, size) : NULL;
}

#endif /* _FMAP_SHIM_SLAB_H */
