// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: the state of a connection, from mount to unmount, and its
 * files in the control file system.
 */
#include "fmap_i.h"

#include <linux/capability.h>
#include <linux/seq_file.h>

/*
 * Allocate the state of the connection if DAX file maps are offered. They are
 * offered only to a mounter that may also mount an in-kernel file system on a
 * DAX device. The user of the mount must be root as well, because fusermount
 * mounts for any user. Returns 0 without allocating if maps are not offered.
 */
int fuse_fmap_conn_alloc(struct super_block *sb, kuid_t user_id)
{
	struct fuse_conn *fc = get_fuse_mount_super(sb)->fc;

	if (sb->s_bdev || sb->s_user_ns != &init_user_ns ||
	    !capable(CAP_SYS_ADMIN) || !uid_eq(user_id, GLOBAL_ROOT_UID))
		return 0;

	fc->fmap = kzalloc_obj(*fc->fmap, GFP_KERNEL_ACCOUNT);
	if (!fc->fmap)
		return -ENOMEM;
	xa_init(&fc->fmap->devices);
	mutex_init(&fc->fmap->get_daxdev_lock);
	return 0;
}

void fuse_fmap_conn_free(struct fuse_conn *fc)
{
	if (!fc->fmap)
		return;
	fuse_daxdev_close_all(fc->fmap);
	xa_destroy(&fc->fmap->devices);
	mutex_destroy(&fc->fmap->get_daxdev_lock);
	kfree(fc->fmap);
}

/*
 * Release the devices at unmount, when no inodes are left. The connection
 * itself lives as long as /dev/fuse is open.
 */
void fuse_fmap_conn_shutdown(struct fuse_conn *fc)
{
	if (fc->fmap)
		fuse_daxdev_close_all(fc->fmap);
}

/* The server accepted FUSE_DAX_FMAP. @kinds is init_out.fmap_kinds. */
void fuse_fmap_init_reply(struct fuse_conn *fc, u32 kinds, bool notify_failures)
{
	if (!fc->fmap)
		return;

	fc->fmap->notify_failures = notify_failures;
	/* 0 is sent by servers that are older than the field */
	WRITE_ONCE(fc->fmap->kinds,
		   kinds ? kinds & FUSE_FMAP_KINDS : FUSE_FMAP_KINDS);
}

/* Show the control file dax_maps: totals of all maps */
int fuse_fmap_ctl_maps(struct seq_file *m, struct fuse_conn *fc)
{
	struct fuse_fmap_conn *fmc = fc->fmap;

	seq_printf(m, "maps %lld\n", atomic64_read(&fmc->nmaps));
	seq_printf(m, "segments %lld\n", atomic64_read(&fmc->nsegs));
	seq_printf(m, "file_bytes %lld\n", atomic64_read(&fmc->file_bytes));
	seq_printf(m, "memory %lld\n", atomic64_read(&fmc->map_bytes));

	return 0;
}

/* Show the control file dax_devices: one line for each registered device */
int fuse_fmap_ctl_devices(struct seq_file *m, struct fuse_conn *fc)
{
	struct fuse_fmap_conn *fmc = fc->fmap;
	struct fuse_daxdev *dev;
	unsigned long index;

	/* The lock keeps the table's references, and so the devices, alive */
	xa_lock(&fmc->devices);
	xa_for_each(&fmc->devices, index, dev)
		seq_printf(m, "%lu %s %llu %s %s %lu %zu %ld\n", index,
			   dev->name, dev->size, dev->readonly ? "ro" : "rw",
			   READ_ONCE(dev->dead) ? "removed" : "ok",
			   READ_ONCE(dev->nattached), fuse_daxdev_bytes(dev),
			   atomic_long_read(&dev->failures));
	xa_unlock(&fmc->devices);

	return 0;
}
