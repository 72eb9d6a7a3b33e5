// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps: read, write and page faults, with the help of fs/dax.c.
 *
 * The server is not involved. A map stays attached until eviction, so its users
 * need no lock and no reference other than that of the open file.
 */
#include "fmap_i.h"
#include "fmap_trace.h"

#include <linux/dax.h>
#include <linux/fiemap.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <linux/userfaultfd_k.h>

/* Bytes mapped by one write fault: mm's default for read fault-around */
#define FUSE_FMAP_AROUND	SZ_64K

/* Inlined into both callers, because every page fault runs this */
static __always_inline int
fuse_fmap_iomap_begin(struct inode *inode, loff_t pos, loff_t length,
		      unsigned int flags, struct iomap *iomap,
		      struct iomap *srcmap)
{
	const struct fuse_fmap *map = get_fuse_inode(inode)->fmap;
	struct fuse_fmap_range range __uninitialized;

	/* Callers never pass a position past EOF */
	if (WARN_ON_ONCE(pos >= map->file_size))
		return -EIO;

	fuse_fmap_resolve(map, pos, &range);
	if (unlikely(READ_ONCE(range.dev->dead)))
		return -EIO;

	iomap->type = IOMAP_MAPPED;
	iomap->flags = 0;
	iomap->offset = pos;
	iomap->length = range.len;
	iomap->addr = range.offset;
	iomap->dax_dev = range.dev->dax_dev;
	trace_fuse_fmap_resolve(inode, pos, &range);

	return 0;
}

static DEFINE_IOMAP_ITER_NEXT(fuse_fmap_iomap_next, fuse_fmap_iomap_begin);

static const struct iomap_ops fuse_fmap_iomap_ops = {
	.iomap_next	= fuse_fmap_iomap_next,
};

ssize_t fuse_fmap_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	size_t count = iov_iter_count(to);
	loff_t size = i_size_read(inode);
	ssize_t ret;

	/*
	 * The size never changes. Without this check dax_iomap_rw() would
	 * request a mapping past EOF after it has read up to EOF.
	 */
	if (iocb->ki_pos >= size)
		return 0;
	iov_iter_truncate(to, size - iocb->ki_pos);
	count -= iov_iter_count(to);

	if (!(iocb->ki_flags & IOCB_NOWAIT)) {
		inode_lock_shared(inode);
	} else if (!inode_trylock_shared(inode)) {
		ret = -EAGAIN;
		goto out;
	}
	ret = dax_iomap_rw(iocb, to, &fuse_fmap_iomap_ops);
	inode_unlock_shared(inode);
out:
	iov_iter_reexpand(to, iov_iter_count(to) + count);
	return ret;
}

/* Return true if a write has no setuid, setgid or capabilities to drop */
static bool fuse_fmap_no_privs(struct inode *inode)
{
	return !is_sxid(inode->i_mode) &&
	       READ_ONCE(get_fuse_inode(inode)->fmap_no_caps);
}

/*
 * The map fixes the file size. A write that crosses EOF is truncated. A write
 * that starts at or after EOF fails with -EOPNOTSUPP.
 */
ssize_t fuse_fmap_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	loff_t size;
	ssize_t ret;

	if (iocb->ki_flags & IOCB_NOWAIT) {
		if (!inode_trylock(inode))
			return -EAGAIN;
	} else {
		inode_lock(inode);
	}

	ret = generic_write_checks(iocb, from);
	if (ret <= 0)
		goto out;

	size = i_size_read(inode);
	ret = -EOPNOTSUPP;
	if (iocb->ki_pos >= size)
		goto out;
	iov_iter_truncate(from, size - iocb->ki_pos);

	if (!fuse_fmap_no_privs(inode)) {
		ret = -EAGAIN;
		if (iocb->ki_flags & IOCB_NOWAIT)
			goto out;
		ret = file_remove_privs(file);
		if (ret)
			goto out;
	}
	ret = file_update_time(file);
	if (ret)
		goto out;

	ret = dax_iomap_rw(iocb, from, &fuse_fmap_iomap_ops);
out:
	inode_unlock(inode);

	if (ret > 0)
		ret = generic_write_sync(iocb, ret);
	return ret;
}

/*
 * Map the pages around a write fault in a shared mapping, writable, since the
 * neighbours of a page are likely to be written next. A PMD does the same on a
 * larger scale. Returns 0 if nothing was mapped.
 */
static vm_fault_t fuse_fmap_map_writable(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long start, end;

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_RAND_READ ||
	    vmf->flags & FAULT_FLAG_MKWRITE || uffd_disable_fault_around(vma))
		return 0;

	start = max(ALIGN_DOWN(vmf->address, FUSE_FMAP_AROUND), vma->vm_start);
	end = min(ALIGN(vmf->address + 1, FUSE_FMAP_AROUND), vma->vm_end);
	return dax_iomap_map_pages(vmf,
				   vmf->pgoff - PHYS_PFN(vmf->address - start),
				   vmf->pgoff + PHYS_PFN(end - vmf->address) - 1,
				   &fuse_fmap_iomap_ops);
}

