/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * FUSE: Filesystem in Userspace
 *
 * DAX file maps.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#ifndef FUSE_FMAP_H_
#define FUSE_FMAP_H_

/** @file
 *
 * Files whose bytes are in DAX memory (CXL, NVDIMM): the server tells the
 * kernel once, when a file is first opened, which ranges of which DAX devices
 * hold it. From then on reads, writes and page faults need the server no more.
 *
 * In short:
 *
 *  1. In init(), if FUSE_CAP_DAX_FMAP is among `conn->capable_ext`:
 *     fuse_set_feature_flag(conn, FUSE_CAP_DAX_FMAP). `conn->fmap_kinds` tells
 *     which kinds of map the kernel resolves. Without the capability nobody
 *     calls any of what follows, and the server is a plain FUSE server.
 *  2. In get_fmap(): build a map with the functions here, fuse_reply_fmap().
 *  3. In get_daxdev(), or at any time before: register the devices that the
 *     maps name, fuse_daxdev_open().
 *  4. In dax_failure(), if the server has it: learn that memory has failed.
 *
 * <fuse_lowlevel.h> and <fuse.h> include this file.
 *
 * All sizes, lengths and offsets are in bytes. "Page" is the page size of the
 * machine, sysconf(_SC_PAGESIZE). Ranges that are aligned to 2 MiB, on the
 * device and in the file, earn huge page mappings.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fuse_req;
struct fuse_session;

/**
 * A kind of map: extents that follow each other in the file.
 *
 * `fuse_conn_info.fmap_kinds` and the argument `kinds` of fuse_fmap_check() are
 * masks of 1 << kind.
 */
#define FUSE_FMAP_EXTENTS	0

/** A kind of map: stripe sets, and extents, that follow each other */
#define FUSE_FMAP_STRIPED	1

/**
 * For fuse_fmap_new() and fuse_fmap_set_size(): the file is as long as what
 * its segments cover
 */
#define FUSE_FMAP_SIZE_COVERED	UINT64_MAX

/* ----------------------------------------------------------- *
 * Building a map					       *
 * ----------------------------------------------------------- */

/**
 * A map in the making.
 *
 * A file is a list of segments that follow each other without a gap: extents
 * and stripe sets, in any mixture and of any number. Segments are numbered
 * from 0 in the order in which they were added.
 *
 * An add function that fails leaves a mark: the map can't be sent any more, and
 * fuse_fmap_check() says what was wrong. So it is enough to look at the result
 * once, at the end.
 *
 * A map belongs to the caller. It has no lock: threads may read one map at the
 * same time (the functions that take it const), or work on different ones.
 */
struct fuse_fmap_builder;

/** A strip of a stripe set: one contiguous range of a DAX device */
struct fuse_dax_range {
	/** The server's index of the device, any number */
	uint32_t devindex;

	/** First byte on the device, a multiple of the page size */
	uint64_t offset;

	/** Length, a multiple of the page size, not 0 */
	uint64_t len;
};

/** What fuse_fmap_check() has to know of a device */
struct fuse_fmap_device {
	/** The server's index of the device */
	uint32_t index;

	/**
	 * Not 0: the device is registered by an fd that is open for reading
	 * only. Not a reason to refuse a map: its file can't be written.
	 */
	int readonly;

	/** Bytes on the device */
	uint64_t size;
};

/**
 * Begin a map
 *
 * @param file_size size of the file. Any number of bytes up to INT64_MAX; the
 *   segments must cover it and may cover more. FUSE_FMAP_SIZE_COVERED: what
 *   the segments cover.
 * @return the map, which the caller frees with fuse_fmap_free(); NULL if there
 *   is no memory
 *
 * @since 3.19
 */
struct fuse_fmap_builder *fuse_fmap_new(uint64_t file_size);

/**
 * Free a map
 *
 * @param map the map, or NULL
 *
 * @since 3.19
 */
void fuse_fmap_free(struct fuse_fmap_builder *map);

/**
 * Set the size of the file
 *
 * @param map the map
 * @param file_size as for fuse_fmap_new()
 *
 * @since 3.19
 */
void fuse_fmap_set_size(struct fuse_fmap_builder *map, uint64_t file_size);

