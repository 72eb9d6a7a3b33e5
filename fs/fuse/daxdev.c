// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: the DAX devices of a connection.
 *
 * The server chooses an index for each device. A device is added to the table
 * when the server registers an open file descriptor, or when a map names an
 * unknown index and the server replies to FUSE_GET_DAXDEV with the name of the
 * device. In both cases the connection claims the device exclusively.
 */
#include "dev.h"
#include "fmap_i.h"
#include "fmap_trace.h"

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/dax.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

/*
 * Maps each claimed dax_device to its fuse_daxdev, for callbacks of the DAX
 * core, which pass only the dax_device. Holds no references: an entry is
 * removed before its fuse_daxdev is freed.
 */
static DEFINE_XARRAY(fuse_daxdevs);

/* Size in bytes of the bitmap of a device, with one bit for each page */
size_t fuse_daxdev_bytes(const struct fuse_daxdev *dev)
{
	return BITS_TO_LONGS(dev->size >> PAGE_SHIFT) * sizeof(long);
}

static void fuse_daxdev_free(struct fuse_daxdev *dev)
{
	unsigned long key = (unsigned long)dev->dax_dev;
	int id;

	/* Blocks removal until the holder is dropped */
	id = dax_read_lock();
	xa_cmpxchg(&fuse_daxdevs, key, dev, NULL, 0);
	if (dev->claimed && dev->dead)
		put_dax(dev->dax_dev);
	else if (dev->claimed)
		fs_put_dax(dev->dax_dev, dev);
	dax_read_unlock(id);

	if (dev->reserved)
		trace_fuse_daxdev_free(dev);
	vfree(dev->reserved);
	mutex_destroy(&dev->reserved_lock);
	fuse_conn_put(dev->fc);
	kfree(dev);
}

void fuse_daxdev_put(struct fuse_daxdev *dev)
{
	if (dev && refcount_dec_and_test(&dev->count))
		fuse_daxdev_free(dev);
}

/* Get the fuse_daxdev that has claimed the device, or NULL */
struct fuse_daxdev *fuse_daxdev_get_by_dax(struct dax_device *dax_dev)
{
	struct fuse_daxdev *dev;

	xa_lock(&fuse_daxdevs);
	dev = xa_load(&fuse_daxdevs, (unsigned long)dax_dev);
	if (dev && !refcount_inc_not_zero(&dev->count))
		dev = NULL;
	xa_unlock(&fuse_daxdevs);

	return dev;
}

/*
 * Mark the fuse_daxdev that has claimed the device as dead. Returns it with a
 * reference, or NULL if no connection uses the device.
 */
struct fuse_daxdev *fuse_daxdev_mark_dead(struct dax_device *dax_dev)
{
	struct fuse_daxdev *dev;

	xa_lock(&fuse_daxdevs);
	dev = __xa_erase(&fuse_daxdevs, (unsigned long)dax_dev);
	if (dev) {
		WRITE_ONCE(dev->dead, true);
		if (!refcount_inc_not_zero(&dev->count))
			dev = NULL;
	}
	xa_unlock(&fuse_daxdevs);

	return dev;
}

/*
 * Claim a device on the dax bus. The caller holds a reference to @bus_dev.
 * Errors: -EBUSY if the device already has a holder, in this connection or
 * elsewhere, -EOPNOTSUPP if it isn't bound to the fsdev driver, -ENODEV if it
 * is not bound to a driver or is being removed, -ENOMEM.
 */
