// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE DAX file maps: system calls on a mapped file.
 *
 * Most tests run three times: on a mapped file with 2 MiB pages, on one with
 * 4 KiB pages, and on an ordinary file. All three must behave alike. The tests
 * of the fixture "both" show where mapped and ordinary files differ.
 *
 * Needs root, /dev/fuse and a DAX device bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB; overwrites it. A test that needs
 * more gives the reason when it is skipped.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>

#include "fmap_data.h"
#include "fmap_test.h"

/* An older C library may lack these */
#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX		0x00200000
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES	0x80
#endif

#define PART	(256 * KB)		/* enough pages to count faults */
#define SIZE	(4 * MB - 1000)		/* of most files here */
#define LEN	(4 * MB)		/* of their extents */
#define OFF	(6 * MB)		/* ... on the device */

/* Shared between the server process and the test */
struct notes {
	uint32_t fsync_flags;
	int fsync_err;
	uint32_t setattr_valid;		/* bits of all SETATTR requests */
	int setattr_err;
	uint64_t setattr_size;		/* for the reply, 0: the real one */
	uint32_t retrieved;		/* bytes in the last NOTIFY_REPLY */
	uint32_t created_map;		/* new files get a map */
};

static struct notes *notes;

/* Requests that the common server lacks, and records for the tests */
static int hook(struct raw_server *s, const struct fuse_in_header *ih,
		const void *arg)
{
	const struct fuse_setattr_in *set = arg;
	const struct fuse_notify_retrieve_in *retrieve = arg;
	struct fuse_attr_out attr = {};
	struct fuse_lseek_out lseek = { .offset = 12345 };
	struct rs_map m;

	switch (ih->opcode) {
	case FUSE_FSYNC:
		notes->fsync_flags =
			((const struct fuse_fsync_in *)arg)->fsync_flags;
		return -notes->fsync_err;
	case FUSE_FALLOCATE:
		rs_reply(s, ih->unique, 0, NULL, 0);
		return 1;
	case FUSE_LSEEK:
		rs_reply(s, ih->unique, 0, &lseek, sizeof(lseek));
		return 1;
	case FUSE_SETATTR:
		notes->setattr_valid |= set->valid;
		if (notes->setattr_err)
			return -notes->setattr_err;
		if (!notes->setattr_size)
			return 0;
		attr.attr_valid = s->valid;
		attr.attr.ino = ih->nodeid;
		attr.attr.mode = S_IFREG | set->mode;
		attr.attr.nlink = 1;
		attr.attr.size = notes->setattr_size;
		rs_reply(s, ih->unique, 0, &attr, sizeof(attr));
		return 1;
	case FUSE_NOTIFY_REPLY:
		notes->retrieved = retrieve->size;
		return 1;
	case FUSE_GET_FMAP:
		if (!notes->created_map)
			return 0;
		rs_map_init(&m, FUSE_FMAP_EXTENTS, MB);
		rs_map_extent(&m, 0, 40 * MB, MB);
		rs_set_map(s, &s->node[ih->nodeid - FUSE_ROOT_ID], &m);
		return 0;
	default:
		return 0;
	}
}

static struct raw_server *semantics_server(int n)
{
	struct raw_server *s = new_server(n);

	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!s || notes == MAP_FAILED)
		return NULL;
	s->hook = hook;
	return s;
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_size;
}

/* The number of faults when each page is read */
static long faults_in(const char *p, size_t len)
{
	long before = minor_faults();
	char sum = 0;

	for (size_t i = 0; i < len; i += PG)
		sum += ((volatile const char *)p)[i];
	(void)sum;
	return minor_faults() - before;
}

/* The exit status of a child, -1 if a signal killed it */
static int status_of(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* On every kind of file */

FIXTURE(file) {
	struct raw_server *s;
	struct rs_node *n;
	int fd;
	char path[PATH_MAX];
};

FIXTURE_VARIANT(file) {
	uint64_t off;		/* on the device, 0: not mapped */
};

FIXTURE_VARIANT_ADD(file, mapped_with_2M_pages) { .off = OFF };
FIXTURE_VARIANT_ADD(file, mapped_with_4K_pages) { .off = OFF + PG };
FIXTURE_VARIANT_ADD(file, not_mapped) {};

FIXTURE_SETUP(file)
{
	const char *why = sandbox(1);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = semantics_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->want |= FUSE_EXPORT_SUPPORT;
	if (variant->off)
		self->n = add_mapped(self->s, "f", 0, variant->off, SIZE);
	else
		self->n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	rs_add_file(self->s, FUSE_ROOT_ID, "other");
	ASSERT_EQ(0, start_server(self->s));
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	if (!variant->off)
		ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	snprintf(self->path, sizeof(self->path), "%s/f", self->s->mnt);
}

FIXTURE_TEARDOWN(file)
{
	if (self->fd >= 0)
		close(self->fd);
	rs_free(self->s);
}

TEST_F(file, is_opened_with_every_flag)
{
	char b[8];
	int fd;

	fd = open_in(self->s, "f", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, pwrite(fd, "x", 1, 0));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, ftruncate(fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_WRITE, MAP_SHARED, fd, 0));
	EXPECT_EQ(EACCES, errno);
	close(fd);

	fd = open_in(self->s, "f", O_WRONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(5, pwrite(fd, "write", 5, 0));
	EXPECT_EQ(-1, pread(fd, b, 1, 0));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ, MAP_SHARED, fd, 0));
	EXPECT_EQ(EACCES, errno);
	close(fd);
	EXPECT_EQ(5, pread(self->fd, b, 5, 0));
	EXPECT_EQ(0, memcmp(b, "write", 5));

	fd = open_in(self->s, "f", O_PATH);
	ASSERT_LE(0, fd);
	EXPECT_EQ(SIZE, size_of(fd));
	EXPECT_EQ(-1, pread(fd, b, 1, 0));
	EXPECT_EQ(EBADF, errno);
	close(fd);

	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR | O_CREAT));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDONLY | O_NONBLOCK));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR | O_NOFOLLOW | O_NOATIME));
	EXPECT_EQ(EEXIST, try_open(self->s, "f", O_RDWR | O_CREAT | O_EXCL));
	EXPECT_EQ(ENOTDIR, try_open(self->s, "f", O_RDONLY | O_DIRECTORY));
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, ".", O_RDWR | O_TMPFILE));
	EXPECT_EQ(SIZE, size_of(self->fd));
}

TEST_F(file, is_synced_by_each_write_with_O_SYNC_and_O_DSYNC)
{
	uint32_t *count = &self->s->count[FUSE_FSYNC];
	int fd;

	fd = open_in(self->s, "f", O_RDWR | O_SYNC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 100, 5000));
	EXPECT_EQ(1, *count);
	EXPECT_EQ(0, notes->fsync_flags);
	close(fd);
	fd = open_in(self->s, "f", O_RDWR | O_DSYNC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 5100, 5000));
	EXPECT_EQ(2, *count);
	EXPECT_EQ(FUSE_FSYNC_FDATASYNC, notes->fsync_flags);
	EXPECT_TRUE(got(fd, 1, 100, 10000));
	close(fd);
	EXPECT_TRUE(put(self->fd, 1, 0, 100));
	EXPECT_EQ(2, *count);
}

TEST_F(file, is_synced_by_the_server_when_asked_to)
{
	uint32_t *count = &self->s->count[FUSE_FSYNC];
	char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		       0);

	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	EXPECT_EQ(0, msync(p, MB, MS_ASYNC));
	EXPECT_EQ(0, *count);
	EXPECT_EQ(0, msync(p, MB, MS_SYNC));
	EXPECT_EQ(1, *count);
	p[PG] = 1;
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(2, *count);
	EXPECT_EQ(0, notes->fsync_flags);
	EXPECT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(3, *count);
	EXPECT_EQ(FUSE_FSYNC_FDATASYNC, notes->fsync_flags);
	EXPECT_EQ(0, sync_file_range(self->fd, 0, MB, SYNC_FILE_RANGE_WRITE |
				     SYNC_FILE_RANGE_WAIT_AFTER));
	EXPECT_EQ(0, syncfs(self->fd));
	EXPECT_EQ(3, *count);

	notes->fsync_err = EDQUOT;
	EXPECT_EQ(-1, fsync(self->fd));
	EXPECT_EQ(EDQUOT, errno);
	EXPECT_EQ(-1, msync(p, MB, MS_SYNC));
	EXPECT_EQ(EDQUOT, errno);
	/* after ENOSYS the kernel sends no FSYNC */
	notes->fsync_err = ENOSYS;
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(6, *count);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(6, *count);
	munmap(p, MB);
}

TEST_F(file, is_read_and_written_with_O_DIRECT_at_any_offset)
{
	int fd = open_in(self->s, "f", O_RDWR | O_DIRECT);

	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 0, 3 * PG));
	EXPECT_TRUE(put(fd, 1, 3 * PG, 777));
	EXPECT_TRUE(got(fd, 1, 0, 3 * PG + 777));
	EXPECT_TRUE(got(fd, 1, 513, 4567));
	EXPECT_TRUE(got(self->fd, 1, 1, 3 * PG));
	close(fd);
}

TEST_F(file, has_the_attributes_that_are_set)
{
	struct timespec times[2] = {
		{ .tv_sec = 1000000000 },
		{ .tv_sec = 1500000000 },
	};
	struct stat st;

	ASSERT_TRUE(put(self->fd, 1, 0, 2 * PG));
	EXPECT_EQ(0, fchmod(self->fd, 0640));
	EXPECT_EQ(0, fchown(self->fd, 123, 456));
	EXPECT_EQ(0, futimens(self->fd, times));
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(S_IFREG | 0640, st.st_mode);
	EXPECT_EQ(123, st.st_uid);
	EXPECT_EQ(456, st.st_gid);
	EXPECT_EQ(1000000000, st.st_atime);
	EXPECT_EQ(1500000000, st.st_mtime);
	EXPECT_EQ(SIZE, st.st_size);
	EXPECT_EQ(0, chmod(self->path, 0606));
	EXPECT_EQ(0, chown(self->path, 7, 8));
	times[1].tv_nsec = UTIME_NOW;
	EXPECT_EQ(0, utimensat(AT_FDCWD, self->path, times, 0));
	EXPECT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(S_IFREG | 0606, st.st_mode);
	EXPECT_EQ(7, st.st_uid);
	EXPECT_NE(1500000000, st.st_mtime);
	EXPECT_EQ(SIZE, st.st_size);
	EXPECT_EQ(S_IFREG | 0606, self->n->mode);
	EXPECT_TRUE(got(self->fd, 1, 0, 2 * PG));
}

TEST_F(file, loses_setuid_when_another_user_writes)
{
	struct stat st;
	pid_t pid;

	ASSERT_EQ(0, fchmod(self->fd, 06777));
	ASSERT_TRUE(put(self->fd, 1, 0, 10));
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(S_IFREG | 06777, st.st_mode);
	pid = fork();
	if (!pid)
		_exit(setresgid(1000, 1000, 1000) ||
		      setresuid(1000, 1000, 1000) || !put(self->fd, 2, 0, 10));
	EXPECT_EQ(0, status_of(pid));
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(S_IFREG | 0777, st.st_mode);
	EXPECT_EQ(S_IFREG | 0777, self->n->mode);
	EXPECT_EQ(SIZE, st.st_size);
}

