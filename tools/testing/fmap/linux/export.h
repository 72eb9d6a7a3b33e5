/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_EXPORT_H
#define _FMAP_SHIM_EXPORT_H

/* User space exports no symbols */

#endif /* _FMAP_SHIM_EXPORT_H */
