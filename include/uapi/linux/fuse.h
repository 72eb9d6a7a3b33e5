/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * DAX file maps in the FUSE protocol, for programs that are compiled against a
 * system <linux/fuse.h> without them.
 *
 * Add the directory include/uapi to the include path before the system headers
 * and include <linux/fuse.h> as usual. This file includes the system header and
 * adds the missing definitions. If the system header defines FUSE_DAX_FMAP,
 * this file adds only the INIT offsets at its end.
 *
 * The kernel series adds the same definitions to the kernel header.
 */
#include_next <linux/fuse.h>

#ifndef _FUSE_DAX_FMAP_UAPI_H
#define _FUSE_DAX_FMAP_UAPI_H

#ifndef FUSE_DAX_FMAP

/*
 * FUSE_DAX_FMAP: the kernel resolves DAX file maps. Added in protocol 7.46; the
 * flag alone indicates the feature, since the minor version did not change.
 * Offered only on mounts made with CAP_SYS_ADMIN in the initial user namespace
 * with user_id=0. Both sides also set fmap_kinds, see FUSE_INIT_IN_FMAP_KINDS.
 */
#define FUSE_DAX_FMAP		(1ULL << 44)
/*
 * FUSE_DAX_FAILURES: the kernel sends FUSE_DAX_FAILURE if the server sets this
 * flag. Offered together with FUSE_DAX_FMAP.
 */
#define FUSE_DAX_FAILURES	(1ULL << 45)

/* Opcodes. Macros, because enum fuse_opcode can't be extended here. */
#define FUSE_GET_FMAP		54
#define FUSE_GET_DAXDEV		55
#define FUSE_DAX_FAILURE	56

/*
 * Kinds of map. fmap_kinds in INIT is a mask of 1 << kind.
 *
 * FUSE_FMAP_EXTENTS: a list of extents, in the order of the file
 * FUSE_FMAP_STRIPED: a list of stripe sets, in the order of the file
 */
#define FUSE_FMAP_EXTENTS	0
#define FUSE_FMAP_STRIPED	1

/* Value of fuse_fmap_header.version */
#define FUSE_FMAP_VERSION	1

/*
 * Maximum size of a map message in bytes: the header and more than one million
 * extents.
 */
#define FUSE_FMAP_MAX_SIZE	(32U << 20)

/**
 * struct fuse_get_fmap_in - FUSE_GET_FMAP: request the map of a regular file
 * @size: maximum length of the reply in bytes
 * @flags: 0
 * @offset: offset in the map message, in bytes, at which the reply starts
 *
 * Sent at the first open of a file. The reply holds the message from @offset
 * on, up to @size bytes. While the kernel has received less than the fmap_size
 * in the header, it sends another request for the rest.
 *
 * Error replies: ENODATA if the file has no map: it is an ordinary FUSE file.
 * ENOSYS if the server has no maps at all: the kernel sends no more of these
 * requests on the connection. Any other error fails the open with that error.
 */
struct fuse_get_fmap_in {
	uint32_t	size;
	uint32_t	flags;
	uint64_t	offset;
};

/**
 * struct fuse_fmap_header - start of a map message
 * @file_type: for use by the server; ignored by the kernel
 * @reserved: 0
 * @version: FUSE_FMAP_VERSION
 * @kind: FUSE_FMAP_EXTENTS or FUSE_FMAP_STRIPED
 * @nextents: number of extents (FUSE_FMAP_EXTENTS) or stripe sets
 *	(FUSE_FMAP_STRIPED) that follow, at least 1
 * @fmap_size: size of the message in bytes, including this header, at most
 *	FUSE_FMAP_MAX_SIZE. 0 if the message is complete in one reply; then
 *	zero bytes may follow the last extent
 * @file_size: file size in bytes, becomes i_size. The extents or stripe sets
 *	must cover it
 * @reserved2: 0
 */
struct fuse_fmap_header {
	uint8_t		file_type;
	uint8_t		reserved;
	uint16_t	version;
	uint32_t	kind;
	uint32_t	nextents;
	uint32_t	fmap_size;
	uint64_t	file_size;
	uint64_t	reserved2;
};

/**
 * struct fuse_fmap_extent - a contiguous range of a DAX device
 * @devindex: the server's index of the device
 * @reserved: 0
 * @offset: start on the device in bytes, a multiple of the page size
 * @len: length in bytes, a nonzero multiple of the page size
 */
struct fuse_fmap_extent {
	uint32_t	devindex;
	uint32_t	reserved;
	uint64_t	offset;
	uint64_t	len;
};

/**
 * struct fuse_fmap_stripe_set - a stripe set, followed by @nstrips extents
 * @nstrips: number of strips, at least 1. Each strip is a
 *	struct fuse_fmap_extent
 * @chunk_size: number of bytes on one strip before the next strip is used, a
 *	nonzero multiple of the page size
 * @nbytes: number of bytes of the file that this set covers, at least 1. Must
 *	be a multiple of the page size in all sets but the last
 * @reserved: 0
 *
 * Byte p of the set is in chunk c = p / chunk_size. This chunk is on strip
 * s = c % nstrips, and the byte is at offset strip[s].offset +
 * (c / nstrips) * chunk_size + p % chunk_size of the device.
 */
