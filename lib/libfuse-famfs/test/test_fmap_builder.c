// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map builder. If the kernel's decoder is compiled in, the two must agree.
 *
 * Environment: ROUNDS and SEED of the random maps.
 */
#define _GNU_SOURCE
#include "fuse_fmap.h"
#include "fmap_tap.h"
#include "kernel_fmap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K	1024ULL
#define M	(K * K)
#define PAGE	(4 * K)
#define ALL	((1U << FUSE_FMAP_EXTENTS) | (1U << FUSE_FMAP_STRIPED))

static const struct kernel_device devices[] = {
	{ 0, 64 * M }, { 1, 64 * M }, { 2, 8 * M }, { 7, 1ULL << 62 },
	{ UINT32_MAX, 64 * M },
};
#define NDEVICES (sizeof(devices) / sizeof(devices[0]))

static struct fuse_fmap_device known[NDEVICES];

static char why[160];

static int check(const struct fuse_fmap_builder *map)
{
	return fuse_fmap_check(map, ALL, known, NDEVICES, why, sizeof(why));
}

/* The builder and the kernel must accept the map */
static struct kernel_map *decode(const struct fuse_fmap_builder *map)
{
	struct kernel_map *decoded = NULL;
	const char *refused;
	void *message;
	size_t len;

	if (check(map)) {
		fprintf(stderr, "the builder: %s\n", why);
		exit(1);
	}
	EXPECT(!*why);
	EXPECT(!fuse_fmap_message(map, &message, &len));
	refused = kernel_decode(message, len, ALL, devices, NDEVICES, &decoded);
	if (refused) {
		fprintf(stderr, "the kernel: %s\n", refused);
		exit(1);
	}
	free(message);
	return decoded;
}

static void expect_place(const struct kernel_map *map, uint64_t pos,
			 uint32_t devindex, uint64_t offset)
{
	struct kernel_place place;

	kernel_resolve(map, pos, &place);
	if (place.devindex != devindex || place.offset != offset) {
		fprintf(stderr, "byte %" PRIu64 " is at %u:%" PRIu64 ", not at %u:%" PRIu64 "\n",
			pos, place.devindex, place.offset, devindex, offset);
		exit(1);
	}
}

static void extents_are_where_they_were_put(void)
{
	struct fuse_fmap_builder *map = fuse_fmap_new(5 * M);
	struct kernel_map *decoded;

	EXPECT(!fuse_fmap_add_extent(map, 1, 2 * M, 4 * M));
	EXPECT(!fuse_fmap_add_extent(map, UINT32_MAX, 0, 2 * M));
	decoded = decode(map);
	EXPECT(kernel_file_size(decoded) == 5 * M);
	expect_place(decoded, 0, 1, 2 * M);
	expect_place(decoded, 4 * M - 1, 1, 6 * M - 1);
	expect_place(decoded, 4 * M, UINT32_MAX, 0);
	kernel_free(decoded);
	fuse_fmap_free(map);
}

static void a_stripe_set_goes_from_strip_to_strip(void)
{
	struct fuse_dax_range strips[] = {
		{ 0, 2 * M, 3 * M }, { 1, 4 * M, 3 * M }, { 2, 0, 2 * M },
	};
	struct fuse_fmap_builder *map = fuse_fmap_new(FUSE_FMAP_SIZE_COVERED);
	struct kernel_map *decoded;

	EXPECT(!fuse_fmap_add_stripe_set(map, M, 7 * M + 123, strips, 3));
	decoded = decode(map);
	EXPECT(kernel_file_size(decoded) == 7 * M + 123);
	expect_place(decoded, 0, 0, 2 * M);
	expect_place(decoded, M + 5, 1, 4 * M + 5);
	expect_place(decoded, 2 * M, 2, 0);
	expect_place(decoded, 3 * M, 0, 3 * M);
	expect_place(decoded, 7 * M, 1, 6 * M);
	kernel_free(decoded);
	fuse_fmap_free(map);
}

