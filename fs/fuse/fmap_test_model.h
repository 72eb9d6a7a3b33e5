/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DAX file maps: a slow model of fs/fuse/fmap.c, and random maps to test both.
 *
 * The model has no state. It interprets the message from its start for every
 * query, with plain divisions. Used by the KUnit test and, in user space, by
 * the fuzzer in tools/testing/fmap.
 */
#ifndef _FS_FUSE_FMAP_TEST_MODEL_H
#define _FS_FUSE_FMAP_TEST_MODEL_H

#include "fmap.h"

#include <linux/align.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#define FMAP_MODEL_DEVS		8

/* The code under test only stores and compares pointers to devices */
static inline struct fuse_daxdev *fmap_model_dev(unsigned int number)
{
	return (struct fuse_daxdev *)(unsigned long)(number + 1);
}

/* Number of bytes that a set places on its strip number s */
static inline u64 fmap_model_need(const struct fuse_fmap_stripe_set *set, u32 s)
{
	u64 bytes = PAGE_ALIGN(set->nbytes);
	u64 chunks = div64_u64(bytes + set->chunk_size - 1, set->chunk_size);
	u64 mine, need, round;

	/* Round robin: this strip gets chunks s, s + nstrips, ... */
	if (chunks <= s)
		return 0;
	mine = div64_u64(chunks - s + set->nstrips - 1, set->nstrips);
	need = mine * set->chunk_size;

	/* The last chunk of the set may be shorter */
	round = div64_u64(chunks - 1, set->nstrips);
	if (chunks - 1 - round * set->nstrips == s)
		need -= chunks * set->chunk_size - bytes;
	return need;
}

static inline bool fmap_model_valid_set(const struct fuse_fmap_stripe_set *set)
{
	u64 pages = set->nbytes >> PAGE_SHIFT;
	u64 chunk_pages = set->chunk_size >> PAGE_SHIFT;

	if (set->reserved || !set->nstrips || !set->chunk_size ||
	    set->chunk_size % PAGE_SIZE || !set->nbytes ||
	    set->nbytes > MAX_LFS_FILESIZE)
		return false;
	/* Divisors that aren't powers of two have a limit */
	if (!is_power_of_2(chunk_pages) &&
	    pages > div64_u64(U64_MAX, chunk_pages))
		return false;
	return is_power_of_2(set->nstrips) ||
	       pages <= div64_u64(U64_MAX, set->nstrips);
}

/* Return true if the message is valid. @buf is aligned like an allocation. */
static inline bool fmap_model_valid(const void *buf, size_t len, u32 kinds)
{
	const struct fuse_fmap_header *h = buf;
	const struct fuse_fmap_stripe_set *set;
	const struct fuse_fmap_extent *ext;
	size_t pos = sizeof(*h);
	u64 covered = 0, bytes;
	u32 i, s, nstrips;

	if (len < pos || h->version != 1 || h->reserved || h->reserved2 ||
	    h->kind > 1 || !(kinds & (1U << h->kind)) || !h->nextents ||
	    h->file_size > MAX_LFS_FILESIZE ||
	    (h->fmap_size && h->fmap_size != len))
		return false;

	for (i = 0; i < h->nextents; i++) {
		if (covered % PAGE_SIZE)
			return false;
		set = NULL;
		nstrips = 1;
		bytes = 0;
		if (h->kind == 1) {
			set = buf + pos;
			pos += sizeof(*set);
			if (pos > len || !fmap_model_valid_set(set))
				return false;
			nstrips = set->nstrips;
			bytes = set->nbytes;
		}
		for (s = 0; s < nstrips; s++) {
			ext = buf + pos;
			pos += sizeof(*ext);
			if (pos > len || ext->reserved || !ext->len ||
			    ext->offset % PAGE_SIZE || ext->len % PAGE_SIZE ||
			    ext->len > U64_MAX - ext->offset)
				return false;
			if (!set)
				bytes = ext->len;
			else if (ext->len < fmap_model_need(set, s))
				return false;
		}
		if (bytes > MAX_LFS_FILESIZE ||
		    covered > MAX_LFS_FILESIZE - bytes)
			return false;
		covered += bytes;
	}
	if (h->file_size > covered || (h->fmap_size && pos < len))
		return false;
	for (; pos < len; pos++)
		if (*(const u8 *)(buf + pos))
			return false;
	return true;
}

