// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: fetch a map, attach it to an inode and free it.
 *
 * The first open of a regular file fetches its map. The map stays attached
 * until the inode is evicted, so an open file no longer needs the server.
 */
#include "fmap_i.h"
#include "fmap_trace.h"

#include <linux/dcache.h>
#include <linux/pagemap.h>
#include <linux/ratelimit.h>
#include <linux/sizes.h>
#include <linux/xattr.h>

/*
 * Size of the first reply. Nearly every map fits, and the buffers of all
 * servers are larger.
 */
#define FUSE_FMAP_FIRST_SIZE	8192

/* Maximum size of a single reply with a part of a map */
#define FUSE_FMAP_SLICE_SIZE	SZ_1M

/* Log why a map was refused. Any user who can open files can trigger this. */
static int fuse_fmap_refuse(struct inode *inode,
			    const struct fuse_fmap_msg *msg, const char *why)
{
	trace_fuse_fmap_refuse(inode, msg, why);
	pr_warn_ratelimited("map refused: connection %u, node %llu, segment %u, strip %u: %s\n",
			    get_fuse_conn(inode)->dev, get_node_id(inode),
			    msg->seg, msg->strip, why);
	return -EIO;
}

static ssize_t fuse_fmap_send(struct fuse_mount *fm, u64 nodeid, void *buf,
			      u32 size, u64 offset)
{
	FUSE_ARGS(args);
	struct fuse_get_fmap_in inarg = { .size = size, .offset = offset };

	args.opcode = FUSE_GET_FMAP;
	args.nodeid = nodeid;
	args.in_numargs = 1;
	args.in_args[0].size = sizeof(inarg);
	args.in_args[0].value = &inarg;
	args.out_argvar = true;
	args.out_numargs = 1;
	args.out_args[0].size = size;
	args.out_args[0].value = buf;

	return fuse_simple_request(fm, &args);
}

/*
 * Fetch the rest of a message after its first msg->len bytes. Each request has
 * room for one byte more than is missing, to detect a message that grew instead
 * of truncating it.
 */
static int fuse_fmap_fetch_rest(struct inode *inode, struct fuse_fmap_msg *msg,
				u32 total)
{
	struct fuse_mount *fm = get_fuse_mount(inode);
	u32 slice = clamp_t(u32, fm->fc->max_write, FUSE_FMAP_FIRST_SIZE,
			    FUSE_FMAP_SLICE_SIZE);
	void *buf;

	if (total < msg->len)
		return fuse_fmap_refuse(inode, msg,
					"longer than its header says");
	if (total > FUSE_FMAP_MAX_SIZE)
		return fuse_fmap_refuse(inode, msg, "message is too large");

	buf = kvmalloc(total + 1, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, msg->buf, msg->len);
	kvfree(msg->buf);
	msg->buf = buf;

	while (msg->len < total) {
		ssize_t n = fuse_fmap_send(fm, get_node_id(inode),
					   buf + msg->len,
					   min_t(u32, total + 1 - msg->len,
						 slice),
					   msg->len);
		if (n == -ENODATA || n == -ENOSYS || !n)
			return fuse_fmap_refuse(inode, msg,
						"shorter than its header says");
		if (n < 0)
			return n;
		msg->len += n;
	}
	if (msg->len > total)
		return fuse_fmap_refuse(inode, msg, "grew while it was read");

	return 0;
}

/* Fetch the map message of a file. The caller frees msg->buf, also on error. */
static int fuse_fmap_fetch(struct inode *inode, struct fuse_fmap_msg *msg)
{
	const struct fuse_fmap_header *h;
	ssize_t n;

	msg->len = 0;
	msg->buf = kvmalloc(FUSE_FMAP_FIRST_SIZE, GFP_KERNEL_ACCOUNT);
	if (!msg->buf)
		return -ENOMEM;

	/* Even the header may arrive in several replies */
	do {
		n = fuse_fmap_send(get_fuse_mount(inode), get_node_id(inode),
				   (void *)msg->buf + msg->len,
				   FUSE_FMAP_FIRST_SIZE - msg->len, msg->len);
		if (msg->len && (n == -ENODATA || n == -ENOSYS))
			n = 0;
		if (n < 0)
			return n;
		msg->len += n;
	} while (n && msg->len < sizeof(*h));

	h = msg->buf;
	if (msg->len < sizeof(*h) || !h->fmap_size || h->fmap_size == msg->len)
		return 0;
	return fuse_fmap_fetch_rest(inode, msg, h->fmap_size);
}

