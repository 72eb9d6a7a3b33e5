// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: device removal and bad memory.
 */
#include "dev.h"
#include "fmap_i.h"
#include "fmap_trace.h"

#include <linux/cleanup.h>
#include <linux/dax.h>
#include <linux/dcache.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/wait_bit.h>

/*
 * Page faults are readers. After dev_lost or skip_present was set in a map, the
 * caller waits for the faults that may not have seen the flag.
 */
DEFINE_SRCU_FAST(fuse_fmap_srcu);

/* Time after which a wait for pinned pages is logged */
#define FUSE_FMAP_PIN_WAIT	(10 * HZ)

/* A FUSE_DAX_FAILURE request */
struct fuse_dax_notification {
	struct fuse_args args;
	struct fuse_dax_failure_in in;
	struct fuse_conn *fc;
	struct inode *inode;
};

static void fuse_dax_failure_end(struct fuse_args *args, int error)
{
	struct fuse_dax_notification *notif =
		container_of(args, struct fuse_dax_notification, args);

	if (error == -ENOSYS)
		WRITE_ONCE(notif->fc->fmap->notify_failures, false);
	iput(notif->inode);
	fuse_conn_put(notif->fc);
	kfree(notif);
}

/*
 * Notify the server, if it has requested notifications. Doesn't wait for the
 * reply or for room in the queue, because failure handling must not depend on a
 * server. @inode is the affected file, or NULL. The request holds a reference,
 * so that FORGET can't be sent while it is queued.
 */
static void fuse_dax_notify(struct fuse_mount *fm, struct inode *inode,
			    const struct fuse_dax_failure_in *what)
{
	struct fuse_dax_notification *notif;

	if (!READ_ONCE(fm->fc->fmap->notify_failures))
		return;

	notif = kzalloc_obj(*notif, GFP_NOFS);
	if (!notif)
		return;

	notif->in = *what;
	notif->fc = fuse_conn_get(fm->fc);
	notif->args.opcode = FUSE_DAX_FAILURE;
	notif->args.nodeid = FUSE_ROOT_ID;
	if (inode) {
		ihold(inode);
		notif->inode = inode;
		notif->args.nodeid = get_node_id(inode);
	}
	notif->args.force = true;
	notif->args.nocreds = true;
	notif->args.in_numargs = 1;
	notif->args.in_args[0].size = sizeof(notif->in);
	notif->args.in_args[0].value = &notif->in;
	notif->args.end = fuse_dax_failure_end;
	if (fuse_simple_background(fm, &notif->args, GFP_NOFS))
		fuse_dax_failure_end(&notif->args, 0);
}

typedef bool (*fuse_fmap_visit_t)(struct fuse_fmap_attachment *att, void *arg);

/*
 * Call @visit for each attached map of the device until it returns true. Skips
 * inodes that are being evicted, and inodes whose map is not attached yet,
 * because that map may be freed again. The caller holds killsb and has checked
 * that the connection has a mount, because inodes must not be grabbed during
 * unmount.
 */
static void fuse_daxdev_visit_maps(struct fuse_daxdev *dev,
				   fuse_fmap_visit_t visit, void *arg)
{
	struct inode *inode, *last = NULL;
	struct fuse_fmap_attachment *att;
	bool stop = false;

	lockdep_assert_held(&dev->fc->killsb);

	spin_lock(&dev->attach_lock);
	list_for_each_entry(att, &dev->attached, entry) {
		if (fuse_inode_fmap(att->map->inode) != att->map)
			continue;
		inode = igrab(att->map->inode);
		if (!inode)
			continue;

		spin_unlock(&dev->attach_lock);
		/* Only now: its entry kept the position in the list */
		iput(last);
		last = inode;
		stop = visit(att, arg);
		cond_resched();
		spin_lock(&dev->attach_lock);
		if (stop)
			break;
	}
	spin_unlock(&dev->attach_lock);
	iput(last);
}

/*
 * Unmap a range of the file and wait until none of its pages is pinned. Called
 * with the invalidate lock held. Drops it while waiting, since a task may fault
 * on another page before it unpins this one. Pages of the device can't be
 * mapped again, because the device is dead.
 */
