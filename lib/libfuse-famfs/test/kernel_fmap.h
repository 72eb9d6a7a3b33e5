/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own decoder of DAX file maps, as tests of the library see it.
 * The kernel's header and the library's define some of the same names, so no
 * file can include both.
 *
 * The decoder is compiled in if meson's option kernel-fmap names a tree that
 * has it. Otherwise tests must not call these functions.
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

/* A place on a device, and the number of bytes that are contiguous there */
struct kernel_place {
	uint32_t devindex;
	uint64_t offset;
	uint64_t len;
};

/*
 * Check and decode a message as the kernel does. Returns NULL and a map, or
 * the reason why the kernel refuses the message. The devices are sorted by
 * index.
 */
const char *kernel_decode(const void *message, size_t len, uint32_t kinds,
			  const struct kernel_device *devs, unsigned int ndevs,
			  struct kernel_map **map);
uint64_t kernel_file_size(const struct kernel_map *map);
void kernel_resolve(const struct kernel_map *map, uint64_t pos,
		    struct kernel_place *place);
void kernel_free(struct kernel_map *map);

#endif /* TEST_KERNEL_FMAP_H */