static void fuse_fmap_put_devs(struct fuse_fmap_dev *devs, unsigned int ndevs)
{
	while (ndevs--)
		fuse_daxdev_put(devs[ndevs].dev);
	kfree(devs);
}

/*
 * Build the table of all devices that the message names, sorted by index. Each
 * entry holds a reference. On error the caller frees the entries added so far.
 */
static int fuse_fmap_get_devs(struct inode *inode, struct fuse_fmap_msg *msg,
			      struct fuse_fmap_dev **devs, unsigned int *ndevs)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;

	fuse_fmap_first(&cur, msg);
	while (fuse_fmap_next(&cur, &ext)) {
		unsigned int n = *ndevs;
		unsigned int i = fuse_fmap_find_dev(*devs, n, ext.devindex);
		struct fuse_fmap_dev *table = *devs;
		struct fuse_daxdev *dev;

		if (i < n && table[i].index == ext.devindex)
			continue;

		/* The capacity is a power of two: double it when full */
		if (!(n & (n - 1))) {
			table = krealloc_array(table, n ? 2 * n : 1,
					       sizeof(*table),
					       GFP_KERNEL_ACCOUNT);
			if (!table)
				return -ENOMEM;
			*devs = table;
		}

		dev = fuse_daxdev_get(get_fuse_mount(inode), ext.devindex);
		if (IS_ERR(dev)) {
			msg->seg = cur.seg;
			msg->strip = cur.strip;
			if (PTR_ERR(dev) != -EINTR && PTR_ERR(dev) != -ENOMEM)
				fuse_fmap_refuse(inode, msg,
						 "no device for its index");
			return PTR_ERR(dev);
		}
		memmove(&table[i + 1], &table[i], (n - i) * sizeof(*table));
		table[i] = (struct fuse_fmap_dev) {
			.index = ext.devindex,
			.readonly = dev->readonly,
			.dev = dev,
			.size = dev->size,
		};
		++*ndevs;
	}
	return 0;
}

/* Release the device pages of the first @nextents extents of the message */
static void fuse_fmap_unreserve(const struct fuse_fmap_msg *msg,
				const struct fuse_fmap_dev *devs,
				unsigned int ndevs, u32 nextents)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;

	fuse_fmap_first(&cur, msg);
	while (nextents-- && fuse_fmap_next(&cur, &ext)) {
		unsigned int i = fuse_fmap_find_dev(devs, ndevs, ext.devindex);

		fuse_daxdev_release(devs[i].dev, ext.offset,
				    fuse_fmap_used_len(&cur, &ext));
		cond_resched();
	}
}

/* Reserve all device pages that the file uses, or none on error */
static int fuse_fmap_reserve(struct inode *inode, struct fuse_fmap_msg *msg,
			     const struct fuse_fmap_dev *devs,
			     unsigned int ndevs)
{
	struct fuse_fmap_cursor cur;
	struct fuse_fmap_extent ext;
	u32 nextents = 0;
	unsigned int i;

	fuse_fmap_first(&cur, msg);
	for (; fuse_fmap_next(&cur, &ext); nextents++) {
		cond_resched();

		i = fuse_fmap_find_dev(devs, ndevs, ext.devindex);
		if (!fuse_daxdev_reserve(devs[i].dev, ext.offset,
					 fuse_fmap_used_len(&cur, &ext)))
			continue;

		fuse_fmap_unreserve(msg, devs, ndevs, nextents);
		msg->seg = cur.seg;
		msg->strip = cur.strip;
		return fuse_fmap_refuse(inode, msg,
					"extent overlaps another extent of this or another file");
	}

	return 0;
}