static void fuse_fmap_unmap_range(struct fuse_fmap_attachment *att,
				  loff_t start, loff_t last)
{
	struct inode *inode = att->map->inode;
	struct address_space *mapping = inode->i_mapping;
	struct page *page;

	while ((page = dax_layout_busy_page_range(mapping, start, last))) {
		filemap_invalidate_unlock(mapping);
		if (!wait_var_event_timeout(page, dax_page_is_idle(page),
					    FUSE_FMAP_PIN_WAIT)) {
			pr_warn("connection %u: the removal of DAX device %s waits for pinned pages of node %llu\n",
				att->dev->fc->dev, att->dev->name,
				get_node_id(inode));
			wait_var_event(page, dax_page_is_idle(page));
		}
		filemap_invalidate_lock(mapping);
	}
	dax_delete_mapping_range(mapping, start, last);
}

/*
 * Unmap the pages of the device from the file. Pages on other devices stay
 * mapped and may stay pinned.
 */
static bool fuse_fmap_unmap(struct fuse_fmap_attachment *att, void *arg)
{
	struct inode *inode = att->map->inode;
	struct address_space *mapping = inode->i_mapping;
	struct fuse_fmap_range range;
	unsigned long index = 0;
	loff_t pos, last;

	filemap_invalidate_lock(mapping);
	while (xa_find(&mapping->i_pages, &index, ULONG_MAX, XA_PRESENT)) {
		pos = (loff_t)index << PAGE_SHIFT;
		fuse_fmap_resolve(att->map, pos, &range);
		last = pos + range.len - 1;
		if (range.dev == att->dev)
			fuse_fmap_unmap_range(att, pos, last);
		index = (last >> PAGE_SHIFT) + 1;
		cond_resched();
	}
	filemap_invalidate_unlock(mapping);

	/* The next open after the last close fetches a new map */
	d_mark_dontcache(inode);
	d_prune_aliases(inode);

	return false;
}

/*
 * Mark all maps of the device. When this returns, all faults on these files
 * take the invalidate lock.
 */
static void fuse_daxdev_mark_maps(struct fuse_daxdev *dev)
{
	struct fuse_fmap_attachment *att;

	spin_lock(&dev->attach_lock);
	list_for_each_entry(att, &dev->attached, entry) {
		WRITE_ONCE(att->map->dev_lost, true);
		WRITE_ONCE(att->map->skip_present, true);
	}
	spin_unlock(&dev->attach_lock);

	synchronize_srcu(&fuse_fmap_srcu);
}

/* Count the inodes in eviction, which fuse_daxdev_visit_maps() skipped */
static void fuse_daxdev_count_evicting(struct fuse_daxdev *dev)
{
	struct fuse_fmap_attachment *att;

	spin_lock(&dev->attach_lock);
	list_for_each_entry(att, &dev->attached, entry) {
		struct inode *inode = att->map->inode;

		spin_lock(&inode->i_lock);
		att->evicting = inode_state_read(inode) &
				(I_FREEING | I_WILL_FREE);
		spin_unlock(&inode->i_lock);
		dev->nevicting += att->evicting;
	}
	spin_unlock(&dev->attach_lock);
}

static bool fuse_daxdev_is_zero(struct fuse_daxdev *dev, unsigned long *n)
{
	guard(spinlock)(&dev->attach_lock);
	return !*n;
}

/*
 * Handle the removal of a device. The pages of the device are freed after this
 * returns, so no page table and no inode may refer to them by then. Unmaps all
 * files on the device and waits for inodes in eviction, which unmap their pages
 * on their own. Waits for pinned pages without a time limit.
 */
static void fuse_daxdev_handle_removal(struct fuse_daxdev *dev)
{
	const struct fuse_dax_failure_in what = {
		.index = dev->index,
		.event = FUSE_DAX_REMOVED,
		.len = dev->size,
	};
	unsigned long *wait_for = &dev->nattached;
	struct fuse_conn *fc = dev->fc;
	struct fuse_mount *fm;

	pr_warn("connection %u: DAX device %s removed while in use\n", fc->dev,
		dev->name);
	trace_fuse_daxdev_failure(dev, FUSE_ROOT_ID, &what);

	/* Pairs with the barrier in fuse_fmap_attach_devs() */
	smp_mb();
	fuse_daxdev_mark_maps(dev);

	down_read(&fc->killsb);
	fm = list_first_entry_or_null(&fc->mounts, struct fuse_mount, fc_entry);
	if (fm) {
		fuse_dax_notify(fm, NULL, &what);
		fuse_daxdev_visit_maps(dev, fuse_fmap_unmap, NULL);
		fuse_daxdev_count_evicting(dev);
		wait_for = &dev->nevicting;
	}
	up_read(&fc->killsb);

	wait_event(dev->evict_waitq, fuse_daxdev_is_zero(dev, wait_for));
}

