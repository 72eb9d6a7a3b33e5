// SPDX-License-Identifier: GPL-2.0-only
/*
 * A published famfs server packs its maps by hand and sends them with
 * fuse_reply_buf(). This test does so with only the names that such servers use.
 * The kernel's decoder must find each byte in the right place.
 */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)
#define _GNU_SOURCE
#include <fuse_lowlevel.h>
#include "fuse_kernel.h"
#include "fuse_i.h"

#include "fmap_tap.h"
#include "kernel_fmap.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef FUSE_DEV_IOC_DAXDEV_OPEN
#error "servers check this name to know whether they can register devices"
#endif

#define M	(1ULL << 20)

static const struct kernel_device devices[] = {
	{ 0, 64 * M }, { 1, 64 * M }, { 2, 64 * M },
};

static char message[4096];

static struct kernel_map *decode(size_t len)
{
	struct kernel_map *map = NULL;
	const char *refused = kernel_decode(message, len, 3, devices, 3, &map);

	if (refused) {
		fprintf(stderr, "the kernel: %s\n", refused);
		exit(1);
	}
	return map;
}

static void expect_place(const struct kernel_map *map, uint64_t pos,
			 uint32_t devindex, uint64_t offset)
{
	struct kernel_place place;

	kernel_resolve(map, pos, &place);
	EXPECT(place.devindex == devindex && place.offset == offset);
}

static size_t pack_simple(uint8_t file_type)
{
	struct fuse_famfs_fmap_header *fmh = (void *)message;
	struct fuse_famfs_simple_ext *se = (void *)&fmh[1];

	memset(message, 0, sizeof(message));
	fmh->file_type = file_type;
	fmh->fmap_version = FAMFS_FMAP_VERSION;
	fmh->ext_type = FUSE_FAMFS_EXT_SIMPLE;
	fmh->nextents = 2;
	fmh->file_size = 5 * M;
	se[0].se_devindex = 1;
	se[0].se_offset = 2 * M;
	se[0].se_len = 4 * M;
	se[1].se_devindex = 0;
	se[1].se_offset = 8 * M;
	se[1].se_len = 2 * M;
	return sizeof(*fmh) + 2 * sizeof(*se);
}

static size_t pack_interleaved(void)
{
	struct fuse_famfs_fmap_header *fmh = (void *)message;
	struct fuse_famfs_iext *ie = (void *)&fmh[1];
	struct fuse_famfs_simple_ext *se = (void *)&ie[1];
	uint32_t i;

	memset(message, 0, sizeof(message));
	fmh->file_type = FUSE_FAMFS_FILE_REG;
	fmh->fmap_version = FAMFS_FMAP_VERSION;
	fmh->ext_type = FUSE_FAMFS_EXT_INTERLEAVE;
	fmh->nextents = 1;
	fmh->file_size = 11 * M + 5;
	ie->ie_nstrips = 3;
	ie->ie_chunk_size = 2 * M;
	ie->ie_nbytes = 11 * M + 5;
	for (i = 0; i < ie->ie_nstrips; i++) {
		se[i].se_devindex = i;
		se[i].se_offset = (4 + 2 * i) * M;
		se[i].se_len = 4 * M;
	}
	return sizeof(*fmh) + sizeof(*ie) + ie->ie_nstrips * sizeof(*se);
}

/* The handlers as such servers write them */
static void famfs_get_fmap(fuse_req_t req, fuse_ino_t nodeid, size_t size)
{
	size_t len = pack_interleaved();

	(void)nodeid;
	if (size < len)
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_buf(req, message, len);
}

static void famfs_get_daxdev(fuse_req_t req, int daxdev_index)
{
	struct fuse_daxdev_out daxdev;

	if (fuse_daxdev_open(req, 0, daxdev_index) <= 0) {
		memset(&daxdev, 0, sizeof(daxdev));
		daxdev.index = daxdev_index;
		strncpy(daxdev.name, "/dev/dax0.0", sizeof(daxdev.name) - 1);
		fuse_reply_buf(req, (void *)&daxdev, sizeof(daxdev));
	}
}

static void famfs_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	EXPECT(conn->capable_ext & FUSE_CAP_DAX_FMAP);
	conn->want_ext |= FUSE_CAP_DAX_FMAP;
}