TEST_F(file, can_have_two_names)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	snprintf(path, sizeof(path), "%s/second", self->s->mnt);
	ASSERT_EQ(0, link(self->path, path));
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(2, st.st_nlink);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(got(fd, 1, 0, PG));
	EXPECT_TRUE(put(fd, 2, 0, PG));
	EXPECT_TRUE(got(self->fd, 2, 0, PG));
	EXPECT_EQ(0, unlink(self->path));
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(1, st.st_nlink);
	EXPECT_EQ(SIZE, st.st_size);
	EXPECT_TRUE(put(self->fd, 3, 0, PG));
	EXPECT_TRUE(got(fd, 3, 0, PG));
	close(fd);
	EXPECT_EQ(1, self->n->nfmap);
}

TEST_F(file, remains_after_unlink_while_in_use)
{
	struct stat st;
	char *p = mmap(NULL, 4 * PG, PROT_READ | PROT_WRITE, MAP_SHARED,
		       self->fd, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_TRUE(put(self->fd, 1, 0, 4 * PG));
	ASSERT_EQ(0, unlink(self->path));
	EXPECT_EQ(ENOENT, try_open(self->s, "f", O_RDONLY));
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(0, st.st_nlink);
	EXPECT_EQ(SIZE, st.st_size);
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
	EXPECT_TRUE(put(self->fd, 2, PG, PG));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(is_pattern(p + PG, 2, PG, PG));
	EXPECT_TRUE(is_pattern(p + 2 * PG, 1, 2 * PG, PG));
	p[3 * PG] = 1;
	munmap(p, 4 * PG);
}

TEST_F(file, can_be_renamed_while_in_use)
{
	char to[PATH_MAX];
	char *p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED,
		       self->fd, 0);
	int fd;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_TRUE(put(self->fd, 1, 0, 2 * PG));
	snprintf(to, sizeof(to), "%s/other", self->s->mnt);
	ASSERT_EQ(0, rename(self->path, to));
	EXPECT_EQ(ENOENT, try_open(self->s, "f", O_RDONLY));
	fd = open(to, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(SIZE, size_of(fd));
	EXPECT_TRUE(got(fd, 1, 0, 2 * PG));
	pattern(p + PG, 2, PG, PG);
	EXPECT_TRUE(got(fd, 2, PG, PG));
	EXPECT_TRUE(put(self->fd, 3, 0, PG));
	EXPECT_TRUE(got(fd, 3, 0, PG));
	close(fd);
	munmap(p, 2 * PG);
}

TEST_F(file, keeps_its_data_when_another_file_takes_its_name)
{
	char from[PATH_MAX];
	int fd;

	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	snprintf(from, sizeof(from), "%s/other", self->s->mnt);
	fd = open(from, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(fd, 2, 0, PG));
	/* exchange the names, then replace one file */
	ASSERT_EQ(0, renameat2(AT_FDCWD, from, AT_FDCWD, self->path,
			       RENAME_EXCHANGE));
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
	close(fd);
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(got(fd, 2, 0, PG));
	close(fd);
	fd = open(from, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(got(fd, 1, 0, PG));
	close(fd);
	ASSERT_EQ(0, rename(self->path, from));
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
	EXPECT_TRUE(put(self->fd, 3, 0, PG));
	EXPECT_TRUE(got(self->fd, 3, 0, PG));
	fd = open(from, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(got(fd, 2, 0, PG));
	close(fd);
}

TEST_F(file, is_mapped_privately_page_by_page)
{
	int fd = open_in(self->s, "f", O_RDONLY);
	char *p;

	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(self->fd, 1, 0, 4 * PG));
	/* a private mapping is writable even if the file is open read-only */
	p = map_huge(fd, 2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	ASSERT_NE(MAP_FAILED, p);
	close(fd);
	p[0] = 'x';
	p[2 * PG] = 'y';
	EXPECT_EQ(0, memcmp(p, "x", 1));
	EXPECT_TRUE(is_pattern(p + 1, 1, 1, 2 * PG - 1));
	/* pages without a private copy show the file */
	EXPECT_TRUE(put(self->fd, 2, 0, 4 * PG));
	EXPECT_TRUE(is_pattern(p + 1, 1, 1, PG - 1));
	EXPECT_TRUE(is_pattern(p + PG, 2, PG, PG));
	EXPECT_EQ('y', p[2 * PG]);
	EXPECT_TRUE(is_pattern(p + 3 * PG, 2, 3 * PG, PG));
	EXPECT_EQ(0, madvise(p, 4 * PG, MADV_DONTNEED));
	EXPECT_TRUE(is_pattern(p, 2, 0, 4 * PG));
	EXPECT_TRUE(got(self->fd, 2, 0, 4 * PG));
	munmap(p, 2 * MB);
}

/* The test copies this code to a file and runs it there */
__attribute__((__noinline__)) static int forty_two(void)
{
	return 42;
}

TEST_F(file, is_mapped_for_execution)
{
	int (*code)(void);
	char *p;

	ASSERT_EQ(32, pwrite(self->fd, (void *)forty_two, 32, PG));
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_EXEC, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	code = (void *)(p + PG);
	EXPECT_EQ(42, code());
	munmap(p, 2 * PG);
	p = mmap(NULL, PG, PROT_EXEC, MAP_PRIVATE, self->fd, PG);
	ASSERT_NE(MAP_FAILED, p);
	code = (void *)p;
	EXPECT_EQ(42, code());
	munmap(p, PG);
	ASSERT_EQ(0, mount(NULL, self->s->mnt, NULL, MS_REMOUNT | MS_BIND |
			   MS_NOEXEC | MS_NOSUID | MS_NODEV, NULL));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_EXEC, MAP_SHARED, self->fd,
				   0));
	EXPECT_EQ(EPERM, errno);
}

TEST_F(file, obeys_mprotect)
{
	char *p = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE,
			   MAP_SHARED, 0);

	ASSERT_NE(MAP_FAILED, p);
	pattern(p, 1, 0, 3 * PG);
	EXPECT_EQ(0, mprotect(p + PG, PG, PROT_READ));
	EXPECT_EQ(SIGSEGV, signal_of(p + PG, true));
	EXPECT_EQ(0, signal_of(p + PG, false));
	EXPECT_EQ(0, mprotect(p, PG, PROT_NONE));
	EXPECT_EQ(SIGSEGV, signal_of(p, false));
	EXPECT_EQ(0, mprotect(p, 2 * PG, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(is_pattern(p, 1, 0, 3 * PG));
	pattern(p, 2, 0, 3 * PG);
	EXPECT_TRUE(got(self->fd, 2, 0, 3 * PG));
	munmap(p, 2 * MB);
}

TEST_F(file, follows_mremap)
{
	char *p, *q, *area;

	ASSERT_TRUE(put(self->fd, 1, 0, 2 * PG));
	ASSERT_TRUE(put(self->fd, 1, 2 * MB - PG, 2 * PG));
	p = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	ASSERT_NE(MAP_FAILED, p);
	pattern(p, 2, 0, PG);

	/* grow, to an address where no huge page fits */
	area = mmap(NULL, 6 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	ASSERT_NE(MAP_FAILED, area);
	area = (char *)(((uintptr_t)area & ~(2 * MB - 1)) + 2 * MB - PG);
	q = mremap(p, 2 * MB, 2 * MB + PG, MREMAP_MAYMOVE | MREMAP_FIXED, area);
	ASSERT_EQ(area, q);
	EXPECT_EQ(SIGSEGV, signal_of(p, false));
	EXPECT_TRUE(is_pattern(q, 2, 0, PG));
	EXPECT_TRUE(is_pattern(q + PG, 1, PG, PG));
	EXPECT_TRUE(is_pattern(q + 2 * MB - PG, 1, 2 * MB - PG, 2 * PG));
	pattern(q + PG, 3, PG, PG);
	EXPECT_TRUE(got(self->fd, 3, PG, PG));

	/* a second mapping of the same page */
	p = mremap(q, 0, PG, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p, 2, 0, PG));
	pattern(p, 4, 0, PG);
	EXPECT_TRUE(is_pattern(q, 4, 0, PG));
	munmap(p, PG);

	/* grow past EOF, then shrink to two pages */
	q = mremap(q, 2 * MB + PG, LEN + 2 * PG, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_TRUE(is_pattern(q + 2 * MB - PG, 1, 2 * MB - PG, 2 * PG));
	EXPECT_EQ(0, signal_of(q + LEN - 1, true));
	EXPECT_EQ(SIGBUS, signal_of(q + LEN, false));
	EXPECT_EQ(q, mremap(q, LEN + 2 * PG, 2 * PG, 0));
	EXPECT_EQ(SIGSEGV, signal_of(q + 2 * PG, false));
	EXPECT_TRUE(is_pattern(q + PG, 3, PG, PG));
	munmap(q, 2 * PG);
}

TEST_F(file, keeps_private_copies_through_mremap)
{
	char *p, *q;

	ASSERT_TRUE(put(self->fd, 1, 0, 2 * PG));
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd,
		 0);
	ASSERT_NE(MAP_FAILED, p);
	pattern(p, 2, 0, PG);
	q = mremap(p, 2 * PG, 4 * MB, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_TRUE(is_pattern(q, 2, 0, PG));
	EXPECT_TRUE(is_pattern(q + PG, 1, PG, PG));
	EXPECT_TRUE(got(self->fd, 1, 0, 2 * PG));
	munmap(q, 4 * MB);
}

TEST_F(file, is_shared_and_copied_by_fork)
{
	char *shared, *private;
	pid_t pid;

	ASSERT_TRUE(put(self->fd, 1, 0, 4 * PG));
	shared = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE, MAP_SHARED,
			  0);
	ASSERT_NE(MAP_FAILED, shared);
	private = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE, 0);
	ASSERT_NE(MAP_FAILED, private);
	/* before the fork: a shared page, a copied one, one to copy later */
	shared[3 * PG] = 's';
	private[0] = 'p';
	EXPECT_TRUE(is_pattern(private + PG, 1, PG, PG));
	pid = fork();
	if (!pid) {
		bool ok = private[0] == 'p' && shared[3 * PG] == 's' &&
			  is_pattern(private + PG, 1, PG, PG);

		shared[2 * PG] = 'c';
		shared[3 * PG] = 'd';
		private[0] = 'c';
		private[PG] = 'c';
		/* a page that was not touched before */
		ok &= is_pattern(shared + 1, 1, 1, PG - 1) &&
		      put(self->fd, 2, PG + 1, PG - 1);
		_exit(!ok);
	}
	EXPECT_EQ(0, status_of(pid));
	EXPECT_EQ('c', shared[2 * PG]);
	EXPECT_EQ('d', shared[3 * PG]);
	EXPECT_EQ('p', private[0]);
	EXPECT_EQ((char)pattern_at(1, PG), private[PG]);
	EXPECT_TRUE(is_pattern(shared + PG + 1, 2, PG + 1, PG - 1));
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
	munmap(shared, 2 * MB);
	munmap(private, 2 * MB);
}

TEST_F(file, takes_no_faults_after_mlock)
{
	char *p;

	ASSERT_TRUE(put(self->fd, 1, 0, PART));
	p = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, mlock(p, PART));
	EXPECT_GE(8, faults_in(p, PART));
	EXPECT_TRUE(is_pattern(p, 1, 0, PART));
	EXPECT_EQ(0, munlock(p, PART));
	pattern(p, 2, 0, PG);
	munmap(p, PART);

	p = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_LOCKED,
		 self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p, 2, 0, PG));
	EXPECT_GE(8, faults_in(p, PART));
	p[0] = 'x';
	EXPECT_EQ(0, mlock2(p, PART, MLOCK_ONFAULT));
	munmap(p, PART);
	EXPECT_TRUE(got(self->fd, 2, 0, PG));
	EXPECT_TRUE(got(self->fd, 1, PG, PART - PG));
}

