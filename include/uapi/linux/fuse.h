/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * DAX file maps in the FUSE protocol, for programs that are compiled on a
 * machine whose own <linux/fuse.h> does not know them yet.
 *
 * Put the directory above this one (include/uapi) in front of the system's
 * headers and include <linux/fuse.h> as ever: this file takes in the system's
 * header and adds what is missing. On a machine whose header has FUSE_DAX_FMAP
 * it adds the INIT offsets at its end and nothing else.
 *
 * The kernel series puts the same definitions into the kernel's own header.
 */
#include_next <linux/fuse.h>

#ifndef _FUSE_DAX_FMAP_UAPI_H
#define _FUSE_DAX_FMAP_UAPI_H

#ifndef FUSE_DAX_FMAP

/*
 * FUSE_DAX_FMAP: the kernel resolves DAX file maps. Offered on mounts made
 * with CAP_SYS_ADMIN in the initial user namespace only. Both sides also fill in fmap_kinds, see FUSE_INIT_IN_FMAP_KINDS below.
 */
#define FUSE_DAX_FMAP		(1ULL << 44)
/* FUSE_DAX_FAILURES: the server wants FUSE_DAX_FAILURE; offered with the above */
#define FUSE_DAX_FAILURES	(1ULL << 45)

/* Opcodes. Macros, since an enum can't be added to from outside. */
#define FUSE_GET_FMAP		54
#define FUSE_GET_DAXDEV		55
#define FUSE_DAX_FAILURE	56

/*
 * The kinds of map. fmap_kinds in INIT is a mask of 1 << kind.
 *
 * FUSE_FMAP_EXTENTS: extents that follow each other in the file
 * FUSE_FMAP_STRIPED: stripe sets that follow each other in the file
 */
#define FUSE_FMAP_EXTENTS	0
#define FUSE_FMAP_STRIPED	1

/* fuse_fmap_header.version */
#define FUSE_FMAP_VERSION	1

/*
 * A map message may have this many bytes at the most: header, and one million
 * extents and more.
 */
#define FUSE_FMAP_MAX_SIZE	(32U << 20)

/**
 * struct fuse_get_fmap_in - ask for the map of a regular file
 * @size: room for the reply, in bytes
 * @flags: 0
 * @offset: byte of the map message at which the reply starts
 *
 * Sent when a file is first opened. The reply is the message's bytes from
 * @offset on, as many as fit into @size. While the kernel has less than the
 * header's fmap_size it asks again with @offset the number of bytes it has.
 *
 * Error replies: ENODATA, the file has no map and is an ordinary FUSE file;
 * ENOSYS, the server has no maps at all and is not asked again. Any other
 * error fails the open with that error.
 */
struct fuse_get_fmap_in {
	uint32_t	size;
	uint32_t	flags;
	uint64_t	offset;
};

/**
 * struct fuse_fmap_header - start of a map message
 * @file_type: for the server's own use, the kernel does not look at it
 * @reserved: 0
 * @version: FUSE_FMAP_VERSION
 * @kind: FUSE_FMAP_EXTENTS or FUSE_FMAP_STRIPED
 * @nextents: number of extents (kind 0) or stripe sets (kind 1) that follow,
 *	1 or more
 * @fmap_size: bytes in the whole message with this header, or 0 if the message
 *	is complete in one reply (then zero bytes may follow the last extent)
 * @file_size: file size in bytes; becomes i_size
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
 * @offset: first byte on the device, a multiple of the page size
 * @len: length in bytes, a multiple of the page size, not 0
 */
struct fuse_fmap_extent {
	uint32_t	devindex;
	uint32_t	reserved;
	uint64_t	offset;
	uint64_t	len;
};

/**
 * struct fuse_fmap_stripe_set - a stripe set; its @nstrips extents follow it
 * @nstrips: number of strips, 1 or more
 * @chunk_size: bytes on one strip before the next strip is used, a multiple of
 *	the page size, not 0
 * @nbytes: bytes of the file that this set covers, not 0; a multiple of the
 *	page size in every set but the last
 * @reserved: 0
 *
 * Byte p of the set is in chunk c = p / chunk_size, which is on strip
 * s = c % nstrips at offset strip[s].offset + (c / nstrips) * chunk_size +
 * p % chunk_size.
 */
