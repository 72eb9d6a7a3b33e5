// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: what a connection has, for its directory in the control file
 * system. See Documentation/filesystems/fuse/fuse-dax-fmap.rst.
 */
#include "fmap_i.h"

#include <linux/seq_file.h>

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
			   READ_ONCE(dev->nuses), fuse_daxdev_bytes(dev),
			   atomic_long_read(&dev->failures));
	xa_unlock(&fmc->devices);

	return 0;
}
