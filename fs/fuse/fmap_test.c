// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for DAX file maps: validation, with one value on each side of
 * every limit; map building; resolving of positions. All results are compared
 * with a slow model.
 *
 * tools/testing/fmap runs the same tests in user space.
 */
#include "fmap.h"
#include "fmap_test_model.h"

#include <kunit/test.h>
#include <linux/module.h>
#include <linux/sched.h>

#define FMAP_TEST_SEED		0x66757365u
#define FMAP_TEST_MAPS		20000
#define FMAP_TEST_POSITIONS	50
#define FMAP_TEST_ZEROS		16	/* after the last extent */

/* Pages in bytes */
#define P(pages)	((u64)(pages) * PAGE_SIZE)

/* The table of devices has these two indexes */
#define A		5
#define B		0xfffffff9u

/*
 * Each case is one of two messages with some fields changed. FMAP_TEST_ZEROS
 * zero bytes follow each message.
 */
struct fmap_test_extents {
	struct fuse_fmap_header h;
	struct fuse_fmap_extent ext[3];
	u8 tail[FMAP_TEST_ZEROS];
};

static const struct fmap_test_extents fmap_test_extents = {
	.h = {
		.version = 1,
		.kind = FUSE_FMAP_EXTENTS,
		.nextents = 3,
		.file_size = P(6),
	},
	.ext = {
		{ .devindex = A, .offset = P(256), .len = P(2) },
		{ .devindex = B, .offset = 0, .len = P(3) },
		{ .devindex = A, .offset = P(300), .len = P(1) },
	},
};

struct fmap_test_sets {
	struct fuse_fmap_header h;
	struct {
		struct fuse_fmap_stripe_set set;
		struct fuse_fmap_extent strip[3];
	} s[2];
	u8 tail[FMAP_TEST_ZEROS];
};

static const struct fmap_test_sets fmap_test_sets = {
	.h = {
		.version = 1,
		.kind = FUSE_FMAP_STRIPED,
		.nextents = 2,
		.file_size = P(21) + 100,
	},
	.s[0] = {
		/* two rows, and half a chunk on strip 0 */
		.set = { .nstrips = 3, .chunk_size = P(2), .nbytes = P(13) },
		.strip = {
			{ .devindex = A, .offset = P(100), .len = P(5) },
			{ .devindex = B, .offset = P(200), .len = P(4) },
			{ .devindex = A, .offset = P(300), .len = P(4) },
		},
	},
	.s[1] = {
		.set = { .nstrips = 3, .chunk_size = P(1),
			 .nbytes = P(8) + 100 },
		.strip = {
			{ .devindex = B, .offset = P(400), .len = P(3) },
			{ .devindex = A, .offset = P(500), .len = P(3) },
			{ .devindex = B, .offset = P(600), .len = P(3) },
		},
	},
};

struct fmap_test_edit {
	u16 at;
	u16 size;
	u64 value;
};

/* Set a field of the message with extents (E) or with stripe sets (S) */
#define E(field, val)							\
	((struct fmap_test_edit) {					\
		.at = offsetof(struct fmap_test_extents, field),	\
		.size = sizeof_field(struct fmap_test_extents, field),	\
		.value = (val),						\
	})
#define S(field, val)							\
	((struct fmap_test_edit) {					\
		.at = offsetof(struct fmap_test_sets, field),		\
		.size = sizeof_field(struct fmap_test_sets, field),	\
		.value = (val),						\
	})

#define EXTENTS_LEN	offsetof(struct fmap_test_extents, tail)
#define SETS_LEN	offsetof(struct fmap_test_sets, tail)

/* Value of @more that truncates the message with sets before @field */
#define UP_TO(field)							\
	((int)offsetof(struct fmap_test_sets, field) - (int)SETS_LEN)

/* Large enough for both messages */
union fmap_test_any {
	struct fmap_test_extents extents;
	struct fmap_test_sets sets;
	u8 bytes[sizeof(struct fmap_test_sets)];
};

#define FMAP_TEST_EDITS		8

static void fmap_test_edit(union fmap_test_any *any, bool striped,
			   const struct fmap_test_edit *edits)
{
	unsigned int i;

	if (striped)
		any->sets = fmap_test_sets;
	else
		any->extents = fmap_test_extents;

	for (i = 0; i < FMAP_TEST_EDITS && edits[i].size; i++) {
		void *to = any->bytes + edits[i].at;

		switch (edits[i].size) {
		case 1:
			*(u8 *)to = edits[i].value;
			break;
		case 2:
			*(u16 *)to = edits[i].value;
			break;
		case 4:
			*(u32 *)to = edits[i].value;
			break;
		case 8:
			*(u64 *)to = edits[i].value;
			break;
		}
	}
}

/*
 * Build the message of a case. The allocation has exactly the length of the
 * message, so that KASAN detects reads past its end.
 */
