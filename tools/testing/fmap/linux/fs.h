/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FMAP_SHIM_FS_H
#define _FMAP_SHIM_FS_H

#define MAX_LFS_FILESIZE	0x7fffffffffffffffLL

#endif /* _FMAP_SHIM_FS_H */
