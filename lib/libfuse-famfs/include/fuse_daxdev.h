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
 * Find DAX devices for the files of a server, and register them. Files on DAX
 * devices are described in fuse_fmap.h.
 *
 * These functions are in a separate library (pkg-config: fuse-daxdev), because
 * they need libdaxctl and libfuse should not. A server that opens its devices in
 * another way does not need this library.
 *
 * A user has to fix most errors. Therefore each function that can fail also
 * describes the error and, if possible, how to fix it: `why` is set to a
 * sentence without a newline, truncated to `whylen` bytes, or to the empty
 * string on success. 320 bytes are enough. `why` may be NULL.
 *
 * All functions may be called from any thread. A struct fuse_daxdev never
 * changes, so threads may share it.
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
 * This neither opens nor claims the device, which may be in any mode and in use.
 *
 * @param spec which device:
 *   "dax0.0" or "/dev/dax0.0": its name
 *   "size=256M": its size in bytes, or with a suffix K, M, G or T (powers of
 *     1024). Only devices that are in famfs mode and not used by a FUSE mount
 *     are considered.
 *   "uuid=...": the UUID of its region or namespace. Unlike the name, it is the
 *     same on all hosts and does not change when devices are added or removed.
 *     NVDIMM namespaces and persistent CXL regions have one.
 * @param why is set to a description of the error
 * @param whylen size of the buffer `why`
 * @return the device, which the caller frees with fuse_daxdev_free(), or NULL
 *   with errno set to
 *   EINVAL `spec` is none of the above
 *   ENODEV no device matches
 *   ENOTUNIQ several devices match; `why` has their names
 *   ENOMEM or an error of libdaxctl
 *
 * @since 3.19
 */
struct fuse_daxdev *fuse_daxdev_find(const char *spec,
				     char *why, size_t whylen);

/**
 * Free a device. This does not unregister it.
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
 * @return its name on the dax bus, such as "dax0.0"; valid as long as `dev`
 *
 * @since 3.19
 */
const char *fuse_daxdev_name(const struct fuse_daxdev *dev);

/**
 * The size of a device
 *
 * @param dev the device
 * @return bytes on the device at the time when it was found
 *
 * @since 3.19
 */
uint64_t fuse_daxdev_size(const struct fuse_daxdev *dev);

/**
 * Check whether the device is in famfs mode now
 *
 * Only devices in famfs mode, which are bound to the driver fsdev_dax, can be
 * registered.
 *
 * @param dev the device
 * @param why is set to the mode of the device, and the command that changes it
 *   to famfs mode
 * @param whylen size of the buffer `why`
 * @return 0 if the device is in famfs mode, or
 *   -EOPNOTSUPP it is in another mode
 *   -ENODEV it is disabled (bound to no driver), or was removed
 *
 * @since 3.19
 */
int fuse_daxdev_check_mode(const struct fuse_daxdev *dev,
			   char *why, size_t whylen);

/**
 * Open a device that is in famfs mode
 *
 * The handler get_daxdev() of the high-level API can return the result.
 *
 * @param dev the device
 * @param flags O_RDWR, or O_RDONLY for files that can't be written
 * @param why is set to a description of the error
 * @param whylen size of the buffer `why`
 * @return a file descriptor (with O_CLOEXEC) that the caller closes, or -errno
 *   as for fuse_daxdev_check_mode() and open(2)
 *
 * @since 3.19
 */
int fuse_daxdev_open_fd(const struct fuse_daxdev *dev, int flags,
			char *why, size_t whylen);

/**
 * Open a device and register it under an index
 *
 * This combines fuse_daxdev_open_fd() and fuse_session_daxdev_open(), and also
 * describes the kernel's errors. It fails before the reply to INIT was sent, so
 * call it in get_daxdev() and not in init(). get_daxdev() then replies with
 * fuse_reply_daxdev() and a NULL name.
 *
 * @param se the session, mounted
 * @param dev the device; may be freed after the call
 * @param index the server's index for the device
 * @param flags O_RDWR, or O_RDONLY for files that can't be written
 * @param why is set to a description of the error
 * @param whylen size of the buffer `why`
 * @return positive on success, or -errno as for fuse_daxdev_open_fd() and
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
