// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: decode, validate, resolve.
 *
 * A message from the server is untrusted until fuse_fmap_check() has accepted
 * it. fuse_fmap_build() makes the checks that need the devices. After that the
 * resolver trusts every number that it reads.
 */
#include "fmap.h"

#include <kunit/visibility.h>
#include <linux/align.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/string.h>

/*
 * Prepare to divide numbers up to max by d, which is at least 1. Returns false
 * if the reciprocal isn't precise enough for max.
 *
 * With mul = 2^64 / d rounded up, which is (2^64 + e) / d for some e < d,
 * x * mul / 2^64 is x / d + x * e / (d * 2^64). The second term must not carry
 * the sum to the next integer, which is at least 1 / d away: x * e < 2^64, so
 * x <= (2^64 - 1) / d is enough.
 */
static bool fuse_fmap_div_init(struct fuse_fmap_div *div, u64 d, u64 max)
{
	div->mul = 0;
	div->shift = ilog2(d);
	if (is_power_of_2(d))
		return true;

	div->mul = div64_u64(U64_MAX, d) + 1;
	return max <= div64_u64(U64_MAX, d);
}

static const char *fuse_fmap_check_extent(const struct fuse_fmap_extent *ext)
{
	u64 end;

	if (ext->reserved)
		return "reserved field of an extent is not zero";
	if (!ext->len)
		return "extent has no length";
	if (!PAGE_ALIGNED(ext->offset))
		return "device offset is not a multiple of the page size";
	if (!PAGE_ALIGNED(ext->len))
		return "extent length is not a multiple of the page size";
	if (check_add_overflow(ext->offset, ext->len, &end))
		return "device offset and length overflow";
	return NULL;
}

static const char *
fuse_fmap_check_stripe_set(const struct fuse_fmap_stripe_set *set)
{
	struct fuse_fmap_div div;

	if (set->reserved)
		return "reserved field of a stripe set is not zero";
	if (!set->nstrips)
		return "stripe set has no strips";
	if (!set->chunk_size)
		return "chunk size is zero";
	if (!PAGE_ALIGNED(set->chunk_size))
		return "chunk size is not a multiple of the page size";
	if (!set->nbytes)
		return "stripe set covers no bytes";
	if (set->nbytes > MAX_LFS_FILESIZE)
		return "stripe set is larger than any file";
	if (!fuse_fmap_div_init(&div, set->chunk_size >> PAGE_SHIFT,
				set->nbytes >> PAGE_SHIFT) ||
	    !fuse_fmap_div_init(&div, set->nstrips, set->nbytes >> PAGE_SHIFT))
		return "stripe set is too large for its chunk size or number of strips";
	return NULL;
}

/*
 * The minimum length in bytes of strip number s of a set: one chunk for each
 * complete row, plus its share of the last row, rounded up to a page.
 */
static u64 fuse_fmap_strip_need(const struct fuse_fmap_stripe_set *set, u32 s)
{
	u64 nbytes = PAGE_ALIGN(set->nbytes);
	u64 row = (u64)set->nstrips * set->chunk_size;
	u64 rows = div64_u64(nbytes, row);
	u64 rest = nbytes - rows * row;
	u64 before = (u64)s * set->chunk_size;

	rest = rest > before ? min_t(u64, rest - before, set->chunk_size) : 0;
	return rows * set->chunk_size + rest;
}

/*
 * Copy the next @size bytes of the message. Returns false if it has fewer.
 * Compares @size with the remaining length, because a sum could overflow.
 */
static bool fuse_fmap_take(const struct fuse_fmap_msg *msg, size_t *pos,
			   void *to, size_t size)
{
	if (size > msg->len - *pos)
		return false;
	memcpy(to, msg->buf + *pos, size);
	*pos += size;
	return true;
}

