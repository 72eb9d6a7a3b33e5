// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: what they leave alone.
 *
 * An ordinary file on a connection that has maps, beside a mapped file that is
 * in use, is an ordinary FUSE file: the same calls on a connection without maps
 * return the same and cost the server the same requests, opcode by opcode and
 * byte by byte. The one difference is a GET_FMAP for each file, at its first
 * open.
 *
 * Variants are the ways in which FUSE treats a file's pages: the page cache by
 * default, written back late, kept over opens, checked at each read, gone
 * round, or replaced by a backing file.
 *
 * Needs root, /dev/fuse and one DAX device bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV); overwrites it.
 */
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

#include "fmap_test.h"

#define MAPPED_SIZE	(2 * MB)
#define MAX_STEPS	256
#define FILES		3

static const char *const file_name[FILES] = { "old", "copy", "new" };

/* What the server was asked, but for requests about the mapped file */
struct tally {
	uint32_t count;
	uint64_t bytes;		/* that READ and WRITE were to move */
};

struct step {
	const char *what;
	long ret;
	int err;
};

/* One connection's life */
struct life {
	struct step step[MAX_STEPS];
	int nsteps;
	struct tally tally[RS_NOPCODES];
	uint64_t mapped_ino;
	bool no_open;
	uint64_t size[FILES];
	uint32_t nfmap[FILES];
	unsigned char *data[FILES];
};

/* Of the server that is started next; in memory that it shares */
static struct life *life;

/* What the server does not do by itself */

static int do_fallocate(struct raw_server *s, const struct fuse_in_header *ih,
			struct rs_node *n, const struct fuse_fallocate_in *in)
{
	uint64_t end = in->offset + in->length;

	if (!n->data || end > RS_CAP)
		return -EOPNOTSUPP;
	if (!(in->mode & FALLOC_FL_KEEP_SIZE) && n->size < end)
		n->size = end;
	if (in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(n->data + in->offset, 0, in->length);
	rs_reply(s, ih->unique, 0, NULL, 0);
	return 1;
}

static int do_copy(struct raw_server *s, const struct fuse_in_header *ih,
		   struct rs_node *n, const struct fuse_copy_file_range_in *in)
{
	struct rs_node *to = &s->node[in->nodeid_out - FUSE_ROOT_ID];
	struct fuse_write_out out = { .size = in->len };

	if (!n->data || !to->data || in->off_out + in->len > RS_CAP)
		return -EOPNOTSUPP;
	if (in->off_in >= n->size)
		out.size = 0;
	else if (in->len > n->size - in->off_in)
		out.size = n->size - in->off_in;
	memmove(to->data + in->off_out, n->data + in->off_in, out.size);
	if (to->size < in->off_out + out.size)
		to->size = in->off_out + out.size;
	rs_reply(s, ih->unique, 0, &out, sizeof(out));
	return 1;
}

static int do_lseek(struct raw_server *s, const struct fuse_in_header *ih,
		    struct rs_node *n, const struct fuse_lseek_in *in)
{
	struct fuse_lseek_out out = { .offset = in->offset };

