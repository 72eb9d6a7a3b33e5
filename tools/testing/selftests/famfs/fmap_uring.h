/* SPDX-License-Identifier: GPL-2.0 */
/* What tests with a server on io_uring have in common. */
#ifndef FMAP_URING_H
#define FMAP_URING_H

#include "fmap_test.h"

#define ENABLE_URING	"/sys/module/fuse/parameters/enable_uring"

static char was_enabled;

/* Returns a reason to skip, or NULL */
static inline const char *enable_uring(void)
{
	int fd = open(ENABLE_URING, O_RDWR | O_CLOEXEC);
	const char *why = NULL;

	if (fd < 0)
		return "kernel without FUSE_IO_URING";
	if (read(fd, &was_enabled, 1) != 1 || write(fd, "Y", 1) != 1)
		why = "enable_uring can't be set";
	close(fd);
	return why;
}

static inline void restore_uring(void)
{
	char value[2] = { was_enabled };

	if (was_enabled)
		write_file(ENABLE_URING, value);
}

/* Start and see that all requests from now on go over io_uring */
static inline int start_ring(struct raw_server *s)
{
	int ret;

	s->uring = rs_uring;
	ret = start_server(s);
	if (ret)
		return ret;
	return s->nqueues > 0 ? 0 : s->nqueues ? s->nqueues : -EOPNOTSUPP;
}

#endif