static struct fuse_daxdev *fuse_daxdev_claim(struct fuse_conn *fc, u32 index,
					     struct device *bus_dev,
					     bool readonly)
{
	struct dax_device *dax_dev = dax_of_device(bus_dev);
	struct fuse_daxdev *dev;
	int err, id;

	dev = kzalloc_obj(*dev, GFP_KERNEL_ACCOUNT);
	if (!dev)
		return ERR_PTR(-ENOMEM);

	dev->dax_dev = dax_dev;
	dev->readonly = readonly;
	dev->index = index;
	strscpy(dev->name, dev_name(bus_dev));
	dev->fc = fuse_conn_get(fc);
	refcount_set(&dev->count, 1);
	mutex_init(&dev->reserved_lock);
	spin_lock_init(&dev->attach_lock);
	INIT_LIST_HEAD(&dev->attached);
	init_waitqueue_head(&dev->evict_waitq);

	err = xa_insert(&fuse_daxdevs, (unsigned long)dax_dev, dev, GFP_KERNEL);
	if (err)
		goto out;

	err = fs_dax_get(dax_dev, dev, &fuse_daxdev_holder_ops);
	if (err)
		goto out;
	dev->claimed = true;

	id = dax_read_lock();
	if (dax_alive(dax_dev))
		dev->size = fs_dax_size(dax_dev);
	dax_read_unlock(id);
	err = -ENODEV;
	if (!dev->size)
		goto out;

	err = -ENOMEM;
	/* Not accounted: the opener shouldn't pay for the device */
	dev->reserved = vzalloc(fuse_daxdev_bytes(dev));
	if (!dev->reserved)
		goto out;
	err = 0;
out:
	trace_fuse_daxdev_register(dev, err);
	if (err) {
		fuse_daxdev_put(dev);
		return ERR_PTR(err);
	}
	return dev;
}

/* Get the device with this index, or NULL if there is none or it was removed */
static struct fuse_daxdev *fuse_daxdev_lookup(struct fuse_fmap_conn *fmc,
					      u32 index)
{
	struct fuse_daxdev *dev;

	xa_lock(&fmc->devices);
	dev = xa_load(&fmc->devices, index);
	if (dev && READ_ONCE(dev->dead))
		dev = NULL;
	if (dev)
		refcount_inc(&dev->count);
	xa_unlock(&fmc->devices);

	return dev;
}

/*
 * Add a device to the table. It replaces a removed device with the same index,
 * which is returned in @old with the table's reference. Errors: -EEXIST if the
 * index is in use, -ENOTCONN after unmount, -ENOMEM. May drop and retake the
 * lock of the table.
 */
static int fuse_daxdev_store(struct fuse_fmap_conn *fmc, u32 index,
			     struct fuse_daxdev *dev, struct fuse_daxdev **old)
{
	int err;

	lockdep_assert_held(&fmc->devices.xa_lock);

	if (fmc->closed)
		return -ENOTCONN;

	*old = xa_load(&fmc->devices, index);
	if (*old) {
		if (!READ_ONCE((*old)->dead)) {
			*old = NULL;
			return -EEXIST;
		}
		__xa_store(&fmc->devices, index, dev, 0);
		return 0;
	}

	err = __xa_insert(&fmc->devices, index, dev, GFP_KERNEL_ACCOUNT);
	/* The insertion may have dropped the lock to allocate memory */
	if (!err && fmc->closed) {
		__xa_erase(&fmc->devices, index);
		return -ENOTCONN;
	}
	return err == -EBUSY ? -EEXIST : err;
}

/* Claim a device and add it to the table. Changes nothing on failure. */
static int fuse_daxdev_register(struct fuse_conn *fc, u32 index,
				struct device *bus_dev, bool readonly)
{
	struct fuse_fmap_conn *fmc = fc->fmap;
	struct fuse_daxdev *dev, *old = NULL;
	int err;

	dev = fuse_daxdev_lookup(fmc, index);
	if (dev) {
		fuse_daxdev_put(dev);
		return -EEXIST;
	}

	dev = fuse_daxdev_claim(fc, index, bus_dev, readonly);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	xa_lock(&fmc->devices);
	err = fuse_daxdev_store(fmc, index, dev, &old);
	xa_unlock(&fmc->devices);

	fuse_daxdev_put(err ? dev : old);
	return err;
}

static long fuse_daxdev_ioctl_open(struct fuse_conn *fc,
				   struct fuse_daxdev_map __user *argp)
{
	struct fuse_daxdev_map map;
	struct device *bus_dev;
	struct inode *inode;
	int err;

	if (copy_from_user(&map, argp, sizeof(map)))
		return -EFAULT;
	if (map.flags || map.index > U32_MAX)
		return -EINVAL;

	CLASS(fd, f)(map.fd);
	if (fd_empty(f))
		return -EBADF;

