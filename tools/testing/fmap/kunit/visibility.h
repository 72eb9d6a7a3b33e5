/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_VISIBILITY_H
#define _FMAP_SHIM_VISIBILITY_H

#define EXPORT_SYMBOL_IF_KUNIT(symbol)

#endif /* _FMAP_SHIM_VISIBILITY_H */
