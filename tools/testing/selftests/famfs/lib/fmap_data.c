// SPDX-License-Identifier: GPL-2.0
/* Helpers for tests of data, see fmap_data.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "fmap_data.h"

bool locate(const unsigned char *b, uint64_t pos, uint32_t *dev, uint64_t *off)
{
	const struct fuse_fmap_header *h = (const void *)b;
	const struct fuse_fmap_extent *e = (const void *)(h + 1);

	if (h->kind == FUSE_FMAP_EXTENTS) {
		for (uint32_t i = 0; i < h->nextents; i++, e++) {
			if (pos < e->len) {
				*dev = e->devindex;
				*off = e->offset + pos;
				return true;
			}
			pos -= e->len;
		}
		return false;
	}
	for (uint32_t i = 0; i < h->nextents; i++) {
		const struct fuse_fmap_stripe_set *set = (const void *)e;

		e = (const void *)(set + 1);
		if (pos < set->nbytes) {
			uint64_t c = pos / set->chunk_size;

			e += c % set->nstrips;
			*dev = e->devindex;
			*off = e->offset + c / set->nstrips * set->chunk_size +
			       pos % set->chunk_size;
			return true;
		}
		pos -= set->nbytes;
		e += set->nstrips;
	}
	return false;
}

bool is_seam(const unsigned char *map, uint64_t pos)
{
	uint32_t dev, last_dev;
	uint64_t off, last_off;

	return pos && locate(map, pos, &dev, &off) &&
	       locate(map, pos - PG, &last_dev, &last_off) &&
	       (dev != last_dev || off != last_off + PG);
}

/*
 * The devices take turns. Devices with the same kind of memory are neighbours in
 * the list, so they are taken from both ends.
 */
static void place(struct room *r, uint64_t len, uint32_t *dev, uint64_t *off)
{
	for (int i = 0; i < ndax; i++) {
		int n = r->turn++ % ndax;

		n = n % 2 ? ndax - 1 - n / 2 : n / 2;
		*dev = n;
		*off = ((r->used[n] + 2 * MB - 1) & ~(2 * MB - 1)) + r->shift;
		if (*off + len <= dax_size[n]) {
			r->used[n] = *off + len;
			return;
		}
	}
	r->full = true;
}

void place_extent(struct rs_map *m, struct room *r, uint64_t len)
{
	uint64_t off = 0;
	uint32_t dev = 0;

	place(r, len, &dev, &off);
	rs_map_extent(m, dev, off, len);
}

void place_set(struct rs_map *m, struct room *r, uint32_t n, uint32_t chunk,
	       uint64_t nbytes)
{
	uint64_t full = nbytes / chunk, tail = nbytes % chunk;

	rs_map_stripe(m, n, chunk, nbytes);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t len = (full / n + (i < full % n)) * chunk, off = 0;
		uint32_t dev = 0;

		if (i == full % n)
			len += (tail + PG - 1) & ~(PG - 1);
		/* even an unused strip needs a length */
		place(r, len ? len : PG, &dev, &off);
		rs_map_strip(m, dev, off, len ? len : PG);
	}
}

int ring_op(struct io_uring *ring, int opcode, int fd, const void *addr,
	    uint32_t len, uint64_t off, uint32_t flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int ret;

	if (!sqe)
		return -EBUSY;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)addr;
	sqe->len = len;
	sqe->off = off;
	sqe->flags = flags;
	if (io_uring_submit(ring) != 1)
		return -EIO;
	ret = io_uring_wait_cqe(ring, &cqe);
	if (ret)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(ring);
	return ret;
}

#define PIPE_PART	(32 * KB)	/* fits in a pipe at any offset in a page */

int access_begin(struct access *a)
{
	a->mem = memfd_create("beside", MFD_CLOEXEC);
	a->proc_mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (a->mem < 0 || a->proc_mem < 0 || pipe(a->pipefd))
		return -errno;
	a->has_ring = !io_uring_queue_init(4, &a->ring, 0);
	return a->has_ring || errno == ENOSYS ? 0 : -errno;
}

void access_end(struct access *a)
{
	if (a->has_ring)
		io_uring_queue_exit(&a->ring);
	close(a->pipefd[0]);
	close(a->pipefd[1]);
	close(a->mem);
	close(a->proc_mem);
}