TEST_F(file, is_populated_by_madvise_and_MAP_POPULATE)
{
	char *p = map_huge(self->fd, LEN + 2 * MB, PROT_READ | PROT_WRITE,
			   MAP_SHARED, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_TRUE(put(self->fd, 1, 0, PART));
	EXPECT_EQ(0, madvise(p, PART, MADV_POPULATE_READ));
	EXPECT_GE(8, faults_in(p, PART));
	EXPECT_TRUE(is_pattern(p, 1, 0, PART));
	EXPECT_EQ(0, madvise(p, PART, MADV_POPULATE_WRITE));
	EXPECT_TRUE(is_pattern(p, 1, 0, PART));
	/* no page can be mapped past EOF */
	EXPECT_EQ(-1, madvise(p + LEN, PG, MADV_POPULATE_READ));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, madvise(p + LEN, PG, MADV_POPULATE_WRITE));
	EXPECT_EQ(EFAULT, errno);
	munmap(p, LEN + 2 * MB);

	p = mmap(NULL, PART, PROT_READ, MAP_SHARED | MAP_POPULATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_GE(8, faults_in(p, PART));
	EXPECT_EQ(-1, madvise(p, PART, MADV_POPULATE_WRITE));
	EXPECT_EQ(EINVAL, errno);
	munmap(p, PART);
	EXPECT_TRUE(got(self->fd, 1, 0, PART));
}

TEST_F(file, keeps_its_data_after_any_madvise)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
		MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP,
		MADV_DODUMP, MADV_NOHUGEPAGE, MADV_HUGEPAGE, MADV_COLD,
		MADV_PAGEOUT, MADV_WIPEONFORK, MADV_FREE, MADV_COLLAPSE,
	};
	char *shared, *private;
	unsigned char vec[2 * MB / PG];

	ASSERT_TRUE(put(self->fd, 1, 0, 3 * PG));
	shared = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE, MAP_SHARED,
			  0);
	ASSERT_NE(MAP_FAILED, shared);
	private = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE, 0);
	ASSERT_NE(MAP_FAILED, private);
	for (size_t i = 0; i < ARRAY_SIZE(advice); i++) {
		/* these need anonymous memory or the page cache */
		bool refused = advice[i] == MADV_FREE ||
			       advice[i] == MADV_WIPEONFORK ||
			       advice[i] == MADV_COLLAPSE;
		int ret;

		EXPECT_TRUE(is_pattern(private, 1, 0, 3 * PG));
		pattern(shared, 1, 0, PG);
		ret = madvise(shared, 2 * MB, advice[i]);
		EXPECT_TRUE(ret == 0 || refused) {
			TH_LOG("advice %d: %s", advice[i], strerror(errno));
		}
		/* also on part of a huge page */
		madvise(shared + PG, PG, advice[i]);
		if (advice[i] != MADV_WIPEONFORK)
			madvise(private, 2 * MB, advice[i]);
		EXPECT_TRUE(is_pattern(shared, 1, 0, 3 * PG));
		EXPECT_TRUE(got(self->fd, 1, 0, 3 * PG));
	}
	EXPECT_EQ(0, mincore(shared, 2 * MB, vec));
	munmap(shared, 2 * MB);
	munmap(private, 2 * MB);
}

TEST_F(file, can_be_spliced_in_both_directions)
{
	loff_t off = 10;
	int pipefd[2];
	char *p, b[5000];

	ASSERT_EQ(0, pipe(pipefd));
	/* pipe to file */
	pattern(b, 1, PG, 3000);
	ASSERT_EQ(3000, write(pipefd[1], b, 3000));
	off = PG;
	EXPECT_EQ(3000, splice(pipefd[0], NULL, self->fd, &off, 3000, 0));
	EXPECT_EQ(PG + 3000, off);
	EXPECT_TRUE(got(self->fd, 1, PG, 3000));
	/* file to pipe, up to EOF */
	ASSERT_TRUE(put(self->fd, 2, SIZE - 1000, 1000));
	off = SIZE - 1000;
	EXPECT_EQ(1000, splice(self->fd, &off, pipefd[1], NULL, 5000, 0));
	EXPECT_EQ(1000, read(pipefd[0], b, sizeof(b)));
	EXPECT_TRUE(is_pattern(b, 2, SIZE - 1000, 1000));
	EXPECT_EQ(0, splice(self->fd, &off, pipefd[1], NULL, 5000,
			    SPLICE_F_NONBLOCK));
	/* memory of the file to pipe */
	p = mmap(NULL, 4 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(2000, vmsplice(pipefd[1], &(struct iovec){ p + PG, 2000 }, 1,
				 0));
	EXPECT_EQ(2000, read(pipefd[0], b, sizeof(b)));
	EXPECT_TRUE(is_pattern(b, 1, PG, 2000));
	/* pipe to memory of the file */
	pattern(b, 3, 0, 2000);
	ASSERT_EQ(2000, write(pipefd[1], b, 2000));
	EXPECT_EQ(2000, vmsplice(pipefd[0], &(struct iovec){ p, 2000 }, 1, 0));
	EXPECT_TRUE(got(self->fd, 3, 0, 2000));
	munmap(p, 4 * PG);
	close(pipefd[0]);
	close(pipefd[1]);
}

TEST_F(file, is_source_and_target_of_sendfile)
{
	int mem = memfd_create("mem", 0), sock[2];
	off_t off = 100;
	char b[3000];

	ASSERT_LE(0, mem);
	ASSERT_TRUE(put(mem, 1, 0, 20000));
	EXPECT_EQ(PG, lseek(self->fd, PG, SEEK_SET));
	EXPECT_EQ(15000, sendfile(self->fd, mem, &(off_t){ PG }, 15000));
	EXPECT_TRUE(got(self->fd, 1, PG, 15000));
	EXPECT_EQ(PG + 15000, lseek(self->fd, 0, SEEK_CUR));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	off = PG + 5;
	EXPECT_EQ(3000, sendfile(sock[0], self->fd, &off, 3000));
	EXPECT_EQ(3000, recv(sock[1], b, 3000, MSG_WAITALL));
	EXPECT_TRUE(is_pattern(b, 1, PG + 5, 3000));
	close(sock[0]);
	close(sock[1]);
	close(mem);
}

TEST_F(file, is_a_buffer_for_io_on_another_file)
{
	int fd = open_in(self->s, "other", O_RDWR | O_DIRECT);
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char *p = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE,
			   MAP_SHARED, 0);
	char b[PG];

	ASSERT_LE(0, fd);
	ASSERT_LE(0, mem);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_TRUE(put(self->fd, 1, 0, 2 * PG));
	EXPECT_EQ(2 * PG, pwrite(fd, p, 2 * PG, 0));
	EXPECT_TRUE(got(fd, 1, 0, 2 * PG));
	ASSERT_TRUE(put(fd, 2, 3 * PG, 2 * PG));
	EXPECT_EQ(2 * PG, pread(fd, p + 3 * PG, 2 * PG, 3 * PG));
	EXPECT_TRUE(got(self->fd, 2, 3 * PG, 2 * PG));
	/* and for a debugger */
	EXPECT_EQ(PG, pread(mem, b, PG, (uintptr_t)p + 3 * PG));
	EXPECT_TRUE(is_pattern(b, 2, 3 * PG, PG));
	pattern(b, 3, 3 * PG, PG);
	EXPECT_EQ(PG, pwrite(mem, b, PG, (uintptr_t)p + 3 * PG));
	EXPECT_TRUE(got(self->fd, 3, 3 * PG, PG));
	close(mem);
	munmap(p, 2 * MB);
	close(fd);
}

TEST_F(file, is_a_buffer_for_io_on_itself)
{
	char *p;

	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	ASSERT_TRUE(put(self->fd, 2, 2 * PG, PG));
	/* no page is mapped yet, so the copy itself takes the faults */
	p = mmap(NULL, 4 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(PG, pwrite(self->fd, p, PG, PG));
	EXPECT_EQ(0, memcmp(p, p + PG, PG));
	EXPECT_EQ(PG, pread(self->fd, p + 3 * PG, PG, 2 * PG));
	EXPECT_EQ(0, memcmp(p + 2 * PG, p + 3 * PG, PG));
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));
	EXPECT_TRUE(is_pattern(p + 2 * PG, 2, 2 * PG, PG));
	munmap(p, 4 * PG);
}