static inline const struct fuse_fmap_dev *
fmap_model_find(const struct fuse_fmap_dev *devs, unsigned int ndevs, u32 index)
{
	unsigned int i;

	for (i = 0; i < ndevs; i++)
		if (devs[i].index == index)
			return &devs[i];
	return NULL;
}

/* Position in a walk of the segments of a valid message */
struct fmap_model_seg {
	const void *next;
	u64 bytes;			/* rounded up to the page size */
	u32 nstrips;
	const struct fuse_fmap_stripe_set *set;	/* or NULL */
	const struct fuse_fmap_extent *ext;
};

static inline void fmap_model_seg(const struct fuse_fmap_header *h,
				  struct fmap_model_seg *seg)
{
	const void *p = seg->next ?: h + 1;

	seg->nstrips = 1;
	seg->set = NULL;
	if (h->kind == 1) {
		seg->set = p;
		p += sizeof(*seg->set);
		seg->nstrips = seg->set->nstrips;
	}
	seg->ext = p;
	seg->next = seg->ext + seg->nstrips;
	seg->bytes = seg->set ? PAGE_ALIGN(seg->set->nbytes) : seg->ext->len;
}

/* Number of bytes that a valid message covers, rounded up to the page size */
static inline u64 fmap_model_end(const struct fuse_fmap_header *h)
{
	struct fmap_model_seg seg = {};
	u64 end = 0;
	u32 i;

	for (i = 0; i < h->nextents; i++) {
		fmap_model_seg(h, &seg);
		end += seg.bytes;
	}
	return end;
}

/*
 * Resolve byte @pos of the file. The range ends with the chunk, or with the
 * last of the extents that are contiguous on the device.
 */
static inline void fmap_model_resolve(const struct fuse_fmap_header *h,
				      const struct fuse_fmap_dev *devs,
				      unsigned int ndevs, u64 pos,
				      struct fuse_fmap_range *range)
{
	struct fmap_model_seg seg = {};
	u64 chunk, row, in_chunk;
	u32 i, chunk_size;

	for (i = 0; i < h->nextents; i++) {
		fmap_model_seg(h, &seg);
		if (pos < seg.bytes)
			break;
		pos -= seg.bytes;
	}

	if (seg.nstrips > 1) {
		chunk_size = seg.set->chunk_size;
		chunk = div64_u64(pos, chunk_size);
		in_chunk = pos - chunk * chunk_size;
		row = div64_u64(chunk, seg.nstrips);
		seg.ext += chunk - row * seg.nstrips;
		range->dev = fmap_model_find(devs, ndevs,
					     seg.ext->devindex)->dev;
		range->offset = seg.ext->offset + row * chunk_size + in_chunk;
		range->len = min(chunk_size - in_chunk, seg.bytes - pos);
		return;
	}

	range->dev = fmap_model_find(devs, ndevs, seg.ext->devindex)->dev;
	range->offset = seg.ext->offset + pos;
	range->len = seg.bytes - pos;
	for (i++; i < h->nextents; i++) {
		fmap_model_seg(h, &seg);
		if (seg.nstrips > 1 ||
		    fmap_model_find(devs, ndevs, seg.ext->devindex)->dev !=
		    range->dev ||
		    seg.ext->offset != range->offset + range->len)
			return;
		range->len += seg.bytes;
	}
}

