/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_MODULE_H
#define _FMAP_SHIM_MODULE_H

#define MODULE_DESCRIPTION(text)
#define MODULE_LICENSE(text)
#define MODULE_IMPORT_NS(name)

#endif /* _FMAP_SHIM_MODULE_H */