	inode = file_inode(fd_file(f));
	if (!S_ISCHR(inode->i_mode))
		return -EINVAL;
	/* An fd open for reading is the permission to map the device */
	if (!(fd_file(f)->f_mode & FMODE_READ))
		return -EACCES;

	bus_dev = dax_find_by_devt(inode->i_rdev);
	if (!bus_dev)
		return -EINVAL;
	err = fuse_daxdev_register(fc, map.index, bus_dev,
				   !(fd_file(f)->f_mode & FMODE_WRITE));
	put_device(bus_dev);

	return err ? err : 1;
}

static long fuse_daxdev_ioctl_close(struct fuse_conn *fc, u32 __user *argp)
{
	struct fuse_daxdev *dev;
	u32 index;

	if (get_user(index, argp))
		return -EFAULT;

	dev = xa_erase(&fc->fmap->devices, index);
	if (!dev)
		return -ENOENT;
	fuse_daxdev_put(dev);

	return 0;
}

/* Handle FUSE_DEV_IOC_DAXDEV_OPEN and FUSE_DEV_IOC_DAXDEV_CLOSE */
long fuse_daxdev_ioctl(struct fuse_conn *fc, unsigned int cmd,
		       void __user *argp)
{
	if (!fuse_fmap_enabled(fc))
		return -EPERM;

	if (cmd == FUSE_DEV_IOC_DAXDEV_OPEN)
		return fuse_daxdev_ioctl_open(fc, argp);
	return fuse_daxdev_ioctl_close(fc, argp);
}

/*
 * Empty the table and refuse further registrations. A device that maps still
 * use is freed with the last of these maps.
 */
void fuse_daxdev_close_all(struct fuse_fmap_conn *fmc)
{
	struct fuse_daxdev *dev;
	unsigned long index;

	xa_lock(&fmc->devices);
	fmc->closed = true;
	xa_unlock(&fmc->devices);

	/* The server may close devices at the same time */
	xa_for_each(&fmc->devices, index, dev)
		fuse_daxdev_put(xa_erase(&fmc->devices, index));
}

/* Register a device by its name on the dax bus */
static int fuse_daxdev_register_by_name(struct fuse_conn *fc, u32 index,
					const char *name)
{
	static const char prefix[] = "/dev/";
	struct device *bus_dev;
	int err;

	if (!strncmp(name, prefix, sizeof(prefix) - 1))
		name += sizeof(prefix) - 1;

	bus_dev = dax_find_by_name(name);
	if (!bus_dev)
		return -ENODEV;
	/* The bus matches names with a trailing newline as well */
	err = -ENODEV;
	if (!strcmp(dev_name(bus_dev), name))
		err = fuse_daxdev_register(fc, index, bus_dev, false);
	put_device(bus_dev);

	/* The server may also have registered the device by ioctl */
	return err == -EEXIST ? 0 : err;
}

/* Send FUSE_GET_DAXDEV and register the device in the reply */
static int fuse_daxdev_request(struct fuse_mount *fm, u32 index)
{
	FUSE_ARGS(args);
	struct fuse_get_daxdev_in inarg = { .index = index };
	struct fuse_daxdev_out *outarg;
	ssize_t err;

	outarg = kzalloc_obj(*outarg);
	if (!outarg)
		return -ENOMEM;

	args.opcode = FUSE_GET_DAXDEV;
	args.nodeid = FUSE_ROOT_ID;
	args.in_numargs = 1;
	args.in_args[0].size = sizeof(inarg);
	args.in_args[0].value = &inarg;
	args.out_numargs = 1;
	args.out_args[0].size = sizeof(*outarg);
	args.out_args[0].value = outarg;
	err = fuse_simple_request(fm, &args);
	if (err)
		goto out;

	err = -EIO;
	if (outarg->index != (u16)index || outarg->reserved ||
	    outarg->reserved2 || outarg->reserved3 || outarg->reserved4 ||
	    strnlen(outarg->name, sizeof(outarg->name)) == sizeof(outarg->name))
		goto out;

	err = 0;
	if (outarg->name[0])
		err = fuse_daxdev_register_by_name(fm->fc, index, outarg->name);
out:
	kfree(outarg);
	return err;
}

