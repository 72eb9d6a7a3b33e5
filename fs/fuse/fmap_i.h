/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DAX file maps: declarations shared inside fs/fuse.
 *
 * fmap.c          the map: decode, validate, resolve
 * daxdev.c        the connection's table of DAX devices
 * fmap_conn.c     the connection's state and its control files
 * fmap_inode.c    fetch a map and attach it to the inode
 * fmap_iomap.c    read, write and page faults
 * fmap_failure.c  device removal and bad memory
 * fmap_trace.h    tracepoints
 */
#ifndef _FS_FUSE_FMAP_I_H
#define _FS_FUSE_FMAP_I_H

#include "fmap.h"
#include "fuse_i.h"

#include <linux/pagemap.h>
#include <linux/srcu.h>
#include <linux/xarray.h>

struct dax_device;
struct dax_holder_operations;
struct fiemap_extent_info;
struct seq_file;

#ifdef CONFIG_FUSE_DAX_FMAP

/**
 * struct fuse_fmap_conn - DAX file maps of a connection
 * @kinds: mask of the kinds that the server may send; 0 until the server has
 *	accepted FUSE_DAX_FMAP
 * @no_get_fmap: the server doesn't implement FUSE_GET_FMAP
 * @notify_failures: send FUSE_DAX_FAILURE to the server
 * @closed: unmounted, no more devices can be registered; set under the lock of
 *	@devices
 * @devices: struct fuse_daxdev by the server's index. The table holds a
 *	reference to each device
 * @get_daxdev_lock: held during FUSE_GET_DAXDEV, so that only one task at a
 *	time requests a device. The ioctls don't take it, because the server
 *	may register the device before it replies
 * @nmaps: number of maps attached to inodes
 * @nsegs: number of segments of these maps
 * @file_bytes: total size of the files of these maps
 * @map_bytes: memory used by these maps
 */
struct fuse_fmap_conn {
	u32 kinds;
	bool no_get_fmap;
	bool notify_failures;
	bool closed;
	struct xarray devices;
	struct mutex get_daxdev_lock;	/* GET_DAXDEV in flight */
	atomic64_t nmaps;
	atomic64_t nsegs;
	atomic64_t file_bytes;
	atomic64_t map_bytes;
};

/**
 * struct fuse_daxdev - a DAX device that a connection has claimed
 * @dax_dev: the device. Valid for the lifetime of the fuse_daxdev, even after
 *	the device was removed
 * @claimed: fs_dax_get() succeeded
 * @dead: the device was removed. Never cleared: a device that reappears under
 *	the same dax_device is a new device
 * @readonly: the server opened the device read-only
 * @count: references: one for the table and one for each map
 * @size: size in bytes
 * @index: the server's index
 * @name: name on the dax bus
 * @fc: the connection, with a reference. It can't be freed before the table
 *	and the maps have dropped their devices
 * @reserved_lock: protects @reserved
 * @reserved: one bit for each page, set if the page belongs to a file
 * @attach_lock: protects @attached, @nattached and @nevicting. An inode stays
 *	on the list until its eviction, so igrab() is safe under the lock
 * @attached: struct fuse_fmap_attachment of each map that uses the device
 * @nattached: number of entries in @attached
 * @nevicting: number of entries whose inode was being evicted when the device
 *	was removed
 * @evict_waitq: woken when an entry leaves @attached
 * @failures: number of reported pages of bad memory
 */
struct fuse_daxdev {
	struct dax_device *dax_dev;
	bool claimed;
	bool dead;
	bool readonly;
	refcount_t count;
	u64 size;
	u32 index;
	char name[32];
	struct fuse_conn *fc;
	struct mutex reserved_lock;	/* see above */
	unsigned long *reserved;
	spinlock_t attach_lock;		/* see above */
	struct list_head attached;
	unsigned long nattached;
	unsigned long nevicting;
	wait_queue_head_t evict_waitq;
	atomic_long_t failures;
};

/**
 * struct fuse_fmap_attachment - link between a map and a device that it uses
 * @entry: in the list @attached of @dev
 * @map: the map
 * @dev: the device, with a reference
 * @evicting: counted in @nevicting of @dev
 */
struct fuse_fmap_attachment {
	struct list_head entry;
	struct fuse_fmap *map;
	struct fuse_daxdev *dev;
	bool evicting;
};

static inline bool fuse_fmap_offered(const struct fuse_conn *fc)
{
	return fc->fmap;
}

static inline bool fuse_fmap_enabled(const struct fuse_conn *fc)
{
	return fc->fmap && READ_ONCE(fc->fmap->kinds);
}

/*
 * Don't cache dentries of a file that lost a device, so that the inode goes
 * with its last user. The next open after the last close fetches a new map.
 * Called when a dentry is instantiated or revalidated.
 */
static inline void fuse_fmap_uncache_if_lost(struct inode *inode)
{
	const struct fuse_fmap *map = fuse_inode_fmap(inode);

	if (map && READ_ONCE(map->dev_lost))
		d_mark_dontcache(inode);
}

