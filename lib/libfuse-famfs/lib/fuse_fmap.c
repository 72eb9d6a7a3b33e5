// SPDX-License-Identifier: LGPL-2.1-only
/*
 * FUSE: Filesystem in Userspace
 *
 * The builder of DAX file maps. It checks maps by the same rules as the kernel.
 * It needs no session: fuse_fmap_reply.c sends maps.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#define _GNU_SOURCE

#include "fuse_fmap.h"
#include "fuse_kernel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For an extent in a map that also has stripe sets; any power of two works */
#define EXTENT_CHUNK_SIZE	(2U << 20)

/*
 * Segments are stored as stripe sets in the form of the message; an extent is a
 * set of one strip. sets[i] is segment i. Its strips follow those of segment
 * i - 1.
 */
struct fuse_fmap_builder {
	uint64_t file_size;
	uint64_t covered;
	bool striped;

	struct fuse_fmap_stripe_set *sets;
	size_t nsets;
	size_t sets_room;

	struct fuse_fmap_extent *strips;
	size_t nstrips;
	size_t strips_room;

	/* the error of the first add function that failed */
	int err;
	const char *why;
	size_t bad_seg;
	size_t bad_strip;
};

/* A range of a device that a strip uses, for sorting */
struct range {
	uint32_t devindex;
	uint64_t offset;
	uint64_t used;
	uint64_t len;
	uint32_t seg;
	uint32_t strip;
};

static uint64_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static bool page_aligned(uint64_t n)
{
	return !(n & (page_size() - 1));
}

struct fuse_fmap_builder *fuse_fmap_new(uint64_t file_size)
{
	struct fuse_fmap_builder *map = calloc(1, sizeof(*map));

	if (map)
		map->file_size = file_size;
	return map;
}

void fuse_fmap_free(struct fuse_fmap_builder *map)
{
	if (!map)
		return;
	free(map->sets);
	free(map->strips);
	free(map);
}

void fuse_fmap_set_size(struct fuse_fmap_builder *map, uint64_t file_size)
{
	map->file_size = file_size;
}

static uint64_t size_of_file(const struct fuse_fmap_builder *map)
{
	return map->file_size == FUSE_FMAP_SIZE_COVERED ?
		map->covered : map->file_size;
}

/* Record the first error. After that nothing is added */
static int fail(struct fuse_fmap_builder *map, int err,
		size_t seg, size_t strip, const char *why)
{
	map->err = err;
	map->why = why;
	map->bad_seg = seg;
	map->bad_strip = strip;
	return err;
}

/* Make room for `more` elements of `size` bytes, by doubling */
static bool grow(void *array, size_t *room, size_t n, size_t more, size_t size)
{
	size_t want = *room ? *room : 4;
	void *bigger;

	if (more > SIZE_MAX / size / 2 - n)
		return false;
	while (want < n + more)
		want *= 2;
	if (want == *room)
		return true;

	bigger = reallocarray(*(void **)array, want, size);
	if (!bigger)
		return false;
	*(void **)array = bigger;
	*room = want;
	return true;
}

/*
 * Unless the divisor is a power of two, the kernel multiplies by a reciprocal,
 * which is exact only up to a limit.
 */
static bool can_divide(uint64_t max, uint64_t by)
{
	return !(by & (by - 1)) || max <= UINT64_MAX / by;
}

/* Bytes of strip s that the set uses: all full rows, and a part of the last */
static uint64_t strip_used(const struct fuse_fmap_stripe_set *set, uint32_t s)
{
	uint64_t nbytes = (set->nbytes + page_size() - 1) & ~(page_size() - 1);
	uint64_t row = (uint64_t)set->nstrips * set->chunk_size;
	uint64_t before = (uint64_t)s * set->chunk_size;
	uint64_t used = nbytes / row * set->chunk_size;
	uint64_t rest = nbytes % row;

	if (rest <= before)
		return used;
	rest -= before;
	return used + (rest < set->chunk_size ? rest : set->chunk_size);
}

static const char *wrong_extent(const struct fuse_dax_range *ext)
{
	if (!ext->len)
		return "has no length";
	if (!page_aligned(ext->offset))
		return "has an offset that is not a multiple of the page size";
	if (!page_aligned(ext->len))
		return "has a length that is not a multiple of the page size";
	if (ext->offset + ext->len < ext->offset)
		return "ends after the largest offset";
	return NULL;
}

static const char *wrong_set(const struct fuse_fmap_stripe_set *set)
{
	uint64_t pages = set->nbytes / page_size();

	if (!set->nstrips)
		return "has no strips";
	if (!set->chunk_size)
		return "has a chunk size of 0";
	if (!page_aligned(set->chunk_size))
		return "has a chunk size that is not a multiple of the page size";
	if (!set->nbytes)
		return "covers no bytes of the file";
	if (set->nbytes > INT64_MAX)
		return "covers more than the largest file size";
	if (!can_divide(pages, set->chunk_size / page_size()) ||
	    !can_divide(pages, set->nstrips))
		return "is too large for its chunk size or number of strips";
	return NULL;
}

