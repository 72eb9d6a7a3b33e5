/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DAX file maps: the map itself.
 *
 * Pure functions over plain data. Nothing here knows inodes, locks, devices or
 * the log, so the same source is built in user space to be tested and fuzzed.
 */
#ifndef _FS_FUSE_FMAP_H
#define _FS_FUSE_FMAP_H

#include <linux/types.h>
#include <linux/fuse.h>
#include <linux/math64.h>

/* Bit mask of the kinds this code resolves, as in fmap_kinds of INIT */
#define FUSE_FMAP_KINDS		((1U << FUSE_FMAP_EXTENTS) | (1U << FUSE_FMAP_STRIPED))

/* To this layer these are pointers that it hands back */
struct fuse_daxdev;
struct fuse_fmap_attachment;
struct inode;

/*
 * Division by a number that is known long before, without a divide
 * instruction: a shift for powers of two, else a multiplication by the
 * reciprocal. Exact for every x up to the bound given to fuse_fmap_div_init().
 */
struct fuse_fmap_div {
	u64 mul;		/* reciprocal, or 0 if the divisor is 1 << shift */
	u32 shift;
};

static inline u64 fuse_fmap_div(u64 x, const struct fuse_fmap_div *d)
{
	return d->mul ? mul_u64_u64_shr(x, d->mul, 64) : x >> d->shift;
}

/* A strip, or an extent: where on which device it starts, in bytes */
struct fuse_fmap_strip {
	struct fuse_daxdev *dev;
	u64 offset;
};

/*
 * A stripe set, of two strips or more. If chunk_size and nstrips are powers of
 * two, as with most, shifts are all that is needed.
 */
struct fuse_fmap_set {
	struct fuse_fmap_strip *strips;
	u32 nstrips;
	u32 chunk_size;			/* in bytes */
	bool powers_of_2;		/* both */
	u8 chunk_shift;			/* divides bytes by chunk_size */
	u8 strips_shift;		/* divides chunks by nstrips */
	u64 by_strips;			/* reciprocal that does, if not both are */
	struct fuse_fmap_div by_chunk;	/* divides pages by pages in a chunk */
};

/*
 * A segment reaches from its start to the start of the next one; the one after
 * the last marks the end. One on a single strip has dev and offset, a striped
 * one has no dev and, in place of the offset, its set.
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
 * @bytes: memory that the map takes, what its owner has put behind it not
 *	counted
 * @equal: all segments but the last are of one length, so that @by_seg finds
 *	the segment of a position
 * @readonly: for the owner: some device of the map can't be written
 * @dev_lost: for the owner: some device of the map was removed
 * @skip_present: for the owner: a device was removed or memory has failed, so that
 *	a fault must ask for the memory also if an earlier one has found it
 * @by_seg: divides pages by pages in a segment
 * @file_size: size of the file in bytes
 * @inode: for the owner: the file
 * @attachments: for the owner: the devices of the map
 * @nattachments: for the owner: number of @attachments
 * @segs: @nsegs segments and the end mark, which is at or behind @file_size;
 *	behind them are the stripe sets and then their strips, if any
 *
 * Nothing that the resolver reads is changed after the map was built.
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
 * struct fuse_fmap_msg - a map message, and what fuse_fmap_check() found in it
 * @buf: the message as it came from the server, whole
 * @len: bytes in @buf
 * @kind: FUSE_FMAP_EXTENTS or FUSE_FMAP_STRIPED
 * @nsegs: number of segments
 * @nsets: segments that have two strips or more
 * @nstrips: strips of those
 * @file_size: size of the file in bytes
 * @seg: segment that was looked at last: the bad one if the check failed
 * @strip: the same for the strip
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

/* Position in a checked message, for fuse_fmap_next() */
struct fuse_fmap_cursor {
	const struct fuse_fmap_msg *msg;
	size_t pos;
	u32 strips_left;
	u32 seg;
	u32 strip;
	struct fuse_fmap_stripe_set set;	/* of the extent just returned, kind 1 */
};

/* Position in a map, for fuse_fmap_next_range(); begins as all zero */
struct fuse_fmap_pos {
	u32 seg;
	u32 strip;
};

/* A device that a message names; tables of them are sorted by index */
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