	if (in->offset >= n->size)
		return -ENXIO;
	if (in->whence == SEEK_HOLE)
		out.offset = n->size;
	rs_reply(s, ih->unique, 0, &out, sizeof(out));
	return 1;
}

/*
 * With the writeback cache the kernel brings the times of a file to the server.
 * How often it has something to bring depends on the clock.
 */
static bool only_times(const struct fuse_in_header *ih,
		       const struct fuse_setattr_in *in)
{
	return ih->opcode == FUSE_SETATTR &&
	       !(in->valid & ~(FATTR_MTIME | FATTR_CTIME | FATTR_FH));
}

static int hook(struct raw_server *s, const struct fuse_in_header *ih,
		const void *arg)
{
	struct rs_node *n = &s->node[ih->nodeid - FUSE_ROOT_ID];
	int ret = 0;

	pthread_mutex_lock(&s->lock);
	if (ih->opcode < RS_NOPCODES && ih->nodeid != life->mapped_ino &&
	    !only_times(ih, arg)) {
		struct tally *t = &life->tally[ih->opcode];

		t->count++;
		if (ih->opcode == FUSE_READ)
			t->bytes += ((struct fuse_read_in *)arg)->size;
		else if (ih->opcode == FUSE_WRITE)
			t->bytes += ((struct fuse_write_in *)arg)->size;
	}
	switch (ih->opcode) {
	case FUSE_OPEN:
		ret = life->no_open ? -ENOSYS : 0;
		break;
	case FUSE_FALLOCATE:
		ret = do_fallocate(s, ih, n, arg);
		break;
	case FUSE_COPY_FILE_RANGE:
		ret = do_copy(s, ih, n, arg);
		break;
	case FUSE_LSEEK:
		ret = do_lseek(s, ih, n, arg);
		break;
	case FUSE_GETXATTR:
		/* ENOSYS, for whichever file, would end these requests */
		ret = -ENODATA;
		break;
	case FUSE_NOTIFY_REPLY:
		ret = 1;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* What programs do */

static void note(const char *what, long ret)
{
	struct step *step = &life->step[life->nsteps];

	if (life->nsteps == MAX_STEPS)
		abort();
	step->what = what;
	step->ret = ret;
	step->err = ret < 0 ? errno : 0;
	life->nsteps++;
}

#define STEP(call) note(#call, (long)(call))

/* @buf has whole words, the last one ends in zeros */
static long hash(const uint64_t *buf, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < (len + 7) / 8; i++)
		h = (h ^ buf[i]) * 0x9e3779b97f4a7c15ULL + (h >> 29);
	return h >> 1;
}

static long read_at(int fd, off_t pos, size_t len)
{
	size_t room = (len + PG - 1) & ~(PG - 1);
	uint64_t *b = aligned_alloc(PG, room);
	ssize_t n;

	memset(b, 0, room);
	n = pread(fd, b, len, pos);
	if (n >= 0)
		n = hash(b, n);
	free(b);
	return n;
}

static long write_at(int fd, uint64_t seed, off_t pos, size_t len)
{
	char *b = aligned_alloc(PG, (len + PG - 1) & ~(PG - 1));
	ssize_t n;

	pattern(b, seed, pos, len);
	n = pwrite(fd, b, len, pos);
	free(b);
	return n;
}

/* Read the first two pages through a mapping; with @seed, write one before */
static long by_mapping(int fd, int flags, uint64_t seed)
{
	char *p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, flags, fd, 0);
	long ret;

	if (p == MAP_FAILED)
		return -1;
	if (seed)
		pattern(p + PG, seed, 0, PG);
	ret = msync(p, 2 * PG, MS_SYNC) ?: hash((uint64_t *)p, 2 * PG);
	munmap(p, 2 * PG);
	return ret;
}

static long size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_size;
}

static long dax_attribute(int fd)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx))
		return -1;
	return !!(stx.stx_attributes & STATX_ATTR_DAX);
}

static long fiemap(int fd)
{
	struct fiemap map = { .fm_length = FIEMAP_MAX_OFFSET };

	return ioctl(fd, FS_IOC_FIEMAP, &map);
}

/* -errno of the server's write becomes errno, as of any other call */
static long notify(struct raw_server *s, int code, const void *arg, size_t len)
{
	int ret = rs_reply(s, 0, code, arg, len);

	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

static long inval(struct raw_server *s, uint64_t ino)
{
	struct fuse_notify_inval_inode_out out = { .ino = ino };

	return notify(s, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out));
}

static long store(struct raw_server *s, uint64_t ino, uint64_t pos)
{
	struct {
		struct fuse_notify_store_out out;
		char bytes[PG];
	} note = {
		.out = { .nodeid = ino, .offset = pos, .size = PG },
	};

	pattern(note.bytes, 99, pos, PG);
	return notify(s, FUSE_NOTIFY_STORE, &note, sizeof(note));
}

static long retrieve(struct raw_server *s, uint64_t ino)
{
	struct fuse_notify_retrieve_out out = {
		.notify_unique = 1,
		.nodeid = ino,
		.size = 2 * PG,
	};

	return notify(s, FUSE_NOTIFY_RETRIEVE, &out, sizeof(out));
}

