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
 * Files whose bytes are in DAX memory (CXL, NVDIMM). When a file is first
 * opened, the server sends a map of it to the kernel: which ranges of which DAX
 * devices hold the file. From then on the kernel handles reads, writes and page
 * faults without the server.
 *
 * In short:
 *
 *  1. In init(), if FUSE_CAP_DAX_FMAP is among `conn->capable_ext`:
 *     fuse_set_feature_flag(conn, FUSE_CAP_DAX_FMAP). `conn->fmap_kinds` has
 *     the kinds of map that the kernel resolves. Without the capability none of
 *     the handlers below is called, and the server is a plain FUSE server.
 *  2. In get_fmap(): build a map with the functions in this file, and send it
 *     with fuse_reply_fmap().
 *  3. In get_daxdev(), or earlier: register the devices that the maps name,
 *     with fuse_daxdev_open().
 *  4. In dax_failure(), which is optional: handle memory that has failed.
 *
 * <fuse_lowlevel.h> and <fuse.h> include this file.
 *
 * All sizes, lengths and offsets are in bytes. The page size is that of the
 * machine, sysconf(_SC_PAGESIZE). Ranges that are aligned to 2 MiB, on the
 * device and in the file, are mapped with huge pages.
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
 * For fuse_fmap_new() and fuse_fmap_set_size(): the size of the file is the sum
 * of its segments
 */
#define FUSE_FMAP_SIZE_COVERED	UINT64_MAX

/* ----------------------------------------------------------- *
 * Building a map					       *
 * ----------------------------------------------------------- */

/**
 * A map that is being built.
 *
 * A file is a list of segments that follow each other without a gap. A segment
 * is an extent or a stripe set; a map can have any number of both. Segments are
 * numbered from 0 in the order in which they are added.
 *
 * The builder remembers the first add function that fails. From then on the map
 * can't be sent, and fuse_fmap_check() returns the error and the reason. So it
 * is enough to check the map once, at the end.
 *
 * The caller owns the map. It has no lock: several threads may use one map at
 * the same time only with the functions that take a pointer to const.
 */
struct fuse_fmap_builder;

/** A contiguous range of a DAX device: a strip of a stripe set */
struct fuse_dax_range {
	/** The server's index of the device, any number */
	uint32_t devindex;

	/** First byte on the device, a multiple of the page size */
	uint64_t offset;

	/** Length, a multiple of the page size, not 0 */
	uint64_t len;
};

/** What fuse_fmap_check() needs to know about a device */
struct fuse_fmap_device {
	/** The server's index of the device */
	uint32_t index;

	/**
	 * Not 0 if the device is registered with an fd that is open for reading
	 * only. Files on it can't be written. The check ignores this.
	 */
	int readonly;

	/** Bytes on the device */
	uint64_t size;
};

/**
 * Begin a map
 *
 * @param file_size size of the file: any number of bytes up to INT64_MAX, or
 *   FUSE_FMAP_SIZE_COVERED. The segments must cover the file and may cover
 *   more.
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
 * Add an extent: the next `len` bytes of the file are a contiguous range of a
 * device
 *
 * @param map the map
 * @param devindex the server's index of the device, any number
 * @param offset first byte on the device, a multiple of the page size
 * @param len length, a multiple of the page size, not 0
 * @return 0, or -EINVAL or -ENOMEM. After an error the map can't be sent.
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
 * s = c % nstrips, at offset strips[s].offset + (c / nstrips) * chunk_size +
 * p % chunk_size on the device.
 *
 * @param map the map
 * @param chunk_size bytes on one strip before the next strip is used, a
 *   multiple of the page size, not 0. Powers of two are a little faster;
 *   multiples of 2 MiB allow huge pages.
 * @param nbytes bytes of the file that the set covers, not 0. Only the last
 *   segment may have a size that is not a multiple of the page size.
 * @param strips the strips, which are copied. Each must be long enough for the
 *   chunks that are on it.
 * @param nstrips number of strips, 1 or more
 * @return 0, or -EINVAL or -ENOMEM. After an error the map can't be sent.
 *
 * @since 3.19
 */
int fuse_fmap_add_stripe_set(struct fuse_fmap_builder *map, uint32_t chunk_size,
			     uint64_t nbytes,
			     const struct fuse_dax_range *strips,
			     uint32_t nstrips);

/**
 * Check a map by the kernel's rules, and describe the first error
 *
 * If a map breaks a rule, the kernel refuses it, and the open of the file fails
 * with EIO. This function has the same rules, including that no byte of a
 * device may be in two places of a file. It can't know whether another file of
 * the same mount uses the byte.
 *
 * @param map the map
 * @param kinds mask of the kinds that may be sent: `conn->fmap_kinds`, as
 *   seen in init()
 * @param devs the devices, or NULL to check neither the indexes nor the ends of
 *   the devices
 * @param ndevs number of devices
 * @param why is set to the reason, with the numbers of the segment and the
 *   strip, or to the empty string; may be NULL
 * @param whylen size of the buffer `why`; 160 is enough
 * @return 0 or
 *   -EINVAL the kernel would refuse it
 *   -EFBIG the message would be longer than the kernel's limit (32 MiB, about
 *     1.4 million extents)
 *   -EOPNOTSUPP the map is of a kind that is not in `kinds`
 *   -ENODEV a segment names a device that is not in `devs`
 *   -ENOMEM no memory, here or in an add function
 *
 * @since 3.19
 */