struct fuse_fmap_stripe_set {
	uint32_t	nstrips;
	uint32_t	chunk_size;
	uint64_t	nbytes;
	uint64_t	reserved;
};

/**
 * struct fuse_get_daxdev_in - ask for the device behind an index
 * @index: an index that a map named and that no device has yet
 * @reserved: 0
 */
struct fuse_get_daxdev_in {
	uint32_t	index;
	uint32_t	reserved;
};

/* Bytes in fuse_daxdev_out.name, the NUL at the end included */
#define FUSE_DAXDEV_NAME_MAX	256

/**
 * struct fuse_daxdev_out - reply to FUSE_GET_DAXDEV
 * @index: the index asked for (its low 16 bits)
 * @reserved: 0
 * @reserved2: 0
 * @reserved3: 0
 * @reserved4: 0
 * @name: name of the device on the dax bus, such as "dax0.0" ("/dev/dax0.0"
 *	means the same; it is never looked up as a path), ended by a NUL; or
 *	empty, if the device was registered with FUSE_DEV_IOC_DAXDEV_OPEN before
 *	this reply
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
 * What has failed.
 *
 * FUSE_DAX_BAD_MEMORY: memory of a device is bad. Reading or mapping it fails
 *	until whole pages are written anew
 * FUSE_DAX_REMOVED: the device was removed; files that are open have lost what
 *	is on it for good
 */
#define FUSE_DAX_BAD_MEMORY	0
#define FUSE_DAX_REMOVED	1

/**
 * struct fuse_dax_failure_in - tell the server that a DAX device has failed
 * @index: the server's index of the device
 * @event: FUSE_DAX_BAD_MEMORY or FUSE_DAX_REMOVED
 * @offset: first byte on the device
 * @len: length in bytes
 * @pos: byte of the file that @offset is, if the request is for a file
 *
 * Sent only if the server has set FUSE_DAX_FAILURES in its reply to INIT. The
 * node of the request is the file that has the range, or the root if no file
 * that the kernel knows has it, or if the device was removed. The kernel has
 * done its part before, and doesn't wait: it takes no notice of the reply but
 * for the error ENOSYS, which means not to be told again. The order of several
 * failures is not kept.
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
 * @fd: an open DAX character device that is bound to the fsdev driver; if it
 *	is open for reading only, files on it can't be written
 * @flags: 0
 * @index: the server's index for the device, any that fits into 32 bits
 *
 * Laid out as struct fuse_backing_map. The fd may be closed after the call.
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
 * Register a DAX device under an index: returns 1. Errors: EPERM (maps were
 * not negotiated on this connection), EINVAL (not a DAX device, flags or index
 * out of range), EBADF, EACCES (fd not open for reading), EOPNOTSUPP (not bound
 * to the fsdev driver), ENODEV (bound to no driver, or going away), EEXIST
 * (index in use), EBUSY (device held by somebody else or under another index),
 * ENOTCONN (unmounted).
 */
#define FUSE_DEV_IOC_DAXDEV_OPEN	_IOW(FUSE_DEV_IOC_MAGIC, 4, \
					     struct fuse_daxdev_map)
/*
 * Drop an index: returns 0. Maps that use the device keep it. Errors: EPERM,
 * ENOENT (no such index).
 */
#define FUSE_DEV_IOC_DAXDEV_CLOSE	_IOW(FUSE_DEV_IOC_MAGIC, 5, uint32_t)

#endif /* FUSE_DAX_FMAP */

/*
 * Where fmap_kinds is in fuse_init_in and fuse_init_out, in bytes: a server
 * compiled against an older system header has no member of that name. It is a
 * uint32_t. 0 in fuse_init_out means EXTENTS and STRIPED.
 */
#define FUSE_INIT_IN_FMAP_KINDS		20
#define FUSE_INIT_OUT_FMAP_KINDS	44

#endif /* _FUSE_DAX_FMAP_UAPI_H */