TEST_F(file, is_read_and_written_by_vectors)
{
	char *nowhere = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	char a[100], b[PG], c[1];
	struct iovec iov[] = {
		{ a, sizeof(a) }, { NULL, 0 }, { b, sizeof(b) }, { c, 1 },
	};
	size_t len = sizeof(a) + sizeof(b) + 1;

	ASSERT_NE(MAP_FAILED, nowhere);
	pattern(a, 1, PG - 50, sizeof(a));
	pattern(b, 1, PG + 50, sizeof(b));
	pattern(c, 1, 2 * PG + 50, 1);
	EXPECT_EQ(len, pwritev(self->fd, iov, 4, PG - 50));
	EXPECT_TRUE(got(self->fd, 1, PG - 50, len));
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	EXPECT_EQ(len, preadv(self->fd, iov, 4, PG - 50));
	EXPECT_TRUE(is_pattern(a, 1, PG - 50, sizeof(a)));
	EXPECT_TRUE(is_pattern(b, 1, PG + 50, sizeof(b)));
	EXPECT_EQ(len, pwritev2(self->fd, iov, 4, PG - 50, RWF_DSYNC));
	EXPECT_EQ(1, self->s->count[FUSE_FSYNC]);
	/* a read from DAX memory never blocks */
	errno = 0;
	EXPECT_EQ(variant->off ? len : -1,
		  preadv2(self->fd, iov, 4, 0, RWF_NOWAIT));
	EXPECT_EQ(variant->off ? 0 : EOPNOTSUPP, errno);
	/* a bad buffer after a good one */
	iov[2].iov_base = nowhere;
	EXPECT_EQ(sizeof(a), preadv(self->fd, iov, 4, PG - 50));
	EXPECT_EQ(-1, pread(self->fd, nowhere, 10, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(self->fd, nowhere, 10, 0));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(file, is_read_and_written_by_io_uring)
{
	char b[3 * PG], c[PG];
	struct iovec iov[2] = { { b, PG }, { c, PG } }, fixed;
	struct io_uring ring;
	int fd = self->fd, ret;
	char *p;

	ret = io_uring_queue_init(8, &ring, 0);
	if (ret < 0 && errno == ENOSYS)
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, ret);
	for (uint32_t flags = 0; flags <= IOSQE_ASYNC; flags += IOSQE_ASYNC) {
		pattern(b, flags, 100, sizeof(b));
		EXPECT_EQ(sizeof(b), ring_op(&ring, IORING_OP_WRITE, fd, b,
					     sizeof(b), 100, flags));
		EXPECT_TRUE(got(fd, flags, 100, sizeof(b)));
		memset(b, 0, sizeof(b));
		EXPECT_EQ(sizeof(b), ring_op(&ring, IORING_OP_READ, fd, b,
					     sizeof(b), 100, flags));
		EXPECT_TRUE(is_pattern(b, flags, 100, sizeof(b)));
		memset(b, 0, sizeof(b));
		EXPECT_EQ(2 * PG, ring_op(&ring, IORING_OP_READV, fd, iov, 2,
					  100, flags));
		EXPECT_TRUE(is_pattern(b, flags, 100, PG));
		EXPECT_TRUE(is_pattern(c, flags, 100 + PG, PG));
		EXPECT_EQ(2 * PG, ring_op(&ring, IORING_OP_WRITEV, fd, iov, 2,
					  PG + 100, flags));
		EXPECT_EQ(0, ring_op(&ring, IORING_OP_FSYNC, fd, NULL, 0, 0,
				     flags));
		/* across EOF and at EOF */
		ASSERT_TRUE(put(fd, 9, SIZE - 10, 10));
		EXPECT_EQ(10, ring_op(&ring, IORING_OP_READ, fd, b, PG,
				      SIZE - 10, flags));
		EXPECT_TRUE(is_pattern(b, 9, SIZE - 10, 10));
		EXPECT_EQ(0, ring_op(&ring, IORING_OP_READ, fd, b, PG, SIZE,
				     flags));
	}
	EXPECT_EQ(2, self->s->count[FUSE_FSYNC]);

	/* a registered buffer is a long-term pin, which file memory refuses */
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4 * PG);
	ASSERT_NE(MAP_FAILED, p);
	fixed = (struct iovec){ p, 2 * PG };
	ret = syscall(__NR_io_uring_register, ring.ring_fd,
		      IORING_REGISTER_BUFFERS, &fixed, 1);
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(variant->off ? EOPNOTSUPP : EFAULT, errno);
	munmap(p, 2 * PG);
	close(ring.ring_fd);
}

TEST_F(file, is_read_and_written_by_aio)
{
	char a[PG], b[PG], *c = aligned_alloc(PG, PG);
	struct iocb cb[4] = {}, *list[4] = { &cb[0], &cb[1], &cb[2], &cb[3] };
	struct io_event ev[4];
	aio_context_t ctx = 0;
	int fd = open_in(self->s, "f", O_RDWR | O_DIRECT);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, syscall(__NR_io_setup, 8, &ctx));
	pattern(a, 1, 50, PG);
	ASSERT_TRUE(put(self->fd, 2, 4 * PG, 2 * PG));
	for (int i = 0; i < 4; i++) {
		cb[i].aio_data = i;
		cb[i].aio_fildes = self->fd;
		cb[i].aio_nbytes = PG;
	}
	cb[0].aio_lio_opcode = IOCB_CMD_PWRITE;
	cb[0].aio_buf = (uintptr_t)a;
	cb[0].aio_offset = 50;
	cb[1].aio_lio_opcode = IOCB_CMD_PREAD;
	cb[1].aio_buf = (uintptr_t)b;
	cb[1].aio_offset = 4 * PG;
	cb[2].aio_lio_opcode = IOCB_CMD_PREAD;
	cb[2].aio_fildes = fd;
	cb[2].aio_buf = (uintptr_t)c;
	cb[2].aio_offset = 5 * PG;
	cb[3].aio_lio_opcode = IOCB_CMD_FSYNC;
	cb[3].aio_nbytes = 0;
	ASSERT_EQ(4, syscall(__NR_io_submit, ctx, 4, list));
	ASSERT_EQ(4, syscall(__NR_io_getevents, ctx, 4, 4, ev, NULL));
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(ev[i].data == 3 ? 0 : (long)PG, ev[i].res);
	EXPECT_TRUE(got(self->fd, 1, 50, PG));
	EXPECT_TRUE(is_pattern(b, 2, 4 * PG, PG));
	EXPECT_TRUE(is_pattern(c, 2, 5 * PG, PG));
	EXPECT_EQ(1, self->s->count[FUSE_FSYNC]);
	syscall(__NR_io_destroy, ctx);
	close(fd);
	free(c);
}

TEST_F(file, is_read_up_to_its_end)
{
	char b[2 * PG];

	ASSERT_TRUE(put(self->fd, 1, SIZE - PG, PG));
	EXPECT_EQ(PG, pread(self->fd, b, sizeof(b), SIZE - PG));
	EXPECT_TRUE(is_pattern(b, 1, SIZE - PG, PG));
	EXPECT_EQ(1, pread(self->fd, b, sizeof(b), SIZE - 1));
	EXPECT_EQ(0, pread(self->fd, b, sizeof(b), SIZE));
	EXPECT_EQ(0, pread(self->fd, b, sizeof(b), LEN));
	EXPECT_EQ(0, pread(self->fd, b, sizeof(b), LLONG_MAX - sizeof(b)));
	EXPECT_EQ(SIZE - 3, lseek(self->fd, -3, SEEK_END));
	EXPECT_EQ(3, read(self->fd, b, sizeof(b)));
	EXPECT_EQ(0, read(self->fd, b, sizeof(b)));
	EXPECT_EQ(SIZE, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(-1, lseek(self->fd, -1, SEEK_SET));
	EXPECT_EQ(EINVAL, errno);
}

struct handle {
	struct file_handle h;
	unsigned char bytes[MAX_HANDLE_SZ];
};

TEST_F(file, is_opened_by_its_handle)
{
	struct handle h = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mnt = open(self->s->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int mount_id, fd;

	ASSERT_LE(0, mnt);
	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	ASSERT_EQ(0, name_to_handle_at(AT_FDCWD, self->path, &h.h, &mount_id,
				       0));
	fd = open_by_handle_at(mnt, &h.h, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(got(fd, 1, 0, PG));
	EXPECT_TRUE(put(fd, 2, 0, PG));
	EXPECT_TRUE(got(self->fd, 2, 0, PG));
	EXPECT_EQ(1, self->n->nfmap);
	close(fd);
	/* after the kernel has forgotten the inode */
	close(self->fd);
	self->fd = -1;
	ASSERT_TRUE(forgotten(self->s, "f"));
	fd = open_by_handle_at(mnt, &h.h, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, self->n->nfmap);
	EXPECT_EQ(SIZE, size_of(fd));
	EXPECT_TRUE(got(fd, 2, 0, PG));
	EXPECT_TRUE(put(fd, 3, 0, PG));
	EXPECT_TRUE(got(fd, 3, 0, PG));
	close(fd);
	/* another generation is another file */
	h.bytes[8]++;
	EXPECT_EQ(-1, open_by_handle_at(mnt, &h.h, O_RDWR | O_CLOEXEC));
	EXPECT_EQ(ESTALE, errno);
	close(mnt);
}

TEST_F(file, cannot_be_frozen)
{
	int mnt = open(self->s->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ASSERT_LE(0, mnt);
	EXPECT_EQ(-1, ioctl(mnt, FIFREEZE, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_TRUE(put(self->fd, 1, 0, PG));
	close(mnt);
}

static int remount(struct raw_server *s, unsigned long flags)
{
	return mount(NULL, s->mnt, NULL,
		     MS_REMOUNT | MS_NOSUID | MS_NODEV | flags, NULL) ?
	       errno : 0;
}

TEST_F(file, keeps_its_mount_writable_while_open_for_writing)
{
	char *p;
	int fd;

	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	EXPECT_EQ(EBUSY, remount(self->s, MS_RDONLY));
	EXPECT_EQ(EBUSY, remount(self->s, MS_RDONLY | MS_BIND));
	p = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(EBUSY, remount(self->s, MS_RDONLY));
	munmap(p, PG);

	/* readers don't prevent the remount */
	fd = open_in(self->s, "f", O_RDONLY);
	ASSERT_LE(0, fd);
	p = mmap(NULL, 4 * PG, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, remount(self->s, MS_RDONLY));
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));
	EXPECT_EQ(0, signal_of(p + 3 * PG, false));
	EXPECT_TRUE(got(fd, 1, 0, PG));
	EXPECT_EQ(EROFS, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(-1, chmod(self->path, 0600));
	EXPECT_EQ(EROFS, errno);
	EXPECT_EQ(-1, truncate(self->path, 0));
	EXPECT_EQ(EROFS, errno);
	EXPECT_EQ(-1, mprotect(p, PG, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	munmap(p, 4 * PG);
	close(fd);
	ASSERT_EQ(0, remount(self->s, 0));
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_TRUE(put(self->fd, 2, 0, PG));
	EXPECT_TRUE(got(self->fd, 2, 0, PG));
}

TEST_F(file, keeps_its_mount_busy_while_open_or_mapped)
{
	char *p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED,
		       self->fd, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_TRUE(put(self->fd, 1, 0, 2 * PG));
	EXPECT_EQ(-EBUSY, rs_unmount(self->s));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(-EBUSY, rs_unmount(self->s));
	EXPECT_TRUE(is_pattern(p, 1, 0, 2 * PG));
	pattern(p, 2, 0, PG);
	munmap(p, 2 * PG);
	EXPECT_EQ(0, rs_unmount(self->s));
}

/* Where a mapped file and an ordinary one differ */

FIXTURE(both) {
	struct raw_server *s;
	struct rs_node *f, *plain;
	int fd, plain_fd;
	char *p;	/* mapping of @f, has pattern 1 */
};

FIXTURE_SETUP(both)
{
	const char *why = sandbox(1);

	self->fd = -1;
	self->plain_fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = semantics_server(1);
	ASSERT_NE(NULL, self->s);
	self->f = add_mapped(self->s, "f", 0, OFF, SIZE);
	self->plain = rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	ASSERT_EQ(0, start_server(self->s));
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	self->plain_fd = open_in(self->s, "plain", O_RDWR);
	ASSERT_LE(0, self->plain_fd);
	ASSERT_EQ(0, ftruncate(self->plain_fd, SIZE));
	self->s->count[FUSE_SETATTR] = 0;
	notes->setattr_valid = 0;
	self->p = map_huge(self->fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
			   0);
	ASSERT_NE(MAP_FAILED, self->p);
	pattern(self->p, 1, 0, 4 * PG);
	pattern(self->p + SIZE - PG, 1, SIZE - PG, PG);
	ASSERT_TRUE(put(self->plain_fd, 2, 0, 4 * PG));
}

/* The data from the setup, and the size */
#define EXPECT_UNCHANGED()						\
	do {								\
		EXPECT_EQ(SIZE, size_of(self->fd));			\
		EXPECT_TRUE(got(self->fd, 1, 0, 4 * PG));		\
		EXPECT_TRUE(is_pattern(self->p, 1, 0, 4 * PG));		\
		EXPECT_TRUE(got(self->fd, 1, SIZE - PG, PG));		\
	} while (0)

FIXTURE_TEARDOWN(both)
{
	close(self->fd);
	close(self->plain_fd);
	rs_free(self->s);
}

TEST_F(both, differ_in_truncate)
{
	static const off_t sizes[] = { 0, 1, PG, SIZE - 1, SIZE + 1, LEN };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-1, ftruncate(self->fd, sizes[i]));
		EXPECT_EQ(EOPNOTSUPP, errno);
		EXPECT_EQ(-1, truncate(path, sizes[i]));
		EXPECT_EQ(EOPNOTSUPP, errno);
	}
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, "f", O_WRONLY | O_TRUNC));
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, "f",
				       O_WRONLY | O_TRUNC | O_CREAT));
	EXPECT_EQ(0, self->s->count[FUSE_SETATTR]);
	/* the current size is allowed */
	EXPECT_EQ(0, ftruncate(self->fd, SIZE));
	EXPECT_EQ(0, truncate(path, SIZE));
	EXPECT_EQ(0, notes->setattr_valid & FATTR_SIZE);
	EXPECT_UNCHANGED();

	EXPECT_EQ(0, ftruncate(self->plain_fd, PG));
	EXPECT_EQ(PG, size_of(self->plain_fd));
	EXPECT_NE(0, notes->setattr_valid & FATTR_SIZE);
	EXPECT_EQ(0, try_open(self->s, "plain", O_WRONLY | O_TRUNC));
	EXPECT_EQ(0, size_of(self->plain_fd));
}

TEST_F(both, differ_in_fallocate)
{
	static const int modes[] = {
		0,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_INSERT_RANGE,
		FALLOC_FL_UNSHARE_RANGE,
		FALLOC_FL_WRITE_ZEROES,
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		EXPECT_EQ(-1, fallocate(self->fd, modes[i], 0, 2 * MB)) {
			TH_LOG("mode %#x", modes[i]);
		}
		EXPECT_EQ(EOPNOTSUPP, errno);
		EXPECT_EQ(-1, fallocate(self->fd, modes[i], SIZE, PG));
		EXPECT_EQ(EOPNOTSUPP, errno);
	}
	/* madvise() punches a hole as well */
	EXPECT_EQ(-1, madvise(self->p, 2 * MB, MADV_REMOVE));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, self->s->count[FUSE_FALLOCATE]);
	EXPECT_UNCHANGED();

	for (int i = 0; i < 5; i++)
		EXPECT_EQ(0, fallocate(self->plain_fd, modes[i], 0, PG));
	EXPECT_EQ(5, self->s->count[FUSE_FALLOCATE]);
}