static void famfs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fi->keep_cache = 1;
	fi->parallel_direct_writes = 1;
	fuse_reply_open(req, fi);
}

static const struct fuse_lowlevel_ops famfs_ops = {
	.init = famfs_init,
	.open = famfs_open,
	.get_fmap = famfs_get_fmap,
	.get_daxdev = famfs_get_daxdev,
};

/* Send a request to the session, and read its reply from the socket pair */
static size_t request(struct fuse_session *se, int fd, uint32_t opcode,
		  const void *arg, size_t arglen, void *reply, size_t room)
{
	char request[256];
	struct fuse_in_header in = {
		.len = sizeof(in) + arglen, .opcode = opcode, .unique = 7,
	};
	struct fuse_buf buf = { .size = in.len, .mem = request };
	struct fuse_out_header out;
	struct iovec iov[] = { { &out, sizeof(out) }, { reply, room } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	memcpy(request, &in, sizeof(in));
	memcpy(request + sizeof(in), arg, arglen);
	fuse_session_process_buf(se, &buf);
	n = recvmsg(fd, &msg, 0);
	EXPECT(n >= (ssize_t)sizeof(out) && !out.error);
	return n - sizeof(out);
}

static void serve(void)
{
	struct fuse_init_in init = {
		.major = 7, .minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = FUSE_INIT_EXT, .flags2 = FUSE_DAX_FMAP >> 32,
		.fmap_kinds = 3,
	};
	struct fuse_get_fmap_in get_fmap = { .size = 8192 };
	struct fuse_get_daxdev_in get_daxdev = { .index = 2 };
	char *argv[] = { "famfs", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_daxdev_out daxdev;
	struct fuse_init_out init_out;
	struct fuse_session *se;
	struct kernel_map *map;
	char mountpoint[32];
	int fds[2];
	size_t len;

	EXPECT(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds));
	snprintf(mountpoint, sizeof(mountpoint), "/dev/fd/%d", fds[0]);
	se = fuse_session_new(&args, &famfs_ops, sizeof(famfs_ops), NULL);
	EXPECT(se && !fuse_session_mount(se, mountpoint));
	fuse_opt_free_args(&args);

	request(se, fds[1], FUSE_INIT, &init, sizeof(init), &init_out, sizeof(init_out));
	EXPECT(init_out.flags2 & FUSE_DAX_FMAP >> 32);
	EXPECT(init_out.fmap_kinds == 3);

	/* Overwrite the packed message, so that only the reply counts */
	memset(message, 0xff, sizeof(message));
	len = request(se, fds[1], FUSE_GET_FMAP, &get_fmap, sizeof(get_fmap),
		  message, sizeof(message));
	map = decode(len);
	expect_place(map, 11 * M, 2, 11 * M);
	kernel_free(map);

	len = request(se, fds[1], FUSE_GET_DAXDEV, &get_daxdev, sizeof(get_daxdev),
		  &daxdev, sizeof(daxdev));
	EXPECT(len == 280 && daxdev.index == 2 && !strcmp(daxdev.name, "/dev/dax0.0"));
	fuse_session_destroy(se);
}

int main(void)
{
	static const uint8_t types[] = {
		FUSE_FAMFS_FILE_REG, FUSE_FAMFS_FILE_SUPERBLOCK,
		FUSE_FAMFS_FILE_LOG,
	};
	struct kernel_map *map;
	size_t i;

	EXPECT(FUSE_FAMFS_MAX_EXTENTS > 1 && FUSE_FAMFS_MAX_STRIPS > 2);

	for (i = 0; i < sizeof(types); i++) {
		map = decode(pack_simple(types[i]));
		EXPECT(kernel_file_size(map) == 5 * M);
		expect_place(map, 0, 1, 2 * M);
		expect_place(map, 4 * M, 0, 8 * M);
		kernel_free(map);
	}

	map = decode(pack_interleaved());
	EXPECT(kernel_file_size(map) == 11 * M + 5);
	expect_place(map, 0, 0, 4 * M);
	expect_place(map, 2 * M, 1, 6 * M);
	expect_place(map, 4 * M + 1, 2, 8 * M + 1);
	expect_place(map, 6 * M, 0, 6 * M);
	kernel_free(map);

	serve();
	return 0;
}
