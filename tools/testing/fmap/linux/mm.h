/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_MM_H
#define _FMAP_SHIM_MM_H

#define PAGE_SHIFT		12
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define PAGE_ALIGN(x)		(((x) + PAGE_SIZE - 1) & ~((typeof(x))PAGE_SIZE - 1))
#define PAGE_ALIGNED(x)		(((x) & (PAGE_SIZE - 1)) == 0)

#endif /* _FMAP_SHIM_MM_H */