struct fuse_fmap_stripe_set {
	uint32_t	nstrips;
	uint32_t	chunk_size;
	uint64_t	nbytes;
	uint64_t	reserved;
};

/**
 * struct fuse_get_daxdev_in - FUSE_GET_DAXDEV: request the device of an index
 * @index: an index in a map for which no device is registered
 * @reserved: 0
 */
struct fuse_get_daxdev_in {
	uint32_t	index;
	uint32_t	reserved;
};

/* Size of fuse_daxdev_out.name in bytes, including the terminating NUL */
#define FUSE_DAXDEV_NAME_MAX	256

/**
 * struct fuse_daxdev_out - reply to FUSE_GET_DAXDEV
 * @index: low 16 bits of the requested index
 * @reserved: 0
 * @reserved2: 0
 * @reserved3: 0
 * @reserved4: 0
 * @name: NUL-terminated name of the device on the dax bus, such as "dax0.0".
 *	A leading "/dev/" is ignored; the name is never looked up as a path.
 *	Empty if the server registered the device with FUSE_DEV_IOC_DAXDEV_OPEN
 *	before this reply
 */
struct fuse_daxdev_out {
	uint16_t	index;
	uint16_t	reserved;
	uint32_t	reserved2;
	uint64_t	reserved3;
	uint64_t	reserved4;
	char		name[FUSE_DAXDEV_NAME_MAX];
};

/*
 * Events of fuse_dax_failure_in.
 *
 * FUSE_DAX_BAD_MEMORY: memory of the device is bad. Reads and mappings of it
 *	fail until whole pages are overwritten
 * FUSE_DAX_REMOVED: the device was removed. Open files have permanently lost
 *	their data on it
 */
#define FUSE_DAX_BAD_MEMORY	0
#define FUSE_DAX_REMOVED	1

/**
 * struct fuse_dax_failure_in - FUSE_DAX_FAILURE: notify of a device failure
 * @index: the server's index of the device
 * @event: FUSE_DAX_BAD_MEMORY or FUSE_DAX_REMOVED
 * @offset: start of the range on the device, in bytes
 * @len: length of the range in bytes
 * @pos: file position of @offset in bytes, if the node is a file; otherwise 0
 *
 * Sent only if the server set FUSE_DAX_FAILURES in its reply to INIT. The node
 * of the request is the file that contains the range. It is the root if the
 * device was removed, or if no file in the kernel's inode cache contains the
 * range. The kernel has handled the failure before it sends the request, and
 * doesn't wait for the reply. An ENOSYS reply disables notifications; any other
 * reply is ignored. Several failures may be reported in any order.
 */
struct fuse_dax_failure_in {
	uint32_t	index;
	uint32_t	event;
	uint64_t	offset;
	uint64_t	len;
	uint64_t	pos;
};

/**
 * struct fuse_daxdev_map - argument of FUSE_DEV_IOC_DAXDEV_OPEN
 * @fd: file descriptor of a DAX character device that is bound to the fsdev
 *	driver, open for reading. If it is not open for writing, files on the
 *	device can't be opened for writing
 * @flags: 0
 * @index: the server's index of the device, at most 2^32 - 1
 *
 * Same layout as struct fuse_backing_map. The server may close the file
 * descriptor after the call.
 */
struct fuse_daxdev_map {
	int32_t		fd;
	uint32_t	flags;
	uint64_t	index;
};

#ifndef FUSE_DEV_IOC_MAGIC
#define FUSE_DEV_IOC_MAGIC	229
#endif

/*
 * Register a DAX device under an index. Returns 1 on success. Errors: EPERM
 * (maps not negotiated on this connection), EFAULT, EINVAL (not a DAX device,
 * or flags or index out of range), EBADF, EACCES (fd not open for reading),
 * EOPNOTSUPP (not bound to the fsdev driver), ENODEV (not bound to a driver, or
 * being removed), EEXIST (index in use), EBUSY (device has another holder or
 * another index), ENOMEM, ENOTCONN (unmounted).
 */
#define FUSE_DEV_IOC_DAXDEV_OPEN	_IOW(FUSE_DEV_IOC_MAGIC, 4, \
					     struct fuse_daxdev_map)
/*
 * Unregister an index. Returns 0 on success. The device stays claimed while
 * maps use it. Errors: EPERM, EFAULT, ENOENT (no such index).
 */
#define FUSE_DEV_IOC_DAXDEV_CLOSE	_IOW(FUSE_DEV_IOC_MAGIC, 5, uint32_t)

#endif /* FUSE_DAX_FMAP */

/*
 * Offset of fmap_kinds in fuse_init_in and fuse_init_out, in bytes, for servers
 * compiled against a system header without this member. It is a uint32_t mask
 * of 1 << kind: the kinds that the kernel resolves, and those of them that the
 * server sends. 0 in fuse_init_out means FUSE_FMAP_EXTENTS and
 * FUSE_FMAP_STRIPED.
 */
#define FUSE_INIT_IN_FMAP_KINDS		20
#define FUSE_INIT_OUT_FMAP_KINDS	44

#endif /* _FUSE_DAX_FMAP_UAPI_H */