/* A page with bad memory and the file that it belongs to, if any */
struct fuse_daxdev_bad_page {
	struct fuse_dax_failure_in what;
	int mf_flags;
	int err;
	u64 nodeid;
};

/*
 * If the bad page belongs to this file, unmap it and signal the processes that
 * have it mapped: at once if early kill is set for the process or the system,
 * otherwise at the next access. Returns true if it was this file.
 */
static bool fuse_fmap_kill_users(struct fuse_fmap_attachment *att, void *arg)
{
	struct fuse_daxdev_bad_page *bad = arg;
	struct inode *inode = att->map->inode;
	pgoff_t index;

	if (!fuse_fmap_find(att->map, att->dev, bad->what.offset,
			    &bad->what.pos))
		return false;

	/* A fault that missed the flag may map the page: unmapped below */
	WRITE_ONCE(att->map->skip_present, true);
	synchronize_srcu(&fuse_fmap_srcu);

	bad->nodeid = get_node_id(inode);
	index = bad->what.pos >> PAGE_SHIFT;
	if (IS_ENABLED(CONFIG_MEMORY_FAILURE))
		bad->err = mf_dax_kill_procs(inode->i_mapping, index, 1,
					     bad->mf_flags);
	unmap_mapping_pages(inode->i_mapping, index, 1, false);
	pr_err("connection %u: DAX device %s: bad memory at 0x%llx, node %llu at 0x%llx\n",
	       att->dev->fc->dev, att->dev->name, bad->what.offset,
	       bad->nodeid, bad->what.pos);
	fuse_dax_notify(get_fuse_mount(inode), inode, &bad->what);

	return true;
}

/*
 * Handle a page with bad memory. At most one file uses the page, because ranges
 * of a device can't overlap. The driver refuses to read or map the page until a
 * write has repaired it; @skip_present sends every fault to the driver.
 */
static int fuse_daxdev_bad_page(struct fuse_daxdev *dev, u64 offset,
				int mf_flags)
{
	struct fuse_daxdev_bad_page bad = {
		.what = {
			.index = dev->index,
			.event = FUSE_DAX_BAD_MEMORY,
			.offset = offset,
			.len = PAGE_SIZE,
		},
		.mf_flags = mf_flags,
		.nodeid = FUSE_ROOT_ID,
	};
	struct fuse_conn *fc = dev->fc;
	struct fuse_mount *fm;

	atomic_long_inc(&dev->failures);

	down_read(&fc->killsb);
	fm = list_first_entry_or_null(&fc->mounts, struct fuse_mount, fc_entry);
	if (fm)
		fuse_daxdev_visit_maps(dev, fuse_fmap_kill_users, &bad);
	if (bad.nodeid == FUSE_ROOT_ID) {
		pr_err("connection %u: DAX device %s: bad memory at 0x%llx, in no open file\n",
		       fc->dev, dev->name, offset);
		if (fm)
			fuse_dax_notify(fm, NULL, &bad.what);
	}
	up_read(&fc->killsb);
	trace_fuse_daxdev_failure(dev, bad.nodeid, &bad.what);

	return bad.err;
}

/*
 * Called by the DAX core when the device is removed or memory of it is bad.
 * Returns -EOPNOTSUPP if the device is not claimed, -EINVAL if the range is
 * outside the device.
 */
static int fuse_daxdev_notify_failure(struct dax_device *dax_dev, u64 offset,
				      u64 len, int mf_flags)
{
	struct fuse_daxdev *dev;
	int err = 0;
	u64 end;

	if (mf_flags & MF_MEM_PRE_REMOVE) {
		dev = fuse_daxdev_mark_dead(dax_dev);
		if (dev)
			fuse_daxdev_handle_removal(dev);
		fuse_daxdev_put(dev);
		return 0;
	}

	dev = fuse_daxdev_get_by_dax(dax_dev);
	if (!dev)
		return -EOPNOTSUPP;

	if (check_add_overflow(offset, len, &end) || end > dev->size)
		err = -EINVAL;
	for (offset &= PAGE_MASK; !err && offset < end; offset += PAGE_SIZE)
		err = fuse_daxdev_bad_page(dev, offset, mf_flags);

	fuse_daxdev_put(dev);
	return err;
}

const struct dax_holder_operations fuse_daxdev_holder_ops = {
	.notify_failure	= fuse_daxdev_notify_failure,
};