/* 0 if an operation has moved all bytes, otherwise -errno */
static int all_of(ssize_t ret, size_t len)
{
	if (ret < 0)
		return -errno;
	return (size_t)ret == len ? 0 : -ENODATA;
}

/* A vector of three parts; the first two have odd lengths */
static void in_three(struct iovec *iov, void *b, size_t len)
{
	size_t first = len / 3 | 1, second = len / 5 | 1;

	if (first > len)
		first = len;
	if (second > len - first)
		second = len - first;
	iov[0] = (struct iovec){ b, first };
	iov[1] = (struct iovec){ (char *)b + first, second };
	iov[2] = (struct iovec){ (char *)b + first + second,
				 len - first - second };
}

/* Ways to read the file */

static int get_load(struct access *a, void *b, uint64_t pos, size_t len)
{
	memcpy(b, a->map + pos, len);
	return 0;
}

static int get_load_private(struct access *a, void *b, uint64_t pos, size_t len)
{
	uint64_t from = pos & ~(PG - 1);
	char *p = mmap(NULL, pos - from + len, PROT_READ, MAP_PRIVATE, a->fd,
		       from);

	if (p == MAP_FAILED)
		return -errno;
	memcpy(b, p + pos - from, len);
	munmap(p, pos - from + len);
	return 0;
}

static int get_pread(struct access *a, void *b, uint64_t pos, size_t len)
{
	return all_of(pread(a->fd, b, len, pos), len);
}

static int get_preadv2(struct access *a, void *b, uint64_t pos, size_t len)
{
	struct iovec iov[3];

	in_three(iov, b, len);
	return all_of(preadv2(a->fd, iov, 3, pos, RWF_HIPRI), len);
}

static int get_uring(struct access *a, void *b, uint64_t pos, size_t len)
{
	int ret;

	if (!a->has_ring)
		return get_pread(a, b, pos, len);
	ret = ring_op(&a->ring, IORING_OP_READ, a->fd, b, len, pos,
		      pos & 1 ? IOSQE_ASYNC : 0);
	return ret < 0 ? ret : all_of(ret, len);
}

static int get_splice(struct access *a, void *b, uint64_t pos, size_t len)
{
	loff_t off = pos;
	char *at = b;

	while (len) {
		ssize_t n = splice(a->fd, &off, a->pipefd[1], NULL,
				   len < PIPE_PART ? len : PIPE_PART, 0);
		int ret;

		if (n <= 0)
			return all_of(n, len);
		ret = all_of(read(a->pipefd[0], at, n), n);
		if (ret)
			return ret;
		at += n;
		len -= n;
	}
	return 0;
}

static int get_sendfile(struct access *a, void *b, uint64_t pos, size_t len)
{
	off_t off = pos;
	size_t done = 0;

	if (lseek(a->mem, 0, SEEK_SET))
		return -errno;
	while (done < len) {
		ssize_t n = sendfile(a->mem, a->fd, &off, len - done);

		if (n <= 0)
			return all_of(n, len);
		done += n;
	}
	return all_of(pread(a->mem, b, len, 0), len);
}

/* This pins the pages while it copies */
static int get_proc_mem(struct access *a, void *b, uint64_t pos, size_t len)
{
	return all_of(pread(a->proc_mem, b, len, (uintptr_t)a->map + pos), len);
}

/* Ways to write the file */

static int put_store(struct access *a, void *b, uint64_t pos, size_t len)
{
	memcpy(a->map + pos, b, len);
	return 0;
}

static int put_pwrite(struct access *a, void *b, uint64_t pos, size_t len)
{
	return all_of(pwrite(a->fd, b, len, pos), len);
}

static int put_pwritev2(struct access *a, void *b, uint64_t pos, size_t len)
{
	struct iovec iov[3];

	in_three(iov, b, len);
	return all_of(pwritev2(a->fd, iov, 3, pos, RWF_DSYNC), len);
}

static int put_uring(struct access *a, void *b, uint64_t pos, size_t len)
{
	int ret;

	if (!a->has_ring)
		return put_pwrite(a, b, pos, len);
	ret = ring_op(&a->ring, IORING_OP_WRITE, a->fd, b, len, pos,
		      pos & 1 ? IOSQE_ASYNC : 0);
	return ret < 0 ? ret : all_of(ret, len);
}