/* daxdev.c */
struct fuse_daxdev *fuse_daxdev_get(struct fuse_mount *fm, u32 index);
void fuse_daxdev_put(struct fuse_daxdev *dev);
struct fuse_daxdev *fuse_daxdev_get_by_dax(struct dax_device *dax_dev);
struct fuse_daxdev *fuse_daxdev_mark_dead(struct dax_device *dax_dev);
void fuse_daxdev_close_all(struct fuse_fmap_conn *fmc);
size_t fuse_daxdev_bytes(const struct fuse_daxdev *dev);
int fuse_daxdev_reserve(struct fuse_daxdev *dev, u64 offset, u64 len);
void fuse_daxdev_release(struct fuse_daxdev *dev, u64 offset, u64 len);
void fuse_daxdev_attach(struct fuse_fmap_attachment *att);
void fuse_daxdev_detach(struct fuse_fmap_attachment *att);

/* fmap_failure.c */
extern struct srcu_struct fuse_fmap_srcu;
extern const struct dax_holder_operations fuse_daxdev_holder_ops;

/* fmap_conn.c */
int fuse_fmap_conn_alloc(struct super_block *sb, kuid_t user_id);
void fuse_fmap_conn_free(struct fuse_conn *fc);
void fuse_fmap_conn_shutdown(struct fuse_conn *fc);
void fuse_fmap_init_reply(struct fuse_conn *fc, u32 kinds,
			  bool notify_failures);
int fuse_fmap_ctl_maps(struct seq_file *m, struct fuse_conn *fc);
int fuse_fmap_ctl_devices(struct seq_file *m, struct fuse_conn *fc);

/* fmap_inode.c */
int fuse_fmap_load_locked(struct inode *inode);
int fuse_fmap_load(struct inode *inode);
void fuse_fmap_caps_changed(struct inode *inode);
bool fuse_fmap_inhibit_attach(struct inode *inode);
void fuse_fmap_allow_attach(struct inode *inode);
int fuse_fmap_open(struct inode *inode, struct file *file);
void fuse_fmap_evict(struct inode *inode);
struct folio *fuse_fmap_grab_folio(struct address_space *mapping,
				   pgoff_t index);

/* fmap_iomap.c */
extern const struct address_space_operations fuse_fmap_aops;
ssize_t fuse_fmap_read_iter(struct kiocb *iocb, struct iov_iter *to);
ssize_t fuse_fmap_write_iter(struct kiocb *iocb, struct iov_iter *from);
int fuse_fmap_mmap(struct file *file, struct vm_area_struct *vma);
int fuse_fmap_fsync_result(struct inode *inode, int err);
int fuse_fmap_fiemap(struct inode *inode, struct fiemap_extent_info *info,
		     u64 start, u64 len);

/* A map never changes, so a fault has no metadata to sync */
#define FUSE_FMAP_FOP_FLAGS	FOP_MMAP_SYNC

#else /* CONFIG_FUSE_DAX_FMAP */

static inline bool fuse_fmap_offered(const struct fuse_conn *fc)
{
	return false;
}

static inline bool fuse_fmap_enabled(const struct fuse_conn *fc)
{
	return false;
}

static inline void fuse_fmap_uncache_if_lost(struct inode *inode)
{
}

static inline int fuse_fmap_conn_alloc(struct super_block *sb, kuid_t user_id)
{
	return 0;
}

static inline void fuse_fmap_conn_free(struct fuse_conn *fc)
{
}

static inline void fuse_fmap_conn_shutdown(struct fuse_conn *fc)
{
}

static inline void fuse_fmap_init_reply(struct fuse_conn *fc, u32 kinds,
					bool notify_failures)
{
}

static inline int fuse_fmap_load_locked(struct inode *inode)
{
	return 0;
}

static inline int fuse_fmap_load(struct inode *inode)
{
	return 0;
}

static inline void fuse_fmap_caps_changed(struct inode *inode)
{
}

static inline bool fuse_fmap_inhibit_attach(struct inode *inode)
{
	return false;
}

static inline void fuse_fmap_allow_attach(struct inode *inode)
{
}

static inline int fuse_fmap_open(struct inode *inode, struct file *file)
{
	return 0;
}

static inline void fuse_fmap_evict(struct inode *inode)
{
}

static inline struct folio *fuse_fmap_grab_folio(struct address_space *mapping,
						 pgoff_t index)
{
	return filemap_grab_folio(mapping, index);
}

static inline ssize_t fuse_fmap_read_iter(struct kiocb *iocb,
					  struct iov_iter *to)
{
	return -EIO;
}

static inline ssize_t fuse_fmap_write_iter(struct kiocb *iocb,
					   struct iov_iter *from)
{
	return -EIO;
}

static inline int fuse_fmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	return -EIO;
}

static inline int fuse_fmap_fsync_result(struct inode *inode, int err)
{
	return err;
}

#define fuse_fmap_fiemap	NULL
#define FUSE_FMAP_FOP_FLAGS	0

#endif /* CONFIG_FUSE_DAX_FMAP */

#endif /* _FS_FUSE_FMAP_I_H */
