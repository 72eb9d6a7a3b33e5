// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: the state of a connection, from mount to unmount, and its
 * files in the control file system.
 */
#include "fmap_i.h"

#include <linux/capability.h>
#include <linux/seq_file.h>

/*
 * The mount is made with the powers that a file system on DAX devices needs:
 * whoever made it could as well have mounted one that is in the kernel. The
 * user a mount is made for must be root too, since fusermount mounts for
 * everybody.
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
 * All inodes are gone. Give the devices back now: the connection itself can
 * live on as long as somebody has /dev/fuse open.
 */
void fuse_fmap_conn_shutdown(struct fuse_conn *fc)
{
	if (fc->fmap)
		fuse_daxdev_close_all(fc->fmap);
}

/* The server has accepted FUSE_DAX_FMAP; @kinds is what it says it will send */
void fuse_fmap_init_reply(struct fuse_conn *fc, u32 kinds, bool notify_failures)
{
	if (!fc->fmap)
		return;

	fc->fmap->notify_failures = notify_failures;
	/* 0: a server from before the field was there */
	WRITE_ONCE(fc->fmap->kinds,
		   kinds ? kinds & FUSE_FMAP_KINDS : FUSE_FMAP_KINDS);
}

/* The file dax_maps: sums over all maps */
int fuse_fmap_ctl_maps(struct seq_file *m, struct fuse_conn *fc)
{
	struct fuse_fmap_conn *fmc = fc->fmap;

	seq_printf(m, "maps %lld\n", atomic64_read(&fmc->nmaps));
	seq_printf(m, "segments %lld\n", atomic64_read(&fmc->nsegs));
	seq_printf(m, "file_bytes %lld\n", atomic64_read(&fmc->file_bytes));
	seq_printf(m, "memory %lld\n", atomic64_read(&fmc->map_bytes));

	return 0;
}

/* The file dax_devices: a line for each device that is registered */
int fuse_fmap_ctl_devices(struct seq_file *m, struct fuse_conn *fc)
{
	struct fuse_fmap_conn *fmc = fc->fmap;
	struct fuse_daxdev *dev;
	unsigned long index;

	/* Under the lock the table's references can't go away */
	xa_lock(&fmc->devices);
	xa_for_each(&fmc->devices, index, dev)
		seq_printf(m, "%lu %s %llu %s %s %lu %zu %ld\n", index, dev->name,
			   dev->size, dev->readonly ? "ro" : "rw",
			   READ_ONCE(dev->dead) ? "removed" : "ok",
			   READ_ONCE(dev->nattached), fuse_daxdev_bytes(dev),
			   atomic_long_read(&dev->failures));
	xa_unlock(&fmc->devices);

	return 0;
}
