// SPDX-License-Identifier: GPL-2.0
/*
 * A small FUSE server for tests of DAX file maps, see raw_server.h.
 *
 * Read this file from the end: rs_start() mounts and forks, serve() reads
 * requests, dispatch() has a case for each opcode. Mapped files have no data
 * here, only a map message. The data of ordinary files is in an arena of shared
 * memory. Nodes are never freed, so FORGET does nothing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "raw_server.h"

#define MAX_WRITE	(128U << 10)
#define BUF_SIZE	((2U << 20) + 4096)	/* more than any max_write */
#define PIPE_SIZE	(2U << 20)	/* a slice of a map and its header */

/* Map messages */

void rs_map_append(struct rs_map *m, const void *bytes, size_t len)
{
	if (m->len + len > m->cap) {
		m->cap = 2 * (m->len + len);
		m->b = realloc(m->b, m->cap);
		if (!m->b)
			abort();
	}
	memcpy(m->b + m->len, bytes, len);
	m->len += len;
}

struct fuse_fmap_header *rs_map_header(struct rs_map *m)
{
	return (struct fuse_fmap_header *)m->b;
}

void rs_map_init(struct rs_map *m, uint32_t kind, uint64_t file_size)
{
	struct fuse_fmap_header h = {
		.version = FUSE_FMAP_VERSION,
		.kind = kind,
		.fmap_size = sizeof(h),
		.file_size = file_size,
	};

	memset(m, 0, sizeof(*m));
	rs_map_append(m, &h, sizeof(h));
}

void rs_map_free(struct rs_map *m)
{
	free(m->b);
	memset(m, 0, sizeof(*m));
}

void rs_map_strip(struct rs_map *m, uint32_t dev, uint64_t off, uint64_t len)
{
	struct fuse_fmap_extent e = {
		.devindex = dev,
		.offset = off,
		.len = len,
	};

	rs_map_append(m, &e, sizeof(e));
	rs_map_header(m)->fmap_size = m->len;
}

void rs_map_extent(struct rs_map *m, uint32_t dev, uint64_t off, uint64_t len)
{
	rs_map_strip(m, dev, off, len);
	rs_map_header(m)->nextents++;
}

void rs_map_stripe(struct rs_map *m, uint32_t nstrips, uint32_t chunk,
		   uint64_t nbytes)
{
	struct fuse_fmap_stripe_set set = {
		.nstrips = nstrips,
		.chunk_size = chunk,
		.nbytes = nbytes,
	};

	rs_map_append(m, &set, sizeof(set));
	rs_map_header(m)->fmap_size = m->len;
	rs_map_header(m)->nextents++;
}

/* The tree */

struct raw_server *rs_new(void)
{
	pthread_mutexattr_t attr;
	struct raw_server *s;

	s = mmap(NULL, RS_ARENA, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s == MAP_FAILED)
		return NULL;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&s->lock, &attr);
	s->want = FUSE_DAX_FMAP;
	s->nthreads = 2;
	s->valid = 3600;
	s->first = s->slice = UINT32_MAX;
	s->fd = -1;
	s->arena_used = (sizeof(*s) + 4095) & ~4095UL;
	s->nnodes = FUSE_ROOT_ID;
	s->node[0].mode = S_IFDIR | 0755;
	s->node[0].parent = FUSE_ROOT_ID;
	return s;
}

/* Zeroed memory that the test and the server share */
static void *arena_alloc(struct raw_server *s, size_t len)
{
	void *p = (char *)s + s->arena_used;

	len = (len + 63) & ~63UL;
	if (len > RS_ARENA - s->arena_used)
		return NULL;
	s->arena_used += len;
	return p;
}

uint64_t rs_ino(const struct raw_server *s, const struct rs_node *n)
{
	return n - s->node + FUSE_ROOT_ID;
}

static struct rs_node *get_node(struct raw_server *s, uint64_t ino)
{
	return ino && ino <= s->nnodes ? &s->node[ino - FUSE_ROOT_ID] : NULL;
}

static struct rs_node *find_node(struct raw_server *s, uint64_t parent,
				 const char *name)
{
	for (uint32_t i = FUSE_ROOT_ID; i < s->nnodes; i++)
		if (s->node[i].parent == parent &&
		    !strcmp(s->node[i].name, name))
			return &s->node[i];
	return NULL;
}