/* Move the pipe's contents to the file */
static int drain(struct access *a, loff_t off, size_t len)
{
	while (len) {
		ssize_t n = splice(a->pipefd[0], NULL, a->fd, &off, len, 0);

		if (n <= 0)
			return all_of(n, len);
		len -= n;
	}
	return 0;
}

static int put_splice(struct access *a, void *b, uint64_t pos, size_t len)
{
	for (size_t at = 0; at < len; at += PIPE_PART) {
		size_t n = len - at < PIPE_PART ? len - at : PIPE_PART;
		int ret = all_of(write(a->pipefd[1], (char *)b + at, n), n);

		if (!ret)
			ret = drain(a, pos + at, n);
		if (ret)
			return ret;
	}
	return 0;
}

static int put_vmsplice(struct access *a, void *b, uint64_t pos, size_t len)
{
	for (size_t at = 0; at < len; at += PIPE_PART) {
		size_t n = len - at < PIPE_PART ? len - at : PIPE_PART;
		struct iovec iov = { (char *)b + at, n };
		int ret = all_of(vmsplice(a->pipefd[1], &iov, 1, 0), n);

		if (!ret)
			ret = drain(a, pos + at, n);
		if (ret)
			return ret;
	}
	return 0;
}

static int put_sendfile(struct access *a, void *b, uint64_t pos, size_t len)
{
	size_t done = 0;
	off_t in = 0;
	int ret = all_of(pwrite(a->mem, b, len, 0), len);

	if (ret)
		return ret;
	if (lseek(a->fd, pos, SEEK_SET) < 0)
		return -errno;
	while (done < len) {
		ssize_t n = sendfile(a->fd, a->mem, &in, len - done);

		if (n <= 0)
			return all_of(n, len);
		done += n;
	}
	return 0;
}

static int put_proc_mem(struct access *a, void *b, uint64_t pos, size_t len)
{
	return all_of(pwrite(a->proc_mem, b, len, (uintptr_t)a->map + pos),
		      len);
}

const struct way ways_out[NWAYS] = {
	{ "load", get_load },
	{ "load from a private mapping", get_load_private },
	{ "pread", get_pread },
	{ "preadv2", get_preadv2 },
	{ "read by io_uring", get_uring },
	{ "splice to a pipe", get_splice },
	{ "sendfile from it", get_sendfile },
	{ "read of /proc/self/mem", get_proc_mem },
};

const struct way ways_in[NWAYS] = {
	{ "store", put_store },
	{ "pwrite", put_pwrite },
	{ "pwritev2", put_pwritev2 },
	{ "write by io_uring", put_uring },
	{ "splice from a pipe", put_splice },
	{ "vmsplice and splice", put_vmsplice },
	{ "sendfile to it", put_sendfile },
	{ "write to /proc/self/mem", put_proc_mem },
};

size_t same(const void *a, const void *b, size_t len)
{
	const char *x = a, *y = b;
	size_t i = 0;

	if (!memcmp(a, b, len))
		return len;
	while (x[i] == y[i])
		i++;
	return i;
}

int view_devices(struct raw_server *s, int *view)
{
	char name[16];
	int ret;

	for (int i = 0; i < ndax; i++) {
		struct rs_map m;

		snprintf(name, sizeof(name), "dev%d", i);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, dax_size[i]);
		rs_map_extent(&m, i, 0, dax_size[i]);
		rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, name), &m);
	}
	ret = start_server(s);
	for (int i = 0; !ret && i < ndax; i++) {
		snprintf(name, sizeof(name), "dev%d", i);
		view[i] = open_in(s, name, O_RDWR);
		if (view[i] < 0)
			ret = -errno;
	}
	return ret;
}

size_t right_on_devices(const unsigned char *map, const int *view, uint64_t pos,
			const char *should, size_t len)
{
	size_t done = 0, n;
	char b[64 * KB];
	uint32_t dev;
	uint64_t off;

	for (; done < len; done += n) {
		if (!locate(map, pos + done, &dev, &off))
			break;
		/* up to where the next page may be elsewhere */
		n = PG - (pos + done) % PG;
		while (n < len - done && n + PG <= sizeof(b) &&
		       !is_seam(map, pos + done + n))
			n += PG;
		if (n > len - done)
			n = len - done;
		if (pread(view[dev], b, n, off) != (ssize_t)n)
			break;
		if (same(b, should + done, n) != n)
			return done + same(b, should + done, n);
	}
	return done;
}