static void use_descriptor(int f)
{
	STEP(write_at(f, 1, 0, 300 * KB));
	STEP(write_at(f, 2, 5000, 10000));
	STEP(write_at(f, 3, 400 * KB, 17));
	STEP(read_at(f, 0, MB));
	STEP(read_at(f, 0, MB));
	STEP(read_at(f, 400 * KB + 10, 100));
	STEP(read_at(f, 400 * KB + 17, 100));
	STEP(by_mapping(f, MAP_SHARED, 4));
	STEP(by_mapping(f, MAP_PRIVATE, 5));
	STEP(by_mapping(f, MAP_SHARED, 0));
	STEP(by_mapping(f, MAP_SHARED_VALIDATE | MAP_SYNC, 0));
	STEP(fsync(f));
	STEP(dax_attribute(f));
	STEP(fiemap(f));
	STEP(ftruncate(f, 200 * KB + 1));
	STEP(read_at(f, 0, MB));
	STEP(ftruncate(f, 300 * KB));
	STEP(read_at(f, 0, MB));
	STEP(fallocate(f, 0, 0, 500 * KB));
	STEP(size_of(f));
	STEP(fallocate(f, FALLOC_FL_KEEP_SIZE, 500 * KB, 100 * KB));
	STEP(fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		       PG, 3 * PG));
	STEP(fallocate(f, FALLOC_FL_ZERO_RANGE, 40 * KB - 5, 700 * KB));
	STEP(fallocate(f, FALLOC_FL_COLLAPSE_RANGE, 0, PG));
	STEP(size_of(f));
	STEP(read_at(f, 0, MB));
	STEP(write_at(f, 6, 100 * KB, 50 * KB));
	STEP(fdatasync(f));
	STEP(lseek(f, 0, SEEK_DATA));
	STEP(lseek(f, 10, SEEK_HOLE));
	STEP(lseek(f, 4 * MB, SEEK_DATA));
	STEP(lseek(f, -1, SEEK_END));
	STEP(posix_fadvise(f, 0, 0, POSIX_FADV_DONTNEED));
	STEP(read_at(f, 0, 64 * KB));
}

static void use_two(int f, int g)
{
	off_t in = 1000, out = 77;
	int sink = memfd_create("sink", 0);

	STEP(write_at(g, 7, 0, 100));
	STEP(copy_file_range(f, &in, g, &out, 100 * KB, 0));
	STEP(copy_file_range(g, &(off_t){ 0 }, g, &(off_t){ 200 * KB }, 30 * KB,
			     0));
	STEP(size_of(g));
	STEP(read_at(g, 0, MB));
	STEP(sendfile(g, f, &(off_t){ 4000 }, 20 * KB));
	STEP(sendfile(sink, g, &(off_t){ 50 * KB }, 20 * KB));
	STEP(read_at(sink, 0, 20 * KB));
	STEP(fsync(g));
	close(sink);
}

/* Opens again, with all sorts of flags, while @f is open or not */
static void use_name(struct raw_server *s, const char *name)
{
	int f;

	f = open_in(s, name, O_RDONLY);
	STEP(read_at(f, 0, MB));
	close(f);
	f = open_in(s, name, O_RDWR | O_DIRECT);
	STEP(write_at(f, 8, PG, 4 * PG));
	STEP(read_at(f, 0, 8 * PG));
	close(f);
	f = open_in(s, name, O_RDWR | O_SYNC | O_APPEND);
	STEP(write(f, "appended", 8));
	STEP(read_at(f, 0, MB));
	STEP(fchmod(f, 0600));
	close(f);
	f = open_in(s, name, O_RDWR | O_TRUNC);
	STEP(size_of(f));
	STEP(write_at(f, 9, 0, 100 * KB));
	STEP(by_mapping(f, MAP_SHARED, 10));
	close(f);
	f = open_in(s, name, O_RDONLY);
	STEP(write_at(f, 11, 0, 1));
	STEP(read_at(f, 0, MB));
	close(f);
}

static void use_notifications(struct raw_server *s, int f, uint64_t ino)
{
	STEP(inval(s, ino));
	STEP(read_at(f, 0, 64 * KB));
	STEP(store(s, ino, PG));
	STEP(read_at(f, 0, 64 * KB));
	STEP(retrieve(s, ino));
	STEP(inval(s, ino));
	STEP(read_at(f, 0, 64 * KB));
}

