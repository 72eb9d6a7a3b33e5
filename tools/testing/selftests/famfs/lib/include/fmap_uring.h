/* SPDX-License-Identifier: GPL-2.0 */
/* Helpers for tests whose server uses FUSE over io_uring. */
#ifndef FMAP_URING_H
#define FMAP_URING_H

#include "raw_server.h"

/* Set the module parameter enable_uring. Returns a reason to skip, or NULL. */
const char *enable_uring(void);
/* Set it back, if enable_uring() was called */
void restore_uring(void);

/* Start the server, and check that requests use io_uring from now on */
int start_ring(struct raw_server *s);

#endif