static const char *fuse_fmap_check_header(const struct fuse_fmap_msg *msg,
					  const struct fuse_fmap_header *h,
					  u32 kinds)
{
	if (h->version != FUSE_FMAP_VERSION)
		return "unknown version";
	if (h->reserved || h->reserved2)
		return "reserved field of the header is not zero";
	if (h->kind >= 32 || !(kinds & FUSE_FMAP_KINDS & (1U << h->kind)))
		return "kind is unknown or was not negotiated";
	if (!h->nextents)
		return "no extents";
	if (h->fmap_size && h->fmap_size != msg->len)
		return "size in the header does not match the message";
	if (h->file_size > MAX_LFS_FILESIZE)
		return "file size is too large";
	return NULL;
}

/*
 * Check everything in a message that can be checked without the devices. The
 * caller sets buf and len in @msg; this function sets the other members. @kinds
 * is the negotiated mask. Returns NULL if the message is valid, otherwise the
 * reason for the log.
 */
const char *fuse_fmap_check(struct fuse_fmap_msg *msg, u32 kinds)
{
	struct fuse_fmap_header h;
	size_t pos = 0;
	u64 covered = 0;
	const char *why;

	msg->nsets = 0;
	msg->nstrips = 0;
	msg->seg = 0;
	msg->strip = 0;

	if (!fuse_fmap_take(msg, &pos, &h, sizeof(h)))
		return "shorter than its header";
	why = fuse_fmap_check_header(msg, &h, kinds);
	if (why)
		return why;

	msg->kind = h.kind;
	msg->nsegs = h.nextents;
	msg->file_size = h.file_size;

	for (msg->seg = 0; msg->seg < h.nextents; msg->seg++) {
		struct fuse_fmap_stripe_set set = { .nstrips = 1 };
		u64 nbytes = 0;

		msg->strip = 0;
		if (h.kind == FUSE_FMAP_STRIPED) {
			if (!fuse_fmap_take(msg, &pos, &set, sizeof(set)))
				return "ends before its last stripe set";
			why = fuse_fmap_check_stripe_set(&set);
			if (why)
				return why;
			if (msg->seg + 1 < h.nextents &&
			    !PAGE_ALIGNED(set.nbytes))
				return "stripe set that is not the last one ends inside a page";
			nbytes = set.nbytes;
		}
		if (set.nstrips > 1) {
			/* Overflows only if the message is too short */
			msg->nsets++;
			msg->nstrips += set.nstrips;
		}

		for (; msg->strip < set.nstrips; msg->strip++) {
			struct fuse_fmap_extent ext;

			if (!fuse_fmap_take(msg, &pos, &ext, sizeof(ext)))
				return "ends before its last extent";
			why = fuse_fmap_check_extent(&ext);
			if (why)
				return why;
			if (h.kind == FUSE_FMAP_EXTENTS)
				nbytes = ext.len;
			else if (ext.len < fuse_fmap_strip_need(&set,
								msg->strip))
				return "strip is too short for its chunks";
		}

		if (check_add_overflow(covered, nbytes, &covered) ||
		    covered > MAX_LFS_FILESIZE)
			return "segments cover more than the largest file size";
	}

	if (covered < h.file_size)
		return "segments do not cover the file size";
	/* A server that leaves fmap_size 0 may send all of its buffer */
	if (memchr_inv(msg->buf + pos, 0, msg->len - pos) ||
	    (h.fmap_size && pos != msg->len))
		return "bytes left over after the last extent";

	return NULL;
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_check);

/* Start a walk of the extents of a message that fuse_fmap_check() accepted */
void fuse_fmap_first(struct fuse_fmap_cursor *cur,
		     const struct fuse_fmap_msg *msg)
{
	*cur = (struct fuse_fmap_cursor) {
		.msg = msg,
		.pos = sizeof(struct fuse_fmap_header),
		.seg = -1,
	};
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_first);

/*
 * Get the next extent and set cur->seg and cur->strip to its numbers. Returns
 * false at the end.
 */
