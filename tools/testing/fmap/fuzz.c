// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target: for any message and devices of any size, fmap.c and the model
 * must agree on whether the map is valid, and where each byte is. An input is a
 * struct input followed by the message.
 */
#include "../../../fs/fuse/fmap_test_model.h"

#include <stdio.h>
#include <stdlib.h>

#define POSITIONS	64

struct input {
	u32 kinds;
	u32 readonly;		/* one bit per device */
	u64 seed;		/* of the positions */
	u64 sizes[FMAP_MODEL_DEVS];
};

/* Like the kernel, enter the devices that the message names into the table */
static unsigned int name_devs(const struct fuse_fmap_msg *msg,
			      const struct input *in,
			      struct fuse_fmap_dev *devs)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;
	unsigned int i, n = 0;

	fuse_fmap_first(&cur, msg);
	while (fuse_fmap_next(&cur, &ext)) {
		i = fuse_fmap_find_dev(devs, n, ext.devindex);
		if (i < n && devs[i].index == ext.devindex)
			continue;
		if (n == FMAP_MODEL_DEVS)
			break;
		memmove(&devs[i + 1], &devs[i], (n - i) * sizeof(*devs));
		devs[i] = (struct fuse_fmap_dev) {
			.index = ext.devindex,
			.readonly = in->readonly >> n & 1,
			.dev = fmap_model_dev(n),
			.size = in->sizes[n],
		};
		n++;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuse_fmap_dev devs[FMAP_MODEL_DEVS];
	struct fuse_fmap_msg msg = {};
	unsigned int ndevs = 0;
	struct input in;
	const char *why;
	void *buf;

	if (size < sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	msg.len = size - sizeof(in);

	/* exactly its length, so that reads after it are detected */
	buf = kmemdup(data + sizeof(in), msg.len, GFP_KERNEL);
	msg.buf = buf;
	if (!fuse_fmap_check(&msg, in.kinds))
		ndevs = name_devs(&msg, &in, devs);
	why = fmap_model_compare(buf, msg.len, in.kinds, devs, ndevs, in.seed,
				 POSITIONS);
	if (why) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	free(buf);
	return 0;
}
