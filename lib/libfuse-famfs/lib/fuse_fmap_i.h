/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * FUSE: Filesystem in Userspace
 *
 * DAX file maps: what the session does for long ones.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#ifndef LIB_FUSE_FMAP_I_H_
#define LIB_FUSE_FMAP_I_H_

#include "fuse_lowlevel.h"

#include <stdbool.h>

/*
 * Answer a request for the rest of a map from what fuse_reply_fmap() has kept.
 * Returns false, and leaves the request alone, if there is nothing. A request
 * that begins at the start drops what is there.
 */
bool fuse_fmap_reply_rest(fuse_req_t req);

/* Drop what is kept for an inode */
void fuse_fmap_forget(struct fuse_session *se, fuse_ino_t ino);

/* Drop all that is kept */
void fuse_fmap_forget_all(struct fuse_session *se);

#endif /* LIB_FUSE_FMAP_I_H_ */