/*
 * Get the device with this index. Requests it from the server if it is not in
 * the table. Errors: -ENODEV if the server has no such device, -EIO if the
 * reply is invalid, -EINTR, or an error of the connection or of
 * fuse_daxdev_claim().
 */
struct fuse_daxdev *fuse_daxdev_get(struct fuse_mount *fm, u32 index)
{
	struct fuse_fmap_conn *fmc = fm->fc->fmap;
	struct fuse_daxdev *dev = fuse_daxdev_lookup(fmc, index);
	int err;

	if (dev)
		return dev;

	if (mutex_lock_killable(&fmc->get_daxdev_lock))
		return ERR_PTR(-EINTR);
	dev = fuse_daxdev_lookup(fmc, index);
	err = 0;
	if (!dev) {
		err = fuse_daxdev_request(fm, index);
		dev = fuse_daxdev_lookup(fmc, index);
	}
	mutex_unlock(&fmc->get_daxdev_lock);

	if (dev)
		return dev;
	switch (err) {
	case -EIO:
	case -EINTR:
	case -ENOMEM:
	case -ENOTCONN:
	case -ECONNABORTED:
	case -EBUSY:
	case -EOPNOTSUPP:
		return ERR_PTR(err);
	default:
		/* Any other error of the server: no such device */
		return ERR_PTR(-ENODEV);
	}
}

/* Maximum number of bits for one call: bitmap_set() takes an int */
#define FUSE_DAXDEV_STEP	((unsigned long)SZ_1G)

static void fuse_daxdev_mark_reserved(struct fuse_daxdev *dev,
				      unsigned long first,
				      unsigned long npages, bool reserved)
{
	lockdep_assert_held(&dev->reserved_lock);

	while (npages) {
		unsigned long *map = dev->reserved + BIT_WORD(first);
		unsigned int start = first % BITS_PER_LONG;
		unsigned int n = min(npages, FUSE_DAXDEV_STEP);

		if (reserved)
			bitmap_set(map, start, n);
		else
			bitmap_clear(map, start, n);
		first += n;
		npages -= n;
		cond_resched();
	}
}

/*
 * Reserve a page-aligned range of the device for a file. Returns -EEXIST if
 * part of the range is already reserved, even for the same file: fs-dax can't
 * map one page at two file offsets.
 */
int fuse_daxdev_reserve(struct fuse_daxdev *dev, u64 offset, u64 len)
{
	unsigned long first = offset >> PAGE_SHIFT;
	unsigned long end = (offset + len) >> PAGE_SHIFT;
	int err = -EEXIST;

	mutex_lock(&dev->reserved_lock);
	if (find_next_bit(dev->reserved, end, first) >= end) {
		fuse_daxdev_mark_reserved(dev, first, end - first, true);
		err = 0;
	}
	mutex_unlock(&dev->reserved_lock);

	return err;
}

/* Release a range, or a part of one, that fuse_daxdev_reserve() reserved */
void fuse_daxdev_release(struct fuse_daxdev *dev, u64 offset, u64 len)
{
	mutex_lock(&dev->reserved_lock);
	fuse_daxdev_mark_reserved(dev, offset >> PAGE_SHIFT, len >> PAGE_SHIFT,
				  false);
	mutex_unlock(&dev->reserved_lock);
}

/* Attach a map to a device, so that removal of the device finds the inode */
void fuse_daxdev_attach(struct fuse_fmap_attachment *att)
{
	struct fuse_daxdev *dev = att->dev;

	att->evicting = false;
	spin_lock(&dev->attach_lock);
	list_add_tail(&att->entry, &dev->attached);
	dev->nattached++;
	spin_unlock(&dev->attach_lock);
}

/* Undo fuse_daxdev_attach() and wake a removal that waits for evictions */
void fuse_daxdev_detach(struct fuse_fmap_attachment *att)
{
	struct fuse_daxdev *dev = att->dev;

	spin_lock(&dev->attach_lock);
	list_del(&att->entry);
	dev->nattached--;
	dev->nevicting -= att->evicting;
	spin_unlock(&dev->attach_lock);

	if (wq_has_sleeper(&dev->evict_waitq))
		wake_up_all(&dev->evict_waitq);
}