static void extents_and_stripe_sets_mix(void)
{
	struct fuse_dax_range strips[] = {
		{ 0, 0, M + 4 * K }, { 1, 0, M },
	};
	struct fuse_fmap_builder *map = fuse_fmap_new(FUSE_FMAP_SIZE_COVERED);
	struct kernel_map *decoded;
	void *message;
	uint32_t kind;
	size_t len;

	EXPECT(!fuse_fmap_add_extent(map, 2, 4 * M, M));
	EXPECT(!fuse_fmap_add_stripe_set(map, 12 * K, 2 * M, strips, 2));
	EXPECT(!fuse_fmap_add_extent(map, 7, 1ULL << 60, 1ULL << 40));

	EXPECT(!fuse_fmap_message(map, &message, &len));
	memcpy(&kind, (char *)message + 4, sizeof(kind));
	EXPECT(kind == FUSE_FMAP_STRIPED);
	free(message);

	decoded = decode(map);
	EXPECT(kernel_file_size(decoded) == 3 * M + (1ULL << 40));
	expect_place(decoded, 0, 2, 4 * M);
	expect_place(decoded, M, 0, 0);
	expect_place(decoded, M + 12 * K, 1, 0);
	expect_place(decoded, M + 24 * K, 0, 12 * K);
	expect_place(decoded, 3 * M + (1ULL << 39), 7, (1ULL << 60) + (1ULL << 39));
	kernel_free(decoded);
	fuse_fmap_free(map);
}

static void only_what_was_negotiated_is_accepted(void)
{
	struct fuse_dax_range strip = { 0, 0, M };
	struct fuse_fmap_builder *map = fuse_fmap_new(M);

	EXPECT(!fuse_fmap_add_extent(map, 1, 0, M));
	EXPECT(!fuse_fmap_check(map, 1U << FUSE_FMAP_EXTENTS, NULL, 0, NULL, 0));
	EXPECT(fuse_fmap_check(map, 1U << FUSE_FMAP_STRIPED, NULL, 0, why,
			       sizeof(why)) == -EOPNOTSUPP);
	EXPECT(!strcmp(why, "extents were not negotiated with the kernel"));

	EXPECT(!fuse_fmap_add_stripe_set(map, M, M, &strip, 1));
	EXPECT(!fuse_fmap_check(map, 1U << FUSE_FMAP_STRIPED, NULL, 0, NULL, 0));
	EXPECT(fuse_fmap_check(map, 1U << FUSE_FMAP_EXTENTS, NULL, 0, why,
			       sizeof(why)) == -EOPNOTSUPP);
	EXPECT(!strcmp(why, "stripe sets were not negotiated with the kernel"));
	fuse_fmap_free(map);
}