/* The inode that a name refers to */
static struct rs_node *inode_of(struct raw_server *s, struct rs_node *n)
{
	return n && n->link_to ? get_node(s, n->link_to) : n;
}

static struct rs_node *add_node(struct raw_server *s, uint64_t parent,
				const char *name, uint32_t mode)
{
	struct rs_node *n = &s->node[s->nnodes];

	if (s->nnodes == RS_MAX_NODES || strlen(name) >= sizeof(n->name))
		return NULL;
	strcpy(n->name, name);
	n->parent = parent;
	n->mode = mode;
	n->nlink = 1;
	n->map_len = RS_NO_MAP;
	s->nnodes++;
	return n;
}

struct rs_node *rs_add_dir(struct raw_server *s, uint64_t parent,
			   const char *name)
{
	return add_node(s, parent, name, S_IFDIR | 0755);
}

struct rs_node *rs_add_file(struct raw_server *s, uint64_t parent,
			    const char *name)
{
	return add_node(s, parent, name, S_IFREG | 0666);
}

void rs_set_map(struct raw_server *s, struct rs_node *n, struct rs_map *m)
{
	n->map = arena_alloc(s, m->len);
	if (!n->map)
		abort();
	memcpy(n->map, m->b, m->len);
	n->map_len = m->len;
	n->size = rs_map_header(m)->file_size;
	rs_map_free(m);
}

/* Devices */

struct rs_dev *rs_add_dev(struct raw_server *s, const char *name,
			  uint32_t index, enum rs_dev_how how)
{
	struct rs_dev *d = &s->dev[s->ndev];

	if (s->ndev == RS_MAX_DEVS)
		return NULL;
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->index = index;
	d->how = how;
	s->ndev++;
	return d;
}

int rs_daxdev_open(int fuse_fd, int fd, uint64_t index, uint32_t flags)
{
	struct fuse_daxdev_map map = {
		.fd = fd,
		.flags = flags,
		.index = index,
	};
	int ret = ioctl(fuse_fd, FUSE_DEV_IOC_DAXDEV_OPEN, &map);

	return ret < 0 ? -errno : ret;
}

int rs_daxdev_close(int fuse_fd, uint32_t index)
{
	int ret = ioctl(fuse_fd, FUSE_DEV_IOC_DAXDEV_CLOSE, &index);

	return ret < 0 ? -errno : ret;
}

static void push_dev(struct raw_server *s, struct rs_dev *d)
{
	char path[sizeof(d->name) + 8];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", d->name);
	fd = open(path, d->oflags ? d->oflags : O_RDWR);
	if (fd < 0) {
		d->result = -errno;
		return;
	}
	d->result = rs_daxdev_open(s->fd, fd, d->index, 0);
	close(fd);
}

/* Requests */

__thread struct rs_ring_call *rs_ring_call;

static int open_pipe(int fd[2])
{
	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	return fcntl(fd[1], F_SETPIPE_SZ, PIPE_SIZE) < 0 ? -errno : 0;
}

int rs_write(struct raw_server *s, const struct iovec *iov, int n)
{
	int fd[2], ret;
	ssize_t len;

	if (!s->splice)
		return writev(s->fd, iov, n) < 0 ? -errno : 0;

	ret = open_pipe(fd);
	if (ret)
		return ret;
	len = writev(fd[1], iov, n);
	if (len < 0 || splice(fd[0], NULL, s->fd, NULL, len, 0) < 0)
		ret = -errno;
	close(fd[0]);
	close(fd[1]);
	return ret;
}

int rs_reply(struct raw_server *s, uint64_t unique, int error,
	     const void *arg, size_t len)
{
	struct fuse_out_header oh = {
		.len = sizeof(oh) + len,
		.error = error,
		.unique = unique,
	};
	struct iovec iov[2] = {
		{ &oh, sizeof(oh) },
		{ (void *)arg, len },
	};
	struct rs_ring_call *call = rs_ring_call;

	if (call && unique == call->unique) {
		if (len > call->room)
			return -EINVAL;
		if (len)
			memcpy(call->payload, arg, len);
		call->len = len;
		call->error = error;
		call->replied = true;
		return 0;
	}

	/* ENOENT: the request was aborted */
	return rs_write(s, iov, len ? 2 : 1);
}

