/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * FUSE: Filesystem in Userspace
 *
 * DAX file maps: how the session sends long ones.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#ifndef LIB_FUSE_FMAP_I_H_
#define LIB_FUSE_FMAP_I_H_

#include "fuse_lowlevel.h"

#include <stdbool.h>

/*
 * Reply to a request for the rest of a map, if fuse_reply_fmap() has kept it.
 * Otherwise return false and do not reply. A request for the start of the map
 * drops the rest.
 */
bool fuse_fmap_reply_rest(fuse_req_t req);

/* Drop the rest of the map of an inode */
void fuse_fmap_forget(struct fuse_session *se, fuse_ino_t ino);

/* Drop the rests of all maps */
void fuse_fmap_forget_all(struct fuse_session *se);

#endif /* LIB_FUSE_FMAP_I_H_ */
