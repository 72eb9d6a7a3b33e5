// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: the bytes of a file, in each layout, whichever way
 * they are written and read.
 *
 * For each layout, what is written in one way is read in every other, then the
 * next way of writing has its turn. All of it is compared with a flat model in
 * memory, and in the end with the devices, as a second mount shows them: one
 * file over each whole device. Large files are looked at around the places
 * where their bytes jump, at their beginning and end, and at random places in
 * between; small ones as a whole.
 *
 * Page faults are counted, to see that memory is mapped by 2 MiB where the
 * layout allows that, and only there.
 *
 * Needs root, /dev/fuse and DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB, which are overwritten. Strips go
 * to all devices in turn, several to one if there are fewer.
 */
#include "fmap_data.h"
#include "fmap_random.h"
#include "fmap_test.h"

#define HUGE_PAGE	(2 * MB)
#define MAX_WINDOWS	32
#define NEAR		70	/* bytes on each side of a seam */
#define WHOLE		(64 * KB)	/* no larger: looked at as a whole */

struct window {
	uint64_t pos;
	size_t len;
};

FIXTURE(layout) {
	struct raw_server *s;
	unsigned char *map;
	uint64_t size;
	char *model;
};

FIXTURE_VARIANT(layout) {
	void (*build)(struct rs_map *m, struct room *r);
	uint32_t nstrips;	/* if there is no build() */
	uint32_t chunk;
	uint64_t size;		/* 0: some rows of chunks and an odd rest */
	uint64_t shift;
	bool huge;		/* are there 2 MiB mappings? */
};

#define CHUNK_4K	(4 * KB)
#define CHUNK_64K	(64 * KB)
#define CHUNK_2M	(2 * MB)
#define CHUNK_3M4K	(3 * MB + 4 * KB)

#define STRIPES(_name, _n, _chunk, _shift, _huge)			\
	FIXTURE_VARIANT_ADD(layout, _name) {				\
		.nstrips = _n,						\
		.chunk = _chunk,					\
		.shift = _shift,					\
		.huge = _huge,						\
	}

/* On device offsets that are, and that are not, multiples of 2 MiB */
#define BOTH(_n, _chunk, _huge)						\
	STRIPES(_n##_strips_in_chunks_of_##_chunk##_aligned, _n,	\
		CHUNK_##_chunk, 0, _huge);				\
	STRIPES(_n##_strips_in_chunks_of_##_chunk##_unaligned, _n,	\
		CHUNK_##_chunk, 4 * KB, false)

/* One strip is in one piece, whatever the chunk */
BOTH(1, 4K, true);
BOTH(1, 64K, true);
BOTH(1, 2M, true);
BOTH(1, 3M4K, true);

#define EACH_CHUNK(_n)							\
	BOTH(_n, 4K, false);						\
	BOTH(_n, 64K, false);						\
	BOTH(_n, 2M, true);						\
	BOTH(_n, 3M4K, true)

EACH_CHUNK(2);
EACH_CHUNK(3);
EACH_CHUNK(4);
EACH_CHUNK(5);
EACH_CHUNK(8);
EACH_CHUNK(16);

#define SIZED(_name, _n, _chunk, _size)					\
	FIXTURE_VARIANT_ADD(layout, _name) {				\
		.nstrips = _n,						\
		.chunk = _chunk,					\
		.size = _size,						\
	}

SIZED(of_one_byte, 3, CHUNK_64K, 1);
SIZED(of_a_byte_less_than_a_page, 3, CHUNK_64K, PG - 1);
SIZED(of_a_page, 3, CHUNK_64K, PG);
SIZED(of_a_byte_more_than_a_page, 3, CHUNK_64K, PG + 1);
SIZED(of_less_than_a_chunk, 3, CHUNK_64K, 10 * PG + 77);
SIZED(of_a_byte_less_than_a_chunk, 3, CHUNK_64K, CHUNK_64K - 1);
SIZED(of_a_chunk, 3, CHUNK_64K, CHUNK_64K);
SIZED(of_a_byte_more_than_a_chunk, 3, CHUNK_64K, CHUNK_64K + 1);
SIZED(of_a_byte_less_than_a_row, 3, CHUNK_64K, 3 * CHUNK_64K - 1);
SIZED(of_a_row, 3, CHUNK_64K, 3 * CHUNK_64K);
SIZED(of_a_byte_more_than_a_row, 3, CHUNK_64K, 3 * CHUNK_64K + 1);
SIZED(of_pages_each_on_another_strip, 16, CHUNK_4K, 15 * PG + 1);
SIZED(of_a_byte_in_a_large_chunk, 4, CHUNK_3M4K, 1);

/* A file that ends in the last page of 2 MiB is mapped by 2 MiB to its end */
FIXTURE_VARIANT_ADD(layout, of_2M_less_a_byte) {
	.nstrips = 2, .chunk = CHUNK_2M, .size = HUGE_PAGE - 1, .huge = true,
};

FIXTURE_VARIANT_ADD(layout, of_2M_less_a_page) {
	.nstrips = 2, .chunk = CHUNK_2M, .size = HUGE_PAGE - PG,
};

static void plain_set(struct rs_map *m, struct room *r, uint64_t nbytes)
{
	place_set(m, r, 1, PG, nbytes);
}

static void build_sets(struct rs_map *m, struct room *r)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, 0);
	plain_set(m, r, 5 * PG);
	place_set(m, r, 3, 64 * KB, 9 * 64 * KB + 7 * PG);
	plain_set(m, r, PG);
	place_set(m, r, 16, 4 * KB, 40 * PG);
	place_set(m, r, 2, 12 * KB, 10 * 12 * KB);
	plain_set(m, r, 300 * KB);
	place_set(m, r, 5, 20 * KB, 7 * 20 * KB + 3 * KB + 1);
}