/* SplitMix64: the same numbers in the kernel and in user space */
static inline u64 fmap_random(u64 *state)
{
	u64 x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline u64 fmap_random_below(u64 *state, u64 limit)
{
	u64 x = fmap_random(state);

	return x - div64_u64(x, limit) * limit;
}

/* Compare the walk of the message and the walk of the map with the model */
static inline const char *
fmap_model_compare_ranges(const struct fuse_fmap_msg *msg,
			  const struct fuse_fmap *map,
			  const struct fuse_fmap_dev *devs, unsigned int ndevs)
{
	struct fuse_fmap_range range = {};
	struct fmap_model_seg seg = {};
	struct fuse_fmap_pos pos = {};
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;
	struct fuse_daxdev *dev;
	u32 i, s;
	u64 used;

	fuse_fmap_first(&cur, msg);
	for (i = 0; i < msg->nsegs; i++) {
		fmap_model_seg(msg->buf, &seg);
		for (s = 0; s < seg.nstrips; s++) {
			if (!fuse_fmap_next(&cur, &ext) ||
			    memcmp(&ext, &seg.ext[s], sizeof(ext)) ||
			    cur.seg != i || cur.strip != s)
				return "walk of the message: wrong extent";
			used = seg.set ? fmap_model_need(seg.set, s) : ext.len;
			if (fuse_fmap_used_len(&cur, &ext) != used)
				return "wrong used length of an extent";
			if (!used)
				continue;

			dev = fmap_model_find(devs, ndevs, ext.devindex)->dev;
			if (!range.len &&
			    !fuse_fmap_next_range(map, &pos, &range))
				return "walk of the map: missing range";
			if (range.dev != dev || range.offset != ext.offset ||
			    range.len < used ||
			    (seg.nstrips > 1 && range.len != used))
				return "walk of the map: wrong range";
			range.offset += used;
			range.len -= used;
		}
	}
	if (fuse_fmap_next(&cur, &ext))
		return "walk of the message: too many extents";
	if (range.len || fuse_fmap_next_range(map, &pos, &range))
		return "walk of the map: too many ranges";
	return NULL;
}

static inline const char *
fmap_model_compare_at(const struct fuse_fmap_msg *msg,
		      const struct fuse_fmap *map,
		      const struct fuse_fmap_dev *devs, unsigned int ndevs,
		      u64 pos, struct fuse_fmap_range *range)
{
	struct fuse_fmap_range want;
	unsigned int i;
	u64 back;

	fmap_model_resolve(msg->buf, devs, ndevs, pos, &want);
	fuse_fmap_resolve(map, pos, range);
	if (range->dev != want.dev)
		return "resolved to the wrong device";
	if (range->offset != want.offset)
		return "resolved to the wrong offset";
	if (range->len != want.len)
		return "resolved to the wrong length";

	for (i = 0; devs[i].dev != range->dev; i++)
		;
	if (!range->len || range->offset >= devs[i].size ||
	    range->len > devs[i].size - range->offset)
		return "resolved to a range past the end of its device";

	/* In a random map, a byte can be at more than one file position */
	if (!fuse_fmap_find(map, range->dev, range->offset, &back))
		return "device byte not found in the map";
	fuse_fmap_resolve(map, back, &want);
	if (want.dev != range->dev || want.offset != range->offset)
		return "device byte found at the wrong file position";
	return NULL;
}

/*
 * Check a message, build its map and resolve @npos positions, with the code and
 * with the model. Returns NULL if the results are equal, otherwise the
 * difference. Builds no map if a device is missing in the table.
 */
static inline const char *
fmap_model_compare(const void *buf, size_t len, u32 kinds,
		   const struct fuse_fmap_dev *devs, unsigned int ndevs,
		   u64 seed, unsigned int npos)
{
	struct fuse_fmap_msg msg = { .buf = buf, .len = len };
	struct fuse_fmap_range range = {};
	const struct fuse_fmap_header *h = buf;
	const struct fuse_fmap_dev *dev;
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;
	struct fuse_fmap *map;
	bool fits = true;
	const char *why;
	u64 pos, end;

	why = fuse_fmap_check(&msg, kinds);
	if (!why != fmap_model_valid(buf, len, kinds))
		return why ?: "invalid message accepted";
	if (why)
		return NULL;
	if (msg.kind != h->kind || msg.nsegs != h->nextents ||
	    msg.file_size != h->file_size)
		return "header decoded incorrectly";

	fuse_fmap_first(&cur, &msg);
	while (fuse_fmap_next(&cur, &ext)) {
		dev = fmap_model_find(devs, ndevs, ext.devindex);
		if (!dev)
			return NULL;
		if (dev != &devs[fuse_fmap_find_dev(devs, ndevs, ext.devindex)])
			return "wrong device found in the table";
		if (ext.offset > dev->size ||
		    ext.len > dev->size - ext.offset)
			fits = false;
	}

	map = kvmalloc(fuse_fmap_bytes(&msg), GFP_KERNEL);
	if (!map)
		return "no memory";
	why = fuse_fmap_build(&msg, devs, ndevs, map);
	if (!why != fits) {
		why = why ?: "map built past the end of a device";
		goto out;
	}
	if (why) {
		why = NULL;
		goto out;
	}

	end = fmap_model_end(h);
	why = "wrong end mark";
	if (map->segs[map->nsegs].start != end ||
	    map->file_size != h->file_size)
		goto out;
	why = fmap_model_compare_ranges(&msg, map, devs, ndevs);

	/* First and last byte, then random positions and range boundaries */
	for (pos = 0; !why && npos; npos--) {
		why = fmap_model_compare_at(&msg, map, devs, ndevs, pos,
					    &range);
		switch (fmap_random_below(&seed, pos ? 4 : 2)) {
		case 0:
			pos += range.len;
			break;
		case 1:
			pos += range.len - 1;
			break;
		case 2:
			pos -= fmap_random_below(&seed,
						 min(pos, 2 * PAGE_SIZE));
			break;
		case 3:
			pos = fmap_random_below(&seed, end);
			break;
		}
		if (pos >= end)
			pos = fmap_random(&seed) & 1 ? end - 1 : 0;
		if (npos == 2)
			pos = end - 1;
	}
out:
	kvfree(map);
	return why;
}

/*
 * A random valid map and its devices. Each device ends with the last extent on
 * it or one page later.
 */
#define FMAP_RANDOM_SEGS	40
#define FMAP_RANDOM_STRIPS	24
#define FMAP_RANDOM_ZEROS	100	/* after the last extent */
#define FMAP_RANDOM_ROOM	(sizeof(struct fuse_fmap_header) +	\
	FMAP_RANDOM_SEGS * (sizeof(struct fuse_fmap_stripe_set) +	\
	FMAP_RANDOM_STRIPS * sizeof(struct fuse_fmap_extent)) +	\
	FMAP_RANDOM_ZEROS)

