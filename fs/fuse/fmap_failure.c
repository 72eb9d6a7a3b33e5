// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: a device goes away.
 */
#include "fmap_i.h"

#include <linux/dax.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

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

/* Unmap every file that has pages on the device */
static void fuse_daxdev_unmap_all(struct fuse_daxdev *dev)
{
	unsigned long index = 0;
	struct inode *owner, *inode;

	do {
		rcu_read_lock();
		owner = mt_find(&dev->ranges, &index, ULONG_MAX);
		inode = owner ? igrab(owner) : NULL;
		rcu_read_unlock();

		if (inode) {
			fuse_fmap_unmap(inode);
			iput(inode);
		}
	} while (owner);
}

/* Whether eviction is under way for an inode that has pages on the device */
static bool fuse_daxdev_evicting(struct fuse_daxdev *dev, bool unmounting)
{
	unsigned long index = 0;
	struct inode *owner;
	bool evicting = false;

	if (unmounting)
		return !mtree_empty(&dev->ranges);

	rcu_read_lock();
	while (!evicting && (owner = mt_find(&dev->ranges, &index, ULONG_MAX)))
		evicting = inode_state_read_once(owner) &
			   (I_FREEING | I_WILL_FREE);
	rcu_read_unlock();

	return evicting;
}

/*
 * The device is being removed. When this returns its pages are gone, so no
 * page table and no inode may know any of them: files are unmapped, and inodes
 * on their way out, which do that themselves, are waited for.
 */
static void fuse_daxdev_remove(struct fuse_daxdev *dev)
{
	struct fuse_conn *fc = dev->fc;
	bool unmounting;

	pr_warn("connection %u: DAX device removed while in use\n", fc->dev);

	/* Pairs with the barrier in fuse_fmap_accept() */
	smp_mb();

	/* An inode must not be grabbed once unmounting has begun */
	down_read(&fc->killsb);
	unmounting = list_empty(&fc->mounts);
	if (!unmounting)
		fuse_daxdev_unmap_all(dev);
	up_read(&fc->killsb);

	wait_event(dev->evict_waitq, !fuse_daxdev_evicting(dev, unmounting));
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