/* Add a checked set. Its strips were added before */
static int add_set(struct fuse_fmap_builder *map,
		   const struct fuse_fmap_stripe_set *set)
{
	if (map->covered + set->nbytes > INT64_MAX)
		return fail(map, -EINVAL, map->nsets, 0,
			    "makes the segments cover more than the largest file size");
	if (!grow(&map->sets, &map->sets_room, map->nsets, 1, sizeof(*set)))
		return fail(map, -ENOMEM, map->nsets, 0,
			    "could not be added: no memory");

	map->covered += set->nbytes;
	map->sets[map->nsets++] = *set;
	return 0;
}

static int add_strips(struct fuse_fmap_builder *map,
		      const struct fuse_dax_range *from, uint32_t n)
{
	uint32_t i;

	if (!grow(&map->strips, &map->strips_room, map->nstrips, n,
		  sizeof(*map->strips)))
		return fail(map, -ENOMEM, map->nsets, 0,
			    "could not be added: no memory");

	for (i = 0; i < n; i++) {
		map->strips[map->nstrips++] = (struct fuse_fmap_extent) {
			.devindex = from[i].devindex,
			.offset = from[i].offset,
			.len = from[i].len,
		};
	}
	return 0;
}

/* Only the last segment may end inside a page, so none may follow it */
static int check_end(struct fuse_fmap_builder *map)
{
	if (map->err)
		return map->err;
	if (!page_aligned(map->covered))
		return fail(map, -EINVAL, map->nsets - 1, 0,
			    "ends inside a page, but is not the last one");
	return 0;
}

int fuse_fmap_add_extent(struct fuse_fmap_builder *map, uint32_t devindex,
			 uint64_t offset, uint64_t len)
{
	struct fuse_dax_range ext = {
		.devindex = devindex,
		.offset = offset,
		.len = len,
	};
	struct fuse_fmap_stripe_set set = {
		.nstrips = 1,
		.chunk_size = EXTENT_CHUNK_SIZE,
		.nbytes = len,
	};
	const char *why;
	int err;

	err = check_end(map);
	if (err)
		return err;

	why = wrong_extent(&ext);
	if (!why && len > INT64_MAX)
		why = "covers more than the largest file size";
	if (why)
		return fail(map, -EINVAL, map->nsets, 0, why);

	err = add_strips(map, &ext, 1);
	return err ? err : add_set(map, &set);
}

int fuse_fmap_add_stripe_set(struct fuse_fmap_builder *map, uint32_t chunk_size,
			     uint64_t nbytes,
			     const struct fuse_dax_range *strips,
			     uint32_t nstrips)
{
	struct fuse_fmap_stripe_set set = {
		.nstrips = nstrips,
		.chunk_size = chunk_size,
		.nbytes = nbytes,
	};
	const char *why;
	uint32_t i;
	int err;

	err = check_end(map);
	if (err)
		return err;

	why = wrong_set(&set);
	if (why)
		return fail(map, -EINVAL, map->nsets, 0, why);

	for (i = 0; i < nstrips; i++) {
		why = wrong_extent(&strips[i]);
		if (!why && strips[i].len < strip_used(&set, i))
			why = "is too short for its chunks";
		if (why)
			return fail(map, -EINVAL, map->nsets, i, why);
	}

	err = add_strips(map, strips, nstrips);
	if (!err)
		err = add_set(map, &set);
	if (!err)
		map->striped = true;
	return err;
}

static size_t message_size(const struct fuse_fmap_builder *map)
{
	size_t len = sizeof(struct fuse_fmap_header) +
		     map->nstrips * sizeof(struct fuse_fmap_extent);

	if (map->striped)
		len += map->nsets * sizeof(struct fuse_fmap_stripe_set);
	return len;
}

int fuse_fmap_message(const struct fuse_fmap_builder *map,
		      void **buf, size_t *len)
{
	const struct fuse_fmap_extent *strip = map->strips;
	struct fuse_fmap_header header = {
		.version = FUSE_FMAP_VERSION,
		.kind = map->striped ? FUSE_FMAP_STRIPED : FUSE_FMAP_EXTENTS,
		.nextents = map->nsets,
		.fmap_size = message_size(map),
		.file_size = size_of_file(map),
	};
	char *to;
	size_t i;

	if (map->err)
		return map->err;
	if (message_size(map) > FUSE_FMAP_MAX_SIZE)
		return -EFBIG;

	to = malloc(header.fmap_size);
	if (!to)
		return -ENOMEM;
	*buf = to;
	*len = header.fmap_size;

	to = mempcpy(to, &header, sizeof(header));
	for (i = 0; i < map->nsets; i++) {
		const struct fuse_fmap_stripe_set *set = &map->sets[i];

		if (map->striped)
			to = mempcpy(to, set, sizeof(*set));
		to = mempcpy(to, strip, set->nstrips * sizeof(*strip));
		strip += set->nstrips;
	}
	return 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->devindex != y->devindex)
		return x->devindex < y->devindex ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return 0;
}