FIXTURE(beside) {
	struct life *with, *without;
	struct raw_server *s;
	int backing;
};

FIXTURE_VARIANT(beside) {
	uint64_t want;
	uint32_t open_flags;
	bool valid;		/* attributes and names stay good */
	bool no_open;
};

FIXTURE_VARIANT_ADD(beside, page_cache) {
	.valid = true,
};

FIXTURE_VARIANT_ADD(beside, writeback_cache) {
	.want = FUSE_WRITEBACK_CACHE,
	.valid = true,
};

FIXTURE_VARIANT_ADD(beside, keep_cache) {
	.open_flags = FOPEN_KEEP_CACHE,
	.valid = true,
};

FIXTURE_VARIANT_ADD(beside, auto_inval) {
	.want = FUSE_AUTO_INVAL_DATA | FUSE_ASYNC_READ,
	.open_flags = FOPEN_KEEP_CACHE,
};

FIXTURE_VARIANT_ADD(beside, atomic_o_trunc) {
	.want = FUSE_ATOMIC_O_TRUNC | FUSE_HANDLE_KILLPRIV_V2,
	.valid = true,
};

FIXTURE_VARIANT_ADD(beside, direct_io) {
	.want = FUSE_DIRECT_IO_ALLOW_MMAP,
	.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
	.valid = true,
};

FIXTURE_VARIANT_ADD(beside, no_open) {
	.want = FUSE_NO_OPEN_SUPPORT,
	.valid = true,
	.no_open = true,
};

FIXTURE_VARIANT_ADD(beside, passthrough) {
	.want = FUSE_PASSTHROUGH,
	.open_flags = FOPEN_PASSTHROUGH,
	.valid = true,
};

static void *shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

FIXTURE_SETUP(beside)
{
	const char *why = sandbox(1);

	self->s = NULL;
	self->backing = -1;
	if (why)
		SKIP(return, "%s", why);
	self->with = shared(sizeof(struct life));
	self->without = shared(sizeof(struct life));
	ASSERT_NE(NULL, self->with);
	ASSERT_NE(NULL, self->without);
}

FIXTURE_TEARDOWN(beside)
{
	rs_free(self->s);
	close(self->backing);
}

/* Serve, do it all, unmount; what happened is in @l */
static void live(struct __test_metadata *_metadata,
		 FIXTURE_DATA(beside) *self,
		 const FIXTURE_VARIANT(beside) *variant, struct life *l,
		 uint64_t want)
{
	struct rs_node *n[FILES], *mapped;
	struct fuse_backing_map backing = {};
	struct raw_server *s = new_server(1);
	struct rs_map m;
	int f, g, fd;

	ASSERT_NE(NULL, s);
	self->s = s;
	s->want = want | variant->want;
	s->valid = variant->valid ? 3600 : 0;
	s->hook = hook;
	mapped = rs_add_file(s, FUSE_ROOT_ID, "mapped");
	rs_map_init(&m, FUSE_FMAP_EXTENTS, MAPPED_SIZE);
	rs_map_extent(&m, 0, 0, MAPPED_SIZE);
	rs_set_map(s, mapped, &m);
	for (int i = 0; i < 2; i++)
		n[i] = rs_add_file(s, FUSE_ROOT_ID, file_name[i]);
	n[0]->open_flags = variant->open_flags;
	life = l;
	l->mapped_ino = rs_ino(s, mapped);
	l->no_open = variant->no_open;
	ASSERT_EQ(0, rs_start(s, NULL));
	ASSERT_EQ(s->want, s->want & s->offered);

	if (variant->want & FUSE_PASSTHROUGH) {
		self->backing = memfd_create("backing", 0);
		backing.fd = self->backing;
		s->backing_id = ioctl(s->fd, FUSE_DEV_IOC_BACKING_OPEN,
				      &backing);
		ASSERT_LT(0, s->backing_id);
	}

	fd = open_in(s, "mapped", O_RDWR);
	ASSERT_LE(0, fd);
	if (want & FUSE_DAX_FMAP)
		ASSERT_TRUE(put(fd, 20, 0, MAPPED_SIZE));

	f = open_in(s, "old", O_RDWR);
	g = open_in(s, "copy", O_RDWR);
	ASSERT_LE(0, f);
	ASSERT_LE(0, g);
	use_descriptor(f);
	use_two(f, g);
	use_notifications(s, f, rs_ino(s, n[0]));
	use_name(s, "old");
	close(f);
	use_name(s, "old");
	f = open_in(s, "new", O_RDWR | O_CREAT | O_EXCL);
	ASSERT_LE(0, f);
	n[2] = &s->node[s->nnodes - 1];
	use_descriptor(f);
	use_two(g, f);
	close(f);
	use_name(s, "new");
	/* Late writes still go to the server */
	STEP(fsync(g));
	STEP(read_at(g, 0, MB));
	close(g);

	if (want & FUSE_DAX_FMAP)
		EXPECT_TRUE(got(fd, 20, 0, MAPPED_SIZE));
	close(fd);

	if (backing.fd) {
		EXPECT_EQ(0, ioctl(s->fd, FUSE_DEV_IOC_BACKING_CLOSE,
				   &s->backing_id));
		close(self->backing);
		self->backing = -1;
	}
	/* Afterwards all that is sent late has been sent: FLUSH, RELEASE */
	ASSERT_EQ(0, rs_unmount(s));
	for (int i = 0; i < FILES; i++) {
		l->size[i] = n[i]->size;
		l->nfmap[i] = n[i]->nfmap;
		l->data[i] = calloc(1, RS_CAP);
		if (n[i]->data)
			memcpy(l->data[i], n[i]->data, RS_CAP);
	}
	rs_free(s);
	self->s = NULL;
}