static void fill_attr(struct raw_server *s, struct rs_node *n,
		      struct fuse_attr *a)
{
	memset(a, 0, sizeof(*a));
	a->ino = rs_ino(s, n);
	a->mode = n->mode;
	a->nlink = S_ISDIR(n->mode) ? 2 : n->nlink;
	a->uid = n->uid;
	a->gid = n->gid;
	a->atime = n->atime;
	a->mtime = n->mtime;
	a->size = n->size;
	a->blocks = (n->size + 511) / 512;
	a->blksize = 4096;
}

static void fill_entry(struct raw_server *s, struct rs_node *n,
		       struct fuse_entry_out *e)
{
	memset(e, 0, sizeof(*e));
	e->nodeid = rs_ino(s, n);
	e->entry_valid = e->attr_valid = s->valid;
	fill_attr(s, n, &e->attr);
}

static void fill_open(struct raw_server *s, struct rs_node *n,
		      struct fuse_open_out *out)
{
	memset(out, 0, sizeof(*out));
	out->open_flags = s->open_flags | n->open_flags;
	if (out->open_flags & FOPEN_PASSTHROUGH)
		memcpy((char *)out + RS_OPEN_OUT_BACKING_ID, &s->backing_id,
		       sizeof(s->backing_id));
}

static int do_init(struct raw_server *s, const struct fuse_in_header *ih,
		   const void *arg)
{
	const struct fuse_init_in *in = arg;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = in->minor,
		.max_readahead = in->max_readahead,
		.max_background = 16,
		.congestion_threshold = 12,
		.max_write = MAX_WRITE,
		.time_gran = 1,
	};
	uint64_t flags = in->flags;
	size_t len = sizeof(out);
	uint32_t depth = 1;
	int ret;

	if (flags & FUSE_INIT_EXT) {
		flags |= (uint64_t)in->flags2 << 32;
		memcpy(&s->offered_kinds,
		       (const char *)arg + FUSE_INIT_IN_FMAP_KINDS,
		       sizeof(s->offered_kinds));
	}
	s->offered = flags;
	flags &= s->want | FUSE_BIG_WRITES | FUSE_INIT_EXT |
		 (s->uring ? FUSE_OVER_IO_URING : 0);
	out.flags = flags;
	out.flags2 = flags >> 32;
	if (flags & FUSE_PASSTHROUGH)
		memcpy((char *)&out + RS_INIT_OUT_MAX_STACK_DEPTH, &depth,
		       sizeof(depth));
	if (flags & FUSE_DAX_FMAP)
		memcpy((char *)&out + FUSE_INIT_OUT_FMAP_KINDS, &s->fmap_kinds,
		       sizeof(s->fmap_kinds));
	if (s->edit_init)
		s->edit_init(s, &out, &len);
	ret = rs_reply(s, ih->unique, 0, &out, len);

	/* When the write returns, the kernel has processed the reply */
	if (flags & FUSE_OVER_IO_URING)
		s->nqueues = s->uring(s);
	for (int i = 0; i < s->ndev; i++)
		if (s->dev[i].how == RS_PUSH_AT_INIT)
			push_dev(s, &s->dev[i]);
	__atomic_store_n(&s->ready, true, __ATOMIC_RELEASE);
	return ret;
}

static int do_readdir(struct raw_server *s, const struct fuse_in_header *ih,
		      const struct fuse_read_in *in)
{
	char buf[4096];
	size_t len = 0, room = in->size < sizeof(buf) ? in->size : sizeof(buf);

	/* An entry's offset is the inode number of the next entry */
	for (uint32_t i = in->offset > 1 ? in->offset - 1 : 1;
	     i < s->nnodes; i++) {
		struct rs_node *n = &s->node[i];
		struct fuse_dirent de = {
			.ino = i + 1,
			.off = i + 2,
			.namelen = strlen(n->name),
			.type = n->mode >> 12,
		};
		size_t size = FUSE_DIRENT_SIZE(&de);

		if (n->parent != ih->nodeid)
			continue;
		if (len + size > room)
			break;
		memset(buf + len, 0, size);
		memcpy(buf + len, &de, FUSE_NAME_OFFSET);
		memcpy(buf + len + FUSE_NAME_OFFSET, n->name, de.namelen);
		len += size;
	}
	return rs_reply(s, ih->unique, 0, buf, len);
}

