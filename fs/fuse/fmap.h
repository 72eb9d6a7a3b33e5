/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DAX file maps: the map itself.
 *
 * Pure functions over plain data. This code uses no inodes, locks, devices or
 * log, so the same source is built in user space to be tested and fuzzed.
 */
#ifndef _FS_FUSE_FMAP_H
#define _FS_FUSE_FMAP_H

#include <linux/types.h>
#include <linux/fuse.h>
#include <linux/math64.h>

/* Bit mask of the kinds that this code resolves, as in fmap_kinds of INIT */
#define FUSE_FMAP_KINDS		((1U << FUSE_FMAP_EXTENTS) | \
				 (1U << FUSE_FMAP_STRIPED))

/* Opaque to this layer: it only stores and returns the pointers */
struct fuse_daxdev;
struct fuse_fmap_attachment;
struct inode;

/*
 * Division by a constant of the map without a divide instruction: a shift for
 * powers of two, otherwise a multiplication by the reciprocal. Exact for every
 * x up to the bound given to fuse_fmap_div_init().
 */
struct fuse_fmap_div {
	u64 mul;		/* reciprocal, 0 if divisor is 1 << shift */
	u32 shift;
};

static inline u64 fuse_fmap_div(u64 x, const struct fuse_fmap_div *d)
{
	return d->mul ? mul_u64_u64_shr(x, d->mul, 64) : x >> d->shift;
}

/* Start of a strip or an extent: a device and an offset in bytes */
struct fuse_fmap_strip {
	struct fuse_daxdev *dev;
	u64 offset;
};

/*
 * A stripe set of two or more strips. In most sets chunk_size and nstrips are
 * powers of two, so shifts are enough.
 */
struct fuse_fmap_set {
	struct fuse_fmap_strip *strips;
	u32 nstrips;
	u32 chunk_size;			/* in bytes */
	bool powers_of_2;		/* chunk_size and nstrips */
	u8 chunk_shift;			/* divides bytes by chunk_size */
	u8 strips_shift;		/* divides chunks by nstrips */
	u64 by_strips;			/* reciprocal of nstrips */
	struct fuse_fmap_div by_chunk;	/* divides pages by pages in a chunk */
};

/*
 * A segment extends from its start to the start of the next one. An extra
 * segment after the last one marks the end. A segment on a single strip has
 * @dev and @offset; a striped segment has a NULL @dev and its @set.
 */
struct fuse_fmap_seg {
	u64 start;			/* in the file, in bytes */
	struct fuse_daxdev *dev;
	union {
		u64 offset;
		struct fuse_fmap_set *set;
	};
};

/**
 * struct fuse_fmap - a decoded map
 * @nsegs: number of segments, at least 1
 * @bytes: size of this structure with its segments, sets and strips, but
 *	without @attachments
 * @equal: all segments but the last have the same length, so that @by_seg
 *	finds the segment of a position
 * @readonly: at least one device of the map is read-only
 * @dev_lost: a device of the map was removed; never cleared
 * @skip_present: sends every fault to the driver, because a device was removed
 *	or reported bad memory: a present entry may be stale; never cleared
 * @nattachments: number of @attachments
 * @by_seg: divides pages by pages in a segment
 * @file_size: size of the file in bytes
 * @inode: the file
 * @attachments: one for each device of the map
 * @segs: @nsegs segments and the end mark, which is at or after @file_size.
 *	The stripe sets follow, then their strips
 *
 * fuse_fmap_build() fills in what the resolver reads, and this never changes
 * afterwards. The caller of fuse_fmap_build() manages @dev_lost,
 * @skip_present, @inode, @attachments and @nattachments.
 */
struct fuse_fmap {
	u32 nsegs;
	u32 bytes;
	bool equal;
	bool readonly;
	bool dev_lost;
	bool skip_present;
	u32 nattachments;
	struct fuse_fmap_div by_seg;
	u64 file_size;
	struct inode *inode;
	struct fuse_fmap_attachment *attachments;
	struct fuse_fmap_seg segs[];
};

/* A contiguous range of a device, in bytes */
struct fuse_fmap_range {
	struct fuse_daxdev *dev;
	u64 offset;
	u64 len;
};

/**
 * struct fuse_fmap_msg - a map message and the results of fuse_fmap_check()
 * @buf: the complete message as received from the server
 * @len: bytes in @buf
 * @kind: FUSE_FMAP_EXTENTS or FUSE_FMAP_STRIPED
 * @nsegs: number of segments
 * @nsets: number of segments with two or more strips
 * @nstrips: total number of strips of these segments
 * @file_size: size of the file in bytes
 * @seg: the segment checked last: the bad one if the check failed
 * @strip: likewise, the strip in @seg
 */
struct fuse_fmap_msg {
	const void *buf;
	size_t len;
	u32 kind;
	u32 nsegs;
	u32 nsets;
	u32 nstrips;
	u64 file_size;
	u32 seg;
	u32 strip;
};

/* Position in a checked message: the extent that fuse_fmap_next() returned */
struct fuse_fmap_cursor {
	const struct fuse_fmap_msg *msg;
	size_t pos;
	u32 strips_left;
	u32 seg;
	u32 strip;
	struct fuse_fmap_stripe_set set;	/* of that extent, if striped */
};

/* Position in a map, for fuse_fmap_next_range(). Starts as all zeros. */
struct fuse_fmap_pos {
	u32 seg;
	u32 strip;
};

/* A device that a message names. Tables of these are sorted by index. */
struct fuse_fmap_dev {
	u32 index;
	bool readonly;
	struct fuse_daxdev *dev;
	u64 size;
};

const char *fuse_fmap_check(struct fuse_fmap_msg *msg, u32 kinds);
void fuse_fmap_first(struct fuse_fmap_cursor *cur,
		     const struct fuse_fmap_msg *msg);
bool fuse_fmap_next(struct fuse_fmap_cursor *cur,
		    struct fuse_fmap_extent *ext);
unsigned int fuse_fmap_find_dev(const struct fuse_fmap_dev *devs,
				unsigned int ndevs, u32 index);
u64 fuse_fmap_used_len(const struct fuse_fmap_cursor *cur,
		       const struct fuse_fmap_extent *ext);
size_t fuse_fmap_bytes(const struct fuse_fmap_msg *msg);
const char *fuse_fmap_build(struct fuse_fmap_msg *msg,
			    const struct fuse_fmap_dev *devs,
			    unsigned int ndevs, struct fuse_fmap *map);
bool fuse_fmap_next_range(const struct fuse_fmap *map,
			  struct fuse_fmap_pos *pos,
			  struct fuse_fmap_range *range);
bool fuse_fmap_find(const struct fuse_fmap *map, const struct fuse_daxdev *dev,
		    u64 offset, u64 *file_pos);
void fuse_fmap_resolve(const struct fuse_fmap *map, u64 pos,
		       struct fuse_fmap_range *range);

#endif /* _FS_FUSE_FMAP_H */