TEST_F(beside, a_mapped_file_an_ordinary_one_is_served_as_ever)
{
	static const int must[] = {
		FUSE_GETATTR, FUSE_SETATTR, FUSE_READ, FUSE_WRITE, FUSE_FSYNC,
		FUSE_FALLOCATE, FUSE_LSEEK, FUSE_COPY_FILE_RANGE,
	};
	struct life *a = self->without, *b = self->with;

	live(_metadata, self, variant, a, 0);
	live(_metadata, self, variant, b, FUSE_DAX_FMAP);

	ASSERT_EQ(a->nsteps, b->nsteps);
	for (int i = 0; i < a->nsteps; i++) {
		struct step *x = &a->step[i], *y = &b->step[i];

		EXPECT_EQ(x->ret, y->ret)
			TH_LOG("step %d: %s", i, x->what);
		EXPECT_EQ(x->err, y->err)
			TH_LOG("step %d: %s", i, x->what);
	}
	for (int i = 0; i < FILES; i++) {
		EXPECT_EQ(a->size[i], b->size[i])
			TH_LOG("file %s", file_name[i]);
		EXPECT_EQ(0, memcmp(a->data[i], b->data[i], RS_CAP))
			TH_LOG("file %s", file_name[i]);
		EXPECT_EQ(0, a->nfmap[i]);
		EXPECT_EQ(1, b->nfmap[i])
			TH_LOG("file %s", file_name[i]);
	}
	for (size_t i = 0; i < sizeof(must) / sizeof(*must); i++) {
		EXPECT_LT(0, a->tally[must[i]].count)
			TH_LOG("no %s", rs_opcode_name(must[i]));
	}
	EXPECT_EQ(0, a->tally[FUSE_GET_FMAP].count);
	EXPECT_EQ(FILES, b->tally[FUSE_GET_FMAP].count);
	for (int i = 0; i < RS_NOPCODES; i++) {
		const char *name = rs_opcode_name(i) ?: "no name";

		/* When inodes are dropped is up to the memory management */
		if (i == FUSE_FORGET || i == FUSE_BATCH_FORGET ||
		    i == FUSE_GET_FMAP)
			continue;
		EXPECT_EQ(a->tally[i].count, b->tally[i].count)
			TH_LOG("opcode %d (%s)", i, name);
		EXPECT_EQ(a->tally[i].bytes, b->tally[i].bytes)
			TH_LOG("opcode %d (%s)", i, name);
	}
}

TEST_HARNESS_MAIN