TEST_F(both, differ_in_copy_file_range)
{
	loff_t in = PG, out = 0;
	int g;

	EXPECT_EQ(-1, copy_file_range(self->plain_fd, NULL, self->fd, NULL, PG,
				      0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, copy_file_range(self->fd, &in, self->fd, &out, PG, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(PG, in);
	EXPECT_EQ(0, out);
	add_mapped(self->s, "g", 0, 32 * MB, MB);
	g = open_in(self->s, "g", O_RDWR);
	ASSERT_LE(0, g);
	EXPECT_EQ(-1, copy_file_range(self->fd, NULL, g, NULL, PG, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	close(g);
	EXPECT_EQ(-1, ioctl(self->fd, FICLONE, self->plain_fd));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_UNCHANGED();

	/* copying out works, and needs no request to the server */
	pattern(self->p + PG, 3, PG, PG);
	EXPECT_EQ(PG, copy_file_range(self->fd, &in, self->plain_fd, &in, PG,
				      0));
	EXPECT_EQ(2 * PG, in);
	EXPECT_TRUE(got(self->plain_fd, 2, 0, PG));
	EXPECT_TRUE(got(self->plain_fd, 3, PG, PG));
	EXPECT_TRUE(got(self->plain_fd, 2, 2 * PG, PG));
	in = SIZE - 100;
	EXPECT_EQ(100, copy_file_range(self->fd, &in, self->plain_fd, &in, PG,
				       0));
	EXPECT_TRUE(got(self->plain_fd, 1, SIZE - 100, 100));
	EXPECT_EQ(0, copy_file_range(self->fd, &in, self->plain_fd, &in, PG,
				     0));
	EXPECT_EQ(0, self->s->count[FUSE_COPY_FILE_RANGE]);
	EXPECT_EQ(0, self->s->count[FUSE_COPY_FILE_RANGE_64]);

	/* for ordinary files the kernel asks the server, which can't copy */
	in = 0;
	out = 8 * PG;
	EXPECT_EQ(PG, copy_file_range(self->plain_fd, &in, self->plain_fd,
				      &out, PG, 0));
	EXPECT_NE(0, self->s->count[FUSE_COPY_FILE_RANGE] +
		     self->s->count[FUSE_COPY_FILE_RANGE_64]);
}

TEST_F(both, differ_in_writes_at_the_end)
{
	char b[2 * PG] = "";
	struct iovec iov[2] = { { b, 60 }, { b, 100 } };
	int fd, pipefd[2], mem = memfd_create("mem", 0);
	struct io_uring ring;

	ASSERT_LE(0, mem);
	ASSERT_EQ(0, ftruncate(mem, MB));
	ASSERT_EQ(0, pipe(pipefd));
	for (int o_direct = 0; o_direct <= O_DIRECT; o_direct += O_DIRECT) {
		fd = open_in(self->s, "f", O_RDWR | o_direct);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-1, pwrite(fd, b, 1, SIZE));
		EXPECT_EQ(EOPNOTSUPP, errno);
		EXPECT_EQ(-1, pwrite(fd, b, PG, LEN));
		EXPECT_EQ(EOPNOTSUPP, errno);
		EXPECT_EQ(-1, pwrite(fd, b, 1, 1ULL << 50));
		EXPECT_EQ(EOPNOTSUPP, errno);
		EXPECT_EQ(0, pwrite(fd, b, 0, SIZE));
		EXPECT_UNCHANGED();
		EXPECT_EQ(100, pwrite(fd, self->p + SIZE - 100, 500,
				      SIZE - 100));
		EXPECT_UNCHANGED();
		close(fd);
	}
	/* the rest of the last page stays as it is */
	self->p[SIZE] = 'x';
	EXPECT_EQ(10, pwrite(self->fd, self->p + SIZE - 10, 500, SIZE - 10));
	EXPECT_EQ('x', self->p[SIZE]);
	/* the cut is in the second vector */
	EXPECT_EQ(100, pwritev(self->fd, iov, 2, SIZE - 100));
	pattern(self->p + SIZE - PG, 1, SIZE - PG, PG);
	EXPECT_EQ(-1, pwritev2(self->fd, iov, 2, 0, RWF_APPEND));
	EXPECT_EQ(EOPNOTSUPP, errno);
	/* the same by splice, sendfile, write and io_uring */
	ASSERT_EQ(PG, write(pipefd[1], b, PG));
	EXPECT_EQ(-1, splice(pipefd[0], NULL, self->fd, &(loff_t){ SIZE }, PG,
			     0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	ASSERT_EQ(SIZE, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(-1, sendfile(self->fd, mem, &(off_t){ 0 }, PG));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, write(self->fd, b, 1));
	EXPECT_EQ(EOPNOTSUPP, errno);
	if (!io_uring_queue_init(8, &ring, 0)) {
		EXPECT_EQ(-EOPNOTSUPP, ring_op(&ring, IORING_OP_WRITE,
					       self->fd, b, 1, SIZE, 0));
		EXPECT_EQ(10, ring_op(&ring, IORING_OP_WRITE, self->fd,
				      self->p + SIZE - 10, PG, SIZE - 10, 0));
		EXPECT_EQ(-EOPNOTSUPP, ring_op(&ring, IORING_OP_FTRUNCATE,
					       self->fd, NULL, 0, 0, 0));
		EXPECT_EQ(-EOPNOTSUPP, ring_op(&ring, IORING_OP_FALLOCATE,
					       self->fd, (void *)PG, 0, 0, 0));
		close(ring.ring_fd);
	}
	EXPECT_UNCHANGED();
	EXPECT_EQ(SIGBUS, signal_of(mmap(NULL, PG, PROT_WRITE, MAP_SHARED,
					 self->fd, LEN), true));
	EXPECT_EQ(0, notes->setattr_valid & FATTR_SIZE);
	close(pipefd[0]);
	close(pipefd[1]);
	close(mem);

	/* an ordinary file can shrink and grow */
	ASSERT_EQ(0, ftruncate(self->plain_fd, PG));
	EXPECT_EQ(PG, pwrite(self->plain_fd, b, PG, PG - 10));
	EXPECT_EQ(2 * PG - 10, size_of(self->plain_fd));
}

TEST_F(both, differ_in_MAP_SYNC)
{
	char *p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE,
		       MAP_SHARED_VALIDATE | MAP_SYNC, self->fd, 0);

	ASSERT_NE(MAP_FAILED, p) {
		TH_LOG("%s", strerror(errno));
	}
	EXPECT_TRUE(is_pattern(p, 1, 0, 2 * PG));
	pattern(p, 3, 0, 2 * PG);
	EXPECT_TRUE(got(self->fd, 3, 0, 2 * PG));
	munmap(p, 2 * PG);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ | PROT_WRITE,
				   MAP_SHARED_VALIDATE | MAP_SYNC,
				   self->plain_fd, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	/* an unknown flag */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ | PROT_WRITE,
				   MAP_SHARED_VALIDATE | 0x800000, self->fd,
				   0));
	EXPECT_EQ(EOPNOTSUPP, errno);
}

TEST_F(both, differ_in_SEEK_DATA_and_SEEK_HOLE)
{
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_DATA));
	EXPECT_EQ(SIZE - 1, lseek(self->fd, SIZE - 1, SEEK_DATA));
	EXPECT_EQ(SIZE - 1, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(SIZE, lseek(self->fd, 0, SEEK_HOLE));
	EXPECT_EQ(SIZE, lseek(self->fd, SIZE - 1, SEEK_HOLE));
	EXPECT_EQ(SIZE, lseek(self->fd, 0, SEEK_CUR));
	for (off_t at = SIZE; at < (off_t)(SIZE + 2 * PG); at += PG) {
		EXPECT_EQ(-1, lseek(self->fd, at, SEEK_DATA));
		EXPECT_EQ(ENXIO, errno);
		EXPECT_EQ(-1, lseek(self->fd, at, SEEK_HOLE));
		EXPECT_EQ(ENXIO, errno);
	}
	EXPECT_EQ(-1, lseek(self->fd, -1, SEEK_DATA));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(SIZE, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(0, self->s->count[FUSE_LSEEK]);
	/* for an ordinary file the server answers */
	EXPECT_EQ(12345, lseek(self->plain_fd, 0, SEEK_DATA));
	EXPECT_EQ(1, self->s->count[FUSE_LSEEK]);
}

/* Make the kernel request the attributes again */
static int drop_attributes(struct raw_server *s, const struct rs_node *n)
{
	struct fuse_notify_inval_inode_out inval = {
		.ino = rs_ino(s, n), .off = -1,
	};

	return rs_reply(s, 0, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof(inval));
}

TEST_F(both, differ_in_SEEK_END)
{
	uint32_t *asked = &self->s->count[FUSE_GETATTR], before;

	ASSERT_EQ(0, drop_attributes(self->s, self->f));
	before = *asked;
	EXPECT_EQ(SIZE, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(SIZE + 10, lseek(self->fd, 10, SEEK_END));
	EXPECT_EQ(before, *asked);
	EXPECT_EQ(SIZE, size_of(self->fd));
	EXPECT_EQ(before + 1, *asked);
	ASSERT_EQ(0, drop_attributes(self->s, self->plain));
	self->plain->size = 4321;
	EXPECT_EQ(4321, lseek(self->plain_fd, 0, SEEK_END));
	EXPECT_EQ(before + 2, *asked);
}

TEST_F(both, differ_in_the_DAX_attribute)
{
	struct statx stx;

	ASSERT_EQ(0, statx(self->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS,
			   &stx));
	EXPECT_NE(0, stx.stx_attributes & STATX_ATTR_DAX);
	EXPECT_NE(0, stx.stx_attributes_mask & STATX_ATTR_DAX);
	EXPECT_EQ(SIZE, stx.stx_size);
	ASSERT_EQ(0, statx(self->plain_fd, "", AT_EMPTY_PATH,
			   STATX_BASIC_STATS, &stx));
	EXPECT_EQ(0, stx.stx_attributes & STATX_ATTR_DAX);
}

TEST_F(both, differ_in_page_cache_notifications)
{
	struct {
		struct fuse_notify_store_out out;
		char data[PG];
	} store = {
		.out = { .nodeid = rs_ino(self->s, self->f), .size = PG },
	};
	struct fuse_notify_inval_inode_out inval = {
		.ino = rs_ino(self->s, self->f), .len = -1,
	};
	struct fuse_notify_retrieve_out retrieve = {
		.notify_unique = 7, .nodeid = rs_ino(self->s, self->f),
		.size = PG,
	};
	volatile uint32_t *replies = &self->s->count[FUSE_NOTIFY_REPLY];
	char *p = map_huge(self->fd, 2 * MB, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE, 0);

	ASSERT_NE(MAP_FAILED, p);
	p[0] = 'x';
	pattern(store.data, 4, 0, PG);

	EXPECT_EQ(-EINVAL, rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store,
				    sizeof(store)));
	store.out.offset = LEN;
	EXPECT_EQ(-EINVAL, rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store,
				    sizeof(store)));
	EXPECT_UNCHANGED();
	/* the pages stay mapped */
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_INVAL_INODE, &inval,
			      sizeof(inval)));
	EXPECT_GE(2, faults_in(self->p, 4 * PG));
	EXPECT_EQ('x', p[0]);
	EXPECT_UNCHANGED();
	notes->retrieved = 4711;
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_RETRIEVE, &retrieve,
			      sizeof(retrieve)));
	/* the server counts a request before it calls the hook */
	for (int i = 0; i < 5000 && (*replies < 1 || notes->retrieved); i++)
		usleep(1000);
	EXPECT_EQ(1, *replies);
	EXPECT_EQ(0, notes->retrieved);
	EXPECT_EQ(0, forget(self->s, "f"));
	EXPECT_UNCHANGED();
	munmap(p, 2 * MB);

	/* all of this works on the page cache of an ordinary file */
	store.out.offset = 0;
	store.out.nodeid = rs_ino(self->s, self->plain);
	retrieve.nodeid = store.out.nodeid;
	inval.ino = store.out.nodeid;
	EXPECT_TRUE(got(self->plain_fd, 2, 0, PG));
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store,
			      sizeof(store)));
	EXPECT_TRUE(got(self->plain_fd, 4, 0, PG));
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_RETRIEVE, &retrieve,
			      sizeof(retrieve)));
	for (int i = 0; i < 5000 && *replies < 2; i++)
		usleep(1000);
	EXPECT_EQ(PG, notes->retrieved);
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_INVAL_INODE, &inval,
			      sizeof(inval)));
	EXPECT_TRUE(got(self->plain_fd, 2, 0, PG));
}