/* Memory for a map and the attachments that follow it */
static size_t fuse_fmap_memory(size_t bytes, unsigned int ndevs)
{
	return size_add(bytes, array_size(ndevs,
					  sizeof(struct fuse_fmap_attachment)));
}

/* Add a map to the connection's counters (@sign 1) or subtract it (-1) */
static void fuse_fmap_account(struct fuse_conn *fc, const struct fuse_fmap *map,
			      int sign)
{
	struct fuse_fmap_conn *fmc = fc->fmap;

	atomic64_add(sign, &fmc->nmaps);
	atomic64_add(sign * (s64)map->nsegs, &fmc->nsegs);
	atomic64_add(sign * (s64)map->file_size, &fmc->file_bytes);
	atomic64_add(sign * (s64)fuse_fmap_memory(map->bytes,
						  map->nattachments),
		     &fmc->map_bytes);
}

/*
 * Attach the map and turn the inode into a DAX inode. The file has never been
 * open, so its page cache holds only what the server may have stored there.
 * Returns -EBUSY if the file is in use in another I/O mode.
 */
static int fuse_fmap_attach(struct inode *inode, struct fuse_fmap *map)
{
	struct fuse_conn *fc = get_fuse_conn(inode);
	struct fuse_inode *fi = get_fuse_inode(inode);
	int err = 0;

	filemap_invalidate_lock(inode->i_mapping);
	truncate_inode_pages(inode->i_mapping, 0);

	spin_lock(&fi->lock);
	if (fi->iocachectr || fuse_inode_backing(fi)) {
		err = -EBUSY;
	} else {
		fi->attr_version = atomic64_inc_return(&fc->attr_version);
		i_size_write(inode, map->file_size);
		inode->i_data.a_ops = &fuse_fmap_aops;
		inode_set_flags(inode, S_DAX, S_DAX);
		/* Pairs with smp_load_acquire() in fuse_inode_fmap() */
		smp_store_release(&fi->fmap, map);
	}
	spin_unlock(&fi->lock);

	filemap_invalidate_unlock(inode->i_mapping);

	if (err)
		return err;

	fuse_fmap_account(fc, map, 1);
	trace_fuse_fmap_attach(inode, map);

	/*
	 * A removal marks the maps before it looks for their inodes. Either it
	 * finds this inode, or the mark is seen here.
	 */
	smp_mb();
	if (READ_ONCE(map->dev_lost))
		d_mark_dontcache(inode);
	return 0;
}

/* Allocate a map with room for its attachments */
static struct fuse_fmap *fuse_fmap_alloc(const struct fuse_fmap_msg *msg,
					 unsigned int ndevs)
{
	return kvmalloc(fuse_fmap_memory(fuse_fmap_bytes(msg), ndevs),
			GFP_KERNEL_ACCOUNT);
}

/*
 * Attach the map to the devices in @devs. Takes no references: the caller hands
 * over those of @devs if it keeps the map. Returns -ENODEV if a device was
 * removed in the meantime; fuse_fmap_detach_devs() is needed even then.
 */
static int fuse_fmap_attach_devs(struct inode *inode, struct fuse_fmap *map,
				 const struct fuse_fmap_dev *devs,
				 unsigned int ndevs)
{
	u32 i;

	map->inode = inode;
	map->attachments = (void *)map + map->bytes;
	map->nattachments = ndevs;
	for (i = 0; i < ndevs; i++) {
		map->attachments[i].map = map;
		map->attachments[i].dev = devs[i].dev;
		fuse_daxdev_attach(&map->attachments[i]);
	}

	/*
	 * A removal marks the device before it looks for attached maps. Either
	 * it finds this map, or the mark is seen here.
	 */
	smp_mb();
	for (i = 0; i < ndevs; i++)
		if (READ_ONCE(devs[i].dev->dead))
			return -ENODEV;
	return 0;
}

static void fuse_fmap_detach_devs(struct fuse_fmap *map)
{
	u32 i;

	for (i = 0; i < map->nattachments; i++)
		fuse_daxdev_detach(&map->attachments[i]);
}