bool fuse_fmap_next(struct fuse_fmap_cursor *cur, struct fuse_fmap_extent *ext)
{
	const struct fuse_fmap_msg *msg = cur->msg;

	if (cur->strips_left) {
		cur->strip++;
	} else {
		if (cur->seg + 1 == msg->nsegs)
			return false;
		cur->seg++;
		cur->strip = 0;
		cur->strips_left = 1;
		if (msg->kind == FUSE_FMAP_STRIPED) {
			fuse_fmap_take(msg, &cur->pos, &cur->set,
				       sizeof(cur->set));
			cur->strips_left = cur->set.nstrips;
		}
	}
	cur->strips_left--;
	return fuse_fmap_take(msg, &cur->pos, ext, sizeof(*ext));
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_next);

/*
 * Return the position in the sorted table of the device with this index, or
 * the position at which to insert it.
 */
unsigned int fuse_fmap_find_dev(const struct fuse_fmap_dev *devs,
				unsigned int ndevs, u32 index)
{
	unsigned int low = 0, high = ndevs;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (devs[mid].index < index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_find_dev);

/*
 * The number of bytes, from the start of the extent just returned, that the
 * file uses.
 */
u64 fuse_fmap_used_len(const struct fuse_fmap_cursor *cur,
		       const struct fuse_fmap_extent *ext)
{
	if (cur->msg->kind == FUSE_FMAP_EXTENTS)
		return ext->len;
	return fuse_fmap_strip_need(&cur->set, cur->strip);
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_used_len);

/* Size in bytes of the map of a checked message; SIZE_MAX on overflow */
size_t fuse_fmap_bytes(const struct fuse_fmap_msg *msg)
{
	struct fuse_fmap *map;
	size_t bytes;

	bytes = struct_size(map, segs, size_add(msg->nsegs, 1));
	bytes = size_add(bytes, array_size(msg->nsets,
					   sizeof(struct fuse_fmap_set)));
	return size_add(bytes, array_size(msg->nstrips,
					  sizeof(struct fuse_fmap_strip)));
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_bytes);

static void fuse_fmap_build_set(struct fuse_fmap_set *set,
				const struct fuse_fmap_stripe_set *wire,
				struct fuse_fmap_strip *strips)
{
	u64 pages = wire->nbytes >> PAGE_SHIFT;

	set->strips = strips;
	set->nstrips = wire->nstrips;
	set->chunk_size = wire->chunk_size;
	set->powers_of_2 = is_power_of_2(set->chunk_size) &&
			   is_power_of_2(set->nstrips);
	set->chunk_shift = ilog2(set->chunk_size);
	set->strips_shift = ilog2(set->nstrips);
	/* As in fuse_fmap_div_init(); also correct for powers of two */
	set->by_strips = div64_u64(U64_MAX, set->nstrips) + 1;
	fuse_fmap_div_init(&set->by_chunk, set->chunk_size >> PAGE_SHIFT,
			   pages);
}

/* Set map->equal if all segments but the last have the same length */
static void fuse_fmap_build_equal(struct fuse_fmap *map)
{
	u64 len = map->segs[1].start - map->segs[0].start;
	u32 i;

	for (i = 1; i + 1 < map->nsegs; i++)
		if (map->segs[i + 1].start - map->segs[i].start != len)
			return;

	map->equal =
		fuse_fmap_div_init(&map->by_seg, len >> PAGE_SHIFT,
				   map->segs[map->nsegs].start >> PAGE_SHIFT);
}

/*
 * Turn a checked message into a map. @devs holds exactly the devices that the
 * message names; @map has room for fuse_fmap_bytes(). Returns NULL on success,
 * otherwise the reason for the log, with the position in msg->seg and
 * msg->strip.
 */
const char *fuse_fmap_build(struct fuse_fmap_msg *msg,
			    const struct fuse_fmap_dev *devs,
			    unsigned int ndevs, struct fuse_fmap *map)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;
	struct fuse_fmap_strip *strip;
	struct fuse_fmap_set *set;
	unsigned int i;
	u64 start = 0;

	memset(map, 0, sizeof(*map));
	map->bytes = fuse_fmap_bytes(msg);
	map->file_size = msg->file_size;
	set = (void *)&map->segs[msg->nsegs + 1];
	strip = (void *)&set[msg->nsets];
	map->segs[0].start = 0;

	for (i = 0; i < ndevs; i++)
		map->readonly |= devs[i].readonly;

	fuse_fmap_first(&cur, msg);
	while (fuse_fmap_next(&cur, &ext)) {
		const struct fuse_fmap_dev *dev =
			&devs[fuse_fmap_find_dev(devs, ndevs, ext.devindex)];
		struct fuse_fmap_seg *last = &map->segs[map->nsegs];

		if (ext.offset + ext.len > dev->size) {
			msg->seg = cur.seg;
			msg->strip = cur.strip;
			return "extent reaches past the end of its device";
		}

		if (msg->kind == FUSE_FMAP_STRIPED && cur.set.nstrips > 1) {
			if (!cur.strip)
				fuse_fmap_build_set(set, &cur.set, strip);
			strip->dev = dev->dev;
			strip->offset = ext.offset;
			strip++;
			if (cur.strips_left)
				continue;
			last->dev = NULL;
			last->set = set++;
			map->nsegs++;
		} else if (!map->nsegs || last[-1].dev != dev->dev ||
			   last[-1].offset + start - last[-1].start !=
			   ext.offset) {
			last->dev = dev->dev;
			last->offset = ext.offset;
			map->nsegs++;
		}
		/* Otherwise the extent continues the previous segment */

		start += msg->kind == FUSE_FMAP_STRIPED ?
			 PAGE_ALIGN(cur.set.nbytes) : ext.len;
		map->segs[map->nsegs].start = start;
	}
	fuse_fmap_build_equal(map);

	return NULL;
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_build);

