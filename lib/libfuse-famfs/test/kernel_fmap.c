// SPDX-License-Identifier: GPL-2.0-only
/*
 * fs/fuse/fmap.c of the kernel series in user space, see kernel_fmap.h. Other
 * parts of the kernel look up devices and refuse overlaps. This file does both
 * in the simplest way.
 */

/* The library has a function of the same name */
#define fuse_fmap_check kernel_fuse_fmap_check
#include "fmap.c"

#include "kernel_fmap.h"

#include <stdbool.h>
#include <stdlib.h>

struct kernel_map {
	struct fuse_fmap_dev *devs;
	struct fuse_fmap map;	/* last: has a flexible array */
};

/* A pointer that contains the index of its device */
static struct fuse_daxdev *handle(uint32_t index)
{
	return (struct fuse_daxdev *)(uintptr_t)(index + 1ULL);
}

static bool overlaps_earlier(const struct fuse_fmap_msg *msg, uint32_t n,
			     const struct fuse_fmap_extent *ext, u64 used)
{
	struct fuse_fmap_extent other;
	struct fuse_fmap_cursor cur;

	fuse_fmap_first(&cur, msg);
	while (n-- && fuse_fmap_next(&cur, &other)) {
		u64 other_used = fuse_fmap_used_len(&cur, &other);

		if (other_used && other.devindex == ext->devindex &&
		    ext->offset < other.offset + other_used &&
		    other.offset < ext->offset + used)
			return true;
	}
	return false;
}

static const char *check_overlaps(const struct fuse_fmap_msg *msg)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;
	uint32_t n = 0;

	fuse_fmap_first(&cur, msg);
	while (fuse_fmap_next(&cur, &ext)) {
		u64 used = fuse_fmap_used_len(&cur, &ext);

		if (used && overlaps_earlier(msg, n, &ext, used))
			return "overlap";
		n++;
	}
	return NULL;
}

static const char *check_devices(const struct fuse_fmap_msg *msg,
				 const struct fuse_fmap_dev *devs,
				 unsigned int ndevs)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;

	fuse_fmap_first(&cur, msg);
	while (fuse_fmap_next(&cur, &ext)) {
		unsigned int i = fuse_fmap_find_dev(devs, ndevs, ext.devindex);

		if (i == ndevs || devs[i].index != ext.devindex)
			return "no device";
	}
	return NULL;
}

const char *kernel_decode(const void *message, size_t len, uint32_t kinds,
			  const struct kernel_device *devs, unsigned int ndevs,
			  struct kernel_map **result)
{
	struct fuse_fmap_msg msg = { .buf = message, .len = len };
	struct kernel_map *map = NULL;
	struct fuse_fmap_dev *table;
	const char *why;
	unsigned int i;

	table = calloc(ndevs, sizeof(*table));
	if (!table)
		abort();
	for (i = 0; i < ndevs; i++) {
		table[i].index = devs[i].index;
		table[i].size = devs[i].size;
		table[i].dev = handle(devs[i].index);
	}

	why = kernel_fuse_fmap_check(&msg, kinds);
	if (!why)
		why = check_devices(&msg, table, ndevs);
	if (!why) {
		map = calloc(1, sizeof(*map) + fuse_fmap_bytes(&msg));
		if (!map)
			abort();
		map->devs = table;
		why = fuse_fmap_build(&msg, table, ndevs, &map->map);
	}
	if (!why)
		why = check_overlaps(&msg);
	if (why) {
		free(map);
		free(table);
		return why;
	}
	*result = map;
	return NULL;
}

uint64_t kernel_file_size(const struct kernel_map *map)
{
	return map->map.file_size;
}

void kernel_resolve(const struct kernel_map *map, uint64_t pos,
		    struct kernel_place *place)
{
	struct fuse_fmap_range range;

	fuse_fmap_resolve(&map->map, pos, &range);
	place->devindex = (uintptr_t)range.dev - 1;
	place->offset = range.offset;
	place->len = range.len;
}

void kernel_free(struct kernel_map *map)
{
	free(map->devs);
	free(map);
}