static void *fmap_test_message(struct kunit *test, bool striped, int more,
			       const struct fmap_test_edit *edits, size_t *len)
{
	union fmap_test_any *any;
	void *buf;

	any = kunit_kzalloc(test, sizeof(*any), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, any);
	fmap_test_edit(any, striped, edits);

	*len = (striped ? SETS_LEN : EXTENTS_LEN) + more;
	buf = kunit_kmalloc(test, *len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	memcpy(buf, any, *len);
	return buf;
}

struct fmap_test_check {
	const char *name;
	bool striped;
	int more;		/* bytes to add, or to cut off if negative */
	u32 only;		/* negotiated kinds; 0: all */
	struct fmap_test_edit edits[FMAP_TEST_EDITS];
	const char *why;	/* NULL: accepted */
	u32 seg, strip;		/* position of the error */
	bool nowhere;		/* the error is in no segment */
};

static const struct fmap_test_check fmap_test_checks[] = {
	{
		.name = "a list of extents is accepted",
	}, {
		.name = "stripe sets are accepted",
		.striped = true,
	},

	/* the header */
	{
		.name = "an empty message is refused",
		.more = -(int)EXTENTS_LEN,
		.why = "shorter than its header",
	}, {
		.name = "a header without its last byte is refused",
		.more = 31 - (int)EXTENTS_LEN,
		.why = "shorter than its header",
	}, {
		.name = "a header without extents is refused",
		.more = 32 - (int)EXTENTS_LEN,
		.why = "ends before its last extent",
	}, {
		.name = "a header without stripe sets is refused",
		.striped = true,
		.more = 32 - (int)SETS_LEN,
		.why = "ends before its last stripe set",
	}, {
		.name = "version 0 is refused",
		.edits = { E(h.version, 0) },
		.why = "unknown version",
	}, {
		.name = "version 2 is refused",
		.edits = { E(h.version, 2) },
		.why = "unknown version",
	}, {
		.name = "the first reserved field must be zero",
		.edits = { E(h.reserved, 1) },
		.why = "reserved field of the header is not zero",
	}, {
		.name = "the last reserved field must be zero",
		.edits = { E(h.reserved2, 1ULL << 63) },
		.why = "reserved field of the header is not zero",
	}, {
		.name = "any file type is accepted",
		.edits = { E(h.file_type, 255) },
	}, {
		.name = "kind 2 is refused",
		.only = U32_MAX,
		.edits = { E(h.kind, 2) },
		.why = "kind is unknown or was not negotiated",
	}, {
		.name = "kind 31 is refused",
		.only = U32_MAX,
		.edits = { E(h.kind, 31) },
		.why = "kind is unknown or was not negotiated",
	}, {
		.name = "kind 32 is not mistaken for kind 0",
		.only = U32_MAX,
		.edits = { E(h.kind, 32) },
		.why = "kind is unknown or was not negotiated",
	}, {
		.name = "the largest kind is refused",
		.only = U32_MAX,
		.edits = { E(h.kind, U32_MAX) },
		.why = "kind is unknown or was not negotiated",
	}, {
		.name = "extents are refused if only stripe sets were negotiated",
		.only = 1U << FUSE_FMAP_STRIPED,
		.why = "kind is unknown or was not negotiated",
	}, {
		.name = "stripe sets are refused if only extents were negotiated",
		.striped = true,
		.only = 1U << FUSE_FMAP_EXTENTS,
		.why = "kind is unknown or was not negotiated",
	}, {
		.name = "extents are accepted if only they were negotiated",
		.only = 1U << FUSE_FMAP_EXTENTS,
	}, {
		.name = "stripe sets are accepted if only they were negotiated",
		.striped = true,
		.only = 1U << FUSE_FMAP_STRIPED,
	}, {
		.name = "a map of no extents is refused",
		.edits = { E(h.nextents, 0) },
		.why = "no extents",
	}, {
		.name = "a count of one extent too many is refused",
		.edits = { E(h.nextents, 4) },
		.why = "ends before its last extent",
		.seg = 3,
	}, {
		.name = "a count of one extent too few is refused",
		.edits = { E(h.nextents, 2), E(h.file_size, P(5)) },
		.why = "bytes left over after the last extent",
		.nowhere = true,
	}, {
		.name = "the largest count of extents is refused",
		.edits = { E(h.nextents, U32_MAX) },
		.why = "ends before its last extent",
		.seg = 3,
	}, {
		.name = "a count of one stripe set too many is refused",
		.striped = true,
		.edits = { S(h.nextents, 3), S(s[1].set.nbytes, P(9)) },
		.why = "ends before its last stripe set",
		.seg = 2,
	}, {
		.name = "the largest count of stripe sets is refused",
		.striped = true,
		.edits = { S(h.nextents, U32_MAX), S(s[1].set.nbytes, P(9)) },
		.why = "ends before its last stripe set",
		.seg = 2,
	},

	/* the length of the message */
	{
		.name = "the right size in the header is accepted",
		.edits = { E(h.fmap_size, EXTENTS_LEN) },
	}, {
		.name = "a size in the header one byte too small is refused",
		.edits = { E(h.fmap_size, EXTENTS_LEN - 1) },
		.why = "size in the header does not match the message",
	}, {
		.name = "a size in the header one byte too large is refused",
		.edits = { E(h.fmap_size, EXTENTS_LEN + 1) },
		.why = "size in the header does not match the message",
	}, {
		.name = "the largest size in the header is refused",
		.edits = { E(h.fmap_size, U32_MAX) },
		.why = "size in the header does not match the message",
	}, {
		.name = "an extent without its last byte is refused",
		.more = -1,
		.why = "ends before its last extent",
		.seg = 2,
	}, {
		.name = "a stripe set without its last byte is refused",
		.striped = true,
		.more = UP_TO(s[1].strip) - 1,
		.why = "ends before its last stripe set",
		.seg = 1,
	}, {
		.name = "a strip without its last byte is refused",
		.striped = true,
		.more = -1,
		.why = "ends before its last extent",
		.seg = 1, .strip = 2,
	}, {
		.name = "a trailing zero byte is accepted without a size",
		.more = 1,
	}, {
		.name = "many trailing zero bytes are accepted without a size",
		.more = FMAP_TEST_ZEROS,
	}, {
		.name = "a trailing byte that is not zero is refused",
		.more = FMAP_TEST_ZEROS,
		.edits = { E(tail[0], 1) },
		.why = "bytes left over after the last extent",
		.nowhere = true,
	}, {
		.name = "a last trailing byte that is not zero is refused",
		.more = FMAP_TEST_ZEROS,
		.edits = { E(tail[FMAP_TEST_ZEROS - 1], 0x80) },
		.why = "bytes left over after the last extent",
		.nowhere = true,
	}, {
		.name = "trailing zero bytes are refused with a size",
		.more = FMAP_TEST_ZEROS,
		.edits = { E(h.fmap_size, EXTENTS_LEN + FMAP_TEST_ZEROS) },
		.why = "bytes left over after the last extent",
		.nowhere = true,
	},

	/* file size */
	{
		.name = "a file may be empty",
		.edits = { E(h.file_size, 0) },
	}, {
		.name = "a file may end inside a page",
		.edits = { E(h.file_size, P(6) - 1) },
	}, {
		.name = "a file one byte larger than its extents is refused",
		.edits = { E(h.file_size, P(6) + 1) },
		.why = "segments do not cover the file size",
		.nowhere = true,
	}, {
		.name = "a file one byte larger than its sets is refused",
		.striped = true,
		.edits = { S(h.file_size, P(21) + 101) },
		.why = "segments do not cover the file size",
		.nowhere = true,
	}, {
		.name = "a file of the largest size must be covered",
		.edits = { E(h.file_size, MAX_LFS_FILESIZE) },
		.why = "segments do not cover the file size",
		.nowhere = true,
	}, {
		.name = "a file above the largest size is refused",
		.edits = { E(h.file_size, (u64)MAX_LFS_FILESIZE + 1) },
		.why = "file size is too large",
	}, {
		.name = "a file of -1 bytes is refused",
		.edits = { E(h.file_size, U64_MAX) },
		.why = "file size is too large",
	},

	/* extents */
	{
		.name = "the reserved field of an extent must be zero",
		.edits = { E(ext[1].reserved, 1) },
		.why = "reserved field of an extent is not zero",
		.seg = 1,
	}, {
		.name = "an extent of length zero is refused",
		.edits = { E(ext[2].len, 0) },
		.why = "extent has no length",
		.seg = 2,
	}, {
		.name = "an offset of one byte is refused",
		.edits = { E(ext[1].offset, 1) },
		.why = "device offset is not a multiple of the page size",
		.seg = 1,
	}, {
		.name = "an offset of half a page is refused",
		.edits = { E(ext[1].offset, P(1) / 2) },
		.why = "device offset is not a multiple of the page size",
		.seg = 1,
	}, {
		.name = "an offset of a page is accepted",
		.edits = { E(ext[1].offset, P(1)) },
	}, {
		.name = "a length one byte too small is refused",
		.edits = { E(ext[0].len, P(2) - 1) },
		.why = "extent length is not a multiple of the page size",
	}, {
		.name = "a length with an extra half page is refused",
		.edits = { E(ext[0].len, P(5) / 2) },
		.why = "extent length is not a multiple of the page size",
	}, {
		.name = "an extent may end a page before 2^64",
		.edits = { E(ext[0].offset, -P(3)) },
	}, {
		.name = "an extent that ends at 2^64 is refused",
		.edits = { E(ext[0].offset, -P(2)) },
		.why = "device offset and length overflow",
	}, {
		.name = "an extent that extends past 2^64 is refused",
		.edits = { E(ext[0].offset, -P(1)) },
		.why = "device offset and length overflow",
	}, {
		.name = "extents may cover the largest file size",
		.edits = {
			E(ext[0].len, 1ULL << 62), E(ext[1].len, 1ULL << 61),
			E(ext[2].len, (1ULL << 61) - P(1)),
			E(h.file_size, (1ULL << 63) - P(1)),
		},
	}, {
		.name = "extents a page above the largest size are refused",
		.edits = {
			E(ext[0].len, 1ULL << 62), E(ext[1].len, 1ULL << 61),
			E(ext[2].len, 1ULL << 61),
		},
		.why = "segments cover more than the largest file size",
		.seg = 2, .strip = 1,
	}, {
		.name = "a sum of lengths above 2^64 is refused",
		.edits = { E(ext[1].len, -P(1)) },
		.why = "segments cover more than the largest file size",
		.seg = 1, .strip = 1,
	},

	/* stripe sets */
	{
		.name = "the reserved field of a stripe set must be zero",
		.striped = true,
		.edits = { S(s[1].set.reserved, 1ULL << 32) },
		.why = "reserved field of a stripe set is not zero",
		.seg = 1,
	}, {
		.name = "a stripe set of no strips is refused",
		.striped = true,
		.edits = { S(s[1].set.nstrips, 0) },
		.why = "stripe set has no strips",
		.seg = 1,
	}, {
		.name = "a count of one strip too few is refused",
		.striped = true,
		.edits = { S(s[1].set.nstrips, 2), S(s[1].strip[0].len, P(5)),
			   S(s[1].strip[1].len, P(4)) },
		.why = "bytes left over after the last extent",
		.nowhere = true,
	}, {
		.name = "a count of one strip too many is refused",
		.striped = true,
		.edits = { S(s[1].set.nstrips, 4) },
		.why = "ends before its last extent",
		.seg = 1, .strip = 3,
	}, {
		.name = "a count of too many strips is refused",
		.striped = true,
		.edits = { S(s[1].set.nstrips, U32_MAX) },
		.why = "ends before its last extent",
		.seg = 1, .strip = 3,
	}, {
		.name = "a chunk of size zero is refused",
		.striped = true,
		.edits = { S(s[0].set.chunk_size, 0) },
		.why = "chunk size is zero",
	}, {
		.name = "a chunk of half a page is refused",
		.striped = true,
		.edits = { S(s[0].set.chunk_size, P(1) / 2) },
		.why = "chunk size is not a multiple of the page size",
	}, {
		.name = "a chunk of a page and a byte is refused",
		.striped = true,
		.edits = { S(s[0].set.chunk_size, P(1) + 1) },
		.why = "chunk size is not a multiple of the page size",
	}, {
		.name = "a chunk of a page is accepted",
		.striped = true,
		.edits = { S(s[0].set.chunk_size, P(1)),
			   S(s[0].strip[1].len, P(5)) },
	}, {
		.name = "a chunk of the largest number of pages is accepted",
		.striped = true,
		.edits = { S(s[0].set.chunk_size, -P(1)),
			   S(s[0].strip[0].len, P(13)) },
	}, {
		.name = "a stripe set of no bytes is refused",
		.striped = true,
		.edits = { S(s[1].set.nbytes, 0) },
		.why = "stripe set covers no bytes",
		.seg = 1,
	}, {
		.name = "a stripe set of one byte is accepted",
		.striped = true,
		.edits = { S(s[1].set.nbytes, 1), S(h.file_size, P(13) + 1) },
	}, {
		.name = "a stripe set before the last one must end with a page",
		.striped = true,
		.edits = { S(s[0].set.nbytes, P(13) - 1) },
		.why = "stripe set that is not the last one ends inside a page",
	}, {
		.name = "the last stripe set may end with a page",
		.striped = true,
		.edits = { S(s[1].set.nbytes, P(9)), S(h.file_size, P(22)) },
	}, {
		.name = "a stripe set of the largest file is accepted",
		.striped = true,
		.more = UP_TO(s[1]),
		.edits = {
			S(h.nextents, 1), S(h.file_size, MAX_LFS_FILESIZE),
			S(s[0].set.nbytes, MAX_LFS_FILESIZE),
			S(s[0].strip[0].len, 1ULL << 62),
			S(s[0].strip[1].len, 1ULL << 62),
			S(s[0].strip[2].len, 1ULL << 62),
		},
	}, {
		.name = "a stripe set larger than any file is refused",
		.striped = true,
		.edits = { S(s[1].set.nbytes, (u64)MAX_LFS_FILESIZE + 1) },
		.why = "stripe set is larger than any file",
		.seg = 1,
	}, {
		.name = "stripe sets may cover the largest file size",
		.striped = true,
		.edits = {
			S(h.file_size, MAX_LFS_FILESIZE),
			S(s[1].set.nbytes, MAX_LFS_FILESIZE - P(13)),
			S(s[1].strip[0].len, 1ULL << 62),
			S(s[1].strip[1].len, 1ULL << 62),
			S(s[1].strip[2].len, 1ULL << 62),
		},
	}, {
		.name = "stripe sets a byte above the largest size are refused",
		.striped = true,
		.edits = {
			S(s[1].set.nbytes, MAX_LFS_FILESIZE - P(13) + 1),
			S(s[1].strip[0].len, 1ULL << 62),
			S(s[1].strip[1].len, 1ULL << 62),
			S(s[1].strip[2].len, 1ULL << 62),
		},
		.why = "segments cover more than the largest file size",
		.seg = 1, .strip = 3,
	},

	/* strips */
	{
		.name = "the reserved field of a strip must be zero",
		.striped = true,
		.edits = { S(s[0].strip[2].reserved, 1) },
		.why = "reserved field of an extent is not zero",
		.strip = 2,
	}, {
		.name = "a strip that ends at 2^64 is refused",
		.striped = true,
		.edits = { S(s[1].strip[1].offset, -P(3)) },
		.why = "device offset and length overflow",
		.seg = 1, .strip = 1,
	}, {
		.name = "a strip one page short in the last row is refused",
		.striped = true,
		.edits = { S(s[0].strip[0].len, P(4)) },
		.why = "strip is too short for its chunks",
	}, {
		.name = "a strip one page short of its full chunks is refused",
		.striped = true,
		.edits = { S(s[0].strip[1].len, P(3)) },
		.why = "strip is too short for its chunks",
		.strip = 1,
	}, {
		.name = "a last strip one page short is refused",
		.striped = true,
		.edits = { S(s[1].strip[2].len, P(2)) },
		.why = "strip is too short for its chunks",
		.seg = 1, .strip = 2,
	}, {
		.name = "strips may be longer than needed",
		.striped = true,
		.edits = { S(s[0].strip[0].len, P(50)),
			   S(s[0].strip[1].len, P(5)),
			   S(s[1].strip[2].len, P(400)) },
	}, {
		.name = "an unused strip is accepted",
		.striped = true,
		.edits = { S(s[1].set.nbytes, P(2)), S(h.file_size, P(15)),
			   S(s[1].strip[2].len, P(1)) },
	}, {
		.name = "an unused strip must have a length",
		.striped = true,
		.edits = { S(s[1].set.nbytes, P(2)), S(h.file_size, P(15)),
			   S(s[1].strip[2].len, 0) },
		.why = "extent has no length",
		.seg = 1, .strip = 2,
	}, {
		.name = "one byte of a page needs the whole page",
		.striped = true,
		.edits = { S(s[1].set.nbytes, P(9) + 1) },
		.why = "strip is too short for its chunks",
		.seg = 1,
	},

	/*
	 * Limits of the reciprocals. The messages have too few strips, so a
	 * set within the limits fails the next check.
	 */
	{
		.name = "many strips may have 2^64 / strips pages",
		.striped = true,
		.edits = { S(s[1].set.nstrips, U32_MAX),
			   S(s[1].set.nbytes, P(U64_MAX / U32_MAX)),
			   S(s[1].strip[0].len, 1ULL << 62),
			   S(s[1].strip[1].len, 1ULL << 62),
			   S(s[1].strip[2].len, 1ULL << 62) },
		.why = "ends before its last extent",
		.seg = 1, .strip = 3,
	}, {
		.name = "many strips may not have one page more",
		.striped = true,
		.edits = { S(s[1].set.nstrips, U32_MAX),
			   S(s[1].set.nbytes, P(U64_MAX / U32_MAX + 1)) },
		.why = "stripe set is too large for its chunk size or number of strips",
		.seg = 1,
	}, {
		.name = "a power of two strips may have more pages",
		.striped = true,
		.edits = { S(s[1].set.nstrips, 1U << 31),
			   S(s[1].set.nbytes, MAX_LFS_FILESIZE - P(13)),
			   S(s[1].strip[0].len, 1ULL << 62),
			   S(s[1].strip[1].len, 1ULL << 62),
			   S(s[1].strip[2].len, 1ULL << 62) },
		.why = "ends before its last extent",
		.seg = 1, .strip = 3,
	},
#if PAGE_SHIFT == 12	/* the largest file has fewer large pages */
	{
		.name = "a large chunk may have 2^64 / chunk pages",
		.striped = true,
		.edits = { S(s[1].set.chunk_size, P(8193)),
			   S(s[1].set.nbytes, P(U64_MAX / 8193)),
			   S(s[1].strip[0].len, 1ULL << 62),
			   S(s[1].strip[1].len, 1ULL << 62),
			   S(s[1].strip[2].len, 1ULL << 62) },
	}, {
		.name = "a large chunk may not have one page more",
		.striped = true,
		.edits = { S(s[1].set.chunk_size, P(8193)),
			   S(s[1].set.nbytes, P(U64_MAX / 8193 + 1)) },
		.why = "stripe set is too large for its chunk size or number of strips",
		.seg = 1,
	},
#endif
};

KUNIT_ARRAY_PARAM_DESC(fuse_fmap_check, fmap_test_checks, name);

static void fuse_fmap_check_test(struct kunit *test)
{
	const struct fmap_test_check *c = test->param_value;
	struct fuse_fmap_msg msg = {};
	const char *why;

	msg.buf = fmap_test_message(test, c->striped, c->more, c->edits,
				    &msg.len);
	why = fuse_fmap_check(&msg, c->only ?: FUSE_FMAP_KINDS);

	KUNIT_EXPECT_STREQ(test, why ?: "accepted", c->why ?: "accepted");
	/* check the model as well */
	KUNIT_EXPECT_EQ(test, fmap_model_valid(msg.buf, msg.len, c->only ?:
					       FUSE_FMAP_KINDS), !c->why);
	if (c->why && !c->nowhere) {
		KUNIT_EXPECT_EQ(test, msg.seg, c->seg);
		KUNIT_EXPECT_EQ(test, msg.strip, c->strip);
	}
}

static void fuse_fmap_check_counts_test(struct kunit *test)
{
	static const struct fmap_test_edit none[FMAP_TEST_EDITS] = {};
	static const struct fmap_test_edit single[FMAP_TEST_EDITS] = {
		S(s[0].set.nstrips, 1), S(h.nextents, 1),
		S(s[0].strip[0].len, P(13)), S(h.file_size, 10),
	};
	struct fuse_fmap_msg msg = {};
	size_t extents, sets;

	msg.buf = fmap_test_message(test, false, 0, none, &msg.len);
	KUNIT_EXPECT_NULL(test, fuse_fmap_check(&msg, FUSE_FMAP_KINDS));
	KUNIT_EXPECT_EQ(test, msg.kind, FUSE_FMAP_EXTENTS);
	KUNIT_EXPECT_EQ(test, msg.nsegs, 3);
	KUNIT_EXPECT_EQ(test, msg.nsets, 0);
	KUNIT_EXPECT_EQ(test, msg.nstrips, 0);
	KUNIT_EXPECT_EQ(test, msg.file_size, P(6));
	extents = fuse_fmap_bytes(&msg);
	KUNIT_EXPECT_EQ(test, extents, sizeof(struct fuse_fmap) +
			4 * sizeof(struct fuse_fmap_seg));

	msg.buf = fmap_test_message(test, true, 0, none, &msg.len);
	KUNIT_EXPECT_NULL(test, fuse_fmap_check(&msg, FUSE_FMAP_KINDS));
	KUNIT_EXPECT_EQ(test, msg.kind, FUSE_FMAP_STRIPED);
	KUNIT_EXPECT_EQ(test, msg.nsegs, 2);
	KUNIT_EXPECT_EQ(test, msg.nsets, 2);
	KUNIT_EXPECT_EQ(test, msg.nstrips, 6);
	KUNIT_EXPECT_EQ(test, msg.file_size, P(21) + 100);
	sets = fuse_fmap_bytes(&msg);
	KUNIT_EXPECT_EQ(test, sets, sizeof(struct fuse_fmap) +
			3 * sizeof(struct fuse_fmap_seg) +
			2 * sizeof(struct fuse_fmap_set) +
			6 * sizeof(struct fuse_fmap_strip));

	/* A set of one strip is stored as an extent */
	msg.buf = fmap_test_message(test, true, UP_TO(s[0].strip[1]), single,
				    &msg.len);
	KUNIT_EXPECT_NULL(test, fuse_fmap_check(&msg, FUSE_FMAP_KINDS));
	KUNIT_EXPECT_EQ(test, msg.nsegs, 1);
	KUNIT_EXPECT_EQ(test, msg.nsets, 0);
	KUNIT_EXPECT_EQ(test, msg.nstrips, 0);
}

struct fmap_test_build {
	const char *name;
	bool striped;
	int more;
	struct fmap_test_edit edits[FMAP_TEST_EDITS];
	u64 size_a, size_b;	/* of the devices, in bytes */
	bool readonly_a, readonly_b;
	const char *why;	/* NULL: built */
	u32 seg, strip;		/* position of the error */
	u32 nsegs;
	bool equal, readonly;
};

static const struct fmap_test_build fmap_test_builds[] = {
	{
		.name = "extents may end where their devices end",
		.size_a = P(301), .size_b = P(3),
		.nsegs = 3,
	}, {
		.name = "an extent may not end a page after its device",
		.size_a = P(300), .size_b = P(3),
		.why = "extent reaches past the end of its device",
		.seg = 2,
	}, {
		.name = "an extent may not end a byte after its device",
		.size_a = P(301), .size_b = P(3) - 1,
		.why = "extent reaches past the end of its device",
		.seg = 1,
	}, {
		.name = "an extent may not start after its device",
		.size_a = P(200), .size_b = P(3),
		.why = "extent reaches past the end of its device",
	}, {
		.name = "strips may end where their devices end",
		.striped = true,
		.size_a = P(503), .size_b = P(603),
		.nsegs = 2, .equal = true,
	}, {
		.name = "a strip may not end after its device",
		.striped = true,
		.size_a = P(502), .size_b = P(603),
		.why = "extent reaches past the end of its device",
		.seg = 1, .strip = 1,
	}, {
		.name = "the last strip may not end after its device",
		.striped = true,
		.size_a = P(503), .size_b = P(602),
		.why = "extent reaches past the end of its device",
		.seg = 1, .strip = 2,
	}, {
		.name = "the unused part of a strip may not end after its device",
		.striped = true,
		.edits = { S(s[0].strip[1].len, P(404)) },
		.size_a = P(503), .size_b = P(603),
		.why = "extent reaches past the end of its device",
		.strip = 1,
	}, {
		.name = "a device may have 2^64 bytes minus a page",
		.edits = { E(ext[1].offset, -P(4)) },
		.size_a = P(301), .size_b = -P(1),
		.nsegs = 3,
	}, {
		.name = "an extent may not end a page after such a device",
		.edits = { E(ext[1].offset, -P(4)) },
		.size_a = P(301), .size_b = -P(2),
		.why = "extent reaches past the end of its device",
		.seg = 1,
	}, {
		.name = "a read-only first device makes the map read-only",
		.size_a = P(301), .size_b = P(3),
		.readonly_a = true,
		.nsegs = 3, .readonly = true,
	}, {
		.name = "a read-only last device makes the map read-only",
		.size_a = P(301), .size_b = P(3),
		.readonly_b = true,
		.nsegs = 3, .readonly = true,
	}, {
		.name = "contiguous extents are merged",
		.edits = { E(ext[1].devindex, A), E(ext[1].offset, P(258)) },
		.size_a = P(301), .size_b = P(3),
		.nsegs = 2, .equal = true,
	}, {
		.name = "three contiguous extents are merged",
		.edits = { E(ext[1].devindex, A), E(ext[1].offset, P(258)),
			   E(ext[2].offset, P(261)) },
		.size_a = P(301), .size_b = P(3),
		.nsegs = 1, .equal = true,
	}, {
		.name = "extents with a page between them are not merged",
		.edits = { E(ext[1].devindex, A), E(ext[1].offset, P(259)) },
		.size_a = P(301), .size_b = P(3),
		.nsegs = 3,
	}, {
		.name = "contiguous extents on two devices are not merged",
		.edits = { E(ext[1].offset, P(258)) },
		.size_a = P(301), .size_b = P(301),
		.nsegs = 3,
	}, {
		.name = "extents in reverse order are not merged",
		.edits = { E(ext[1].devindex, A), E(ext[1].offset, P(253)) },
		.size_a = P(301), .size_b = P(3),
		.nsegs = 3,
	}, {
		.name = "contiguous sets of one strip are merged",
		.striped = true,
		.more = UP_TO(s[1]),
		.edits = { S(s[0].set.nstrips, 1), S(h.file_size, P(17)),
			   S(s[0].strip[0].offset, P(287)),
			   S(s[0].strip[0].len, P(13)),
			   /* the second set is in the place of strip 1 */
			   S(s[0].strip[1].devindex, 1),
			   S(s[0].strip[1].reserved, P(1)),
			   S(s[0].strip[1].offset, P(4)),
			   S(s[0].strip[1].len, 0) },
		.size_a = P(304), .size_b = 0,
		.nsegs = 1, .equal = true,
	}, {
		.name = "contiguous sets of several strips are not merged",
		.striped = true,
		.edits = { S(s[1].strip[0].devindex, A),
			   S(s[1].strip[0].offset, P(304)) },
		.size_a = P(503), .size_b = P(603),
		.nsegs = 2, .equal = true,
	}, {
		.name = "the last of equal extents may be shorter",
		.edits = { E(ext[1].len, P(2)), E(h.file_size, 0) },
		.size_a = P(301), .size_b = P(3),
		.nsegs = 3, .equal = true,
	}, {
		.name = "the last of equal extents may be longer",
		.edits = { E(ext[1].len, P(2)), E(ext[2].len, P(9)) },
		.size_a = P(309), .size_b = P(3),
		.nsegs = 3, .equal = true,
	},
};

KUNIT_ARRAY_PARAM_DESC(fuse_fmap_build, fmap_test_builds, name);

static void fuse_fmap_build_test(struct kunit *test)
{
	const struct fmap_test_build *c = test->param_value;
	const struct fuse_fmap_dev devs[] = {
		{ .index = A, .dev = fmap_model_dev(0),
		  .size = c->size_a, .readonly = c->readonly_a },
		{ .index = B, .dev = fmap_model_dev(1),
		  .size = c->size_b, .readonly = c->readonly_b },
	};
	struct fuse_fmap_msg msg = {};
	struct fuse_fmap *map;
	const char *why;

	msg.buf = fmap_test_message(test, c->striped, c->more, c->edits,
				    &msg.len);
	why = fuse_fmap_check(&msg, FUSE_FMAP_KINDS);
	KUNIT_ASSERT_STREQ(test, why ?: "accepted", "accepted");
	map = kunit_kmalloc(test, fuse_fmap_bytes(&msg), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, map);

	why = fuse_fmap_build(&msg, devs, ARRAY_SIZE(devs), map);
	KUNIT_EXPECT_STREQ(test, why ?: "built", c->why ?: "built");
	if (why) {
		KUNIT_EXPECT_EQ(test, msg.seg, c->seg);
		KUNIT_EXPECT_EQ(test, msg.strip, c->strip);
		return;
	}
	KUNIT_EXPECT_EQ(test, map->nsegs, c->nsegs);
	KUNIT_EXPECT_EQ(test, map->equal, c->equal);
	KUNIT_EXPECT_EQ(test, map->readonly, c->readonly);
	KUNIT_EXPECT_EQ(test, map->file_size, msg.file_size);
	KUNIT_EXPECT_EQ(test, map->bytes, fuse_fmap_bytes(&msg));
}

struct fmap_test_resolve {
	const char *name;
	bool striped;
	struct fmap_test_edit edits[FMAP_TEST_EDITS];
	u64 pos;
	unsigned int dev;
	u64 offset, len;
};

static const struct fmap_test_resolve fmap_test_resolves[] = {
	{
		.name = "the first byte of the first extent",
		.pos = 0,
		.dev = 0, .offset = P(256), .len = P(2),
	}, {
		.name = "the last byte of the first extent",
		.pos = P(2) - 1,
		.dev = 0, .offset = P(258) - 1, .len = 1,
	}, {
		.name = "the first byte of the second extent",
		.pos = P(2),
		.dev = 1, .offset = 0, .len = P(3),
	}, {
		.name = "the last byte of the second extent",
		.pos = P(5) - 1,
		.dev = 1, .offset = P(3) - 1, .len = 1,
	}, {
		.name = "the first byte of the last extent",
		.pos = P(5),
		.dev = 0, .offset = P(300), .len = P(1),
	}, {
		.name = "the last byte of the last extent",
		.pos = P(6) - 1,
		.dev = 0, .offset = P(301) - 1, .len = 1,
	}, {
		.name = "the first byte of the second of equal extents",
		.edits = { E(ext[1].len, P(2)), E(ext[2].len, P(9)) },
		.pos = P(2),
		.dev = 1, .offset = 0, .len = P(2),
	}, {
		.name = "the last byte of the second of equal extents",
		.edits = { E(ext[1].len, P(2)), E(ext[2].len, P(9)) },
		.pos = P(4) - 1,
		.dev = 1, .offset = P(2) - 1, .len = 1,
	}, {
		.name = "the first byte of the last of equal extents",
		.edits = { E(ext[1].len, P(2)), E(ext[2].len, P(9)) },
		.pos = P(4),
		.dev = 0, .offset = P(300), .len = P(9),
	}, {
		.name = "the last byte of a longer last of equal extents",
		.edits = { E(ext[1].len, P(2)), E(ext[2].len, P(9)) },
		.pos = P(13) - 1,
		.dev = 0, .offset = P(309) - 1, .len = 1,
	}, {
		.name = "extents of three pages, not a power of two",
		.edits = { E(ext[0].len, P(3)) },
		.pos = P(6) - 1,
		.dev = 1, .offset = P(3) - 1, .len = 1,
	}, {
		.name = "contiguous extents resolve to one range",
		.edits = { E(ext[1].devindex, A), E(ext[1].offset, P(258)) },
		.pos = P(1) + 7,
		.dev = 0, .offset = P(257) + 7, .len = P(4) - 7,
	}, {
		.name = "an extent near 2^64",
		.edits = { E(ext[1].offset, -P(4)) },
		.pos = P(4) + 1,
		.dev = 1, .offset = -P(2) + 1, .len = P(1) - 1,
	}, {
		.name = "the first byte of the first strip",
		.striped = true,
		.pos = 0,
		.dev = 0, .offset = P(100), .len = P(2),
	}, {
		.name = "the last byte of the first chunk",
		.striped = true,
		.pos = P(2) - 1,
		.dev = 0, .offset = P(102) - 1, .len = 1,
	}, {
		.name = "the first byte of the second chunk",
		.striped = true,
		.pos = P(2),
		.dev = 1, .offset = P(200), .len = P(2),
	}, {
		.name = "inside the third chunk",
		.striped = true,
		.pos = P(5) + 5,
		.dev = 0, .offset = P(301) + 5, .len = P(1) - 5,
	}, {
		.name = "the first byte of the second row",
		.striped = true,
		.pos = P(6),
		.dev = 0, .offset = P(102), .len = P(2),
	}, {
		.name = "the last byte of the second row",
		.striped = true,
		.pos = P(12) - 1,
		.dev = 0, .offset = P(304) - 1, .len = 1,
	}, {
		.name = "the last chunk ends with its set",
		.striped = true,
		.pos = P(12),
		.dev = 0, .offset = P(104), .len = P(1),
	}, {
		.name = "the first byte of the second set",
		.striped = true,
		.pos = P(13),
		.dev = 1, .offset = P(400), .len = P(1),
	}, {
		.name = "the second strip of the second set",
		.striped = true,
		.pos = P(14) + 1,
		.dev = 0, .offset = P(500) + 1, .len = P(1) - 1,
	}, {
		.name = "the second row of the second set",
		.striped = true,
		.pos = P(16),
		.dev = 1, .offset = P(401), .len = P(1),
	}, {
		.name = "the last page extends past the end of the file",
		.striped = true,
		.pos = P(21) + 99,
		.dev = 1, .offset = P(602) + 99, .len = P(1) - 99,
	},
};

KUNIT_ARRAY_PARAM_DESC(fuse_fmap_resolve, fmap_test_resolves, name);

static void fuse_fmap_resolve_test(struct kunit *test)
{
	const struct fmap_test_resolve *c = test->param_value;
	const struct fuse_fmap_dev devs[] = {
		{ .index = A, .dev = fmap_model_dev(0), .size = U64_MAX },
		{ .index = B, .dev = fmap_model_dev(1), .size = U64_MAX },
	};
	struct fuse_fmap_range range, model;
	struct fuse_fmap_msg msg = {};
	struct fuse_fmap *map;
	const char *why;

	msg.buf = fmap_test_message(test, c->striped, 0, c->edits, &msg.len);
	why = fuse_fmap_check(&msg, FUSE_FMAP_KINDS);
	KUNIT_ASSERT_STREQ(test, why ?: "accepted", "accepted");
	map = kunit_kmalloc(test, fuse_fmap_bytes(&msg), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	why = fuse_fmap_build(&msg, devs, ARRAY_SIZE(devs), map);
	KUNIT_ASSERT_STREQ(test, why ?: "built", "built");

	fuse_fmap_resolve(map, c->pos, &range);
	KUNIT_EXPECT_PTR_EQ(test, range.dev, fmap_model_dev(c->dev));
	KUNIT_EXPECT_EQ(test, range.offset, c->offset);
	KUNIT_EXPECT_EQ(test, range.len, c->len);

	/* check the model as well */
	fmap_model_resolve(msg.buf, devs, ARRAY_SIZE(devs), c->pos, &model);
	KUNIT_EXPECT_PTR_EQ(test, model.dev, fmap_model_dev(c->dev));
	KUNIT_EXPECT_EQ(test, model.offset, c->offset);
	KUNIT_EXPECT_EQ(test, model.len, c->len);
}

/* The largest numbers, for which a reciprocal could be off by one */
struct fmap_test_huge {
	const char *name;
	bool striped;
	int more;
	struct fmap_test_edit edits[FMAP_TEST_EDITS];
};

static const struct fmap_test_huge fmap_test_huges[] = {
	{
		.name = "one set of the largest file",
		.striped = true,
		.more = UP_TO(s[1]),
		.edits = {
			S(h.nextents, 1), S(h.file_size, MAX_LFS_FILESIZE),
			S(s[0].set.nbytes, MAX_LFS_FILESIZE),
			S(s[0].strip[0].len, 1ULL << 62),
			S(s[0].strip[1].len, 1ULL << 62),
			S(s[0].strip[2].len, 1ULL << 62),
		},
	}, {
		.name = "extents of half the largest file",
		.edits = {
			E(ext[0].len, 1ULL << 61), E(ext[1].len, 1ULL << 61),
			E(ext[2].len, (1ULL << 62) - P(1)),
		},
	}, {
		.name = "extents of three quarters of the largest file",
		.edits = {
			E(ext[0].len, P(3) << 48), E(ext[1].len, P(3) << 48),
			E(ext[2].len, P(1)),
		},
	}, {
		.name = "single pages at the start of the largest file",
		.edits = {
			E(ext[0].len, P(1)), E(ext[1].len, P(1)),
			E(ext[2].len, (1ULL << 63) - P(3)),
		},
	},
#if PAGE_SHIFT == 12
	{
		.name = "the maximum number of pages for a large chunk",
		.striped = true,
		.edits = {
			S(s[1].set.chunk_size, P(8193)),
			S(s[1].set.nbytes, P(U64_MAX / 8193)),
			S(s[1].strip[0].len, 1ULL << 62),
			S(s[1].strip[1].len, 1ULL << 62),
			S(s[1].strip[2].len, 1ULL << 62),
		},
	}, {
		.name = "the maximum number of pages for the largest chunk",
		.striped = true,
		.edits = {
			S(s[1].set.chunk_size, -P(1)),
			S(s[1].set.nbytes, P(U64_MAX / 0xfffff)),
			S(s[1].strip[0].len, 1ULL << 62),
			S(s[1].strip[1].len, 1ULL << 62),
			S(s[1].strip[2].len, 1ULL << 62),
		},
	},
#endif
};

KUNIT_ARRAY_PARAM_DESC(fuse_fmap_huge, fmap_test_huges, name);

static void fuse_fmap_huge_test(struct kunit *test)
{
	const struct fmap_test_huge *c = test->param_value;
	const struct fuse_fmap_dev devs[] = {
		{ .index = A, .dev = fmap_model_dev(0), .size = U64_MAX },
		{ .index = B, .dev = fmap_model_dev(1), .size = U64_MAX },
	};
	const char *why;
	const void *buf;
	size_t len;

	buf = fmap_test_message(test, c->striped, c->more, c->edits, &len);
	KUNIT_ASSERT_TRUE(test, fmap_model_valid(buf, len, FUSE_FMAP_KINDS));
	why = fmap_model_compare(buf, len, FUSE_FMAP_KINDS, devs,
				 ARRAY_SIZE(devs), FMAP_TEST_SEED, 10000);
	KUNIT_EXPECT_STREQ(test, why ?: "as the model", "as the model");
}

/* Compare, in an exact allocation for KASAN. Returns NULL or the difference. */
static const char *fmap_test_compare(const struct fmap_random_map *m,
				     unsigned int npos)
{
	const char *why = "no memory";
	void *buf;

	buf = kmemdup(m->buf, m->len, GFP_KERNEL);
	if (buf)
		why = fmap_model_compare(buf, m->len, FUSE_FMAP_KINDS, m->devs,
					 m->ndevs, m->state, npos);
	kfree(buf);
	return why;
}

static void fuse_fmap_random_test(struct kunit *test)
{
	struct fmap_random_map *m;
	const char *why;
	unsigned int i;

	m = kunit_kmalloc(test, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	kunit_info(test, "%u maps from seed %#x, %u positions in each",
		   FMAP_TEST_MAPS, FMAP_TEST_SEED, FMAP_TEST_POSITIONS);

	for (i = 0; i < FMAP_TEST_MAPS; i++) {
		fmap_random_map(m, FMAP_TEST_SEED + i);
		KUNIT_ASSERT_TRUE_MSG(test, fmap_model_valid(m->buf, m->len,
							     FUSE_FMAP_KINDS),
				      "map %u is not valid", i);
		why = fmap_test_compare(m, FMAP_TEST_POSITIONS);
		KUNIT_ASSERT_NULL_MSG(test, why, "map %u: %s", i, why);
		cond_resched();
	}
}

/* Change a number in a message, its length, or the size of a device */
static void fmap_random_damage(struct fmap_random_map *m)
{
	u32 *at = (u32 *)m->buf + fmap_random_below(&m->state, m->len / 4);
	struct fuse_fmap_dev *dev;

	switch (fmap_random_below(&m->state, 6)) {
	case 0:
		*at += PAGE_SIZE;
		break;
	case 1:
		*at -= PAGE_SIZE;
		break;
	case 2:
		*at += fmap_random(&m->state) & 1 ? 1 : -1;
		break;
	case 3:
		*at = fmap_random(&m->state);
		break;
	case 4:
		m->len -= fmap_random_below(&m->state, m->len - 3);
		break;
	case 5:
		dev = &m->devs[fmap_random_below(&m->state, m->ndevs)];
		dev->size -= min(dev->size, PAGE_SIZE);
		break;
	}
}

static void fuse_fmap_damaged_test(struct kunit *test)
{
	struct fmap_random_map *m;
	unsigned int i, bad = 0;
	const char *why;

	m = kunit_kmalloc(test, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	kunit_info(test, "%u maps from seed %#x",
		   FMAP_TEST_MAPS, FMAP_TEST_SEED);

	for (i = 0; i < FMAP_TEST_MAPS; i++) {
		fmap_random_map(m, FMAP_TEST_SEED + i);
		do
			fmap_random_damage(m);
		while (fmap_random(&m->state) & 1);
		why = fmap_test_compare(m, 5);
		KUNIT_ASSERT_NULL_MSG(test, why, "map %u: %s", i, why);
		bad += !fmap_model_valid(m->buf, m->len, FUSE_FMAP_KINDS);
		cond_resched();
	}
	/* The test needs a mix of valid and invalid messages */
	KUNIT_EXPECT_GT(test, bad, FMAP_TEST_MAPS / 4);
	KUNIT_EXPECT_LT(test, bad, FMAP_TEST_MAPS - FMAP_TEST_MAPS / 4);
}

static void fuse_fmap_find_dev_test(struct kunit *test)
{
	static const struct fuse_fmap_dev devs[] = {
		{ .index = 0 }, { .index = 7 }, { .index = U32_MAX },
	};

	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 0, 5), 0);
	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 3, 0), 0);
	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 3, 1), 1);
	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 3, 7), 1);
	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 3, 8), 2);
	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 3, U32_MAX), 2);
	KUNIT_EXPECT_EQ(test, fuse_fmap_find_dev(devs, 2, U32_MAX), 2);
}

static struct kunit_case fuse_fmap_test_cases[] = {
	KUNIT_CASE_PARAM(fuse_fmap_check_test, fuse_fmap_check_gen_params),
	KUNIT_CASE(fuse_fmap_check_counts_test),
	KUNIT_CASE(fuse_fmap_find_dev_test),
	KUNIT_CASE_PARAM(fuse_fmap_build_test, fuse_fmap_build_gen_params),
	KUNIT_CASE_PARAM(fuse_fmap_resolve_test, fuse_fmap_resolve_gen_params),
	KUNIT_CASE_PARAM(fuse_fmap_huge_test, fuse_fmap_huge_gen_params),
	KUNIT_CASE_SLOW(fuse_fmap_random_test),
	KUNIT_CASE_SLOW(fuse_fmap_damaged_test),
	{}
};

static struct kunit_suite fuse_fmap_test_suite = {
	.name = "fuse_fmap",
	.test_cases = fuse_fmap_test_cases,
};

kunit_test_suite(fuse_fmap_test_suite);

MODULE_DESCRIPTION("KUnit tests for DAX file maps of FUSE");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