TEST_F(both, differ_in_a_wrong_size_from_the_server)
{
	notes->setattr_size = 100;
	EXPECT_EQ(0, fchmod(self->fd, 0600));
	EXPECT_UNCHANGED();
	EXPECT_EQ(0, fchmod(self->plain_fd, 0600));
	EXPECT_EQ(100, size_of(self->plain_fd));
	notes->setattr_size = 1ULL << 40;
	EXPECT_EQ(0, fchmod(self->fd, 0644));
	EXPECT_UNCHANGED();
	EXPECT_EQ(SIGBUS, signal_of(mmap(NULL, PG, PROT_READ, MAP_SHARED,
					 self->fd, LEN), false));
}

TEST_F(both, differ_in_keeping_a_device_range_after_unlink)
{
	char path[PATH_MAX];

	/* the same range of the device for another file */
	add_mapped(self->s, "heir", 0, OFF, SIZE);
	EXPECT_EQ(EIO, try_open(self->s, "heir", O_RDONLY));
	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	ASSERT_EQ(0, unlink(path));
	EXPECT_EQ(EIO, try_open(self->s, "heir", O_RDONLY));
	close(self->fd);
	EXPECT_EQ(EIO, try_open(self->s, "heir", O_RDONLY));
	EXPECT_TRUE(is_pattern(self->p, 1, 0, 4 * PG));
	munmap(self->p, LEN);
	for (int i = 0; i < 5000 && !self->s->count[FUSE_FORGET]; i++)
		usleep(1000);
	self->fd = open_in(self->s, "heir", O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_TRUE(got(self->fd, 1, 0, 4 * PG));
}

/* Every way to sync a mapped file works without a server */
#define EXPECT_SYNCED_WITHOUT_SERVER()					\
	do {								\
		self->p[0] = 'x';					\
		EXPECT_EQ(0, msync(self->p, MB, MS_SYNC));		\
		EXPECT_EQ(0, msync(self->p, MB, MS_ASYNC));		\
		EXPECT_EQ(0, fsync(self->fd));				\
		EXPECT_EQ(0, fdatasync(self->fd));			\
		EXPECT_TRUE(put(sync_fd, 3, PG, 10000));		\
		EXPECT_TRUE(put(dsync_fd, 3, PG + 10000, 10000));	\
		EXPECT_TRUE(got(self->fd, 3, PG, 20000));		\
		EXPECT_EQ(-1, fsync(self->plain_fd));			\
	} while (0)

TEST_F(both, differ_in_fsync_after_the_server_was_killed)
{
	int sync_fd = open_in(self->s, "f", O_RDWR | O_SYNC);
	int dsync_fd = open_in(self->s, "f", O_RDWR | O_DSYNC);

	ASSERT_LE(0, sync_fd);
	ASSERT_LE(0, dsync_fd);
	rs_kill(self->s);
	EXPECT_SYNCED_WITHOUT_SERVER();
	EXPECT_EQ(ENOTCONN, errno);
	close(sync_fd);
	close(dsync_fd);
}

TEST_F(both, differ_in_fsync_after_the_connection_was_aborted)
{
	int sync_fd = open_in(self->s, "f", O_RDWR | O_SYNC);
	int dsync_fd = open_in(self->s, "f", O_RDWR | O_DSYNC);
	char path[80];
	struct stat st;

	ASSERT_LE(0, sync_fd);
	ASSERT_LE(0, dsync_fd);
	ASSERT_EQ(0, fstat(self->fd, &st));
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort",
		 minor(st.st_dev));
	ASSERT_EQ(0, write_file(path, "1"));
	EXPECT_SYNCED_WITHOUT_SERVER();
	close(sync_fd);
	close(dsync_fd);
}

TEST_F(both, differ_in_lseek_after_the_server_was_killed)
{
	ASSERT_EQ(0, drop_attributes(self->s, self->f));
	rs_kill(self->s);
	EXPECT_EQ(SIZE, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(7, lseek(self->fd, 7, SEEK_DATA));
	EXPECT_EQ(SIZE, lseek(self->fd, 7, SEEK_HOLE));
	EXPECT_EQ(-1, lseek(self->plain_fd, 7, SEEK_DATA));
	EXPECT_EQ(ENOTCONN, errno);
}

/* FIEMAP */

struct map_report {
	struct fiemap h;
	struct fiemap_extent e[64];
};

static int fiemap(int fd, uint64_t start, uint64_t len, uint32_t flags,
		  uint32_t room, struct map_report *r)
{
	memset(r, 0, sizeof(*r));
	r->h.fm_start = start;
	r->h.fm_length = len;
	r->h.fm_flags = flags;
	r->h.fm_extent_count = room;
	return ioctl(fd, FS_IOC_FIEMAP, r) ? errno : 0;
}

#define EXPECT_EXTENT(_e, _logical, _physical, _length)			\
	do {								\
		EXPECT_EQ(_logical, (_e).fe_logical);			\
		EXPECT_EQ(_physical, (_e).fe_physical);			\
		EXPECT_EQ(_length, (_e).fe_length);			\
	} while (0)

TEST_F(both, differ_in_FIEMAP)
{
	struct map_report r;
	struct rs_map m;
	int fd;

	EXPECT_EQ(EOPNOTSUPP, fiemap(self->plain_fd, 0, ~0ULL, 0, 64, &r));

	/* one extent; it ends at EOF or at the end of the last page */
	ASSERT_EQ(0, fiemap(self->fd, 0, ~0ULL, 0, 64, &r));
	ASSERT_EQ(1, r.h.fm_mapped_extents);
	EXPECT_EQ(0, r.e[0].fe_logical);
	EXPECT_EQ(OFF, r.e[0].fe_physical);
	EXPECT_LE(SIZE, r.e[0].fe_length);
	EXPECT_GE(LEN, r.e[0].fe_length);
	EXPECT_EQ(FIEMAP_EXTENT_LAST, r.e[0].fe_flags);

	rs_map_init(&m, FUSE_FMAP_EXTENTS, 9 * PG);
	rs_map_extent(&m, 0, 20 * MB, 3 * PG);
	rs_map_extent(&m, 0, 16 * MB, PG);
	rs_map_extent(&m, 0, 30 * MB, 5 * PG);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "three"), &m);
	fd = open_in(self->s, "three", O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fiemap(fd, 0, ~0ULL, FIEMAP_FLAG_SYNC, 64, &r));
	ASSERT_EQ(3, r.h.fm_mapped_extents);
	EXPECT_EXTENT(r.e[0], 0, 20 * MB, 3 * PG);
	EXPECT_EXTENT(r.e[1], 3 * PG, 16 * MB, PG);
	EXPECT_EXTENT(r.e[2], 4 * PG, 30 * MB, 5 * PG);
	EXPECT_EQ(0, r.e[0].fe_flags | r.e[1].fe_flags);
	EXPECT_EQ(FIEMAP_EXTENT_LAST, r.e[2].fe_flags);
	/* the number of extents only */
	ASSERT_EQ(0, fiemap(fd, 0, ~0ULL, 0, 0, &r));
	EXPECT_EQ(3, r.h.fm_mapped_extents);
	EXPECT_EQ(0, r.e[0].fe_length);
	/* fewer slots than extents: the last one returned lacks the flag */
	ASSERT_EQ(0, fiemap(fd, 0, ~0ULL, 0, 2, &r));
	ASSERT_EQ(2, r.h.fm_mapped_extents);
	EXPECT_EXTENT(r.e[1], 3 * PG, 16 * MB, PG);
	EXPECT_EQ(0, r.e[1].fe_flags);
	/* a range with one extent, and an empty one */
	ASSERT_EQ(0, fiemap(fd, 3 * PG, PG, 0, 64, &r));
	ASSERT_EQ(1, r.h.fm_mapped_extents);
	EXPECT_EXTENT(r.e[0], 3 * PG, 16 * MB, PG);
	/* the flag may mark the last extent of the range */
	EXPECT_EQ(0, r.e[0].fe_flags & ~FIEMAP_EXTENT_LAST);
	ASSERT_EQ(0, fiemap(fd, 9 * PG, PG, 0, 64, &r));
	EXPECT_EQ(0, r.h.fm_mapped_extents);
	EXPECT_EQ(EBADR, fiemap(fd, 0, ~0ULL, FIEMAP_FLAG_XATTR, 64, &r));
	close(fd);
}