/* Check a complete message, build its map and attach it to the inode */
static int fuse_fmap_accept(struct inode *inode, struct fuse_fmap_msg *msg)
{
	struct fuse_fmap_conn *fmc = get_fuse_conn(inode)->fmap;
	struct fuse_fmap_dev *devs = NULL;
	struct fuse_fmap *map = NULL;
	unsigned int ndevs = 0;
	const char *why;
	int err;

	why = fuse_fmap_check(msg, fmc->kinds);
	if (why)
		return fuse_fmap_refuse(inode, msg, why);

	err = fuse_fmap_get_devs(inode, msg, &devs, &ndevs);
	if (err)
		goto out;

	err = -ENOMEM;
	map = fuse_fmap_alloc(msg, ndevs);
	if (!map)
		goto out;

	why = fuse_fmap_build(msg, devs, ndevs, map);
	if (why) {
		err = fuse_fmap_refuse(inode, msg, why);
		goto out;
	}

	err = fuse_fmap_reserve(inode, msg, devs, ndevs);
	if (err)
		goto out;

	err = fuse_fmap_attach_devs(inode, map, devs, ndevs);
	if (!err)
		err = fuse_fmap_attach(inode, map);
	if (err) {
		fuse_fmap_detach_devs(map);
		fuse_fmap_unreserve(msg, devs, ndevs, U32_MAX);
		goto out;
	}

	/* The map now holds the references to the devices */
	kfree(devs);
	return 0;
out:
	kvfree(map);
	fuse_fmap_put_devs(devs, ndevs);
	return err;
}

/* Return true if the inode may still get a map */
static bool fuse_fmap_pending(struct inode *inode)
{
	struct fuse_conn *fc = get_fuse_conn(inode);

	return fuse_fmap_enabled(fc) && !fuse_inode_fmap(inode) &&
	       !test_bit(FUSE_I_NO_FMAP, &get_fuse_inode(inode)->state);
}

/*
 * Prevent a map from being attached to the inode. If this returns true, the
 * caller must call fuse_fmap_allow_attach(). Returns false if the inode has a
 * map or will never have one. While a map is pending the file is not open, so
 * no holder of the invalidate lock waits for the server.
 */
bool fuse_fmap_inhibit_attach(struct inode *inode)
{
	if (!fuse_fmap_pending(inode))
		return false;
	filemap_invalidate_lock_shared(inode->i_mapping);
	return true;
}

void fuse_fmap_allow_attach(struct inode *inode)
{
	filemap_invalidate_unlock_shared(inode->i_mapping);
}

/*
 * Get a locked folio of the page cache for data that the server stores. Returns
 * -EINVAL if the file has a map, because it then has no page cache.
 */
struct folio *fuse_fmap_grab_folio(struct address_space *mapping, pgoff_t index)
{
	struct inode *inode = mapping->host;
	bool inhibited = fuse_fmap_inhibit_attach(inode);
	struct folio *folio = ERR_PTR(-EINVAL);

	if (!fuse_inode_fmap(inode))
		folio = filemap_grab_folio(mapping, index);
	if (inhibited)
		fuse_fmap_allow_attach(inode);

	return folio;
}

/*
 * Fetch and attach the map of the inode, unless it has one or is known to have
 * none. The caller holds the inode lock. The server gives its answer only once
 * in the lifetime of an inode; concurrent callers wait for the lock. The file
 * is not open yet, so no read or write waits for the server. Returns 0 if the
 * file has no map. After an error the next call tries again.
 */
int fuse_fmap_load_locked(struct inode *inode)
{
	struct fuse_conn *fc = get_fuse_conn(inode);
	struct fuse_inode *fi = get_fuse_inode(inode);
	struct fuse_fmap_msg msg = {};
	int err = -ENOSYS;

	if (!fuse_fmap_pending(inode))
		return 0;

	lockdep_assert_held_write(&inode->i_rwsem);

	if (!READ_ONCE(fc->fmap->no_get_fmap))
		err = fuse_fmap_fetch(inode, &msg);
	if (!err) {
		err = fuse_fmap_accept(inode, &msg);
	} else if (err == -ENODATA || err == -ENOSYS) {
		if (err == -ENOSYS)
			WRITE_ONCE(fc->fmap->no_get_fmap, true);
		set_bit(FUSE_I_NO_FMAP, &fi->state);
		err = 0;
	}
	kvfree(msg.buf);

	return err;
}