static int do_get_fmap(struct raw_server *s, const struct fuse_in_header *ih,
		       struct rs_node *n, const struct fuse_get_fmap_in *in)
{
	uint32_t max = in->offset ? s->slice : s->first;
	uint64_t len;

	s->fmap_last_offset = in->offset;
	s->fmap_last_size = in->size;
	if (!in->offset) {
		s->fmap_first_size = in->size;
		n->nfmap++;
	}
	if (s->no_fmap)
		return -ENOSYS;
	if (n->map_err)
		return -n->map_err;
	if (n->map_len == RS_NO_MAP)
		return -ENODATA;
	len = in->offset < n->map_len ? n->map_len - in->offset : 0;
	if (len > in->size)
		len = in->size;
	if (len > max)
		len = max;
	return rs_reply(s, ih->unique, 0, n->map + in->offset, len);
}

static int do_get_daxdev(struct raw_server *s, const struct fuse_in_header *ih,
			 const struct fuse_get_daxdev_in *in)
{
	struct fuse_daxdev_out out = { .index = in->index };

	if (s->daxdev_err)
		return -s->daxdev_err;
	if (s->daxdev_raw)
		return rs_reply(s, ih->unique, 0, s->daxdev_reply,
				s->daxdev_reply_len);
	for (int i = 0; i < s->ndev; i++) {
		struct rs_dev *d = &s->dev[i];

		if (d->index != in->index)
			continue;
		if (d->how == RS_PULL)
			memcpy(out.name, d->name, sizeof(d->name));
		else
			push_dev(s, d);
		return rs_reply(s, ih->unique, 0, &out, sizeof(out));
	}
	return -ENODEV;
}

/* Allocate the data of an ordinary file */
static int need_data(struct raw_server *s, struct rs_node *n, uint64_t end)
{
	if (end > RS_CAP)
		return -EFBIG;
	if (!n->data)
		n->data = arena_alloc(s, RS_CAP);
	return n->data ? 0 : -ENOSPC;
}

static int do_read(struct raw_server *s, const struct fuse_in_header *ih,
		   struct rs_node *n, const struct fuse_read_in *in)
{
	uint64_t len = 0;

	if (n->map_len != RS_NO_MAP)
		return -EIO;		/* the kernel must not send this */
	if (n->data && in->offset < n->size)
		len = n->size - in->offset;
	return rs_reply(s, ih->unique, 0, n->data + in->offset,
			len < in->size ? len : in->size);
}

static int do_write(struct raw_server *s, const struct fuse_in_header *ih,
		    struct rs_node *n, const struct fuse_write_in *in)
{
	struct fuse_write_out out = { .size = in->size };
	int ret;

	if (n->map_len != RS_NO_MAP)
		return -EIO;
	ret = need_data(s, n, in->offset + in->size);
	if (ret)
		return ret;
	memcpy(n->data + in->offset, in + 1, in->size);
	if (n->size < in->offset + in->size)
		n->size = in->offset + in->size;
	return rs_reply(s, ih->unique, 0, &out, sizeof(out));
}

static int do_setattr(struct raw_server *s, const struct fuse_in_header *ih,
		      struct rs_node *n, const struct fuse_setattr_in *in)
{
	struct fuse_attr_out out = { .attr_valid = s->valid };
	int ret;

	if (in->valid & FATTR_SIZE) {
		ret = need_data(s, n, in->size);
		if (ret)
			return ret;
		if (in->size < n->size)
			memset(n->data + in->size, 0, n->size - in->size);
		n->size = in->size;
	}
	if (in->valid & FATTR_MODE)
		n->mode = (n->mode & S_IFMT) | (in->mode & ~S_IFMT);
	if (in->valid & FATTR_UID)
		n->uid = in->uid;
	if (in->valid & FATTR_GID)
		n->gid = in->gid;
	if (in->valid & FATTR_ATIME)
		n->atime = in->valid & FATTR_ATIME_NOW ? time(NULL) : in->atime;
	if (in->valid & FATTR_MTIME)
		n->mtime = in->valid & FATTR_MTIME_NOW ? time(NULL) : in->mtime;
	fill_attr(s, n, &out.attr);
	return rs_reply(s, ih->unique, 0, &out, sizeof(out));
}