TEST_F(both, differ_in_FIEMAP_of_a_stripe_set)
{
	struct map_report r;
	struct rs_map m;
	int fd;

	rs_map_init(&m, FUSE_FMAP_STRIPED, 5 * 2 * PG);
	rs_map_stripe(&m, 2, 2 * PG, 5 * 2 * PG);
	rs_map_strip(&m, 0, 20 * MB, 6 * PG);
	rs_map_strip(&m, 0, 30 * MB, 4 * PG);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "set"), &m);
	fd = open_in(self->s, "set", O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fiemap(fd, 0, ~0ULL, 0, 64, &r));
	ASSERT_EQ(5, r.h.fm_mapped_extents);
	for (uint64_t i = 0; i < 5; i++) {
		EXPECT_EXTENT(r.e[i], i * 2 * PG,
			      (i % 2 ? 30 : 20) * MB + i / 2 * 2 * PG, 2 * PG);
		EXPECT_EQ(i == 4 ? FIEMAP_EXTENT_LAST : 0, r.e[i].fe_flags);
	}
	close(fd);
}

/* The open flags of the server */

FIXTURE(open_flags) {
	struct raw_server *s;
	struct rs_node *f, *plain;
};

FIXTURE_VARIANT(open_flags) {
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(open_flags, direct_io) {
	.flags = FOPEN_DIRECT_IO,
};

FIXTURE_VARIANT_ADD(open_flags, keep_cache) {
	.flags = FOPEN_KEEP_CACHE,
};

FIXTURE_VARIANT_ADD(open_flags, cache_dir) {
	.flags = FOPEN_CACHE_DIR,
};

FIXTURE_VARIANT_ADD(open_flags, noflush) {
	.flags = FOPEN_NOFLUSH,
};

FIXTURE_VARIANT_ADD(open_flags, parallel_direct_writes) {
	.flags = FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_DIRECT_IO,
};

FIXTURE_VARIANT_ADD(open_flags, unknown) {
	.flags = ~((FOPEN_PASSTHROUGH << 1) - 1),
};

FIXTURE_SETUP(open_flags)
{
	const char *why = sandbox(1);

	if (why)
		SKIP(return, "%s", why);
	self->s = semantics_server(1);
	ASSERT_NE(NULL, self->s);
	self->f = add_mapped(self->s, "f", 0, OFF, SIZE);
	self->plain = rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	self->s->open_flags = variant->flags;
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(open_flags)
{
	rs_free(self->s);
}

TEST_F(open_flags, do_not_matter_to_a_mapped_file)
{
	int fd = open_in(self->s, "f", O_RDWR);
	char *p, b[100];

	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 10, 9000));
	EXPECT_TRUE(got(fd, 1, 10, 9000));
	EXPECT_EQ(1000, lseek(fd, 1000, SEEK_SET));
	EXPECT_EQ(100, read(fd, b, 100));
	EXPECT_TRUE(is_pattern(b, 1, 1000, 100));
	EXPECT_EQ(1100, lseek(fd, 0, SEEK_CUR));
	p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p + 10, 1, 10, 9000));
	/* a second open with other flags */
	self->s->open_flags = 0;
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_TRUE(got(fd, 1, 10, 9000));
	EXPECT_EQ(-1, ftruncate(fd, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	munmap(p, MB);
	EXPECT_EQ(0, close(fd));
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
}

TEST_F(open_flags, matter_to_an_ordinary_file)
{
	bool cached = !(variant->flags & FOPEN_DIRECT_IO);
	int fd = open_in(self->s, "plain", O_RDWR);
	char b[200];

	ASSERT_LE(0, fd);
	pattern(b, 1, 0, 200);
	ASSERT_EQ(200, write(fd, b, 200));
	EXPECT_EQ(0, lseek(fd, 0, SEEK_SET));
	EXPECT_TRUE(got(fd, 1, 0, 100));
	EXPECT_TRUE(got(fd, 1, 100, 100));
	/* from the cache, or each time from the server */
	EXPECT_EQ(cached ? 1 : 2, self->s->count[FUSE_READ]);
	close(fd);
	EXPECT_EQ(variant->flags & FOPEN_NOFLUSH ? 0 : 1,
		  self->s->count[FUSE_FLUSH]);
}

/* Tests that configure the server before it starts */

FIXTURE(own) {
	struct raw_server *s;
};

FIXTURE_SETUP(own)
{
	const char *why = sandbox(1);

	if (why)
		SKIP(return, "%s", why);
	self->s = semantics_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(own)
{
	rs_free(self->s);
}

TEST_F(own, a_write_clears_setuid_even_if_the_server_offers_to)
{
	static const uint64_t want[] = {
		FUSE_HANDLE_KILLPRIV, FUSE_HANDLE_KILLPRIV_V2
	};

	for (int i = 0; i < 2; i++) {
		struct raw_server *s = semantics_server(1);
		struct rs_node *f;
		pid_t pid;
		int fd;

		ASSERT_NE(NULL, s);
		f = add_mapped(s, "f", 0, OFF, SIZE);
		f->mode = S_IFREG | 06777;
		s->want |= want[i];
		ASSERT_EQ(0, start_server(s));
		fd = open_in(s, "f", O_RDWR);
		ASSERT_LE(0, fd);
		pid = fork();
		if (!pid)
			_exit(setresgid(1000, 1000, 1000) ||
			      setresuid(1000, 1000, 1000) ||
			      !put(fd, 2, 0, 10));
		EXPECT_EQ(0, status_of(pid));
		EXPECT_EQ(S_IFREG | 0777, f->mode);
		EXPECT_TRUE(got(fd, 2, 0, 10));
		close(fd);
		rs_free(s);
	}
}

TEST_F(own, a_write_fails_if_the_server_does_not_clear_setuid)
{
	struct rs_node *f = add_mapped(self->s, "f", 0, OFF, SIZE);
	pid_t pid;
	int fd;

	f->mode = S_IFREG | 06777;
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(fd, 1, 0, 10));
	notes->setattr_err = EDQUOT;
	pid = fork();
	if (!pid)
		_exit(setresgid(1000, 1000, 1000) ||
		      setresuid(1000, 1000, 1000) ||
		      pwrite(fd, "x", 1, 0) != -1 || errno != EDQUOT);
	EXPECT_EQ(0, status_of(pid));
	EXPECT_TRUE(got(fd, 1, 0, 10));
	close(fd);
}

/* In the server process: whether files have capabilities */
static bool has_caps;

static int serve_caps(struct raw_server *s, const struct fuse_in_header *ih,
		      const void *arg)
{
	const struct fuse_getxattr_in *get = arg;
	struct fuse_getxattr_out size = { .size = 20 };
	static const char caps[20] = { 0, 0, 0, 2, 0, 4 };

	switch (ih->opcode) {
	case FUSE_GETXATTR:
		if (!has_caps || strcmp(arg + sizeof(*get), "security.capability"))
			return -ENODATA;
		rs_reply(s, ih->unique, 0, get->size ? (void *)caps : &size,
			 get->size ? sizeof(caps) : sizeof(size));
		return 1;
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
		has_caps = ih->opcode == FUSE_SETXATTR;
		rs_reply(s, ih->unique, 0, NULL, 0);
		return 1;
	}
	return 0;
}

TEST_F(own, a_write_removes_file_capabilities)
{
	static const char caps[20] = { 0, 0, 0, 2, 0, 4 };
	struct raw_server *s = self->s;
	uint32_t asked;
	char path[PATH_MAX];
	int fd;

	add_mapped(s, "f", 0, OFF, SIZE);
	has_caps = true;
	s->hook = serve_caps;
	ASSERT_EQ(0, start_server(s));
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 0, 10));
	EXPECT_EQ(1, s->count[FUSE_REMOVEXATTR]);
	close(fd);

	/* the kernel knows that the file has none, and doesn't ask again */
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	asked = s->count[FUSE_GETXATTR];
	EXPECT_TRUE(put(fd, 1, 0, 10));
	EXPECT_EQ(asked, s->count[FUSE_GETXATTR]);
	/* until the file gets capabilities again */
	snprintf(path, sizeof(path), "%s/f", s->mnt);
	ASSERT_EQ(0, setxattr(path, "security.capability", caps, sizeof(caps),
			      0));
	EXPECT_TRUE(put(fd, 1, 0, 10));
	EXPECT_EQ(2, s->count[FUSE_REMOVEXATTR]);
	EXPECT_EQ(0, s->count[FUSE_WRITE]);
	close(fd);
}

TEST_F(own, FOPEN_NONSEEKABLE_and_FOPEN_STREAM_disable_seeking)
{
	static const uint32_t flags[] = { FOPEN_NONSEEKABLE, FOPEN_STREAM };
	char b[100] = {};

	add_mapped(self->s, "f", 0, OFF, SIZE);
	ASSERT_EQ(0, start_server(self->s));
	for (int i = 0; i < 2; i++) {
		int fd;

		self->s->open_flags = flags[i];
		fd = open_in(self->s, "f", O_RDWR);
		ASSERT_LE(0, fd);
		EXPECT_EQ(100, write(fd, b, 100));
		EXPECT_EQ(100, read(fd, b, 100));
		EXPECT_EQ(-1, pread(fd, b, 100, 0));
		EXPECT_EQ(ESPIPE, errno);
		EXPECT_EQ(-1, lseek(fd, 0, SEEK_SET));
		EXPECT_EQ(ESPIPE, errno);
		close(fd);
	}
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
}