/**
 * Add an extent: the next `len` bytes of the file are one range of one device
 *
 * @param map the map
 * @param devindex the server's index of the device, any number
 * @param offset first byte on the device, a multiple of the page size
 * @param len length, a multiple of the page size, not 0
 * @return 0; -EINVAL if the extent can't be right, -ENOMEM. The map is marked
 *   as wrong then.
 *
 * @since 3.19
 */
int fuse_fmap_add_extent(struct fuse_fmap_builder *map, uint32_t devindex,
			 uint64_t offset, uint64_t len);

/**
 * Add a stripe set: the next `nbytes` bytes of the file are spread over
 * several ranges
 *
 * Byte p of the set is in chunk c = p / chunk_size, which is on strip
 * s = c % nstrips, at strips[s].offset + (c / nstrips) * chunk_size +
 * p % chunk_size of its device.
 *
 * @param map the map
 * @param chunk_size bytes on one strip before the next strip is used, a
 *   multiple of the page size, not 0; powers of two are a little faster,
 *   multiples of 2 MiB earn huge pages
 * @param nbytes bytes of the file that the set covers, any number but 0 for
 *   the last segment, a multiple of the page size for all others
 * @param strips the strips, copied; each long enough for the chunks that
 *   `nbytes` puts on it
 * @param nstrips number of strips, 1 or more
 * @return 0; -EINVAL if the set can't be right, -ENOMEM. The map is marked as
 *   wrong then.
 *
 * @since 3.19
 */
int fuse_fmap_add_stripe_set(struct fuse_fmap_builder *map, uint32_t chunk_size,
			     uint64_t nbytes,
			     const struct fuse_dax_range *strips,
			     uint32_t nstrips);

/**
 * Check all that the kernel will check, and say what is wrong
 *
 * What the kernel finds wrong it refuses as a whole when the file is opened:
 * the open fails with EIO. This function knows the same rules, also that no
 * byte of a device may be in two places of one file. What it can't know is
 * whether another file of the same mount has the byte already.
 *
 * @param map the map
 * @param kinds mask of the kinds that may be sent: `conn->fmap_kinds`, as
 *   seen in init()
 * @param devs the devices, or NULL: then the indexes and the ends of the
 *   devices are not checked
 * @param ndevs number of devices
 * @param why gets a sentence that names the segment and the strip, or the
 *   empty string if all is well; may be NULL
 * @param whylen room at `why`, 160 is enough for all of them
 * @return 0 or
 *   -EINVAL the kernel would refuse it
 *   -EFBIG the message would be longer than the kernel takes (32 MiB, about
 *     1.4 million extents)
 *   -EOPNOTSUPP the map is of a kind that is not in `kinds`
 *   -ENODEV a segment names a device that is not in `devs`
 *   -ENOMEM no memory, now or when a segment was added
 *
 * @since 3.19
 */
int fuse_fmap_check(const struct fuse_fmap_builder *map, uint32_t kinds,
		    const struct fuse_fmap_device *devs, size_t ndevs,
		    char *why, size_t whylen);

/**
 * The bytes that go to the kernel, for those who want to see or send them
 * themselves: a header, then extents (if nothing else was added) or stripe
 * sets (an extent is a set of one strip), as in <linux/fuse.h>.
 *
 * The map is not checked beyond what the add functions do.
 *
 * @param map the map
 * @param buf gets the message, which the caller frees with free()
 * @param len gets its length
 * @return 0; -EINVAL or -ENOMEM if adding a segment had failed with that,
 *   -ENOMEM, -EFBIG
 *
 * @since 3.19
 */
int fuse_fmap_message(const struct fuse_fmap_builder *map,
		      void **buf, size_t *len);

/* ----------------------------------------------------------- *
 * Replies and devices, low-level API			       *
 * ----------------------------------------------------------- */

/**
 * Reply with the map of a file
 *
 * Maps of any length go over both transports: what doesn't fit into one reply
 * is kept by the library, which answers the kernel's requests for the rest by
 * itself, without a call of get_fmap().
 *
 * The map is checked as by fuse_fmap_check(), with the kinds that were
 * negotiated and without devices. If it is wrong the reason is logged, and the
 * file can't be opened (EIO).
 *
 * May be called from any thread. The map stays the caller's and may be freed
 * at once.
 *
 * Possible requests:
 *   get_fmap
 *
 * @param req request handle, not valid any more after the call
 * @param map the map
 * @return zero for success, -errno for failure to send the reply, or what
 *   fuse_fmap_check() has found
 *
 * @since 3.19
 */