static int do_link(struct raw_server *s, const struct fuse_in_header *ih,
		   const struct fuse_link_in *in)
{
	struct rs_node *n = get_node(s, in->oldnodeid), *name;
	struct fuse_entry_out out;

	name = add_node(s, ih->nodeid, (const char *)(in + 1), n->mode);
	if (!name)
		return -ENOSPC;
	name->link_to = in->oldnodeid;
	n->nlink++;
	fill_entry(s, n, &out);
	return rs_reply(s, ih->unique, 0, &out, sizeof(out));
}

/* Remove a name; its entry in the table stays */
static void drop_name(struct raw_server *s, struct rs_node *name)
{
	inode_of(s, name)->nlink--;
	name->name[0] = 0;
	name->parent = 0;
}

static int do_unlink(struct raw_server *s, const struct fuse_in_header *ih,
		     const char *name)
{
	struct rs_node *n = find_node(s, ih->nodeid, name);

	if (!n)
		return -ENOENT;
	drop_name(s, n);
	return rs_reply(s, ih->unique, 0, NULL, 0);
}

static int do_rename(struct raw_server *s, const struct fuse_in_header *ih,
		     uint64_t newdir, uint32_t flags, const char *from)
{
	const char *to = from + strlen(from) + 1;
	struct rs_node *n = find_node(s, ih->nodeid, from);
	struct rs_node *old = find_node(s, newdir, to);

	if (!n || strlen(to) >= sizeof(n->name))
		return -ENOENT;
	if (old && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (old && flags & RENAME_EXCHANGE) {
		strcpy(old->name, from);
		old->parent = ih->nodeid;
	} else if (old) {
		drop_name(s, old);
	}
	strcpy(n->name, to);
	n->parent = newdir;
	return rs_reply(s, ih->unique, 0, NULL, 0);
}

static int do_create(struct raw_server *s, const struct fuse_in_header *ih,
		     const struct fuse_create_in *in)
{
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	struct rs_node *n;

	n = add_node(s, ih->nodeid, (const char *)(in + 1), in->mode);
	if (!n)
		return -ENOSPC;
	fill_entry(s, n, &out.e);
	fill_open(s, n, &out.o);
	return rs_reply(s, ih->unique, 0, &out, sizeof(out));
}

static int do_failure(struct raw_server *s, const struct fuse_in_header *ih,
		      const void *arg)
{
	struct rs_failure *f = &s->failure[s->nfailures % RS_MAX_FAILURES];

	f->nodeid = ih->nodeid;
	memcpy(&f->in, arg, sizeof(f->in));
	f->nforgets = s->count[FUSE_FORGET] + s->count[FUSE_BATCH_FORGET];
	__atomic_add_fetch(&s->nfailures, 1, __ATOMIC_RELEASE);
	if (s->failure_err)
		return -s->failure_err;
	return rs_reply(s, ih->unique, 0, NULL, 0);
}

/* Returns -errno if the caller must send this error as the reply */
static int dispatch(struct raw_server *s, const struct fuse_in_header *ih,
		    const void *arg)
{
	const struct fuse_rename2_in *rename;
	struct rs_node *n = get_node(s, ih->nodeid);
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		struct fuse_statfs_out statfs;
	} out = {};

	switch (ih->opcode) {
	case FUSE_INIT:
		do_init(s, ih, arg);
		return 0;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return 0;		/* these have no reply */
	case FUSE_DESTROY:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
		rs_reply(s, ih->unique, 0, NULL, 0);
		return 0;
	case FUSE_STATFS:
		out.statfs.st.bsize = 4096;
		out.statfs.st.frsize = 4096;
		out.statfs.st.namelen = sizeof(n->name) - 1;
		rs_reply(s, ih->unique, 0, &out, sizeof(out.statfs));
		return 0;
	}
	if (!n)
		return -ENOENT;
	switch (ih->opcode) {
	case FUSE_LOOKUP:
		/* a file handle is looked up as "." */
		if (strcmp(arg, "."))
			n = inode_of(s, find_node(s, ih->nodeid, arg));
		if (!n)
			return -ENOENT;
		fill_entry(s, n, &out.entry);
		rs_reply(s, ih->unique, 0, &out, sizeof(out.entry));
		return 0;
	case FUSE_GETATTR:
		out.attr.attr_valid = s->valid;
		fill_attr(s, n, &out.attr.attr);
		rs_reply(s, ih->unique, 0, &out, sizeof(out.attr));
		return 0;
	case FUSE_OPEN:
		n->nopen++;
		__attribute__((fallthrough));
	case FUSE_OPENDIR:
		fill_open(s, n, &out.open);
		if (S_ISDIR(n->mode))
			out.open.open_flags = 0;
		if (((const struct fuse_open_in *)arg)->flags & O_TRUNC &&
		    n->map_len == RS_NO_MAP)
			n->size = 0;
		rs_reply(s, ih->unique, 0, &out, sizeof(out.open));
		return 0;
	case FUSE_SETATTR:
		return do_setattr(s, ih, n, arg);
	case FUSE_LINK:
		return do_link(s, ih, arg);
	case FUSE_UNLINK:
		return do_unlink(s, ih, arg);
	case FUSE_RENAME:
		return do_rename(s, ih, ((const struct fuse_rename_in *)arg)->newdir,
				 0, arg + sizeof(struct fuse_rename_in));
	case FUSE_RENAME2:
		rename = arg;
		return do_rename(s, ih, rename->newdir, rename->flags,
				 arg + sizeof(*rename));
	case FUSE_READDIR:
		return do_readdir(s, ih, arg);
	case FUSE_READ:
		return do_read(s, ih, n, arg);
	case FUSE_WRITE:
		return do_write(s, ih, n, arg);
	case FUSE_CREATE:
		return do_create(s, ih, arg);
	case FUSE_GET_FMAP:
		return do_get_fmap(s, ih, n, arg);
	case FUSE_GET_DAXDEV:
		return do_get_daxdev(s, ih, arg);
	case FUSE_DAX_FAILURE:
		return do_failure(s, ih, arg);
	default:
		return -ENOSYS;
	}
}

