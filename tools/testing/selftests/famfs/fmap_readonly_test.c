// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: a device that the server opened read-only.
 *
 * No open, system call, mapping or debugger may write to its files.
 *
 * Needs root, /dev/fuse and two DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them.
 */
#include <sys/ptrace.h>

#include "fmap_test.h"

#define SIZE		(16 * MB)	/* of a file over two devices */
#define CHUNK		(2 * MB)
#define DEV_OFF		(8 * MB)

#define FOR_READING	(O_RDONLY | O_CLOEXEC)	/* rs_dev takes 0 for O_RDWR */

FIXTURE(readonly) {
	struct raw_server *s;
	int fd;
};

FIXTURE_VARIANT(readonly) {
	int other_flags;	/* of the open of the second device */
};

FIXTURE_VARIANT_ADD(readonly, device) {
	.other_flags = FOR_READING,
};

FIXTURE_VARIANT_ADD(readonly, device_beside_a_writable_one) {
	.other_flags = O_RDWR,
};

FIXTURE_SETUP(readonly)
{
	const char *why = sandbox(2);
	int fd;

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	add_striped(self->s, "f", DEV_OFF, CHUNK, SIZE);
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(fd, 1, 0, 4 * PG));
	ASSERT_TRUE(put(fd, 1, CHUNK - 4 * PG, 8 * PG));
	close(fd);
	ASSERT_EQ(0, rs_unmount(self->s));
	rs_free(self->s);

	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	add_striped(self->s, "f", DEV_OFF, CHUNK, SIZE);
	self->s->dev[0].oflags = FOR_READING;
	self->s->dev[1].oflags = variant->other_flags;
	ASSERT_EQ(0, start_server(self->s));
	self->fd = open_in(self->s, "f", O_RDONLY);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(readonly)
{
	close_and_clear(&self->fd);
	rs_free(self->s);
}

static bool unchanged(int fd)
{
	return got(fd, 1, 0, 4 * PG) && got(fd, 1, CHUNK - 4 * PG, 8 * PG);
}

TEST_F(readonly, serves_no_open_for_writing)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	EXPECT_EQ(EROFS, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(EROFS, try_open(self->s, "f", O_WRONLY));
	EXPECT_EQ(EROFS, try_open(self->s, "f", O_WRONLY | O_APPEND));
	EXPECT_NE(0, try_open(self->s, "f", O_RDWR | O_TRUNC));
	EXPECT_EQ(EROFS, try_open_at(AT_FDCWD, path));
	EXPECT_EQ(-1, pwrite(self->fd, "x", 1, 0));
	EXPECT_EQ(EBADF, errno);
	EXPECT_TRUE(unchanged(self->fd));
}

TEST_F(readonly, serves_a_writable_file_beside_it)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "other");
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, MB);
	rs_map_extent(&m, 1, 0, MB);
	rs_set_map(self->s, n, &m);
	EXPECT_EQ(variant->other_flags == O_RDWR ? 0 : EROFS,
		  try_open(self->s, "other", O_RDWR));
}

TEST_F(readonly, gives_no_page_that_can_be_written)
{
	size_t len = 8 * PG;
	int mem = memfd_create("source", 0);
	char *p, *page = calloc(1, PG);

	ASSERT_LE(0, mem);
	ASSERT_EQ(PG, pwrite(mem, page, PG, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, len, PROT_READ | PROT_WRITE,
				   MAP_SHARED, self->fd, 0));
	EXPECT_EQ(EACCES, errno);
	for (off_t off = 0; off <= CHUNK; off += CHUNK) {
		p = mmap(NULL, len, PROT_READ, MAP_SHARED, self->fd, off);
		ASSERT_NE(MAP_FAILED, p);
		EXPECT_TRUE(is_pattern(p, 1, off, 4 * PG));
		EXPECT_EQ(-1, mprotect(p, len, PROT_READ | PROT_WRITE));
		EXPECT_EQ(EACCES, errno);
		EXPECT_EQ(-1, madvise(p, len, MADV_POPULATE_WRITE));
		EXPECT_EQ(SIGSEGV, signal_of(p, true));
		/* the kernel can't write to it for the process either */
		EXPECT_EQ(-1, pread(mem, p, PG, 0));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_TRUE(unchanged(self->fd));
		munmap(p, len);
	}
	close(mem);
	free(page);
}

TEST_F(readonly, is_copied_by_a_private_mapping)
{
	for (off_t off = 0; off <= CHUNK; off += CHUNK) {
		char *p = mmap(NULL, 4 * PG, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE, self->fd, off);

		ASSERT_NE(MAP_FAILED, p);
		memset(p, 0, PG);		/* a write fault */
		EXPECT_TRUE(is_pattern(p + PG, 1, off + PG, PG));
		memset(p + PG, 0, PG);		/* after a read fault */
		EXPECT_EQ(0, p[PG + 1]);
		EXPECT_EQ(0, madvise(p, 4 * PG, MADV_POPULATE_WRITE));
		memset(p + 2 * PG, 0, PG);
		EXPECT_EQ(0, mprotect(p, PG, PROT_READ));
		EXPECT_EQ(0, mprotect(p, PG, PROT_READ | PROT_WRITE));
		memset(p, 1, PG);
		EXPECT_TRUE(unchanged(self->fd));
		munmap(p, 4 * PG);
	}
}

/* A debugger may write to memory that the process itself can't write to */
TEST_F(readonly, is_safe_from_debuggers)
{
	char *shared, *private, path[64];
	int mem, status;
	long word = -1;
	pid_t pid;

	shared = mmap(NULL, 4 * PG, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, shared);
	private = mmap(NULL, 4 * PG, PROT_READ, MAP_PRIVATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, private);

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* two of the four pages are present before they are written */
		bool ok = is_pattern(shared, 1, 0, 2 * PG) &&
			  is_pattern(private, 1, 0, 2 * PG);

		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		/* now the process has its own copies of the private pages */
		for (int i = 0; i < 4; i++)
			ok &= !memcmp(private + i * PG, &word, sizeof(word));
		_exit(ok ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	for (int i = 0; i < 4; i++) {
		uintptr_t at = i * PG;

		EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, shared + at, word));
		EXPECT_EQ(-1, pwrite(mem, &word, sizeof(word),
				     (uintptr_t)shared + at));
		if (i % 2) {
			EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, private + at,
					    word));
		} else {
			EXPECT_EQ(sizeof(word),
				  pwrite(mem, &word, sizeof(word),
					 (uintptr_t)private + at));
		}
	}
	close(mem);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	EXPECT_EQ(0, wait_soon(pid));
	EXPECT_TRUE(unchanged(self->fd));
	munmap(shared, 4 * PG);
	munmap(private, 4 * PG);
}

TEST_HARNESS_MAIN