/* The device range of one strip of a set that covers @nbytes of the file */
static void fuse_fmap_strip_range(const struct fuse_fmap_set *set, u32 s,
				  u64 nbytes, struct fuse_fmap_range *range)
{
	const struct fuse_fmap_strip *strip = &set->strips[s];
	struct fuse_fmap_stripe_set wire = {
		.nstrips = set->nstrips,
		.chunk_size = set->chunk_size,
		.nbytes = nbytes,
	};

	range->dev = strip->dev;
	range->offset = strip->offset;
	range->len = fuse_fmap_strip_need(&wire, s);
}

/*
 * Get the next device range of a map. The ranges cover the same bytes as
 * fuse_fmap_used_len() of all extents of the message; contiguous extents are
 * merged. Returns false at the end.
 */
bool fuse_fmap_next_range(const struct fuse_fmap *map,
			  struct fuse_fmap_pos *pos,
			  struct fuse_fmap_range *range)
{
	while (pos->seg < map->nsegs) {
		const struct fuse_fmap_seg *seg = &map->segs[pos->seg];
		const struct fuse_fmap_set *set;
		u64 nbytes = seg[1].start - seg->start;

		if (seg->dev) {
			pos->seg++;
			range->dev = seg->dev;
			range->offset = seg->offset;
			range->len = nbytes;
			return true;
		}

		set = seg->set;
		fuse_fmap_strip_range(set, pos->strip, nbytes, range);
		if (++pos->strip == set->nstrips) {
			pos->strip = 0;
			pos->seg++;
		}
		/* A file with few chunks may not use the last strips */
		if (range->len)
			return true;
	}
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_next_range);

/*
 * Find the file position of a byte of a device: the reverse of
 * fuse_fmap_resolve(), as a linear search. Returns false if the byte is not in
 * the map. The position can be after the end of the file, because a map may
 * cover more than the file size.
 */