struct fmap_random_map {
	u64 state;
	struct fuse_fmap_dev devs[FMAP_MODEL_DEVS];
	unsigned int ndevs;
	unsigned int scale;		/* lengths are pages << scale */
	struct fuse_fmap_extent last;	/* a next one may continue it */
	size_t len;
	u8 buf[FMAP_RANDOM_ROOM] __aligned(8);
};

static inline u64 fmap_random_length(struct fmap_random_map *m)
{
	u64 pages = fmap_random_below(&m->state, 3000) + 1;

	return pages * PAGE_SIZE << m->scale;
}

static inline void *fmap_random_add(struct fmap_random_map *m, size_t size)
{
	void *p = m->buf + m->len;

	m->len += size;
	return p;
}

static inline void fmap_random_extent(struct fmap_random_map *m, u64 len,
				      bool follows)
{
	struct fuse_fmap_extent *ext = fmap_random_add(m, sizeof(*ext));
	struct fuse_fmap_dev *dev;
	unsigned int i;

	i = fmap_random_below(&m->state, FMAP_MODEL_DEVS);
	ext->devindex = m->devs[i].index;
	ext->offset = fmap_random_below(&m->state, 1 << 20) * PAGE_SIZE
		      << m->scale;
	ext->len = len;
	if (follows) {
		ext->devindex = m->last.devindex;
		ext->offset = m->last.offset + m->last.len;
	}
	m->last = *ext;

	for (dev = m->devs; dev->index != ext->devindex; dev++)
		;
	dev->size = max(dev->size, ext->offset + ext->len);
}