static void build_large_sets(struct rs_map *m, struct room *r)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, 0);
	place_set(m, r, 2, 2 * MB, 8 * MB);
	plain_set(m, r, 4 * MB);
	place_set(m, r, 3, 3 * MB + 4 * KB, 4 * (3 * MB + 4 * KB));
	plain_set(m, r, 2 * MB - 16 * KB);
	/* here the file is at a multiple of 2 MiB again */
	place_set(m, r, 4, 2 * MB, 11 * MB + 2 * KB);
}

static void build_extents(struct rs_map *m, struct room *r)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 0);
	for (int i = 0; i < 60; i++)
		place_extent(m, r, (1 + i * 7 % 11) * PG);
}

static void build_large_extents(struct rs_map *m, struct room *r)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 0);
	place_extent(m, r, 6 * MB);
	place_extent(m, r, PG);
	place_extent(m, r, 4 * MB - PG);
	place_extent(m, r, 2 * MB);
	place_extent(m, r, 5 * MB + 8 * PG);
}

static void build_equal_extents(struct rs_map *m, struct room *r)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 0);
	for (int i = 0; i < 9; i++)
		place_extent(m, r, 2 * MB);
}

#define BUILT(_name, _huge)						\
	FIXTURE_VARIANT_ADD(layout, _name##_aligned) {			\
		.build = build_##_name,					\
		.huge = _huge,						\
	};								\
	FIXTURE_VARIANT_ADD(layout, _name##_unaligned) {		\
		.build = build_##_name,					\
		.shift = 20 * KB,					\
	}

BUILT(sets, false);
BUILT(large_sets, true);
BUILT(extents, false);
BUILT(large_extents, true);
BUILT(equal_extents, true);

/* The bytes that a map has places for; the file may end anywhere in the last */
static uint64_t covered(const struct rs_map *m)
{
	uint32_t dev;
	uint64_t off, pages = 0;

	while (locate(m->b, pages * PG, &dev, &off))
		pages++;
	return pages * PG;
}

