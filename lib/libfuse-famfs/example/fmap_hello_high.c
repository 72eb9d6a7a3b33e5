// SPDX-License-Identifier: GPL-2.0-only
/*
 * FUSE: Filesystem in Userspace
 *
 * This program can be distributed under the terms of the GNU GPLv2.
 * See the file GPL2.txt.
 */

/** @file
 *
 * A minimal server for a file in DAX memory, with the high-level API. The file
 * "hello" is the first 2 MiB of a DAX device. "about" is an ordinary file.
 *
 *     fmap_hello_high --device=dax0.0 MOUNTPOINT
 *
 * Compile with:
 *
 *     gcc -Wall fmap_hello_high.c `pkg-config fuse3 fuse-daxdev --cflags --libs` -o fmap_hello_high
 *
 * ## Source code ##
 * \include fmap_hello_high.c
 */

#define FUSE_USE_VERSION 31
#define _GNU_SOURCE

#include <fuse.h>
#include <fuse_daxdev.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define HELLO_SIZE	(2 << 20)
#define HELLO_DEVICE	0		/* our index for the device */

static const char about[] = "The other file is mapped from DAX memory.\n";

static struct options {
	const char *device;
} options;
static struct fuse_daxdev *device;
static bool maps_offered;

static const struct fuse_opt option_spec[] = {
	{ "--device=%s", offsetof(struct options, device), 1 },
	FUSE_OPT_END
};

static void *hello_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)cfg;
	maps_offered = fuse_set_feature_flag(conn, FUSE_CAP_DAX_FMAP);
	if (!maps_offered)
		fprintf(stderr, "the kernel offers no DAX file maps: hello can't be opened\n");
	return NULL;
}

static int hello_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFREG | 0644;
	st->st_nlink = 1;
	if (!strcmp(path, "/"))
		st->st_mode = S_IFDIR | 0755;
	else if (!strcmp(path, "/hello"))
		st->st_size = HELLO_SIZE;
	else if (!strcmp(path, "/about"))
		st->st_size = strlen(about);
	else
		return -ENOENT;
	return 0;
}

static int hello_readdir(const char *path, void *buf, fuse_fill_dir_t filler,
			 off_t off, struct fuse_file_info *fi,
			 enum fuse_readdir_flags flags)
{
	(void)path, (void)off, (void)fi, (void)flags;
	filler(buf, "hello", NULL, 0, FUSE_FILL_DIR_DEFAULTS);
	filler(buf, "about", NULL, 0, FUSE_FILL_DIR_DEFAULTS);
	return 0;
}

static int hello_open(const char *path, struct fuse_file_info *fi)
{
	(void)fi;
	return !strcmp(path, "/hello") && !maps_offered ? -EOPNOTSUPP : 0;
}

/* Only called for "about" */
static int hello_read(const char *path, char *buf, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	size_t len = strlen(about);

	(void)path, (void)fi;
	if ((size_t)off >= len)
		return 0;
	if (size > len - off)
		size = len - off;
	memcpy(buf, about + off, size);
	return size;
}

static int hello_get_fmap(const char *path, struct fuse_fmap_builder *map)
{
	if (strcmp(path, "/hello"))
		return -ENODATA;
	return fuse_fmap_add_extent(map, HELLO_DEVICE, 0, HELLO_SIZE);
}

static int hello_get_daxdev(uint32_t index)
{
	char why[320];
	int fd;

	if (index != HELLO_DEVICE)
		return -ENODEV;
	fd = fuse_daxdev_open_fd(device, O_RDWR, why, sizeof(why));
	if (fd < 0)
		fprintf(stderr, "%s\n", why);
	return fd;
}

static void hello_dax_failure(const char *path, const struct fuse_dax_failure *failure)
{
	if (failure->event == FUSE_DAX_REMOVED)
		fprintf(stderr, "%s was removed\n", options.device);
	else
		fprintf(stderr, "bad memory on %s at %llu: %s\n", options.device,
			(unsigned long long)failure->offset,
			path ? "write this page of hello again" : "not in hello");
}

static const struct fuse_operations hello_ops = {
	.init = hello_init,
	.getattr = hello_getattr,
	.readdir = hello_readdir,
	.open = hello_open,
	.read = hello_read,
	.get_fmap = hello_get_fmap,
	.get_daxdev = hello_get_daxdev,
	.dax_failure = hello_dax_failure,
};

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	char why[320];
	int ret;

	if (fuse_opt_parse(&args, &options, option_spec, NULL))
		return 1;
	if (!options.device) {
		fprintf(stderr, "usage: %s --device=dax0.0 MOUNTPOINT\n", argv[0]);
		return 1;
	}
	device = fuse_daxdev_find(options.device, why, sizeof(why));
	if (!device || fuse_daxdev_check_mode(device, why, sizeof(why))) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	ret = fuse_main(args.argc, args.argv, &hello_ops, NULL);
	fuse_daxdev_free(device);
	fuse_opt_free_args(&args);
	return ret;
}
