/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fake kernel. It gives the session one request at a time, and reads the
 * replies from a socket pair, which the session uses as /dev/fuse.
 */
#ifndef TEST_FAKE_KERNEL_H
#define TEST_FAKE_KERNEL_H

#include <fuse_lowlevel.h>
#include "fuse_kernel.h"
#include "fmap_tap.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct fake_kernel {
	struct fuse_session *se;
	int fd;			/* the fake kernel's end */
	char mountpoint[32];	/* of the session */
	uint64_t unique;
	struct fuse_out_header out;
	char reply[1 << 17];
	size_t len;		/* of the reply, without its header */
};

static inline void fake_open(struct fake_kernel *k)
{
	int room = 1 << 20;
	int fds[2];

	memset(k, 0, sizeof(*k));
	EXPECT(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds));
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	snprintf(k->mountpoint, sizeof(k->mountpoint), "/dev/fd/%d", fds[0]);
	k->fd = fds[1];
}

/* Send a request. Returns 0 if there is no reply */
static inline int fake_request(struct fake_kernel *k, uint32_t opcode, uint64_t node,
			const void *arg, size_t len)
{
	char request[4096];
	struct fuse_in_header in = {
		.len = sizeof(in) + len,
		.opcode = opcode,
		.unique = ++k->unique,
		.nodeid = node,
	};
	struct fuse_buf buf = { .size = in.len, .mem = request };
	struct iovec iov[] = {
		{ &k->out, sizeof(k->out) }, { k->reply, sizeof(k->reply) },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	memcpy(request, &in, sizeof(in));
	memcpy(request + sizeof(in), arg, len);
	fuse_session_process_buf(k->se, &buf);

	n = recvmsg(k->fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return 0;
	EXPECT(n >= (ssize_t)sizeof(k->out) && n == k->out.len);
	EXPECT(k->out.unique == in.unique);
	k->len = n - sizeof(k->out);
	return 1;
}

/* INIT, with both features if `kinds` is not 0 */
static inline struct fuse_init_out *fake_init(struct fake_kernel *k, uint32_t kinds)
{
	struct fuse_init_in in = {
		.major = 7,
		.minor = 46,
		.max_readahead = 1 << 17,
		.flags = FUSE_INIT_EXT | FUSE_MAX_PAGES,
		.flags2 = kinds ? (FUSE_DAX_FMAP | FUSE_DAX_FAILURES) >> 32 : 0,
		.fmap_kinds = kinds,
	};

	EXPECT(fake_request(k, FUSE_INIT, 0, &in, sizeof(in)));
	EXPECT(!k->out.error);
	return (struct fuse_init_out *)k->reply;
}

static inline uint32_t fake_init_kinds(const struct fake_kernel *k)
{
	return ((const struct fuse_init_out *)k->reply)->fmap_kinds;
}

/* Send GET_FMAP, and return the error in the reply */
static inline int fake_get_fmap(struct fake_kernel *k, uint64_t node, uint32_t size,
			 uint64_t offset)
{
	struct fuse_get_fmap_in arg = { .size = size, .offset = offset };

	EXPECT(fake_request(k, FUSE_GET_FMAP, node, &arg, sizeof(arg)));
	EXPECT(k->len <= size);
	return k->out.error;
}

static inline int fake_get_daxdev(struct fake_kernel *k, uint32_t index)
{
	struct fuse_get_daxdev_in arg = { .index = index };

	EXPECT(fake_request(k, FUSE_GET_DAXDEV, 1, &arg, sizeof(arg)));
	return k->out.error;
}

static inline int fake_dax_failure(struct fake_kernel *k, uint64_t node,
			    const struct fuse_dax_failure_in *arg, size_t len)
{
	EXPECT(fake_request(k, FUSE_DAX_FAILURE, node, arg, len));
	EXPECT(!k->len);
	return k->out.error;
}

static inline void fake_forget(struct fake_kernel *k, uint64_t node)
{
	struct fuse_forget_in arg = { .nlookup = 1 };

	EXPECT(!fake_request(k, FUSE_FORGET, node, &arg, sizeof(arg)));
}

#endif /* TEST_FAKE_KERNEL_H */