/* A wrong segment after a good one, and the expected description */
static const struct {
	uint32_t chunk;		/* 0: an extent */
	uint64_t nbytes;
	struct fuse_dax_range strips[2];
	int err;
	const char *description;
} bad[] = {
	{ 0, 0, { { 0, 0, 0 } }, -EINVAL,
	  "segment 1, strip 0 has no length" },
	{ 0, 0, { { 0, 512, M } }, -EINVAL,
	  "segment 1, strip 0 has an offset that is not a multiple of the page size" },
	{ 0, 0, { { 0, 0, M + 1 } }, -EINVAL,
	  "segment 1, strip 0 has a length that is not a multiple of the page size" },
	{ 0, 0, { { 0, -PAGE, PAGE } }, -EINVAL,
	  "segment 1, strip 0 ends after the largest offset" },
	{ 0, 0, { { 0, 0, 1ULL << 63 } }, -EINVAL,
	  "segment 1, strip 0 covers more than the largest file size" },
	{ 0, 0, { { 7, 0, (1ULL << 63) - PAGE } }, -EINVAL,
	  "segment 1, strip 0 makes the segments cover more than the largest file size" },
	{ 0, 0, { { 3, 0, M } }, -ENODEV,
	  "segment 1, strip 0: no device has index 3" },
	{ 0, 0, { { 2, 7 * M, 2 * M } }, -EINVAL,
	  "segment 1, strip 0 ends after the end of device 2" },
	{ 0, 0, { { 1, 2 * M - PAGE, M } }, -EINVAL,
	  "segment 1, strip 0 overlaps segment 0, strip 0 on device 1" },
	{ 6 * K, 2 * M, { { 0, 0, M }, { 2, 0, M } }, -EINVAL,
	  "segment 1, strip 0 has a chunk size that is not a multiple of the page size" },
	{ M, 0, { { 0, 0, M }, { 2, 0, M } }, -EINVAL,
	  "segment 1, strip 0 covers no bytes of the file" },
	{ M, 1ULL << 63, { { 0, 0, M }, { 2, 0, M } }, -EINVAL,
	  "segment 1, strip 0 covers more than the largest file size" },
	{ 3221225472U, 1ULL << 62, { { 0, 0, M }, { 2, 0, M } }, -EINVAL,
	  "segment 1, strip 0 is too large for its chunk size or number of strips" },
	{ M, 2 * M + 1, { { 0, 0, M }, { 2, 0, M } }, -EINVAL,
	  "segment 1, strip 0 is too short for its chunks" },
	{ M, 4 * M, { { 0, 0, 2 * M }, { 2, 0, M } }, -EINVAL,
	  "segment 1, strip 1 is too short for its chunks" },
	{ M, 2 * M, { { 0, 0, M }, { 0, 512 * K, M } }, -EINVAL,
	  "segment 1, strip 1 overlaps segment 1, strip 0 on device 0" },
};

static void errors_are_described(void)
{
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fuse_fmap_builder *map = fuse_fmap_new(M);
		int added, err;
		size_t len;
		void *buf;

		EXPECT(!fuse_fmap_add_extent(map, 1, M, M));
		if (bad[i].chunk)
			added = fuse_fmap_add_stripe_set(map, bad[i].chunk,
							 bad[i].nbytes,
							 bad[i].strips, 2);
		else
			added = fuse_fmap_add_extent(map,
						     bad[i].strips[0].devindex,
						     bad[i].strips[0].offset,
						     bad[i].strips[0].len);
		err = check(map);
		if (err != bad[i].err || strcmp(why, bad[i].description)) {
			fprintf(stderr, "case %zu: error %d, \"%s\", not %d, \"%s\"\n",
				i, err, why, bad[i].err, bad[i].description);
			exit(1);
		}
		/* Later additions do not change the error */
		if (added) {
			EXPECT(added == bad[i].err);
			EXPECT(fuse_fmap_add_extent(map, 0, 0, M) == added);
			EXPECT(fuse_fmap_message(map, &buf, &len) == added);
			EXPECT(check(map) == err && !strcmp(why, bad[i].description));
		}
		/* The description is truncated to the size of the buffer */
		EXPECT(fuse_fmap_check(map, ALL, known, NDEVICES, why, 8) == err);
		EXPECT(strlen(why) == 7 && !strncmp(why, bad[i].description, 7));
		fuse_fmap_free(map);
	}
}

static void stripe_sets_have_strips_and_chunks(void)
{
	struct fuse_dax_range strip = { 0, 0, M };
	struct fuse_fmap_builder *map = fuse_fmap_new(M);

	EXPECT(fuse_fmap_add_stripe_set(map, M, M, &strip, 0) == -EINVAL);
	EXPECT(check(map) == -EINVAL);
	EXPECT(!strcmp(why, "segment 0, strip 0 has no strips"));
	fuse_fmap_free(map);

	map = fuse_fmap_new(M);
	EXPECT(fuse_fmap_add_stripe_set(map, 0, M, &strip, 1) == -EINVAL);
	EXPECT(check(map) == -EINVAL);
	EXPECT(!strcmp(why, "segment 0, strip 0 has a chunk size of 0"));
	fuse_fmap_free(map);
}