TEST_F(own, truncate_of_an_unopened_file_fetches_its_map_first)
{
	struct rs_node *f = add_mapped(self->s, "f", 0, OFF, SIZE);
	struct rs_node *plain = rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	char path[PATH_MAX];

	/* the server reports another size */
	f->size = 0;
	ASSERT_EQ(0, start_server(self->s));
	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	EXPECT_EQ(-1, truncate(path, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, truncate(path, SIZE));
	EXPECT_EQ(1, f->nfmap);
	EXPECT_EQ(0, f->nopen);
	snprintf(path, sizeof(path), "%s/plain", self->s->mnt);
	EXPECT_EQ(0, truncate(path, 1000));
	EXPECT_EQ(1000, plain->size);
	EXPECT_EQ(1, plain->nfmap);
}

TEST_F(own, O_TRUNC_of_an_empty_mapped_file_changes_nothing)
{
	struct rs_map m;
	int fd;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, 0);
	rs_map_extent(&m, 0, OFF, PG);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR | O_TRUNC));
	fd = open_in(self->s, "f", O_RDWR | O_TRUNC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, size_of(fd));
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, read(fd, &m, 1));
	EXPECT_EQ(SIGBUS, signal_of(mmap(NULL, PG, PROT_READ, MAP_SHARED, fd,
					 0), false));
	close(fd);
}

TEST_F(own, a_file_can_have_a_map_from_its_creation)
{
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	notes->created_map = true;
	fd = open_in(self->s, "new", O_RDWR | O_CREAT | O_EXCL | O_TRUNC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(MB, size_of(fd));
	EXPECT_TRUE(put(fd, 1, 0, 10000));
	EXPECT_TRUE(got(fd, 1, 0, 10000));
	EXPECT_EQ(-1, ftruncate(fd, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
	close(fd);
}

TEST_F(own, what_was_stored_before_the_first_open_is_dropped)
{
	struct rs_node *f = add_mapped(self->s, "f", 0, OFF, SIZE);
	struct {
		struct fuse_notify_store_out out;
		char data[2 * PG];
	} store = {
		.out = { .nodeid = rs_ino(self->s, f), .size = 2 * PG,
			 .offset = 8 * MB },
	};
	char path[PATH_MAX];
	struct stat st;
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(fd, 1, 0, 2 * PG));
	close(fd);
	ASSERT_TRUE(forgotten(self->s, "f"));

	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store,
			      sizeof(store)));
	store.out.offset = 0;
	EXPECT_EQ(0, rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store,
			      sizeof(store)));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, f->nfmap);
	EXPECT_EQ(SIZE, size_of(fd));
	EXPECT_TRUE(got(fd, 1, 0, 2 * PG));
	close(fd);
}

TEST_F(own, a_new_mtime_does_not_invalidate_a_mapped_file)
{
	struct rs_node *f = add_mapped(self->s, "f", 0, OFF, SIZE);
	struct stat st;
	char *p, *q;
	int fd;

	self->s->want |= FUSE_AUTO_INVAL_DATA;
	self->s->valid = 0;
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	p = map_huge(fd, 2 * MB, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	ASSERT_NE(MAP_FAILED, p);
	q = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, q);
	pattern(p, 1, 0, 2 * PG);
	q[0] = 'x';
	for (int i = 1; i < 4; i++) {
		f->mtime = 1000 * i;
		f->size = 1000 * i;
		EXPECT_EQ(0, fstat(fd, &st));
		EXPECT_EQ(1000 * i, st.st_mtime);
		EXPECT_EQ(SIZE, st.st_size);
		EXPECT_GE(2, faults_in(p, 2 * PG));
		EXPECT_TRUE(is_pattern(p, 1, 0, 2 * PG));
		EXPECT_EQ('x', q[0]);
	}
	close(fd);
}

TEST_F(own, a_mapped_file_has_no_writeback)
{
	uint32_t *count = self->s->count;
	char *p;
	int fd, plain;

	add_mapped(self->s, "f", 0, OFF, SIZE);
	rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	self->s->want |= FUSE_WRITEBACK_CACHE;
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 0, 3 * PG));
	EXPECT_TRUE(got(fd, 1, 0, 3 * PG));
	p = mmap(NULL, 4 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	pattern(p, 2, 0, 4 * PG);
	EXPECT_EQ(-1, pwrite(fd, "x", 1, SIZE));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(0, msync(p, 4 * PG, MS_SYNC));
	EXPECT_EQ(SIZE, size_of(fd));
	EXPECT_TRUE(got(fd, 2, 0, 4 * PG));
	EXPECT_EQ(0, syncfs(fd));
	EXPECT_EQ(0, count[FUSE_READ] + count[FUSE_WRITE]);
	EXPECT_EQ(0, notes->setattr_valid & FATTR_SIZE);

	plain = open_in(self->s, "plain", O_RDWR);
	ASSERT_LE(0, plain);
	EXPECT_TRUE(put(plain, 1, 0, 100));
	EXPECT_EQ(0, count[FUSE_WRITE]);
	EXPECT_EQ(0, fsync(plain));
	EXPECT_EQ(1, count[FUSE_WRITE]);

	/* failing to send the new times to the server is not an error */
	rs_kill(self->s);
	EXPECT_TRUE(put(fd, 3, 0, PG));
	pattern(p + PG, 3, PG, PG);
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(0, msync(p, 4 * PG, MS_SYNC));
	EXPECT_TRUE(got(fd, 3, 0, 2 * PG));
	EXPECT_TRUE(put(plain, 3, 0, PG));
	EXPECT_EQ(-1, fsync(plain));
	munmap(p, 4 * PG);
	close(plain);
	close(fd);
}

/* More pages than the kernel scans before it reschedules */
TEST_F(own, many_dirty_pages_are_synced_without_writeback)
{
	size_t len = 5000 * PG;
	char *p;
	int fd;

	/* the device offset is unaligned, which rules out 2 MiB pages */
	add_mapped(self->s, "f", 0, OFF + PG, len);
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (int round = 1; round < 3; round++) {
		for (size_t i = 0; i < len; i += PG)
			p[i] = i / PG + round;
		EXPECT_EQ(0, msync(p, len, MS_SYNC));
		EXPECT_EQ(round, self->s->count[FUSE_FSYNC]);
	}
	for (size_t i = 0; i < len; i += PG)
		ASSERT_EQ((char)(i / PG + 2), p[i]);
	EXPECT_EQ(0, self->s->count[FUSE_WRITE]);
	munmap(p, len);
	close(fd);
}

/* Holds the lock of an inode most of the time */
struct busy_writer {
	int fd;
	bool stop;
};

static void *write_on(void *arg)
{
	struct busy_writer *w = arg;
	char *b = calloc(1, 2 * MB);

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE))
		pwrite(w->fd, b, 2 * MB, MB);
	free(b);
	return NULL;
}

TEST_F(own, RWF_NOWAIT_does_not_wait_for_another_writer)
{
	struct busy_writer w = {};
	char c = 'x';
	struct iovec iov = { &c, 1 };
	pthread_t thread;
	time_t end = time(NULL) + 20;
	bool read_refused = false, write_refused = false;
	int fd;

	add_mapped(self->s, "f", 0, OFF, SIZE);
	ASSERT_EQ(0, start_server(self->s));
	/* writes with RWF_NOWAIT need O_DIRECT */
	fd = w.fd = open_in(self->s, "f", O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(1, pwritev2(fd, &iov, 1, 0, RWF_NOWAIT));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_on, &w));
	while (!(read_refused && write_refused) && time(NULL) < end) {
		if (preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN)
			read_refused = true;
		if (pwritev2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN)
			write_refused = true;
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	EXPECT_TRUE(read_refused);
	EXPECT_TRUE(write_refused);
	close(fd);
}

/* Returns an fd of a user namespace that maps one ID, or -1 */
static int user_namespace(uint32_t inside, uint32_t outside)
{
	int ready[2], fd = -1;
	char path[64], map[64], c;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		close(ready[0]);
		if (!unshare(CLONE_NEWUSER) && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &c, 1) == 1) {
		snprintf(map, sizeof(map), "%u %u 1", inside, outside);
		snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
		if (!write_file(path, map)) {
			snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
			write_file(path, map);
			snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
			fd = open(path, O_RDONLY | O_CLOEXEC);
		}
	}
	close(ready[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return fd;
}

/* Open, write and read the file as user @uid; returns 0 or errno */
static int open_as(uid_t uid, int dir, const char *name)
{
	pid_t pid = fork();
	int fd;

	if (!pid) {
		if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
			_exit(255);
		fd = openat(dir, name, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			_exit(errno);
		_exit(put(fd, uid, 0, PG) && got(fd, uid, 0, PG) ? 0 : 254);
	}
	return status_of(pid);
}

TEST_F(own, an_idmapped_mount_shows_the_same_bytes_to_other_users)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	struct rs_node *f[2];
	int tree, dir, userns;
	struct stat st;

	f[0] = add_mapped(self->s, "mapped", 0, OFF, SIZE);
	f[1] = rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	for (int i = 0; i < 2; i++) {
		f[i]->uid = 1000;
		f[i]->gid = 1000;
		f[i]->mode = S_IFREG | 0600;
	}
	self->s->want |= FUSE_ALLOW_IDMAP;
	self->s->default_permissions = true;
	ASSERT_EQ(0, start_server(self->s));
	ASSERT_EQ(0, chmod(self->s->mnt, 0755));
	userns = user_namespace(1000, 2000);
	if (userns < 0)
		SKIP(return, "no user namespaces");
	attr.userns_fd = userns;
	tree = open_tree(AT_FDCWD, self->s->mnt,
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	ASSERT_LE(0, tree);
	ASSERT_EQ(0, mount_setattr(tree, "", AT_EMPTY_PATH, &attr,
				   sizeof(attr)));
	dir = open(self->s->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, dir);
	for (int i = 0; i < 2; i++) {
		const char *name = f[i]->name;
		int fd;

		/* the first open is through the idmapped mount */
		ASSERT_EQ(0, fstatat(tree, name, &st, 0));
		EXPECT_EQ(2000, st.st_uid);
		EXPECT_EQ(0, open_as(2000, tree, name));
		EXPECT_EQ(EACCES, open_as(1000, tree, name));
		EXPECT_EQ(EACCES, open_as(2000, dir, name));
		fd = openat(dir, name, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		EXPECT_TRUE(got(fd, 2000, 0, PG));
		EXPECT_EQ(0, open_as(1000, dir, name));
		EXPECT_TRUE(got(fd, 1000, 0, PG));
		close(fd);
		EXPECT_EQ(1, f[i]->nfmap);
	}
	close(dir);
	close(tree);
	close(userns);
}

TEST_HARNESS_MAIN