static vm_fault_t fuse_fmap_fault_order(struct vm_fault *vmf,
					unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct inode *inode = file_inode(vma->vm_file);
	const struct fuse_fmap *map = get_fuse_inode(inode)->fmap;
	struct srcu_ctr __percpu *scp;
	vm_fault_t ret = 0;

	/* No freeze protection: the data is not on a block device */
	if ((vmf->flags & FAULT_FLAG_WRITE) && (vma->vm_flags & VM_SHARED))
		file_update_time(vma->vm_file);

	scp = srcu_read_lock_fast(&fuse_fmap_srcu);
	if (likely(!READ_ONCE(map->skip_present))) {
		if ((vmf->flags & FAULT_FLAG_WRITE) && !order)
			ret = fuse_fmap_map_writable(vmf);
		if (!ret)
			ret = dax_fault_present(vmf, order);
	}
	if (ret) {
		srcu_read_unlock_fast(&fuse_fmap_srcu, scp);
	} else if (likely(!READ_ONCE(map->dev_lost))) {
		ret = dax_iomap_fault(vmf, order, NULL, NULL,
				      &fuse_fmap_iomap_ops);
		srcu_read_unlock_fast(&fuse_fmap_srcu, scp);
	} else {
		/* Serialize with fuse_fmap_unmap(), which removes pages */
		srcu_read_unlock_fast(&fuse_fmap_srcu, scp);
		filemap_invalidate_lock_shared(inode->i_mapping);
		ret = dax_iomap_fault(vmf, order, NULL, NULL,
				      &fuse_fmap_iomap_ops);
		filemap_invalidate_unlock_shared(inode->i_mapping);
	}

	return ret;
}

static vm_fault_t fuse_fmap_fault(struct vm_fault *vmf)
{
	return fuse_fmap_fault_order(vmf, 0);
}

/*
 * Map the pages around a read fault, unless MADV_RANDOM is set. With this
 * operation mm also handles faults under the VMA lock.
 */
static vm_fault_t fuse_fmap_map_pages(struct vm_fault *vmf, pgoff_t start,
				      pgoff_t end)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	const struct fuse_fmap *map = get_fuse_inode(inode)->fmap;
	struct srcu_ctr __percpu *scp;
	vm_fault_t ret = 0;

	if (vmf->vma->vm_flags & VM_RAND_READ)
		return 0;

	scp = srcu_read_lock_fast(&fuse_fmap_srcu);
	if (likely(!READ_ONCE(map->skip_present)))
		ret = dax_iomap_map_pages(vmf, start, end,
					  &fuse_fmap_iomap_ops);
	srcu_read_unlock_fast(&fuse_fmap_srcu, scp);

	return ret;
}

static const struct vm_operations_struct fuse_fmap_vm_ops = {
	.fault		= fuse_fmap_fault,
	.huge_fault	= fuse_fmap_fault_order,
	.map_pages	= fuse_fmap_map_pages,
	.page_mkwrite	= fuse_fmap_fault,
	.pfn_mkwrite	= fuse_fmap_fault,
};

int fuse_fmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	const struct fuse_fmap *map = get_fuse_inode(file_inode(file))->fmap;
	u32 i;

	for (i = 0; i < map->nattachments; i++)
		if ((vma->vm_flags & VM_SYNC) &&
		    !dax_synchronous(map->attachments[i].dev->dax_dev))
			return -EOPNOTSUPP;

	vma->vm_ops = &fuse_fmap_vm_ops;
	vm_flags_set(vma, VM_HUGEPAGE);
	return 0;
}

/*
 * Return the result of fsync; @err is the reply of the server. The data is in
 * the device memory even if the server is gone, so that is not an error.
 * Returns -EIO if a device of the file was removed.
 */
int fuse_fmap_fsync_result(struct inode *inode, int err)
{
	struct fuse_fmap *map = fuse_inode_fmap(inode);

	if (!map)
		return err;
	if (READ_ONCE(map->dev_lost))
		return -EIO;
	return err == -ENOTCONN || err == -ECONNABORTED ? 0 : err;
}

/* A map of a thousand bytes can describe a billion chunks: be interruptible */
static int fuse_fmap_report_begin(struct inode *inode, loff_t pos,
				  loff_t length, unsigned int flags,
				  struct iomap *iomap, struct iomap *srcmap)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	return fuse_fmap_iomap_begin(inode, pos, length, flags, iomap, srcmap);
}

static DEFINE_IOMAP_ITER_NEXT(fuse_fmap_report_next, fuse_fmap_report_begin);

static const struct iomap_ops fuse_fmap_report_ops = {
	.iomap_next	= fuse_fmap_report_next,
};

/*
 * Report the extents of a file. The physical offset of an extent counts from
 * the start of its device; the interface has no field for the device.
 */
int fuse_fmap_fiemap(struct inode *inode, struct fiemap_extent_info *info,
		     u64 start, u64 len)
{
	u64 size = i_size_read(inode);
	int err;

	if (!fuse_inode_fmap(inode))
		return -EOPNOTSUPP;
	if (start >= size)
		return fiemap_prep(inode, info, start, &len, 0);

	inode_lock_shared(inode);
	err = iomap_fiemap(inode, info, start, min(len, size - start),
			   &fuse_fmap_report_ops);
	inode_unlock_shared(inode);

	return err;
}

/*
 * Clear the dirty marks that faults have set; otherwise the inode would never
 * become clean. No writeback is needed: the memory is the medium, and devices
 * bound to the fsdev driver have no write cache for the kernel to flush.
 */
static int fuse_fmap_writepages(struct address_space *mapping,
				struct writeback_control *wbc)
{
	XA_STATE(xas, &mapping->i_pages, 0);
	unsigned int n = 0;
	void *entry;

	xas_lock_irq(&xas);
	xas_for_each_marked(&xas, entry, ULONG_MAX, PAGECACHE_TAG_DIRTY) {
		xas_clear_mark(&xas, PAGECACHE_TAG_DIRTY);
		if (++n % XA_CHECK_SCHED)
			continue;

		xas_pause(&xas);
		xas_unlock_irq(&xas);
		cond_resched();
		xas_lock_irq(&xas);
	}
	xas_unlock_irq(&xas);

	return 0;
}

const struct address_space_operations fuse_fmap_aops = {
	.writepages	= fuse_fmap_writepages,
	.direct_IO	= noop_direct_IO,
	.dirty_folio	= noop_dirty_folio,
};
