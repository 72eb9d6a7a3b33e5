// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: a fault maps the pages around it.
 *
 * By 64 KiB, if the mapping has no huge pages, and whether somebody has mapped
 * the file before or not. What is mapped must be the right pages, in each layout,
 * no others, and writable only where somebody writes.
 *
 * Needs root, /dev/fuse, two DAX devices bound to the fsdev driver.
 */
#include "fmap_test.h"

#define AROUND		16	/* pages */
#define NPAGES		1024
#define LEN		(NPAGES * PG)

FIXTURE(around) {
	struct raw_server *s;
	int fd;
	char *p;
};

FIXTURE_VARIANT(around) {
	uint32_t chunk;		/* of a stripe set of two; 0: of one extent */
	uint64_t size;
};

FIXTURE_VARIANT_ADD(around, of_an_extent) {
	.size = LEN,
};

FIXTURE_VARIANT_ADD(around, of_chunks_of_4K) {
	.chunk = PG, .size = LEN,
};

FIXTURE_VARIANT_ADD(around, of_chunks_of_12K) {
	.chunk = 3 * PG, .size = LEN,
};

FIXTURE_VARIANT_ADD(around, of_chunks_of_1M) {
	.chunk = MB, .size = LEN,
};

FIXTURE_VARIANT_ADD(around, of_an_uneven_file) {
	.chunk = 3 * PG, .size = LEN - 5 * PG - 100,
};

/* Not where a huge page could be */
static char *map_small(int fd, size_t len, int prot, int flags)
{
	char *p = map_huge(fd, len + PG, PROT_NONE, MAP_SHARED, 0);

	if (p == MAP_FAILED)
		return p;
	return mmap(p + PG, len, prot, flags | MAP_FIXED, fd, 0);
}

FIXTURE_SETUP(around)
{
	const char *why = sandbox(2);
	uint64_t strip = LEN;
	struct rs_map m;

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	if (variant->chunk) {
		rs_map_init(&m, FUSE_FMAP_STRIPED, variant->size);
		rs_map_stripe(&m, 2, variant->chunk, variant->size);
		rs_map_strip(&m, 0, 4 * MB, strip);
		rs_map_strip(&m, 1, 6 * MB, strip);
	} else {
		rs_map_init(&m, FUSE_FMAP_EXTENTS, variant->size);
		rs_map_extent(&m, 1, 4 * MB, strip);
	}
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	ASSERT_TRUE(put(self->fd, 1, 0, variant->size));
}

FIXTURE_TEARDOWN(around)
{
	close(self->fd);
	rs_free(self->s);
}

/*
 * Touch all pages of the file, with the byte that is there if it is to write
 * one; how many faults that takes
 */
static long touch_all(char *p, uint64_t size, bool write)
{
	long before = minor_faults();
	char sum = 0;

	for (uint64_t i = 0; i < size; i += PG) {
		if (write)
			((volatile char *)p)[i] = pattern_at(1, i);
		else
			sum += ((volatile char *)p)[i];
	}
	(void)sum;
	return minor_faults() - before;
}

/* One in 16, one for each page table, and a few of the process's own */
#define EXPECT_AROUND(_n)						\
	do {								\
		long n_ = (_n);						\
		EXPECT_LE(NPAGES / AROUND - 1, n_);			\
		EXPECT_GE(NPAGES / AROUND + 3 * 3 + 8, n_);		\
	} while (0)

TEST_F(around, are_the_right_pages_when_read)
{
	for (int later = 0; later < 2; later++) {
		char *p = map_small(self->fd, LEN, PROT_READ, MAP_SHARED);

		ASSERT_NE(MAP_FAILED, p);
		EXPECT_AROUND(touch_all(p, variant->size, false));
		EXPECT_TRUE(is_pattern(p, 1, 0, variant->size));
		munmap(p, LEN);
	}
}

TEST_F(around, are_the_right_pages_when_written)
{
	for (int later = 0; later < 2; later++) {
		char *p = map_small(self->fd, LEN, PROT_READ | PROT_WRITE,
				    MAP_SHARED);

		ASSERT_NE(MAP_FAILED, p);
		EXPECT_AROUND(touch_all(p, variant->size, true));
		EXPECT_TRUE(is_pattern(p, 1, 0, variant->size));
		pattern(p, 2, 0, variant->size);
		EXPECT_TRUE(got(self->fd, 2, 0, variant->size));
		pattern(p, 1, 0, variant->size);
		munmap(p, LEN);
	}
}

/* A read does not make them writable: the first write of each is a fault */
TEST_F(around, are_not_writable_before_somebody_writes)
{
	char *p = map_small(self->fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED);
	long n;

	ASSERT_NE(MAP_FAILED, p);
	touch_all(p, variant->size, false);
	n = touch_all(p, variant->size, true);
	EXPECT_LE((long)(variant->size / PG), n);
	munmap(p, LEN);
}

TEST_F(around, stay_the_files_when_a_private_mapping_is_written)
{
	char *p = map_small(self->fd, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_AROUND(touch_all(p, variant->size, false));
	pattern(p, 2, 0, variant->size);
	EXPECT_TRUE(is_pattern(p, 2, 0, variant->size));
	EXPECT_TRUE(got(self->fd, 1, 0, variant->size));
	munmap(p, LEN);
}

TEST_F(around, are_left_alone_with_MADV_RANDOM)
{
	char *p = map_small(self->fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, madvise(p, LEN, MADV_RANDOM));
	EXPECT_LE((long)(variant->size / PG), touch_all(p, variant->size, false));
	munmap(p, LEN);
}

/* Nothing outside of the mapping, nor behind the end of the file */
TEST_F(around, end_with_the_mapping_and_the_file)
{
	size_t last = (variant->size - 1) / PG * PG;
	char *p = map_small(self->fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED);
	unsigned char in[NPAGES];

	ASSERT_NE(MAP_FAILED, p);
	/* the first page of a page table makes the table */
	touch_all(p, PG, true);
	munmap(p + 40 * PG, PG);
	p[37 * PG] = pattern_at(1, 37 * PG);
	p[43 * PG] = pattern_at(1, 43 * PG);
	EXPECT_EQ(-1, mincore(p + 40 * PG, PG, in));
	p[last - PG] = pattern_at(1, last - PG);
	EXPECT_TRUE(is_pattern(p + last, 1, last, variant->size - last));
	if (last + PG < LEN)
		EXPECT_EQ(SIGBUS, signal_of(p + last + PG, false));
	munmap(p, LEN);
}

TEST_HARNESS_MAIN