/* fuse_fmap_load_locked() for callers that don't hold the inode lock */
int fuse_fmap_load(struct inode *inode)
{
	int err;

	if (!fuse_fmap_pending(inode))
		return 0;

	err = inode_lock_killable(inode);
	if (err)
		return err;
	err = fuse_fmap_load_locked(inode);
	inode_unlock(inode);

	return err;
}

/*
 * A write drops file capabilities, which only the server knows. Query them at
 * each open for writing, so that a write needn't wait for the server. A write
 * queries them only if the file has some or if this query failed.
 */
static void fuse_fmap_query_caps(struct inode *inode, struct file *file)
{
	struct fuse_inode *fi = get_fuse_inode(inode);
	unsigned int seq;
	ssize_t n;

	/* Still valid: without xattrs no capabilities can be set */
	if (READ_ONCE(fi->fmap_no_caps) && get_fuse_conn(inode)->no_getxattr)
		return;

	spin_lock(&fi->lock);
	seq = fi->fmap_caps_seq;
	spin_unlock(&fi->lock);

	n = __vfs_getxattr(file_dentry(file), inode, XATTR_NAME_CAPS, NULL, 0);

	spin_lock(&fi->lock);
	fi->fmap_no_caps = seq == fi->fmap_caps_seq &&
			   (!n || n == -ENODATA || n == -EOPNOTSUPP);
	spin_unlock(&fi->lock);
}

/* Invalidate the cached answer after an attempt to set an xattr */
void fuse_fmap_caps_changed(struct inode *inode)
{
	struct fuse_inode *fi = get_fuse_inode(inode);

	spin_lock(&fi->lock);
	fi->fmap_caps_seq++;
	fi->fmap_no_caps = false;
	spin_unlock(&fi->lock);
}

/*
 * Called by fuse_finish_open() for a regular file. Loads the map. Returns
 * -EROFS if the file is opened for writing and a device of the map is
 * read-only.
 */
int fuse_fmap_open(struct inode *inode, struct file *file)
{
	struct fuse_fmap *map;
	int err;

	err = fuse_fmap_load(inode);
	if (err)
		return err;

	map = fuse_inode_fmap(inode);
	if (!map)
		return 0;

	file->f_mode |= FMODE_NOWAIT;
	if (!(file->f_mode & FMODE_WRITE))
		return 0;
	if (map->readonly)
		return -EROFS;
	fuse_fmap_query_caps(inode, file);
	return 0;
}

/* Free a map: release its pages, detach and put its devices */
static void fuse_fmap_free(struct fuse_fmap *map)
{
	struct fuse_fmap_pos pos = {};
	struct fuse_fmap_range range;
	u32 i;

	while (fuse_fmap_next_range(map, &pos, &range)) {
		fuse_daxdev_release(range.dev, range.offset, range.len);
		cond_resched();
	}

	fuse_fmap_detach_devs(map);
	for (i = 0; i < map->nattachments; i++)
		fuse_daxdev_put(map->attachments[i].dev);
	kvfree(map);
}

/*
 * Detach and free the map of an inode that is being evicted, after its page
 * cache was emptied. Must be called before FORGET is sent, because after that
 * the server may give the pages to another file.
 */
void fuse_fmap_evict(struct inode *inode)
{
	struct fuse_inode *fi = get_fuse_inode(inode);
	struct fuse_fmap *map = fi->fmap;

	if (!map)
		return;
	inode_set_flags(inode, 0, S_DAX);
	fi->fmap = NULL;
	fuse_fmap_account(get_fuse_conn(inode), map, -1);
	fuse_fmap_free(map);
}