bool fuse_fmap_find(const struct fuse_fmap *map, const struct fuse_daxdev *dev,
		    u64 offset, u64 *file_pos)
{
	const struct fuse_fmap_seg *seg;
	const struct fuse_fmap_set *set;
	struct fuse_fmap_range range;
	struct fuse_fmap_pos next = {};
	u64 row;
	u32 strip;

	do {
		if (!fuse_fmap_next_range(map, &next, &range))
			return false;
	} while (range.dev != dev || offset < range.offset ||
		 offset - range.offset >= range.len);

	offset -= range.offset;
	seg = &map->segs[next.strip ? next.seg : next.seg - 1];
	if (seg->dev) {
		*file_pos = seg->start + offset;
		return true;
	}

	set = seg->set;
	strip = (next.strip ?: set->nstrips) - 1;
	row = div64_u64_rem(offset, set->chunk_size, &offset);
	*file_pos = seg->start +
		    (row * set->nstrips + strip) * set->chunk_size + offset;
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_find);

static u32 fuse_fmap_find_seg(const struct fuse_fmap *map, u64 pos)
{
	u32 low = 0, high = map->nsegs;

	if (map->equal)
		return min_t(u64,
			     fuse_fmap_div(pos >> PAGE_SHIFT, &map->by_seg),
			     map->nsegs - 1);

	/* The last segment that starts at or before pos */
	while (high - low > 1) {
		u32 mid = low + (high - low) / 2;

		if (map->segs[mid].start <= pos)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/*
 * Resolve byte @pos of a stripe set whose numbers are not powers of two. Not
 * inlined, because it needs more registers than the common case.
 */
static noinline void fuse_fmap_resolve_odd(const struct fuse_fmap_set *set,
					   u64 pos, u64 len,
					   struct fuse_fmap_range *range)
{
	u64 chunk = fuse_fmap_div(pos >> PAGE_SHIFT, &set->by_chunk);
	u64 row = mul_u64_u64_shr(chunk, set->by_strips, 64);
	u32 s = chunk - row * set->nstrips;
	u64 in_chunk = pos - chunk * set->chunk_size;

	range->dev = set->strips[s].dev;
	range->offset = set->strips[s].offset + row * set->chunk_size +
			in_chunk;
	range->len = min(len, set->chunk_size - in_chunk);
}

/*
 * Get the device range that holds byte @pos of the file, from that byte to the
 * end of the contiguous range on the device. @pos must be before the end mark.
 * Called in the page fault path: takes no lock, allocates and divides nothing.
 */
void fuse_fmap_resolve(const struct fuse_fmap *map, u64 pos,
		       struct fuse_fmap_range *range)
{
	const struct fuse_fmap_seg *seg = map->segs;
	const struct fuse_fmap_strip *strip;
	const struct fuse_fmap_set *set;
	u64 chunk_size, chunk, row, in_chunk, len;

	if (map->nsegs > 1)
		seg += fuse_fmap_find_seg(map, pos);

	len = seg[1].start - pos;
	pos -= seg->start;
	if (seg->dev) {
		range->dev = seg->dev;
		range->offset = seg->offset + pos;
		range->len = len;
		return;
	}

	set = seg->set;
	if (!set->powers_of_2) {
		fuse_fmap_resolve_odd(set, pos, len, range);
		return;
	}

	chunk_size = set->chunk_size;
	chunk = pos >> set->chunk_shift;
	row = chunk >> set->strips_shift;
	in_chunk = pos & (chunk_size - 1);
	strip = &set->strips[chunk & (set->nstrips - 1)];

	range->dev = strip->dev;
	range->offset = strip->offset + (row << set->chunk_shift) + in_chunk;
	range->len = min(len, chunk_size - in_chunk);
}
EXPORT_SYMBOL_IF_KUNIT(fuse_fmap_resolve);