int fuse_reply_fmap(struct fuse_req *req, const struct fuse_fmap_builder *map);

/**
 * Reply with the device behind an index
 *
 * May be called from any thread.
 *
 * Possible requests:
 *   get_daxdev
 *
 * @param req request handle, not valid any more after the call
 * @param index the index that was asked for
 * @param name name of the device on the dax bus, such as "dax0.0"
 *   ("/dev/dax0.0" means the same, it is not looked up as a path), at most 255
 *   bytes; NULL if the device is registered under the index by now, by
 *   fuse_daxdev_open()
 * @return zero for success, -errno for failure to send the reply,
 *   -ENAMETOOLONG (the request was answered with that)
 *
 * @since 3.19
 */
int fuse_reply_daxdev(struct fuse_req *req, uint32_t index, const char *name);

/**
 * Register a DAX device under an index, on the connection of a request
 *
 * Maps name devices by the index. The connection holds the device until the
 * index is closed and the last file on it is gone, or until it is unmounted;
 * nobody else can have it meanwhile. Works from the moment when the reply to
 * INIT is out, so not in init() itself. May be called from any thread.
 *
 * @param req request handle of any request that was not replied to yet
 * @param fd the device, an open DAX character device that is bound to the
 *   fsdev_dax driver (`daxctl reconfigure-device --mode=famfs dax0.0`). Stays
 *   the caller's and may be closed after the call. If it is open for reading
 *   only, files on it can't be written.
 * @param index the server's index for the device, any number (taken as
 *   unsigned)
 * @return positive on success, -errno on failure:
 *   -EPERM maps were not negotiated on this connection
 *   -EINVAL not a DAX device
 *   -EBADF, -EACCES the fd is none, or is not open for reading
 *   -EOPNOTSUPP the device is bound to another driver
 *   -ENODEV the device is bound to no driver, or is going away
 *   -EEXIST the index is in use
 *   -EBUSY the device is held by somebody else, or under another index
 *   -ENOTCONN unmounted
 *   -ENOTTY the kernel knows no maps
 *
 * @since 3.19
 */
int fuse_daxdev_open(struct fuse_req *req, int fd, int index);

/**
 * Drop an index. Files on the device keep it.
 *
 * May be called from any thread.
 *
 * @param req request handle of any request that was not replied to yet
 * @param index the index
 * @return 0, or -errno: -ENOENT no such index, -EPERM, -ENOTTY as for
 *   fuse_daxdev_open()
 *
 * @since 3.19
 */
int fuse_daxdev_close(struct fuse_req *req, int index);

/**
 * As fuse_daxdev_open(), for use outside of a request
 *
 * @param se the session, mounted
 * @param fd the device
 * @param index the index
 * @return as for fuse_daxdev_open()
 *
 * @since 3.19
 */
int fuse_session_daxdev_open(struct fuse_session *se, int fd, uint32_t index);

/**
 * As fuse_daxdev_close(), for use outside of a request
 *
 * @param se the session, mounted
 * @param index the index
 * @return as for fuse_daxdev_close()
 *
 * @since 3.19
 */
int fuse_session_daxdev_close(struct fuse_session *se, uint32_t index);

/* ----------------------------------------------------------- *
 * Memory that fails					       *
 * ----------------------------------------------------------- */

/**
 * A page of a device is bad. Reading or mapping it fails, everything else goes
 * on, until the whole page is written anew: by write(2) to the file, in one
 * piece.
 */
#define FUSE_DAX_BAD_MEMORY	0

/**
 * A device was removed. Files that are open have lost what is on it, for good;
 * when the device is back it can be registered anew, for files that are opened
 * after that.
 */
#define FUSE_DAX_REMOVED	1

/** What the handler dax_failure() is told of DAX memory that has failed */
struct fuse_dax_failure {
	/** The server's index of the device */
	uint32_t index;

	/**
	 * FUSE_DAX_BAD_MEMORY or FUSE_DAX_REMOVED. A later kernel may know
	 * others, which are best logged and otherwise ignored.
	 */
	uint32_t event;

	/** First byte on the device */
	uint64_t offset;

	/** Length in bytes: a page, or the whole device that was removed */
	uint64_t len;

	/**
	 * Byte of the file that `offset` is. Has no meaning if the handler is
	 * not called for a file.
	 */
	uint64_t pos;
};

#ifdef __cplusplus
}
#endif

#endif /* FUSE_FMAP_H_ */
