// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: how a map gets to an inode, and off it again.
 *
 * A map is asked for when a regular file is first opened, and stays until the
 * inode is evicted, so that a file that is open needs the server no more.
 */
#include "fmap_i.h"
#include "fmap_trace.h"

#include <linux/dcache.h>
#include <linux/pagemap.h>
#include <linux/ratelimit.h>
#include <linux/sizes.h>
#include <linux/xattr.h>

/*
 * Room for the first reply. Nearly every map fits, and every server's buffers
 * are larger.
 */
#define FUSE_FMAP_FIRST_SIZE	8192

/* The largest piece of a map to ask for at once */
#define FUSE_FMAP_SLICE_SIZE	SZ_1M

/* Log why a map was refused. Anybody who can open files can cause this. */
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
 * Get the rest of a message of which msg->len bytes are there. Each request has
 * room for one byte more than is missing: a message that has grown meanwhile is
 * found out, not cut off.
 */
static int fuse_fmap_fetch_rest(struct inode *inode, struct fuse_fmap_msg *msg,
				u32 total)
{
	struct fuse_mount *fm = get_fuse_mount(inode);
	u32 slice = clamp_t(u32, fm->fc->max_write, FUSE_FMAP_FIRST_SIZE,
			    FUSE_FMAP_SLICE_SIZE);
	void *buf;

	if (total < msg->len)
		return fuse_fmap_refuse(inode, msg, "longer than its header says");
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
					   min_t(u32, total + 1 - msg->len, slice),
					   msg->len);
		if (n == -ENODATA || n == -ENOSYS || !n)
			return fuse_fmap_refuse(inode, msg, "shorter than its header says");
		if (n < 0)
			return n;
		msg->len += n;
	}
	if (msg->len > total)
		return fuse_fmap_refuse(inode, msg, "grew while it was read");

	return 0;
}

/* Get the map message of a file. The caller frees msg->buf in any case. */
static int fuse_fmap_fetch(struct inode *inode, struct fuse_fmap_msg *msg)
{
	const struct fuse_fmap_header *h;
	ssize_t n;

	msg->len = 0;
	msg->buf = kvmalloc(FUSE_FMAP_FIRST_SIZE, GFP_KERNEL_ACCOUNT);
	if (!msg->buf)
		return -ENOMEM;

	/* Even the header may come in pieces */
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

/* Get a reference to every device that the message names, sorted by index */
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

		/* Room for a power of two */
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

/* Give up what the first @nextents extents of the message own */
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

/* Own all device pages that the file uses, or none */
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
					"extent overlaps another one of this or another file");
	}

	return 0;
}

/* Memory of a map with its attachments, which follow it */
static size_t fuse_fmap_memory(size_t bytes, unsigned int ndevs)
{
	return size_add(bytes, array_size(ndevs,
					  sizeof(struct fuse_fmap_attachment)));
}

/* Add what the map takes to the connection's sums, or take it off */
static void fuse_fmap_account(struct fuse_conn *fc, const struct fuse_fmap *map,
			      int sign)
{
	struct fuse_fmap_conn *fmc = fc->fmap;

	atomic64_add(sign, &fmc->nmaps);
	atomic64_add(sign * (s64)map->nsegs, &fmc->nsegs);
	atomic64_add(sign * (s64)map->file_size, &fmc->file_bytes);
	atomic64_add(sign * (s64)fuse_fmap_memory(map->bytes, map->nattachments),
		     &fmc->map_bytes);
}

/*
 * Make it a DAX inode. Nothing but what the server may have stored into the
 * page cache can be there: the file has not been open before.
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
	 * A removal marks the maps before it looks for inodes that have them, so
	 * either it has found this one or is found here.
	 */
	smp_mb();
	if (READ_ONCE(map->dev_lost))
		d_mark_dontcache(inode);
	return 0;
}

/* Memory for a map with its uses, which are filled in */
static struct fuse_fmap *fuse_fmap_alloc(const struct fuse_fmap_msg *msg,
					 unsigned int ndevs)
{
	return kvmalloc(fuse_fmap_memory(fuse_fmap_bytes(msg), ndevs),
			GFP_KERNEL_ACCOUNT);
}

/*
 * Tell the devices that a map uses them, with the references that @devs has.
 * -ENODEV if one was removed meanwhile; fuse_fmap_detach_devs() is called for it then,
 * too.
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
	 * A removal marks the device before it looks who uses it, so either it
	 * finds this map or is found here.
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

/* Build the map of a message that has arrived, and attach it */
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

	/* The references to the devices are the map's now */
	kfree(devs);
	return 0;
out:
	kvfree(map);
	fuse_fmap_put_devs(devs, ndevs);
	return err;
}

/* Whether the inode may still get a map */
static bool fuse_fmap_pending(struct inode *inode)
{
	struct fuse_conn *fc = get_fuse_conn(inode);

	return fuse_fmap_enabled(fc) && !fuse_inode_fmap(inode) &&
	       !test_bit(FUSE_I_NO_FMAP, &get_fuse_inode(inode)->state);
}

/*
 * If the inode may still get a map, keep it from getting one until
 * fuse_fmap_allow_attach(), which is to be called if this returned true. Then nobody
 * has the file open, so nobody who waits for the server holds the lock.
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
 * A folio of the page cache for the server to store into. -EINVAL if the file is
 * mapped: it has no page cache.
 */
struct folio *fuse_fmap_grab_folio(struct address_space *mapping, pgoff_t index)
{
	struct inode *inode = mapping->host;
	bool blocked = fuse_fmap_inhibit_attach(inode);
	struct folio *folio = ERR_PTR(-EINVAL);

	if (!fuse_inode_fmap(inode))
		folio = filemap_grab_folio(mapping, index);
	if (blocked)
		fuse_fmap_allow_attach(inode);

	return folio;
}

/*
 * See to it that the inode has its map, or that it is known to have none. The
 * server is asked at most once in an inode's life, whoever comes first; the
 * others wait for the inode's lock, which the caller holds. Nobody has the file
 * open then, so no read or write waits for the server.
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

/* The same for callers that don't hold the lock */
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
 * A write drops file capabilities, of which only the server knows. It is asked
 * at each open for writing, since a write does not wait for it, and asked again
 * at a write only if there are some, or if it could not say.
 */
static void fuse_fmap_query_caps(struct inode *inode, struct file *file)
{
	struct fuse_inode *fi = get_fuse_inode(inode);
	unsigned int seq;
	ssize_t n;

	/* It has said so, and has no attributes that could be set meanwhile */
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

/* An xattr of the inode has been set, or that was tried */
void fuse_fmap_caps_changed(struct inode *inode)
{
	struct fuse_inode *fi = get_fuse_inode(inode);

	spin_lock(&fi->lock);
	fi->fmap_caps_seq++;
	fi->fmap_no_caps = false;
	spin_unlock(&fi->lock);
}

/* A regular file is being opened; see fuse_finish_open() */
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

/* Give back all that a map has: pages, devices, memory */
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
 * The inode is being evicted and its page cache is empty. Runs before FORGET
 * is sent: after that the server may give the pages to another file.
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