void rs_handle(struct raw_server *s, const struct fuse_in_header *ih,
	       const void *arg)
{
	int ret;

	__atomic_add_fetch(&s->count[ih->opcode < RS_NOPCODES ?
				     ih->opcode : 0], 1, __ATOMIC_RELAXED);
	ret = s->hook ? s->hook(s, ih, arg) : 0;
	if (!ret) {
		pthread_mutex_lock(&s->lock);
		ret = dispatch(s, ih, arg);
		pthread_mutex_unlock(&s->lock);
	}
	if (ret < 0)
		rs_reply(s, ih->unique, ret, NULL, 0);
}

/* Read the next request, with s->splice through the pipe @fd */
static ssize_t next_request(struct raw_server *s, const int fd[2], void *buf)
{
	ssize_t n;

	if (!s->splice)
		return read(s->fd, buf, BUF_SIZE);
	n = splice(s->fd, NULL, fd[1], NULL, BUF_SIZE, 0);
	return n < 0 ? n : read(fd[0], buf, n);
}

static void *serve(void *arg)
{
	struct raw_server *s = arg;
	char *buf = malloc(BUF_SIZE);
	struct fuse_in_header *ih = (void *)buf;
	int fd[2];

	if (s->splice && open_pipe(fd))
		return NULL;
	while (buf) {
		ssize_t n = next_request(s, fd, buf);

		if (n < 0 && (errno == EINTR || errno == EAGAIN ||
			      errno == ENOENT))
			continue;
		if (n < (ssize_t)sizeof(*ih))
			break;		/* unmounted */
		rs_handle(s, ih, ih + 1);
	}
	free(buf);
	return NULL;
}

/* Mounting */

struct rs_connections *rs_connections;

int rs_note_connections(void)
{
	void *p = mmap(NULL, sizeof(*rs_connections), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	rs_connections = p;
	return 0;
}

static void note_connection(const char *mnt)
{
	struct rs_connections *c = rs_connections;
	struct statx stx;
	uint32_t i;

	/* the server does not answer yet */
	if (!c || statx(AT_FDCWD, mnt, AT_STATX_DONT_SYNC, 0, &stx))
		return;
	i = __atomic_fetch_add(&c->n, 1, __ATOMIC_RELAXED) % RS_CONNECTIONS;
	c->of[i].number = stx.stx_dev_minor;
	c->of[i].group = getpgrp();
}

static void server_process(struct raw_server *s)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Close the test's files, in particular those on a mount */
	if (s->fd > 3)
		close_range(3, s->fd - 1, 0);
	close_range(s->fd + 1, ~0U, 0);

	for (int i = 1; i < s->nthreads; i++)
		if (pthread_create(&thread, NULL, serve, s))
			_exit(1);
	serve(s);
	_exit(0);
}