/* The ranges of the file, sorted by device and offset */
static struct range *sorted_ranges(const struct fuse_fmap_builder *map)
{
	struct range *ranges = calloc(map->nstrips, sizeof(*ranges));
	const struct fuse_fmap_extent *strip = map->strips;
	struct range *r = ranges;
	uint32_t seg, i;

	if (!ranges)
		return NULL;
	for (seg = 0; seg < map->nsets; seg++) {
		for (i = 0; i < map->sets[seg].nstrips; i++, strip++) {
			*r++ = (struct range) {
				.devindex = strip->devindex,
				.offset = strip->offset,
				.used = strip_used(&map->sets[seg], i),
				.len = strip->len,
				.seg = seg,
				.strip = i,
			};
		}
	}
	qsort(ranges, map->nstrips, sizeof(*ranges), compare_ranges);
	return ranges;
}

static const struct fuse_fmap_device *
find_device(const struct fuse_fmap_device *devs, size_t ndevs, uint32_t index)
{
	size_t i;

	for (i = 0; i < ndevs; i++)
		if (devs[i].index == index)
			return &devs[i];
	return NULL;
}

static int check_ranges(const struct fuse_fmap_builder *map,
			const struct range *ranges,
			const struct fuse_fmap_device *devs, size_t ndevs,
			char *why, size_t whylen)
{
	const struct fuse_fmap_device *dev = NULL;
	const struct range *before = NULL;
	const struct range *r;

	for (r = ranges; r < ranges + map->nstrips; r++) {
		bool next_device = r == ranges || r[-1].devindex != r->devindex;

		if (next_device) {
			before = NULL;
			dev = devs ? find_device(devs, ndevs, r->devindex) :
				     NULL;
		}
		if (devs && !dev) {
			snprintf(why, whylen, "segment %u, strip %u: no device has index %u",
				 r->seg, r->strip, r->devindex);
			return -ENODEV;
		}
		if (devs && r->offset + r->len > dev->size) {
			snprintf(why, whylen, "segment %u, strip %u ends after the end of device %u",
				 r->seg, r->strip, r->devindex);
			return -EINVAL;
		}

		/* A file with few chunks may not use its last strips */
		if (!r->used)
			continue;
		if (before && r->offset < before->offset + before->used) {
			snprintf(why, whylen, "segment %u, strip %u overlaps segment %u, strip %u on device %u",
				 r->seg, r->strip, before->seg, before->strip,
				 r->devindex);
			return -EINVAL;
		}
		before = r;
	}
	return 0;
}

int fuse_fmap_check(const struct fuse_fmap_builder *map, uint32_t kinds,
		    const struct fuse_fmap_device *devs, size_t ndevs,
		    char *why, size_t whylen)
{
	uint32_t kind = map->striped ? FUSE_FMAP_STRIPED : FUSE_FMAP_EXTENTS;
	struct range *ranges;
	int err;

	if (!why)
		whylen = 0;
	if (whylen)
		*why = '\0';

	if (map->err) {
		snprintf(why, whylen, "segment %zu, strip %zu %s",
			 map->bad_seg, map->bad_strip, map->why);
		return map->err;
	}
	if (!map->nsets) {
		snprintf(why, whylen, "the map has no segments");
		return -EINVAL;
	}
	if (!(kinds & (1U << kind))) {
		snprintf(why, whylen, "%s were not negotiated with the kernel",
			 map->striped ? "stripe sets" : "extents");
		return -EOPNOTSUPP;
	}
	if (message_size(map) > FUSE_FMAP_MAX_SIZE) {
		snprintf(why, whylen, "the message would have %zu bytes, the limit is %u",
			 message_size(map), FUSE_FMAP_MAX_SIZE);
		return -EFBIG;
	}
	if (size_of_file(map) > map->covered) {
		snprintf(why, whylen, "the segments cover %llu bytes, the file has %llu",
			 (unsigned long long)map->covered,
			 (unsigned long long)size_of_file(map));
		return -EINVAL;
	}

	ranges = sorted_ranges(map);
	if (!ranges) {
		snprintf(why, whylen, "no memory for the check");
		return -ENOMEM;
	}
	err = check_ranges(map, ranges, devs, ndevs, why, whylen);
	free(ranges);
	return err;
}