static inline void fmap_random_set(struct fmap_random_map *m, u64 nbytes)
{
	struct fuse_fmap_stripe_set *set = fmap_random_add(m, sizeof(*set));
	u64 chunk, len;
	u32 s;

	set->nstrips = 1;
	if (fmap_random_below(&m->state, 3))
		set->nstrips += fmap_random_below(&m->state,
						  FMAP_RANDOM_STRIPS);
	chunk = 1 << fmap_random_below(&m->state, 10);
	if (fmap_random(&m->state) & 1)
		chunk = fmap_random_below(&m->state, 1000) + 1;
	set->chunk_size = min(chunk * PAGE_SIZE << m->scale,
			      round_down(U32_MAX, PAGE_SIZE));
	set->nbytes = nbytes;

	for (s = 0; s < set->nstrips; s++) {
		len = fmap_model_need(set, s);
		if (!len || !fmap_random_below(&m->state, 8))
			len += PAGE_SIZE;
		fmap_random_extent(m, len, s == 0 && m->last.len &&
				   !fmap_random_below(&m->state, 4));
		if (set->nstrips == 1)
			m->last.len = PAGE_ALIGN(nbytes);
	}
}

static inline void fmap_random_devs(struct fmap_random_map *m)
{
	unsigned int i;
	u64 index = 0;

	for (i = 0; i < FMAP_MODEL_DEVS; i++) {
		index += fmap_random_below(&m->state,
					   U32_MAX / FMAP_MODEL_DEVS);
		m->devs[i] = (struct fuse_fmap_dev) {
			.index = index++,
			.readonly = !fmap_random_below(&m->state, 8),
			.dev = fmap_model_dev(i),
		};
	}
}

/* Keep only the devices that the message names */
static inline void fmap_random_prune_devs(struct fmap_random_map *m)
{
	unsigned int i;

	m->ndevs = 0;
	for (i = 0; i < FMAP_MODEL_DEVS; i++) {
		if (!m->devs[i].size)
			continue;
		if (fmap_random(&m->state) & 1)
			m->devs[i].size += PAGE_SIZE;
		m->devs[m->ndevs++] = m->devs[i];
	}
}

static inline void fmap_random_map(struct fmap_random_map *m, u64 seed)
{
	struct fuse_fmap_header *h;
	u64 equal, bytes, covered = 0;
	u32 i;

	memset(m, 0, sizeof(*m));
	m->state = seed;
	if (!fmap_random_below(&m->state, 4))
		m->scale = fmap_random_below(&m->state, 31);
	fmap_random_devs(m);

	h = fmap_random_add(m, sizeof(*h));
	h->file_type = fmap_random(&m->state);
	h->version = FUSE_FMAP_VERSION;
	h->kind = fmap_random(&m->state) & 1;
	h->nextents = fmap_random_below(&m->state,
					fmap_random_below(&m->state, 4) ?
					4 : FMAP_RANDOM_SEGS) + 1;
	equal = fmap_random(&m->state) & 1 ? fmap_random_length(m) : 0;

	for (i = 0; i < h->nextents; i++) {
		bool last = i == h->nextents - 1;

		bytes = equal && !last ? equal : fmap_random_length(m);
		if (h->kind == FUSE_FMAP_EXTENTS) {
			fmap_random_extent(m, bytes, i &&
					   !fmap_random_below(&m->state, 4));
		} else {
			if (last)
				bytes -= fmap_random_below(&m->state,
							   PAGE_SIZE);
			fmap_random_set(m, bytes);
		}
		covered += bytes;
	}

	h->file_size = covered - fmap_random_below(&m->state, PAGE_SIZE);
	if (h->file_size > covered || !fmap_random_below(&m->state, 4))
		h->file_size = fmap_random_below(&m->state, covered + 1);
	if (fmap_random(&m->state) & 1)
		h->fmap_size = m->len;
	else
		m->len += fmap_random_below(&m->state, FMAP_RANDOM_ZEROS);
	fmap_random_prune_devs(m);
}

#endif /* _FS_FUSE_FMAP_TEST_MODEL_H */
