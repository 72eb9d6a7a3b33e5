// SPDX-License-Identifier: GPL-2.0
/* Helpers for tests with FUSE over io_uring, see fmap_uring.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fmap_util.h"
#include "fmap_uring.h"

#define ENABLE_URING	"/sys/module/fuse/parameters/enable_uring"

static char was_enabled;

const char *enable_uring(void)
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

void restore_uring(void)
{
	char value[2] = { was_enabled };

	if (was_enabled)
		write_file(ENABLE_URING, value);
}

int start_ring(struct raw_server *s)
{
	int ret;

	s->uring = rs_uring;
	ret = start_server(s);
	if (ret)
		return ret;
	return s->nqueues > 0 ? 0 : s->nqueues ? s->nqueues : -EOPNOTSUPP;
}