int rs_start(struct raw_server *s, const char *mnt)
{
	char opts[128];
	pid_t pid;
	int err;

	if (mnt) {
		snprintf(s->mnt, sizeof(s->mnt), "%s", mnt);
	} else {
		strcpy(s->mnt, "/tmp/fmap-XXXXXX");
		if (!mkdtemp(s->mnt))
			return -errno;
		s->mnt_made = true;
	}
	s->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	snprintf(opts, sizeof(opts),
		 "fd=%d,rootmode=40000,user_id=%u,group_id=0,allow_other%s",
		 s->fd, s->user_id,
		 s->default_permissions ? ",default_permissions" : "");
	if (mount("raw_server", s->mnt, "fuse", MS_NOSUID | MS_NODEV, opts))
		return -errno;
	note_connection(s->mnt);
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err = -errno;
		umount2(s->mnt, MNT_DETACH);
		return err;
	}
	if (!pid)
		server_process(s);
	s->pid = pid;		/* not in the child: the struct is shared */

	for (int i = 0; i < 10000; i++) {
		if (__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE))
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

/* Wait up to @ms for the server to exit, then kill it */
static void reap(struct raw_server *s, int ms)
{
	if (s->pid <= 0)
		return;
	for (; ms > 0; ms -= 5) {
		if (waitpid(s->pid, NULL, WNOHANG) != 0)
			goto out;
		usleep(5000);
	}
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
out:
	s->pid = 0;
}

static void close_fd(struct raw_server *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

int rs_unmount(struct raw_server *s)
{
	if (umount2(s->mnt, 0))
		return -errno;
	reap(s, 5000);
	close_fd(s);
	return 0;
}

void rs_kill(struct raw_server *s)
{
	reap(s, 0);
	close_fd(s);
}

void rs_free(struct raw_server *s)
{
	if (!s)
		return;
	/* A server that hangs must not block the unmount */
	if (s->fd >= 0) {
		umount2(s->mnt, MNT_DETACH);
		reap(s, 1000);
		close_fd(s);
	} else if (s->mnt[0]) {
		umount2(s->mnt, MNT_DETACH);
	}
	if (s->mnt_made)
		rmdir(s->mnt);
	munmap(s, RS_ARENA);
}

const char *rs_opcode_name(uint32_t opcode)
{
	static const char *const name[RS_NOPCODES] = {
		[FUSE_LOOKUP] = "LOOKUP",
		[FUSE_FORGET] = "FORGET",
		[FUSE_GETATTR] = "GETATTR",
		[FUSE_SETATTR] = "SETATTR",
		[FUSE_UNLINK] = "UNLINK",
		[FUSE_RENAME] = "RENAME",
		[FUSE_LINK] = "LINK",
		[FUSE_OPEN] = "OPEN",
		[FUSE_READ] = "READ",
		[FUSE_WRITE] = "WRITE",
		[FUSE_STATFS] = "STATFS",
		[FUSE_RELEASE] = "RELEASE",
		[FUSE_FSYNC] = "FSYNC",
		[FUSE_GETXATTR] = "GETXATTR",
		[FUSE_LISTXATTR] = "LISTXATTR",
		[FUSE_FLUSH] = "FLUSH",
		[FUSE_INIT] = "INIT",
		[FUSE_OPENDIR] = "OPENDIR",
		[FUSE_READDIR] = "READDIR",
		[FUSE_RELEASEDIR] = "RELEASEDIR",
		[FUSE_ACCESS] = "ACCESS",
		[FUSE_CREATE] = "CREATE",
		[FUSE_INTERRUPT] = "INTERRUPT",
		[FUSE_DESTROY] = "DESTROY",
		[FUSE_IOCTL] = "IOCTL",
		[FUSE_BATCH_FORGET] = "BATCH_FORGET",
		[FUSE_FALLOCATE] = "FALLOCATE",
		[FUSE_READDIRPLUS] = "READDIRPLUS",
		[FUSE_RENAME2] = "RENAME2",
		[FUSE_LSEEK] = "LSEEK",
		[FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE",
		[FUSE_GET_FMAP] = "GET_FMAP",
		[FUSE_GET_DAXDEV] = "GET_DAXDEV",
		[FUSE_DAX_FAILURE] = "DAX_FAILURE",
	};

	return opcode < RS_NOPCODES ? name[opcode] : NULL;
}
