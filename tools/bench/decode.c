// SPDX-License-Identifier: GPL-2.0
/*
 * Compare two maps of a file of 1 TiB that is interleaved over four devices in
 * chunks of 2 MiB: a stripe set and a list of extents. Print their size on the
 * wire, their size in the kernel, and the cost of decoding them.
 *
 * The struct pages of such devices need more memory than the VM has, so this runs
 * fs/fuse/fmap.c in user space, as its tests do. The output format is bench.c's.
 */
#include <fmap.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS	7
#define NDEVS	4
#define CHUNK	(2ULL << 20)
#define SIZE	(1ULL << 40)

static struct fuse_fmap_dev devs[NDEVS];

static unsigned char *start(u32 kind, u32 nextents, size_t *len)
{
	struct fuse_fmap_header h = {
		.version = FUSE_FMAP_VERSION,
		.kind = kind,
		.nextents = nextents,
		.file_size = SIZE,
	};
	unsigned char *buf;

	*len += sizeof(h);
	h.fmap_size = *len;
	buf = malloc(*len);
	if (!buf)
		abort();
	memcpy(buf, &h, sizeof(h));
	return buf;
}

static unsigned char *stripe_set(size_t *len)
{
	struct fuse_fmap_stripe_set set = {
		.nstrips = NDEVS,
		.chunk_size = CHUNK,
		.nbytes = SIZE,
	};
	unsigned char *buf, *p;

	*len = sizeof(set) + NDEVS * sizeof(struct fuse_fmap_extent);
	buf = start(FUSE_FMAP_STRIPED, 1, len);
	p = buf + sizeof(struct fuse_fmap_header);
	memcpy(p, &set, sizeof(set));
	p += sizeof(set);
	for (u32 i = 0; i < NDEVS; i++, p += sizeof(struct fuse_fmap_extent))
		memcpy(p, &(struct fuse_fmap_extent) {
			.devindex = i, .len = SIZE / NDEVS
		}, sizeof(struct fuse_fmap_extent));
	return buf;
}

static unsigned char *extents(size_t *len)
{
	u32 n = SIZE / CHUNK;
	unsigned char *buf, *p;

	*len = n * sizeof(struct fuse_fmap_extent);
	buf = start(FUSE_FMAP_EXTENTS, n, len);
	p = buf + sizeof(struct fuse_fmap_header);
	for (u32 i = 0; i < n; i++, p += sizeof(struct fuse_fmap_extent))
		memcpy(p, &(struct fuse_fmap_extent) {
			.devindex = i % NDEVS, .len = CHUNK,
			.offset = i / NDEVS * CHUNK
		}, sizeof(struct fuse_fmap_extent));
	return buf;
}

static void measure(const char *name, unsigned char *(*make)(size_t *len))
{
	u64 took[RUNS];
	size_t len, memory = 0;
	unsigned char *buf = make(&len);

	for (int i = -1; i < RUNS; i++) {
		struct fuse_fmap_msg msg = { .buf = buf, .len = len };
		struct fuse_fmap *map;
		u64 t = __builtin_ia32_rdtsc();

		if (fuse_fmap_check(&msg, FUSE_FMAP_KINDS))
			abort();
		t = __builtin_ia32_rdtsc() - t;
		memory = fuse_fmap_bytes(&msg);
		map = malloc(memory);
		if (!map)
			abort();
		/* take the page faults before measuring */
		memset(map, 0xff, memory);
		t -= __builtin_ia32_rdtsc();
		if (fuse_fmap_build(&msg, devs, NDEVS, map))
			abort();
		t += __builtin_ia32_rdtsc();
		if (i >= 0)
			took[i] = t;
		free(map);
	}
	printf("bench\t1tib\t%s\twire\t%zu\n", name, len);
	printf("bench\t1tib\t%s\tmemory\t%zu\n", name, memory);
	printf("bench\t1tib\t%s\tdecode", name);
	for (int i = 0; i < RUNS; i++)
		printf("\t%llu", (unsigned long long)took[i]);
	printf("\n");
	free(buf);
}

int main(void)
{
	for (u32 i = 0; i < NDEVS; i++)
		devs[i] = (struct fuse_fmap_dev) {
			.index = i,
			.dev = (struct fuse_daxdev *)(uintptr_t)(i + 1),
			.size = SIZE / NDEVS,
		};
	measure("stripe-set", stripe_set);
	measure("extents", extents);
	return 0;
}
