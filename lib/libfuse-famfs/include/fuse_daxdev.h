/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * FUSE: Filesystem in Userspace
 *
 * DAX devices for file maps.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#ifndef FUSE_DAXDEV_H_
#define FUSE_DAXDEV_H_

/** @file
 *
 * Find the DAX devices that a server puts its files on, and register them. See
 * fuse_fmap.h for what files on DAX devices are.
 *
 * This is a library of its own (pkg-config: fuse-daxdev) over libdaxctl, so
 * that libfuse doesn't depend on it. A server that has its devices open by
 * other means can do without.
 *
 * Whatever can go wrong here is for a person to put right. So each function
 * that can fail also says in words what is wrong, and what to do about it:
 * `why` gets a sentence without a newline, cut off at `whylen` bytes, or the
 * empty string if all is well. 320 bytes are enough; `why` may be NULL.
 *
 * All functions may be called from any thread. They have no state but the
 * struct fuse_daxdev, which doesn't change: threads may share one.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fuse_session;

/** A DAX device that was found */
struct fuse_daxdev;

/**
 * Find a DAX device
 *
 * Nothing is opened or claimed: the device may be in any mode, and used by
 * somebody else.
 *
 * @param spec which one:
 *   "dax0.0" or "/dev/dax0.0": the one of that name
 *   "size=256M": the one device that has this size, is in famfs mode and is
 *     not in use by a FUSE mount. Bytes, or with a suffix K, M, G or T
 *     (powers of 1024)
 *   "uuid=...": the one in the region or namespace that has this uuid.
 *     Unlike names, it stays the same when devices come and go, and on all
 *     hosts. NVDIMM namespaces and persistent CXL regions have one.
 * @param why gets what is wrong, in words
 * @param whylen room at `why`
 * @return the device, which the caller frees with fuse_daxdev_free(); NULL on
 *   failure, then errno is
 *   EINVAL `spec` is none of the above
 *   ENODEV there is no such device
 *   ENOTUNIQ there are several; `why` has their names
 *   ENOMEM or what libdaxctl has failed with
 *
 * @since 3.19
 */
struct fuse_daxdev *fuse_daxdev_find(const char *spec,
				     char *why, size_t whylen);

/**
 * Free a device. It stays registered where it is.
 *
 * @param dev the device, or NULL
 *
 * @since 3.19
 */
void fuse_daxdev_free(struct fuse_daxdev *dev);

/**
 * The name of a device
 *
 * @param dev the device
 * @return its name on the dax bus, such as "dax0.0"; lives as long as `dev`
 *
 * @since 3.19
 */
const char *fuse_daxdev_name(const struct fuse_daxdev *dev);

/**
 * The size of a device
 *
 * @param dev the device
 * @return bytes on the device, when it was found
 *
 * @since 3.19
 */
uint64_t fuse_daxdev_size(const struct fuse_daxdev *dev);

/**
 * Is the device in famfs mode now, so that it can be registered?
 *
 * A device is in famfs mode if it is bound to the driver fsdev_dax.
 *
 * @param dev the device
 * @param why gets in words which mode it is in, and the command that puts it
 *   into famfs mode
 * @param whylen room at `why`
 * @return 0 if it is, or
 *   -EOPNOTSUPP it is in another mode
 *   -ENODEV it is disabled (bound to no driver), or has gone away
 *
 * @since 3.19
 */
int fuse_daxdev_check_mode(const struct fuse_daxdev *dev,
			   char *why, size_t whylen);

/**
 * Open a device that is in famfs mode
 *
 * This is what the handler get_daxdev() of the high-level API returns.
 *
 * @param dev the device
 * @param flags O_RDWR, or O_RDONLY for files that can't be written
 * @param why gets what is wrong, in words
 * @param whylen room at `why`
 * @return a file descriptor (with O_CLOEXEC) that the caller closes, or -errno:
 *   as fuse_daxdev_check_mode() and open(2)
 *
 * @since 3.19
 */
int fuse_daxdev_open_fd(const struct fuse_daxdev *dev, int flags,
			char *why, size_t whylen);

/**
 * Open a device and register it under an index
 *
 * fuse_daxdev_open_fd() and fuse_session_daxdev_open(), with words for what
 * the kernel may object to. Works once the reply to INIT is out, so in
 * get_daxdev() (reply with fuse_reply_daxdev() and a NULL name after it) but
 * not in init().
 *
 * @param se the session, mounted
 * @param dev the device; may be freed after the call
 * @param index the server's index for the device
 * @param flags O_RDWR, or O_RDONLY for files that can't be written
 * @param why gets what is wrong, in words
 * @param whylen room at `why`
 * @return positive on success, or -errno: as fuse_daxdev_open_fd() and
 *   fuse_daxdev_open()
 *
 * @since 3.19
 */
int fuse_daxdev_register(struct fuse_session *se,
			 const struct fuse_daxdev *dev, uint32_t index,
			 int flags, char *why, size_t whylen);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_DAXDEV_H_ */