static void only_the_last_segment_may_end_inside_a_page(void)
{
	struct fuse_dax_range strip = { 0, 0, M };
	struct fuse_fmap_builder *map = fuse_fmap_new(M);

	EXPECT(!fuse_fmap_add_stripe_set(map, M, M - 1, &strip, 1));
	EXPECT(fuse_fmap_add_extent(map, 1, 0, M) == -EINVAL);
	EXPECT(check(map) == -EINVAL);
	EXPECT(!strcmp(why, "segment 0, strip 0 ends inside a page, but is not the last one"));
	fuse_fmap_free(map);
}

static void the_segments_must_cover_the_file(void)
{
	struct fuse_fmap_builder *map = fuse_fmap_new(M + 1);

	EXPECT(check(map) == -EINVAL);
	EXPECT(!strcmp(why, "the map has no segments"));
	EXPECT(!fuse_fmap_add_extent(map, 0, 0, M));
	EXPECT(check(map) == -EINVAL);
	EXPECT(!strcmp(why, "the segments cover 1048576 bytes, the file has 1048577"));
	fuse_fmap_set_size(map, 0);
	kernel_free(decode(map));
	fuse_fmap_set_size(map, FUSE_FMAP_SIZE_COVERED);
	kernel_free(decode(map));
	fuse_fmap_free(map);
}

static void a_map_grows_up_to_the_limit(void)
{
	/* 32 MiB less the header, in extents of 24 bytes */
	const uint32_t most = (32 * M - 32) / 24;
	struct fuse_fmap_builder *map = fuse_fmap_new(FUSE_FMAP_SIZE_COVERED);
	void *message;
	uint32_t i;
	size_t len;

	/* In descending order, so that sorting has work to do */
	for (i = 0; i < most; i++)
		EXPECT(!fuse_fmap_add_extent(map, 0, (most - i) * 4 * PAGE, PAGE));
	EXPECT(!fuse_fmap_check(map, ALL, NULL, 0, why, sizeof(why)));
	EXPECT(!fuse_fmap_message(map, &message, &len));
	EXPECT(len <= 32 * M && len > 32 * M - 24);
	free(message);

	EXPECT(!fuse_fmap_add_extent(map, 0, 0, PAGE));
	EXPECT(fuse_fmap_check(map, ALL, NULL, 0, why, sizeof(why)) == -EFBIG);
	EXPECT(!strcmp(why, "the message would have 33554456 bytes, the limit is 33554432"));
	EXPECT(fuse_fmap_message(map, &message, &len) == -EFBIG);
	fuse_fmap_free(map);
}

/* ---- random maps ---- */

static uint64_t state;

