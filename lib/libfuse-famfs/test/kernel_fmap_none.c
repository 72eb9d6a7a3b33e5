// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands in for kernel_fmap.c if the kernel's decoder is not compiled in. Tests
 * that need the decoder are skipped then, so none of this is called.
 */
#include "kernel_fmap.h"

#include <stdlib.h>

const char *kernel_decode(const void *message, size_t len, uint32_t kinds,
			  const struct kernel_device *devs, unsigned int ndevs,
			  struct kernel_map **map)
{
	(void)message, (void)len, (void)kinds, (void)devs, (void)ndevs;
	(void)map;
	abort();
}

uint64_t kernel_file_size(const struct kernel_map *map)
{
	(void)map;
	abort();
}

void kernel_resolve(const struct kernel_map *map, uint64_t pos,
		    struct kernel_place *place)
{
	(void)map, (void)pos, (void)place;
	abort();
}

void kernel_free(struct kernel_map *map)
{
	(void)map;
	abort();
}
