/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers for tests of data: a model of where a map places each byte, the ways
 * to read and write a file, and the contents of the devices.
 */
#ifndef FMAP_DATA_H
#define FMAP_DATA_H

/* mini_liburing.h needs these, but doesn't include them */
#include <errno.h>
#include <signal.h>

#include "fmap_util.h"
#include "../../../../../include/io_uring/mini_liburing.h"

/* Device and offset of a byte, computed only from the map message @b */
bool locate(const unsigned char *b, uint64_t pos, uint32_t *dev, uint64_t *off);
/* Whether the page at @pos doesn't directly follow the previous one on a device */
bool is_seam(const unsigned char *map, uint64_t pos);

/* Allocates strips on the devices, on each one from its start */
struct room {
	uint64_t used[MAX_DAX];
	unsigned int turn;
	uint64_t shift;		/* from a multiple of 2 MiB */
	bool full;
};

void place_extent(struct rs_map *m, struct room *r, uint64_t len);
/* A stripe set with strips that are only as long as necessary */
void place_set(struct rs_map *m, struct room *r, uint32_t n, uint32_t chunk,
	       uint64_t nbytes);

/* One io_uring operation; returns its result */
int ring_op(struct io_uring *ring, int opcode, int fd, const void *addr,
	    uint32_t len, uint64_t off, uint32_t flags);

/* What the ways to read and write a file need. Each thread has its own. */
struct access {
	int fd;
	char *map;		/* the whole file, shared */
	int pipefd[2];
	int mem;		/* a file in memory */
	int proc_mem;		/* /proc/self/mem */
	bool has_ring;
	struct io_uring ring;
};

int access_begin(struct access *a);
void access_end(struct access *a);

/* A way to copy from or to a file; @move returns 0 or -errno */
struct way {
	const char *name;
	int (*move)(struct access *a, void *b, uint64_t pos, size_t len);
};

#define NWAYS	8

extern const struct way ways_out[NWAYS];
extern const struct way ways_in[NWAYS];

/* How many bytes are equal before the first difference */
size_t same(const void *a, const void *b, size_t len);

/*
 * Start a server with one file for each device, and open these files. Returns 0
 * or -errno.
 */
int view_devices(struct raw_server *s, int *view);

/*
 * Compare bytes of a file with what the devices hold, which are opened as @view.
 * Returns how many are equal before the first difference.
 */
size_t right_on_devices(const unsigned char *map, const int *view, uint64_t pos,
			const char *should, size_t len);

#endif