FIXTURE_SETUP(layout)
{
	const char *why;
	struct room room = { .shift = variant->shift };
	uint64_t chunk = variant->chunk, size = variant->size;
	struct rs_map m;

	max_dax = 8;	/* memory of all kinds */
	why = sandbox(1);
	if (why)
		SKIP(return, "%s", why);
	if (variant->build) {
		variant->build(&m, &room);
		size = covered(&m) - PG + 1234;
	} else {
		/* two rows, half a row, and something in one more chunk */
		if (!size)
			size = (variant->nstrips * 5 / 2) * chunk + chunk / 3;
		if (!variant->size && variant->nstrips == 1 && size < 5 * MB)
			size = 5 * MB - 999;
		rs_map_init(&m, FUSE_FMAP_STRIPED, 0);
		place_set(&m, &room, variant->nstrips, chunk, size);
	}
	rs_map_header(&m)->file_size = size;
	if (room.full) {
		rs_map_free(&m);
		SKIP(return, "%d devices are too small for a file of %lu MiB",
		     ndax, size / MB);
	}

	self->size = size;
	self->map = malloc(m.len);
	self->model = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			   MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	self->s = new_server(ndax);
	ASSERT_TRUE(self->map && self->model != MAP_FAILED && self->s);
	memcpy(self->map, m.b, m.len);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(layout)
{
	rs_free(self->s);
	free(self->map);
	if (self->model && self->model != MAP_FAILED)
		munmap(self->model, self->size);
}

/* Is a part of 2 MiB in one piece, at a multiple of 2 MiB of a device? */
static bool may_be_huge(const unsigned char *map, uint64_t pos, uint64_t size)
{
	uint32_t dev;
	uint64_t off;

	if (pos + HUGE_PAGE > ((size + PG - 1) & ~(PG - 1)) ||
	    !locate(map, pos, &dev, &off) || off % HUGE_PAGE)
		return false;
	for (uint64_t i = PG; i < HUGE_PAGE; i += PG)
		if (is_seam(map, pos + i))
			return false;
	return true;
}

/* Touch all parts of 2 MiB and count the faults; returns how many are huge */
static int touch(struct __test_metadata *_metadata, const unsigned char *map,
		 char *p, uint64_t size)
{
	int huge = 0;
	char sum = 0;

	for (uint64_t pos = 0; pos < size; pos += HUGE_PAGE) {
		bool can = may_be_huge(map, pos, size);
		long expect = 0, taken = minor_faults();

		for (uint64_t i = pos; i < pos + HUGE_PAGE && i < size;
		     i += 61 * PG) {
			if (pos & HUGE_PAGE)
				((volatile char *)p)[i] = 1;
			else
				sum += ((volatile char *)p)[i];
			expect++;
		}
		if (can)
			expect = 1;
		huge += can;
		taken = minor_faults() - taken;
		/* one may be the process's own */
		EXPECT_TRUE(taken == expect || taken == expect + 1) {
			TH_LOG("%ld faults, not %ld, in 2 MiB at %lu (%d)",
			       taken, expect, pos, sum);
		}
	}
	return huge;
}

static int add_window(struct window *w, int n, uint64_t size, uint64_t pos,
		      size_t len)
{
	if (n == MAX_WINDOWS || pos >= size)
		return n;
	w[n].pos = pos;
	w[n].len = len < size - pos ? len : size - pos;
	return n + 1;
}

/* The parts of the file that are worth a look; their number */
static int find_windows(const unsigned char *map, uint64_t size,
			struct window *w)
{
	uint64_t seams = 0, seen = 0, skip;
	int n = 0;

	if (size <= WHOLE)
		return add_window(w, 0, size, 0, size);
	n = add_window(w, n, size, 0, 300);
	n = add_window(w, n, size, size - 300, 300);
	/* pages that are not looked at are between them, and many of them */
	for (int i = 0; i < 4; i++)
		n = add_window(w, n, size, random_below(size),
			       random_below(3 * PG) + 1);
	n = add_window(w, n, size, random_below(size / PG) * PG, PG);
	n = add_window(w, n, size, random_below(size / PG) * PG + PG - 1, 2);

	for (uint64_t pos = 0; pos < size; pos += PG)
		seams += is_seam(map, pos);
	/* the first ones all, and a part that has several in it */
	skip = 1 + seams / (MAX_WINDOWS - 26);
	for (uint64_t pos = 0; pos < size; pos += PG) {
		if (!is_seam(map, pos))
			continue;
		if (seen == seams / 2)
			n = add_window(w, n, size, pos - 3 * PG - 3, 24 * KB);
		if (seen++ < 17 || seen % skip == 0)
			n = add_window(w, n, size, pos - NEAR, 2 * NEAR);
	}
	return n;
}

TEST_F_TIMEOUT(layout,
	       is_mapped_as_it_can_be_and_holds_what_is_written_in_each_way, 120)
{
	int fd = open_in(self->s, "f", O_RDWR), view[MAX_DAX], n;
	struct access access = { .fd = fd };
	struct window w[MAX_WINDOWS];
	char *model = self->model;
	struct raw_server *s;
	size_t longest = 0;
	char *b;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, access_begin(&access));
	access.map = map_huge(fd, self->size, PROT_READ | PROT_WRITE,
			      MAP_SHARED, 0);
	ASSERT_NE(MAP_FAILED, access.map);
	/* before anything else: what is there by pages stays so */
	EXPECT_EQ(variant->huge,
		  touch(_metadata, self->map, access.map, self->size) > 0);
	random_state = 88172645463325252UL;
	n = find_windows(self->map, self->size, w);
	for (int i = 0; i < n; i++) {
		pattern(model + w[i].pos, 1, w[i].pos, w[i].len);
		EXPECT_TRUE(put(fd, 1, w[i].pos, w[i].len));
		if (longest < w[i].len)
			longest = w[i].len;
	}
	b = malloc(longest);
	ASSERT_NE(NULL, b);

	for (int in = 0; in < ARRAY_SIZE(ways_in); in++) {
		for (int i = 0; i < n; i++) {
			/* a little less each time: what is around it stays */
			size_t rim = w[i].len > 100 ? 1 + 3 * in : 0;
			uint64_t pos = w[i].pos + rim;
			size_t len = w[i].len - 2 * rim;

			pattern(model + pos, 2 + in, pos, len);
			ASSERT_EQ(0, ways_in[in].move(&access, model + pos, pos,
						      len)) {
				TH_LOG("%s: %zu bytes at %lu", ways_in[in].name,
				       len, pos);
			}
		}
		for (int i = 0; i < n * ARRAY_SIZE(ways_out); i++) {
			const struct window *r = &w[i % n];
			const struct way *out = &ways_out[i / n];

			/* of many a third, the others after the next two */
			if (n > 8 && (i % n + i / n + in) % 3)
				continue;
			memset(b, 0, r->len);
			ASSERT_EQ(0, out->move(&access, b, r->pos, r->len)) {
				TH_LOG("%s: %zu bytes at %lu", out->name,
				       r->len, r->pos);
			}
			ASSERT_EQ(r->len, same(b, model + r->pos, r->len)) {
				TH_LOG("bytes right of those at %lu, %s after %s",
				       r->pos, out->name, ways_in[in].name);
			}
		}
	}
	free(b);
	munmap(access.map, self->size);
	access_end(&access);
	close(fd);
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
	ASSERT_EQ(0, rs_unmount(self->s));

	s = new_server(ndax);
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, view_devices(s, view));
	for (int i = 0; i < n; i++) {
		EXPECT_EQ(w[i].len, right_on_devices(self->map, view, w[i].pos,
						     model + w[i].pos,
						     w[i].len)) {
			TH_LOG("bytes right on the devices of those at %lu",
			       w[i].pos);
		}
	}
	for (int i = 0; i < ndax; i++)
		close(view[i]);
	rs_free(s);
}

TEST_HARNESS_MAIN
