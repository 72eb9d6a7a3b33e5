/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_EXPORT_H
#define _FMAP_SHIM_EXPORT_H

/* Nothing is exported here */

#endif /* _FMAP_SHIM_EXPORT_H */