int fuse_fmap_check(const struct fuse_fmap_builder *map, uint32_t kinds,
		    const struct fuse_fmap_device *devs, size_t ndevs,
		    char *why, size_t whylen);

/**
 * Make the message for the kernel, for servers that send it themselves
 *
 * A message is a header and then extents or stripe sets, as in <linux/fuse.h>.
 * If the map has a stripe set, each extent becomes a set of one strip.
 *
 * Only the checks of the add functions are made.
 *
 * @param map the map
 * @param buf is set to the message, which the caller frees with free()
 * @param len is set to its length
 * @return 0, or the error of an add function, -ENOMEM or -EFBIG
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
 * The map may be of any length, over /dev/fuse and over io_uring. If it doesn't
 * fit into one reply, the library keeps the rest, and sends it when the kernel
 * requests it, without another call of get_fmap().
 *
 * The map is checked by fuse_fmap_check() with the negotiated kinds and without
 * devices. If this fails, the reason is logged, and the open of the file fails
 * with EIO.
 *
 * May be called from any thread. The caller still owns the map and may free it
 * after the call.
 *
 * Possible requests:
 *   get_fmap
 *
 * @param req request handle, invalid after the call
 * @param map the map
 * @return zero for success, -errno for failure to send the reply, or the error
 *   of fuse_fmap_check()
 *
 * @since 3.19
 */
int fuse_reply_fmap(struct fuse_req *req, const struct fuse_fmap_builder *map);

/**
 * Reply with the device of an index
 *
 * May be called from any thread.
 *
 * Possible requests:
 *   get_daxdev
 *
 * @param req request handle, invalid after the call
 * @param index the index in the request
 * @param name name of the device on the dax bus, such as "dax0.0", at most 255
 *   bytes. "/dev/dax0.0" means the same; it is not looked up as a path. NULL if
 *   fuse_daxdev_open() has registered the device under the index.
 * @return zero for success, -errno for failure to send the reply, or
 *   -ENAMETOOLONG, which is also the reply to the request then
 *
 * @since 3.19
 */
int fuse_reply_daxdev(struct fuse_req *req, uint32_t index, const char *name);

/**
 * Register a DAX device under an index, on the connection of a request
 *
 * Maps name devices by their index. The connection holds the device until the
 * index is closed and the kernel has evicted the last file on it, or until
 * unmount. Nothing else can use the device in this time. Fails before the reply
 * to INIT was sent, so also in init(). May be called from any thread.
 *
 * @param req request handle of any request that has not been replied to
 * @param fd the device, an open DAX character device that is bound to the
 *   fsdev_dax driver (`daxctl reconfigure-device --mode=famfs dax0.0`). The
 *   caller may close it after the call. If it is open for reading only, files
 *   on the device can't be written.
 * @param index the server's index for the device, any number (converted to
 *   unsigned)
 * @return positive on success, -errno on failure:
 *   -EPERM maps were not negotiated on this connection
 *   -EINVAL not a DAX device
 *   -EBADF not an open fd
 *   -EACCES the fd is not open for reading
 *   -EOPNOTSUPP the device is bound to another driver
 *   -ENODEV the device is bound to no driver, or is being removed
 *   -EEXIST the index is in use
 *   -EBUSY the device has another user, or another index
 *   -ENOTCONN unmounted
 *   -ENOTTY the kernel does not support maps
 *
 * @since 3.19
 */
int fuse_daxdev_open(struct fuse_req *req, int fd, int index);

/**
 * Drop an index. Files that are on the device keep using it.
 *
 * May be called from any thread.
 *
 * @param req request handle of any request that has not been replied to
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
 * A page of a device is bad. Reading or mapping it fails until a single write(2)
 * to the file has written the whole page again. All other pages still work.
 */
#define FUSE_DAX_BAD_MEMORY	0

/**
 * A device was removed. Open files have lost their bytes on it for good. When
 * the device is back, it can be registered again, for files that are opened
 * after that.
 */
#define FUSE_DAX_REMOVED	1

/** DAX memory that has failed, for the handler dax_failure() */
struct fuse_dax_failure {
	/** The server's index of the device */
	uint32_t index;

	/**
	 * FUSE_DAX_BAD_MEMORY or FUSE_DAX_REMOVED. Later kernels may have other
	 * events: log and ignore them.
	 */
	uint32_t event;

	/** First byte on the device */
	uint64_t offset;

	/** Length in bytes: a page, or the whole device if it was removed */
	uint64_t len;

	/**
	 * Position of `offset` in the file. Has no meaning if the handler is not
	 * called for a file.
	 */
	uint64_t pos;
};

#ifdef __cplusplus
}
#endif

#endif /* FUSE_FMAP_H_ */
