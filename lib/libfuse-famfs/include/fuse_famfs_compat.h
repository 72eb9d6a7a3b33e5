/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * FUSE: Filesystem in Userspace
 *
 * The names that published famfs servers use for the messages of DAX file maps.
 * New servers use those of fuse_fmap.h or fuse_kernel.h instead.
 *
 * The members have other names than in fuse_kernel.h, but the same offsets and
 * sizes, as the assertions below check.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#ifndef FUSE_FAMFS_COMPAT_H_
#define FUSE_FAMFS_COMPAT_H_

#include "fuse_kernel.h"

#include <assert.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAMFS_FMAP_VERSION		FUSE_FMAP_VERSION

/* fuse_famfs_fmap_header.file_type, for the server's own use */
enum fuse_famfs_file_type {
	FUSE_FAMFS_FILE_REG,
	FUSE_FAMFS_FILE_SUPERBLOCK,
	FUSE_FAMFS_FILE_LOG,
};

/* fuse_famfs_fmap_header.ext_type */
enum famfs_ext_type {
	FUSE_FAMFS_EXT_SIMPLE		= FUSE_FMAP_EXTENTS,
	FUSE_FAMFS_EXT_INTERLEAVE	= FUSE_FMAP_STRIPED,
};

/* Limits of these servers; the kernel accepts many more */
#define FUSE_FAMFS_MAX_EXTENTS		32
#define FUSE_FAMFS_MAX_STRIPS		32

/* struct fuse_fmap_header */
struct fuse_famfs_fmap_header {
	uint8_t		file_type;
	uint8_t		reserved;
	uint16_t	fmap_version;
	uint32_t	ext_type;
	uint32_t	nextents;
	uint32_t	reserved0;
	uint64_t	file_size;
	uint64_t	reserved1;
};

/* struct fuse_fmap_extent */
struct fuse_famfs_simple_ext {
	uint32_t	se_devindex;
	uint32_t	reserved;
	uint64_t	se_offset;
	uint64_t	se_len;
};

/* struct fuse_fmap_stripe_set */
struct fuse_famfs_iext {
	uint32_t	ie_nstrips;
	uint32_t	ie_chunk_size;
	uint64_t	ie_nbytes;
	uint64_t	reserved;
};

#define FUSE_FAMFS_SAME(s1, m1, s2, m2)					\
	static_assert(offsetof(struct s1, m1) == offsetof(struct s2, m2) && \
		      sizeof(((struct s1 *)0)->m1) ==			\
		      sizeof(((struct s2 *)0)->m2),			\
		      #s1 "." #m1 " does not match " #s2 "." #m2)

FUSE_FAMFS_SAME(fuse_famfs_fmap_header, file_type, fuse_fmap_header, file_type);
FUSE_FAMFS_SAME(fuse_famfs_fmap_header, fmap_version, fuse_fmap_header, version);
FUSE_FAMFS_SAME(fuse_famfs_fmap_header, ext_type, fuse_fmap_header, kind);
FUSE_FAMFS_SAME(fuse_famfs_fmap_header, nextents, fuse_fmap_header, nextents);
FUSE_FAMFS_SAME(fuse_famfs_fmap_header, reserved0, fuse_fmap_header, fmap_size);
FUSE_FAMFS_SAME(fuse_famfs_fmap_header, file_size, fuse_fmap_header, file_size);
FUSE_FAMFS_SAME(fuse_famfs_fmap_header, reserved1, fuse_fmap_header, reserved2);
FUSE_FAMFS_SAME(fuse_famfs_simple_ext, se_devindex, fuse_fmap_extent, devindex);
FUSE_FAMFS_SAME(fuse_famfs_simple_ext, se_offset, fuse_fmap_extent, offset);
FUSE_FAMFS_SAME(fuse_famfs_simple_ext, se_len, fuse_fmap_extent, len);
FUSE_FAMFS_SAME(fuse_famfs_iext, ie_nstrips, fuse_fmap_stripe_set, nstrips);
FUSE_FAMFS_SAME(fuse_famfs_iext, ie_chunk_size,
		fuse_fmap_stripe_set, chunk_size);
FUSE_FAMFS_SAME(fuse_famfs_iext, ie_nbytes, fuse_fmap_stripe_set, nbytes);
static_assert(sizeof(struct fuse_famfs_fmap_header) ==
	      sizeof(struct fuse_fmap_header), "the size of the header differs");
static_assert(sizeof(struct fuse_famfs_simple_ext) ==
	      sizeof(struct fuse_fmap_extent), "the size of an extent differs");
static_assert(sizeof(struct fuse_famfs_iext) ==
	      sizeof(struct fuse_fmap_stripe_set),
	      "the size of a stripe set differs");

#undef FUSE_FAMFS_SAME

#ifdef __cplusplus
}
#endif

#endif /* FUSE_FAMFS_COMPAT_H_ */
