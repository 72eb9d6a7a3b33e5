/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own decoder of DAX file maps, as tests of the library see it.
 * Its header and the library's name different things alike, so that no file can
 * include both.
 */
#ifndef TEST_KERNEL_FMAP_H
#define TEST_KERNEL_FMAP_H

#include <stddef.h>
#include <stdint.h>

struct kernel_device {
	uint32_t index;
	uint64_t size;
};

struct kernel_map;

/* A place on a device, and for how many bytes the file goes on there */
struct kernel_place {
	uint32_t devindex;
	uint64_t offset;
	uint64_t len;
};

/*
 * Do to a message what the kernel does: NULL and the map, or what is wrong.
 * The devices are sorted by index.
 */
const char *kernel_decode(const void *message, size_t len, uint32_t kinds,
			  const struct kernel_device *devs, unsigned int ndevs,
			  struct kernel_map **map);
uint64_t kernel_file_size(const struct kernel_map *map);
void kernel_resolve(const struct kernel_map *map, uint64_t pos,
		    struct kernel_place *place);
void kernel_free(struct kernel_map *map);

#endif /* TEST_KERNEL_FMAP_H */
