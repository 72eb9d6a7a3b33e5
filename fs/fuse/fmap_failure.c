// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: a device goes away.
 */
#include "fmap_i.h"

#include <linux/cleanup.h>
#include <linux/dax.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

/*
 * Page faults are readers. Whoever has marked maps as degraded waits for the
 * faults that have not seen it.
 */
DEFINE_SRCU_FAST(fuse_fmap_srcu);

/*
 * Take all pages out of the file's mappings, and wait until nobody has one
 * pinned. What is on devices that still work is faulted in again.
 */
static void fuse_fmap_unmap(struct inode *inode)
{
	filemap_invalidate_lock(inode->i_mapping);
	if (!mapping_empty(inode->i_mapping))
		dax_break_layout_final(inode);
	filemap_invalidate_unlock(inode->i_mapping);
}

/* From here on all faults on files of the device take the invalidate lock */
static void fuse_daxdev_degrade_maps(struct fuse_daxdev *dev)
{
	struct fuse_fmap_use *use;

	spin_lock(&dev->uses_lock);
	list_for_each_entry(use, &dev->uses, entry)
		WRITE_ONCE(use->map->degraded, true);
	spin_unlock(&dev->uses_lock);

	synchronize_srcu(&fuse_fmap_srcu);
}

/*
 * Unmap every file that has pages on the device. Inodes that are being evicted
 * can't be had; their uses are moved to @leaving.
 */
static void fuse_daxdev_unmap_files(struct fuse_daxdev *dev,
				    struct list_head *leaving)
{
	struct fuse_fmap_use *use;
	LIST_HEAD(done);

	spin_lock(&dev->uses_lock);
	while (!list_empty(&dev->uses)) {
		struct inode *inode;

		use = list_first_entry(&dev->uses, struct fuse_fmap_use, entry);
		inode = igrab(use->map->inode);
		list_move_tail(&use->entry, inode ? &done : leaving);
		if (!inode)
			continue;

		spin_unlock(&dev->uses_lock);
		fuse_fmap_unmap(inode);
		iput(inode);
		spin_lock(&dev->uses_lock);
	}
	list_splice(&done, &dev->uses);
	spin_unlock(&dev->uses_lock);
}

static bool fuse_daxdev_no_uses(struct fuse_daxdev *dev, struct list_head *uses)
{
	guard(spinlock)(&dev->uses_lock);
	return list_empty(uses);
}

/*
 * The device is being removed. When this returns its pages are gone, so no
 * page table and no inode may know any of them: files are unmapped, and inodes
 * on their way out, which do that themselves, are waited for.
 */
static void fuse_daxdev_remove(struct fuse_daxdev *dev)
{
	struct fuse_conn *fc = dev->fc;
	struct list_head *wait_for = &dev->uses;
	LIST_HEAD(leaving);

	pr_warn("connection %u: DAX device %s removed while in use\n", fc->dev,
		dev->name);

	/* Pairs with the barrier in fuse_fmap_use() */
	smp_mb();
	fuse_daxdev_degrade_maps(dev);

	/* An inode must not be grabbed once unmounting has begun */
	down_read(&fc->killsb);
	if (!list_empty(&fc->mounts)) {
		fuse_daxdev_unmap_files(dev, &leaving);
		wait_for = &leaving;
	}
	up_read(&fc->killsb);

	wait_event(dev->evict_waitq, fuse_daxdev_no_uses(dev, wait_for));
}

/*
 * The DAX core reports a failure of the device, or of a range of it. For bad
 * memory the generic handler kills the processes that have the page mapped.
 */
static int fuse_daxdev_notify_failure(struct dax_device *dax_dev, u64 offset,
				      u64 len, int mf_flags)
{
	struct fuse_daxdev *dev;

	if (!(mf_flags & MF_MEM_PRE_REMOVE))
		return -EOPNOTSUPP;

	dev = fuse_daxdev_latch_dead(dax_dev);
	if (dev) {
		fuse_daxdev_remove(dev);
		fuse_daxdev_put(dev);
	}
	return 0;
}

const struct dax_holder_operations fuse_daxdev_holder_ops = {
	.notify_failure	= fuse_daxdev_notify_failure,
};
