/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_ALIGN_H
#define _FMAP_SHIM_ALIGN_H

#define IS_ALIGNED(x, a)	(((x) & ((typeof(x))(a) - 1)) == 0)
#define round_down(x, a)	((x) & ~((typeof(x))(a) - 1))

#endif /* _FMAP_SHIM_ALIGN_H */