static uint64_t rnd(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

#define MAX_SEGS	6
#define MAX_STRIPS	5

struct plan_seg {
	uint32_t chunk;		/* 0: an extent */
	uint32_t nstrips;
	uint64_t nbytes;
	struct fuse_dax_range strips[MAX_STRIPS];
};

struct plan {
	int striped;
	uint32_t kinds;
	uint32_t nsegs;
	uint64_t file_size;
	struct plan_seg segs[MAX_SEGS];
};

static uint64_t pages(uint64_t most)
{
	return (1 + rnd(most)) * PAGE;
}

/* Sometimes replace a value by an invalid one */
static uint64_t odd(uint64_t value)
{
	static const uint64_t values[] = {
		0, 1, 511, PAGE - 1, PAGE, PAGE + 1, 1ULL << 32, 1ULL << 52,
		(1ULL << 62) + PAGE, INT64_MAX, 1ULL << 63, -PAGE, UINT64_MAX - 1,
	};

	switch (rnd(60)) {
	case 0:
		return values[rnd(sizeof(values) / sizeof(values[0]))];
	case 1:
		return value + 1;
	case 2:
		return value - PAGE;
	default:
		return value;
	}
}

static void make_plan(struct plan *plan)
{
	uint64_t next[NDEVICES] = { 0 };
	uint64_t covered = 0;
	uint32_t s, i;

	memset(plan, 0, sizeof(*plan));
	plan->kinds = rnd(20) ? ALL : rnd(4);
	plan->nsegs = rnd(40) ? 1 + rnd(MAX_SEGS) : 0;

	for (s = 0; s < plan->nsegs; s++) {
		struct plan_seg *seg = &plan->segs[s];
		uint64_t each = pages(40);

		seg->nstrips = 1;
		if (rnd(2)) {
			plan->striped = 1;
			seg->chunk = rnd(3) ? PAGE << rnd(4) : pages(9);
			seg->nstrips = 1 + rnd(MAX_STRIPS);
			/* full rows, and sometimes only a part of them */
			each = seg->chunk * (1 + rnd(3));
			seg->nbytes = each * seg->nstrips;
			if (!rnd(3))
				seg->nbytes -= rnd(seg->nbytes / PAGE) * PAGE;
			if (s + 1 == plan->nsegs && rnd(2))
				seg->nbytes -= rnd(PAGE);
			seg->nbytes = odd(seg->nbytes);
			if (!rnd(50))
				seg->chunk = (uint32_t)odd(seg->chunk) | 1;
			if (!rnd(80))
				seg->chunk = 3221225472U;
			if (!rnd(100))
				seg->nstrips = 0;
		}
		for (i = 0; i < seg->nstrips; i++) {
			uint32_t d = rnd(NDEVICES);

			seg->strips[i].devindex = rnd(80) ? devices[d].index : 5;
			seg->strips[i].len = odd(each);
			/* after the used part, or anywhere */
			seg->strips[i].offset = odd(rnd(25) ? next[d] : rnd(64) * PAGE);
			next[d] += each + rnd(2) * PAGE;
		}
		if (!seg->chunk)
			seg->nbytes = seg->strips[0].len;
		covered += seg->nbytes;
	}
	plan->file_size = rnd(4) ? covered : odd(covered - rnd(covered + 1));
}

static void *put(void *to, const void *from, size_t n)
{
	return mempcpy(to, from, n);
}

/* Encode the plan, valid or not, independently of the builder */
static size_t encode(const struct plan *plan, void *message)
{
	struct {
		uint8_t file_type, reserved;
		uint16_t version;
		uint32_t kind, n, size;
		uint64_t file_size, reserved2;
	} header = { 0, 0, 1, plan->striped, plan->nsegs, 0, plan->file_size, 0 };
	char *to = put(message, &header, sizeof(header));
	uint32_t s, i;

	for (s = 0; s < plan->nsegs; s++) {
		const struct plan_seg *seg = &plan->segs[s];
		struct {
			uint32_t nstrips, chunk;
			uint64_t nbytes, reserved;
		} set = { seg->nstrips, seg->chunk ? seg->chunk : PAGE, seg->nbytes, 0 };

		if (plan->striped)
			to = put(to, &set, sizeof(set));
		for (i = 0; i < seg->nstrips; i++) {
			struct {
				uint32_t dev, reserved;
				uint64_t offset, len;
			} ext = { seg->strips[i].devindex, 0,
				  seg->strips[i].offset, seg->strips[i].len };

			to = put(to, &ext, sizeof(ext));
		}
	}
	return to - (char *)message;
}

/* The place of byte pos, by the definition */
static void model(const struct plan *plan, uint64_t pos, uint32_t *devindex,
		  uint64_t *offset)
{
	const struct plan_seg *seg = plan->segs;
	uint64_t c;

	while (pos >= seg->nbytes)
		pos -= seg++->nbytes;
	if (!seg->chunk) {
		*devindex = seg->strips[0].devindex;
		*offset = seg->strips[0].offset + pos;
		return;
	}
	c = pos / seg->chunk;
	*devindex = seg->strips[c % seg->nstrips].devindex;
	*offset = seg->strips[c % seg->nstrips].offset +
		  c / seg->nstrips * seg->chunk + pos % seg->chunk;
}

static struct fuse_fmap_builder *build(const struct plan *plan)
{
	struct fuse_fmap_builder *map = fuse_fmap_new(plan->file_size);
	uint32_t s;

	for (s = 0; s < plan->nsegs; s++) {
		const struct plan_seg *seg = &plan->segs[s];

		if (seg->chunk)
			fuse_fmap_add_stripe_set(map, seg->chunk, seg->nbytes,
						 seg->strips, seg->nstrips);
		else
			fuse_fmap_add_extent(map, seg->strips[0].devindex,
					     seg->strips[0].offset,
					     seg->strips[0].len);
	}
	return map;
}

static void builder_and_kernel_agree_on_random_maps(void)
{
	unsigned long rounds = getenv("ROUNDS") ? atol(getenv("ROUNDS")) : 100000;
	unsigned long accepted = 0, round;
	static char raw[64 * 1024];
	static struct plan plan;

	state = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : 1;
	state = state * 0x9e3779b97f4a7c15ULL | 1;

	for (round = 0; round < rounds; round++) {
		struct kernel_map *decoded = NULL;
		struct fuse_fmap_builder *map;
		const char *refused;
		void *message;
		size_t len;
		int err, i;

		make_plan(&plan);
		len = encode(&plan, raw);
		refused = kernel_decode(raw, len, plan.kinds, devices, NDEVICES,
					&decoded);
		map = build(&plan);
		err = fuse_fmap_check(map, plan.kinds, known, NDEVICES, why,
				      sizeof(why));
		if (!err != !refused || !err != !*why) {
			fprintf(stderr, "round %lu: builder: %d %s; kernel: %s\n",
				round, err, why, refused ? refused : "accepts it");
			exit(1);
		}
		if (!err) {
			accepted++;
			kernel_free(decoded);
			EXPECT(!fuse_fmap_message(map, &message, &len));
			refused = kernel_decode(message, len, plan.kinds,
						devices, NDEVICES, &decoded);
			EXPECT(!refused);
			EXPECT(kernel_file_size(decoded) == plan.file_size);
			for (i = 0; plan.file_size && i < 20; i++) {
				uint64_t pos = rnd(plan.file_size), offset;
				uint32_t devindex;

				model(&plan, pos, &devindex, &offset);
				expect_place(decoded, pos, devindex, offset);
			}
			kernel_free(decoded);
			free(message);
		}
		fuse_fmap_free(map);
	}
	/* The test is only useful with enough valid and enough invalid maps */
	printf("# %lu of %lu random maps are valid\n", accepted, rounds);
	EXPECT(accepted > rounds / 5 && accepted < rounds / 5 * 4);
}

#ifdef HAVE_KERNEL_FMAP
#define WITH_KERNEL(name)	TAP_TEST(name)
#else
#define WITH_KERNEL(name)	TAP_SKIP(name, "built without -Dkernel-fmap")
#endif

static const struct tap_test tests[] = {
	WITH_KERNEL(extents_are_where_they_were_put),
	WITH_KERNEL(a_stripe_set_goes_from_strip_to_strip),
	WITH_KERNEL(extents_and_stripe_sets_mix),
	TAP_TEST(only_what_was_negotiated_is_accepted),
	TAP_TEST(errors_are_described),
	TAP_TEST(stripe_sets_have_strips_and_chunks),
	TAP_TEST(only_the_last_segment_may_end_inside_a_page),
	WITH_KERNEL(the_segments_must_cover_the_file),
	TAP_TEST(a_map_grows_up_to_the_limit),
	WITH_KERNEL(builder_and_kernel_agree_on_random_maps),
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < NDEVICES; i++)
		known[i] = (struct fuse_fmap_device) {
			.index = devices[i].index,
			.size = devices[i].size,
		};
	return tap_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
