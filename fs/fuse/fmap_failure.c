// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: a device goes away, or memory of it is bad.
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
 * Page faults are readers. Whoever has marked maps as degraded or failed waits
 * for the faults that have not seen it.
 */
DEFINE_SRCU_FAST(fuse_fmap_srcu);

/* Who waits for pinned pages as long as this says so in the log */
#define FUSE_FMAP_PIN_WAIT	(10 * HZ)

/* A request that tells the server of a failure */
struct fuse_dax_notification {
	struct fuse_args args;
	struct fuse_dax_failure_in in;
	struct fuse_conn *fc;
	struct inode *inode;
};

static void fuse_dax_failure_end(struct fuse_args *args, int error)
{
	struct fuse_dax_notification *note =
		container_of(args, struct fuse_dax_notification, args);

	if (error == -ENOSYS)
		WRITE_ONCE(note->fc->fmap->notify_failures, false);
	iput(note->inode);
	fuse_conn_put(note->fc);
	kfree(note);
}

/*
 * Tell the server, if it wants to know. Nobody waits for the answer, nor for
 * room in the queue: who reports a failure must not depend on a server. The
 * file, if it is one's, can't be forgotten as long as the request is queued.
 */
static void fuse_dax_notify(struct fuse_mount *fm, struct inode *inode,
			    const struct fuse_dax_failure_in *what)
{
	struct fuse_dax_notification *note;

	if (!READ_ONCE(fm->fc->fmap->notify_failures))
		return;

	note = kzalloc_obj(*note, GFP_NOFS);
	if (!note)
		return;

	note->in = *what;
	note->fc = fuse_conn_get(fm->fc);
	note->args.opcode = FUSE_DAX_FAILURE;
	note->args.nodeid = FUSE_ROOT_ID;
	if (inode) {
		ihold(inode);
		note->inode = inode;
		note->args.nodeid = get_node_id(inode);
	}
	note->args.force = true;
	note->args.nocreds = true;
	note->args.in_numargs = 1;
	note->args.in_args[0].size = sizeof(note->in);
	note->args.in_args[0].value = &note->in;
	note->args.end = fuse_dax_failure_end;
	if (fuse_simple_background(fm, &note->args, GFP_NOFS))
		fuse_dax_failure_end(&note->args, 0);
}

typedef bool (*fuse_fmap_visit_t)(struct fuse_fmap_attachment *att, void *arg);

/*
 * Call @visit for each map that uses the device, until it returns true. Inodes
 * that are being evicted can't be had, and are left out, as are those that have
 * not got their map yet: it may be freed again. An inode must not be grabbed
 * once unmounting has begun: the caller holds killsb and has seen that there is
 * a mount.
 */
static void fuse_daxdev_for_each_map(struct fuse_daxdev *dev,
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
		/* Its entry was needed to get from there to this one */
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
 * Unmap a range of the file, and wait until nobody has a page of it pinned. The
 * lock is not held meanwhile, since who has pinned a page may fault on another
 * one before it lets go. No page of the device comes back: it is dead.
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
 * Take the device's pages out of the file's mappings. What is on devices that
 * still work stays, and nobody has to wait for what is pinned there.
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

	/* Who opens the file when nobody has it any more gets another map */
	d_mark_dontcache(inode);
	d_prune_aliases(inode);

	return false;
}

/* From here on all faults on files of the device take the invalidate lock */
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

/* Count the inodes that are on their way out; they unmap their pages themselves */
static void fuse_daxdev_count_evicting(struct fuse_daxdev *dev)
{
	struct fuse_fmap_attachment *att;

	spin_lock(&dev->attach_lock);
	list_for_each_entry(att, &dev->attached, entry) {
		struct inode *inode = att->map->inode;

		spin_lock(&inode->i_lock);
		att->evicting = inode_state_read(inode) & (I_FREEING | I_WILL_FREE);
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
 * The device is being removed. When this returns its pages are gone, so no
 * page table and no inode may know any of them: files are unmapped, and inodes
 * on their way out, which do that themselves, are waited for.
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
		fuse_daxdev_for_each_map(dev, fuse_fmap_unmap, NULL);
		fuse_daxdev_count_evicting(dev);
		wait_for = &dev->nevicting;
	}
	up_read(&fc->killsb);

	wait_event(dev->evict_waitq, fuse_daxdev_is_zero(dev, wait_for));
}

/* Memory of a device that is bad, and whose it is */
struct fuse_daxdev_bad_page {
	struct fuse_dax_failure_in what;
	int mf_flags;
	int err;
	u64 nodeid;
};

/*
 * Is the bad page this file's? Then whoever has it mapped gets a signal: at
 * once if that is what the process, or the system, is set to, else when it
 * comes to the page again.
 */
static bool fuse_fmap_kill_users(struct fuse_fmap_attachment *att, void *arg)
{
	struct fuse_daxdev_bad_page *bad = arg;
	struct inode *inode = att->map->inode;
	pgoff_t index;

	if (!fuse_fmap_find(att->map, att->dev, bad->what.offset,
			    &bad->what.pos))
		return false;

	/* What faults map that have not seen it is unmapped below */
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
 * A page has bad memory. No device byte belongs to two places, so there is one
 * file that has the page, or none. The driver sees to it that nobody reads the
 * page from now on, before a write has mended it, and nobody maps it who asks;
 * that all do, the flag in the map does.
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
		fuse_daxdev_for_each_map(dev, fuse_fmap_kill_users, &bad);
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

/* The DAX core reports a failure of the device, or of a range of it */
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
