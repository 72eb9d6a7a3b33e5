// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: life without the server, privilege, and what an
 * administrator sees.
 *
 * A server is killed, stopped, aborted or unmounted, at rest and while it is
 * asked for a map: what is open goes on, what is not open yet gets an error,
 * and the devices are free once the last user is gone. A user of a mount can
 * neither write to a device that the server opened for reading, nor flood the
 * log, nor take memory that he is not charged for.
 *
 * Needs root, /dev/fuse, fusectl, tracefs, cgroup2 with the memory controller
 * and two DAX devices bound to the fsdev driver (CONFIG_DEV_DAX_FSDEV) of at
 * least 64 MiB each; overwrites them.
 */
#include <pthread.h>
#include <time.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "fmap_test.h"

#define CGROUP		"/sys/fs/cgroup"
#define TRACING		"/sys/kernel/tracing"
#define NOBODY		65534

#define SIZE		(16 * MB)	/* of a file over two devices */
#define CHUNK		(2 * MB)
#define DEV_OFF		(8 * MB)

#define FOR_READING	(O_RDONLY | O_CLOEXEC)	/* 0 is rs_dev's default */

static struct rs_node *add_striped(struct raw_server *s, const char *name,
				   uint64_t off)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_STRIPED, SIZE);
	rs_map_stripe(&m, 2, CHUNK, SIZE);
	rs_map_strip(&m, 0, off, SIZE / 2);
	rs_map_strip(&m, 1, off, SIZE / 2);
	rs_set_map(s, n, &m);
	return n;
}

/* @count extents of a page each, no two of which could be joined */
static struct rs_node *add_extents(struct raw_server *s, const char *name,
				   uint64_t off, int count)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, count * PG);
	while (count--)
		rs_map_extent(&m, 0, off + count * PG, PG);
	rs_set_map(s, n, &m);
	return n;
}

/* 0 if a new server can have the devices, else the error that it gets */
static int claim(void)
{
	struct raw_server *s = new_server(2);
	int ret = s ? start_server(s) : -ENOMEM;

	rs_free(s);
	return ret;
}

/* For what another process has to finish first */
static int claim_soon(void)
{
	int ret = claim();

	for (int i = 0; ret == -EBUSY && i < 50; i++) {
		usleep(20000);
		ret = claim();
	}
	return ret;
}

/* The status of a child that ends soon, or -1 */
static int wait_soon(pid_t pid)
{
	int status;

	for (int i = 0; i < 1000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(5000);
	}
	return -1;
}

/* Ways of a server to end. Each one returns 0 if it could be done. */

static int end_killed(struct raw_server *s, unsigned int conn)
{
	(void)conn;
	rs_kill(s);
	return 0;
}

#define PATIENCE	3	/* seconds that a stopped server is left alone */

static pthread_t watchdog;

static void *abort_late(void *conn)
{
	sleep(PATIENCE);
	abort_connection((uintptr_t)conn);
	return NULL;
}

/* Whoever waits for a stopped server can't always be killed: free it later */
static int end_stopped(struct raw_server *s, unsigned int conn)
{
	int status;

	if (kill(s->pid, SIGSTOP) ||
	    waitpid(s->pid, &status, WUNTRACED) != s->pid)
		return -1;
	return pthread_create(&watchdog, NULL, abort_late,
			      (void *)(uintptr_t)conn);
}

/* Whether nobody has waited for the stopped server; may be called once more */
static bool was_left_alone(void)
{
	void *how = PTHREAD_CANCELED;

	if (watchdog) {
		pthread_cancel(watchdog);
		pthread_join(watchdog, &how);
		watchdog = 0;
	}
	return how == PTHREAD_CANCELED;
}

static int end_aborted(struct raw_server *s, unsigned int conn)
{
	(void)s;
	return abort_connection(conn);
}

static int end_detached(struct raw_server *s, unsigned int conn)
{
	(void)conn;
	return umount2(s->mnt, MNT_DETACH);
}

/* What is in use stays mounted, without its server */
static int end_forced(struct raw_server *s, unsigned int conn)
{
	(void)conn;
	return umount2(s->mnt, MNT_FORCE) && errno == EBUSY ? 0 : -1;
}

static int end_forced_and_detached(struct raw_server *s, unsigned int conn)
{
	(void)conn;
	return umount2(s->mnt, MNT_FORCE | MNT_DETACH);
}

static int end_killed_and_detached(struct raw_server *s, unsigned int conn)
{
	(void)conn;
	rs_kill(s);
	return umount2(s->mnt, MNT_DETACH);
}

/* A server ends while its files are in use */

FIXTURE(server) {
	struct raw_server *s;
	unsigned int conn;
	int dir;
	int fd;
	int sync_fd;		/* the same file, O_DSYNC */
	int fresh;		/* another one, of which nothing is cached */
	char *p;		/* MAPPED bytes of the first one */
};

FIXTURE_VARIANT(server) {
	int (*end)(struct raw_server *s, unsigned int conn);
	int open_err;		/* of a new open; -1: it waits */
	bool alive;		/* there is still somebody to answer */
	bool detached;
};

FIXTURE_VARIANT_ADD(server, killed) {
	.end = end_killed, .open_err = ENOTCONN,
};

FIXTURE_VARIANT_ADD(server, stopped) {
	.end = end_stopped, .open_err = -1,
};

FIXTURE_VARIANT_ADD(server, aborted) {
	.end = end_aborted, .open_err = ENOTCONN,
};

FIXTURE_VARIANT_ADD(server, detached) {
	.end = end_detached, .alive = true, .detached = true,
};

FIXTURE_VARIANT_ADD(server, forced) {
	.end = end_forced, .open_err = ENOTCONN,
};

FIXTURE_VARIANT_ADD(server, forced_and_detached) {
	.end = end_forced_and_detached, .open_err = ENOTCONN, .detached = true,
};

FIXTURE_VARIANT_ADD(server, killed_and_detached) {
	.end = end_killed_and_detached, .open_err = ENOTCONN, .detached = true,
};

#define MAPPED		(6 * MB)

/* Has extended attributes, but none on any file */
static int no_xattr_here(struct raw_server *s, const struct fuse_in_header *ih,
			 const void *arg)
{
	(void)s;
	(void)arg;
	return ih->opcode == FUSE_GETXATTR ? -ENODATA : 0;
}

FIXTURE_SETUP(server)
{
	const char *why = sandbox(2);

	self->dir = -1;
	self->fd = -1;
	self->sync_fd = -1;
	self->fresh = -1;
	self->p = MAP_FAILED;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	add_striped(self->s, "f", DEV_OFF);
	add_striped(self->s, "fresh", DEV_OFF + SIZE);
	rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	self->s->hook = no_xattr_here;
	ASSERT_EQ(0, start_server(self->s));
	self->conn = connection_of(self->s);
	self->dir = open_in(self->s, "", O_PATH | O_DIRECTORY);
	ASSERT_LE(0, self->dir);
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	self->sync_fd = open_in(self->s, "f", O_RDWR | O_DSYNC);
	ASSERT_LE(0, self->sync_fd);
	self->s->valid = 0;
	self->fresh = open_in(self->s, "fresh", O_RDWR);
	ASSERT_LE(0, self->fresh);
	self->s->valid = 3600;
	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	ASSERT_TRUE(put(self->fd, 1, CHUNK - PG, 2 * PG));
	self->p = map_huge(self->fd, MAPPED, PROT_READ | PROT_WRITE,
			   MAP_SHARED, 0);
	ASSERT_NE(MAP_FAILED, self->p);
	ASSERT_TRUE(is_pattern(self->p, 1, 0, PG));
}

static void close_and_clear(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_files(FIXTURE_DATA(server) *self)
{
	close_and_clear(&self->dir);
	close_and_clear(&self->fd);
	close_and_clear(&self->sync_fd);
	close_and_clear(&self->fresh);
}

static void unmap(FIXTURE_DATA(server) *self)
{
	if (self->p != MAP_FAILED)
		munmap(self->p, MAPPED);
	self->p = MAP_FAILED;
}

FIXTURE_TEARDOWN(server)
{
	EXPECT_TRUE(was_left_alone()) {
		TH_LOG("a stopped server was waited for");
	}
	/* a close may wait for it as well */
	if (self->s)
		rs_kill(self->s);
	unmap(self);
	close_files(self);
	rs_free(self->s);
}

TEST_F_TIMEOUT(server, ends_and_open_files_are_read_and_written, 10)
{
	char b[100] = {};
	struct stat st;

	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
	EXPECT_TRUE(got(self->fd, 1, CHUNK - PG, 2 * PG));
	EXPECT_TRUE(put(self->fd, 2, 3 * CHUNK - 100, 200));
	EXPECT_TRUE(got(self->fd, 2, 3 * CHUNK - 100, 200));
	EXPECT_TRUE(is_pattern(self->p + 3 * CHUNK - 100, 2, 3 * CHUNK - 100,
			       100));
	EXPECT_EQ(50, pread(self->fd, b, 100, SIZE - 50));
	EXPECT_EQ(50, pwrite(self->fd, b, 100, SIZE - 50));
	EXPECT_EQ(0, pread(self->fd, b, 100, SIZE));
	EXPECT_EQ(-1, pwrite(self->fd, b, 100, SIZE));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(SIZE, st.st_size);
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
}

/* As fork(), but the child closes no file when it ends: that asks a server */
static pid_t fork_with_files(void)
{
	return syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

/* The server is not asked for attributes that a write might take away */
TEST_F_TIMEOUT(server, ends_and_the_first_write_to_a_file_asks_nobody, 10)
{
	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_TRUE(put(self->fresh, 3, PG, 100));
	EXPECT_TRUE(got(self->fresh, 3, PG, 100));
}

TEST_F_TIMEOUT(server, ends_and_a_position_asks_nobody, 10)
{
	uint32_t before = 0, after = 0;

	ASSERT_EQ(0, variant->end(self->s, self->conn));
	for (int i = 0; i < RS_NOPCODES; i++)
		before += self->s->count[i];
	EXPECT_EQ(SIZE, lseek(self->fresh, 0, SEEK_END));
	EXPECT_EQ(7, lseek(self->fresh, 7, SEEK_SET));
	EXPECT_EQ(17, lseek(self->fresh, 10, SEEK_CUR));
	EXPECT_EQ(CHUNK + 1, lseek(self->fresh, CHUNK + 1, SEEK_DATA));
	EXPECT_EQ(SIZE, lseek(self->fresh, CHUNK + 1, SEEK_HOLE));
	EXPECT_EQ(-1, lseek(self->fresh, SIZE, SEEK_DATA));
	EXPECT_EQ(ENXIO, errno);
	for (int i = 0; i < RS_NOPCODES; i++)
		after += self->s->count[i];
	EXPECT_EQ(before, after);
}

TEST_F_TIMEOUT(server, ends_and_data_are_still_synced, 10)
{
	pid_t pid;

	ASSERT_EQ(0, variant->end(self->s, self->conn));
	if (variant->open_err < 0) {
		/* it may still have something to say to it */
		pid = fork_with_files();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(fsync(self->fd) ? errno : 0);
		usleep(200000);
		EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
		EXPECT_EQ(0, kill(self->s->pid, SIGCONT));
		EXPECT_EQ(0, wait_soon(pid));
		EXPECT_EQ(1, self->s->count[FUSE_FSYNC]);
		return;
	}
	EXPECT_TRUE(put(self->sync_fd, 4, 5 * PG, PG));
	EXPECT_TRUE(got(self->fd, 4, 5 * PG, PG));
	self->p[PG] = 1;
	EXPECT_EQ(0, msync(self->p, MAPPED, MS_SYNC));
	EXPECT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, fsync(self->fresh));
	EXPECT_EQ(0, sync_file_range(self->fd, 0, PG, SYNC_FILE_RANGE_WRITE));
	if (variant->alive)
		EXPECT_NE(0, self->s->count[FUSE_FSYNC]);
}

TEST_F_TIMEOUT(server, ends_and_its_files_are_mapped_and_faulted, 10)
{
	char *p = self->p, *q;
	int status;
	pid_t pid;

	ASSERT_EQ(0, variant->end(self->s, self->conn));
	/* a page that was touched, one of the same 2 MiB, others */
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));
	EXPECT_TRUE(is_pattern(p + CHUNK - PG, 1, CHUNK - PG, 2 * PG));
	pattern(p + 2 * CHUNK + 7, 5, 2 * CHUNK + 7, 3 * PG);
	EXPECT_TRUE(got(self->fd, 5, 2 * CHUNK + 7, 3 * PG));
	EXPECT_EQ(0, madvise(p, MAPPED, MADV_DONTNEED));
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));

	/* a second mapping, moved and grown */
	q = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		 CHUNK - PG);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_TRUE(is_pattern(q, 1, CHUNK - PG, 2 * PG));
	q = mremap(q, 2 * PG, CHUNK + 8 * PG, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_TRUE(is_pattern(q, 1, CHUNK - PG, 2 * PG));
	EXPECT_TRUE(is_pattern(q + CHUNK + PG + 7, 5, 2 * CHUNK + 7,
			       3 * PG));
	munmap(q, CHUNK + 8 * PG);

	/* a private one */
	q = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fresh,
		 MB);
	ASSERT_NE(MAP_FAILED, q);
	q[PG] = p[CHUNK];
	q[PG]++;
	EXPECT_NE(p[CHUNK], q[PG]);
	munmap(q, 2 * PG);

	/* a child's */
	pid = fork_with_files();
	ASSERT_LE(0, pid);
	if (!pid) {
		pattern(p + 8 * PG, 6, 8 * PG, PG);
		_exit(is_pattern(p, 1, 0, PG) ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(got(self->fd, 6, 8 * PG, PG));
	if (variant->open_err >= 0)
		EXPECT_EQ(0, msync(p, MAPPED, MS_SYNC));
}

/* errno of an open through the directory, which also works when detached */
static int open_err(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

TEST_F_TIMEOUT(server, ends_and_new_opens_are_told_so, 10)
{
	char path[64];
	pid_t pid;

	ASSERT_EQ(0, variant->end(self->s, self->conn));
	if (variant->open_err < 0) {
		/* it has only been stopped: wait for it */
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(open_err(self->dir, "f"));
		usleep(200000);
		EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
		EXPECT_EQ(0, kill(self->s->pid, SIGCONT));
		EXPECT_EQ(0, wait_soon(pid));
		return;
	}
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(variant->open_err, open_err(self->dir, "f"));
		EXPECT_EQ(variant->open_err, open_err(self->dir, "plain"));
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	EXPECT_EQ(variant->open_err, open_err(AT_FDCWD, path));
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
}

/* A new server shows what was written to the file */
static bool next_server_has(uint64_t seed, uint64_t pos, size_t len)
{
	struct raw_server *s = new_server(2);
	bool ok = false;
	int fd;

	add_striped(s, "f", DEV_OFF);
	if (!start_server(s)) {
		fd = open_in(s, "f", O_RDWR);
		ok = fd >= 0 && got(fd, seed, pos, len);
		close_and_clear(&fd);
	}
	rs_free(s);
	return ok;
}

/* Unmount now if that is not done yet */
static int unmounted(struct raw_server *s, bool detached)
{
	return detached || !umount2(s->mnt, 0) ? 0 : -errno;
}

/* A stopped server has to go before those who wait for it can */
#define LET_GO()							\
	do {								\
		if (variant->open_err < 0) {				\
			EXPECT_TRUE(was_left_alone());			\
			rs_kill(self->s);				\
		}							\
	} while (0)

TEST_F_TIMEOUT(server, ends_and_the_last_close_frees_the_devices, 15)
{
	unmap(self);
	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_TRUE(put(self->fd, 7, CHUNK - PG, 2 * PG));
	LET_GO();
	EXPECT_EQ(-EBUSY, claim());
	close_and_clear(&self->dir);
	close_and_clear(&self->fresh);
	close_and_clear(&self->sync_fd);
	EXPECT_EQ(-EBUSY, claim());
	EXPECT_TRUE(got(self->fd, 7, CHUNK - PG, 2 * PG));
	if (!variant->detached) {
		EXPECT_EQ(-1, umount2(self->s->mnt, 0));
		EXPECT_EQ(EBUSY, errno);
	}
	close_and_clear(&self->fd);
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim());
	EXPECT_TRUE(next_server_has(7, CHUNK - PG, 2 * PG));
}

TEST_F_TIMEOUT(server, ends_and_the_last_munmap_frees_the_devices, 15)
{
	close_files(self);
	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_TRUE(is_pattern(self->p, 1, 0, PG));
	pattern(self->p + CHUNK, 8, CHUNK, 2 * PG);
	EXPECT_EQ(-EBUSY, claim());
	LET_GO();
	/* the rest of it goes on */
	ASSERT_EQ(0, munmap(self->p, CHUNK));
	EXPECT_EQ(-EBUSY, claim());
	EXPECT_TRUE(is_pattern(self->p + CHUNK, 8, CHUNK, 2 * PG));
	unmap(self);
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim());
	EXPECT_TRUE(next_server_has(8, CHUNK, 2 * PG));
}

TEST_F_TIMEOUT(server, ends_when_all_is_closed_and_the_devices_are_free, 10)
{
	unmap(self);
	close_files(self);
	/* without a user, the mount does not stay for MNT_FORCE */
	if (variant->end == end_forced) {
		ASSERT_EQ(0, umount2(self->s->mnt, MNT_FORCE));
	} else {
		ASSERT_EQ(0, variant->end(self->s, self->conn));
		ASSERT_EQ(0, unmounted(self->s, variant->detached));
	}
	EXPECT_EQ(0, claim());
}

TEST_F_TIMEOUT(server, ends_and_a_killed_process_frees_the_devices, 15)
{
	int pipefd[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* who waits for an answer must not keep the connection alive */
		close(self->s->fd);
		close(pipefd[0]);
		close(pipefd[1]);
		for (;;)
			pause();
	}
	close(pipefd[1]);
	EXPECT_EQ(0, read(pipefd[0], &c, 1));
	close(pipefd[0]);
	/* the child alone has the files now */
	unmap(self);
	close_files(self);
	EXPECT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_EQ(-EBUSY, claim());
	LET_GO();
	kill(pid, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_soon(pid));
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim_soon());
}

TEST_F_TIMEOUT(server, ends_and_a_file_in_a_socket_keeps_the_devices, 10)
{
	char ctl[CMSG_SPACE(sizeof(int))] = {}, c = 0;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl, .msg_controllen = sizeof(ctl),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int sv[2], fd;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &self->fd, sizeof(int));
	ASSERT_EQ(1, sendmsg(sv[0], &msg, 0));
	unmap(self);
	close_files(self);
	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_EQ(-EBUSY, claim());
	memset(ctl, 0, sizeof(ctl));
	ASSERT_EQ(1, recvmsg(sv[1], &msg, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	EXPECT_TRUE(got(fd, 1, 0, PG));
	LET_GO();
	close(fd);
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim());
	close(sv[0]);
	close(sv[1]);
}

/* A server ends, or a signal comes, while an open waits for an answer */

/* Shared with the server: which request gets no answer */
struct hang {
	uint32_t opcode;
	uint64_t offset;	/* of GET_FMAP: from here on */
	uint32_t count;
	uint64_t unique;
};

static struct hang *hang;

static int hang_hook(struct raw_server *s, const struct fuse_in_header *ih,
		     const void *arg)
{
	const struct fuse_interrupt_in *intr = arg;
	const struct fuse_get_fmap_in *in = arg;

	if (ih->opcode == FUSE_INTERRUPT) {
		rs_reply(s, intr->unique, -EINTR, NULL, 0);
		return 1;
	}
	if (ih->opcode != hang->opcode ||
	    (ih->opcode == FUSE_GET_FMAP && in->offset < hang->offset))
		return 0;
	hang->unique = ih->unique;
	__atomic_add_fetch(&hang->count, 1, __ATOMIC_RELEASE);
	return 1;
}

FIXTURE(request) {
	struct raw_server *s;
	struct rs_node *f;
	unsigned int conn;
};

FIXTURE_VARIANT(request) {
	uint32_t opcode;
	uint64_t offset;
};

FIXTURE_VARIANT_ADD(request, for_a_map) {
	.opcode = FUSE_GET_FMAP,
};

FIXTURE_VARIANT_ADD(request, for_the_rest_of_a_map) {
	.opcode = FUSE_GET_FMAP, .offset = 40,
};

FIXTURE_VARIANT_ADD(request, for_a_device) {
	.opcode = FUSE_GET_DAXDEV,
};

FIXTURE_SETUP(request)
{
	const char *why = sandbox(2);

	if (why)
		SKIP(return, "%s", why);
	hang = mmap(NULL, PG, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, hang);
	hang->opcode = variant->opcode;
	hang->offset = variant->offset;
	self->s = rs_new();
	ASSERT_NE(NULL, self->s);
	/* the first one is there when the second one is asked for */
	rs_add_dev(self->s, dax[0], 0, RS_PUSH_AT_INIT);
	rs_add_dev(self->s, dax[1], 1, RS_PULL);
	self->f = add_striped(self->s, "f", DEV_OFF);
	self->s->hook = hang_hook;
	self->s->first = variant->offset ? variant->offset : UINT32_MAX;
	ASSERT_EQ(0, start_server(self->s));
	self->conn = connection_of(self->s);
}

FIXTURE_TEARDOWN(request)
{
	rs_free(self->s);
}

/* How often the map was asked for, with the times that nobody answered */
#define MAPS_ASKED_FOR()						\
	(self->f->nfmap + (variant->opcode == FUSE_GET_FMAP &&		\
			   !variant->offset ? hang->count : 0))

static void end_while_waiting(struct __test_metadata *const _metadata,
			      FIXTURE_DATA(request) *self,
			      int (*end)(struct raw_server *, unsigned int))
{
	/* somebody is in there, or MNT_FORCE may unmount it as well */
	int dir = open_in(self->s, "", O_PATH | O_DIRECTORY);
	pid_t pid = opener(self->s, "f");
	int status;

	ASSERT_LE(0, dir);
	ASSERT_LE(0, pid);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	EXPECT_EQ(0, end(self->s, self->conn));
	status = wait_soon(pid);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_TRUE(WEXITSTATUS(status) == ECONNABORTED ||
		    WEXITSTATUS(status) == ENOTCONN) {
		TH_LOG("open: %s", strerror(WEXITSTATUS(status)));
	}
	EXPECT_EQ(ENOTCONN, try_open(self->s, "f", O_RDWR));
	close(dir);
	EXPECT_EQ(0, umount2(self->s->mnt, 0));
	EXPECT_EQ(0, claim());
}

TEST_F_TIMEOUT(request, fails_when_the_server_is_killed, 15)
{
	end_while_waiting(_metadata, self, end_killed);
}

TEST_F_TIMEOUT(request, fails_when_the_connection_is_aborted, 15)
{
	end_while_waiting(_metadata, self, end_aborted);
}

TEST_F_TIMEOUT(request, fails_when_the_mount_is_forced_off, 15)
{
	end_while_waiting(_metadata, self, end_forced);
}

TEST_F_TIMEOUT(request, is_waited_for_while_the_mount_is_detached, 15)
{
	pid_t pid = opener(self->s, "f");

	ASSERT_LE(0, pid);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	ASSERT_EQ(0, umount2(self->s->mnt, MNT_DETACH));
	EXPECT_EQ(-EBUSY, claim());
	/* an answer that no map can be made of */
	ASSERT_EQ(0, rs_reply(self->s, hang->unique, -EPERM, NULL, 0));
	EXPECT_EQ((hang->opcode == FUSE_GET_DAXDEV ? ENODEV : EPERM) << 8,
		  wait_soon(pid));
	EXPECT_EQ(0, claim_soon());
}

TEST_F_TIMEOUT(request, ends_by_a_signal_and_can_be_repeated, 15)
{
	pid_t pid = opener(self->s, "f");

	ASSERT_LE(0, pid);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	kill(pid, SIGUSR1);
	EXPECT_EQ(EINTR << 8, wait_soon(pid));
	EXPECT_LE(1, self->s->count[FUSE_INTERRUPT]);
	hang->opcode = 0;
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(2, MAPS_ASKED_FOR());
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(0, claim());
}

TEST_F_TIMEOUT(request, ends_with_the_process_that_waits, 15)
{
	pid_t pid = opener(self->s, "f");

	ASSERT_LE(0, pid);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	kill(pid, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_soon(pid));
	hang->opcode = 0;
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(2, MAPS_ASKED_FOR());
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(0, claim());
}

/* Who opens the file has nothing that it could close, nor reason to wait */
TEST_F_TIMEOUT(request, that_fails_is_not_followed_by_waiting_for_RELEASE, 15)
{
	pid_t pid = opener(self->s, "f");
	bool device = hang->opcode == FUSE_GET_DAXDEV;
	uint64_t unique;

	ASSERT_LE(0, pid);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	unique = hang->unique;
	hang->opcode = FUSE_RELEASE;
	ASSERT_EQ(0, rs_reply(self->s, unique, -EPERM, NULL, 0));
	EXPECT_EQ((device ? ENODEV : EPERM) << 8, wait_soon(pid));
	EXPECT_TRUE(wait_until(&hang->count, 2));
	EXPECT_EQ(0, rs_reply(self->s, hang->unique, 0, NULL, 0));
}

TEST_F_TIMEOUT(request, does_not_hold_a_second_opener_that_is_killed, 15)
{
	struct fuse_daxdev_out dev = { .index = 1 };
	pid_t first, second;

	first = opener(self->s, "f");
	ASSERT_LE(0, first);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	second = opener(self->s, "f");
	ASSERT_LE(0, second);
	ASSERT_TRUE(wait_until(&self->f->nopen, 2));
	usleep(100000);
	kill(second, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_soon(second));
	EXPECT_EQ(0, waitpid(first, NULL, WNOHANG));
	/* now the answer comes */
	if (hang->opcode == FUSE_GET_DAXDEV) {
		snprintf(dev.name, sizeof(dev.name), "%s", dax[1]);
		rs_reply(self->s, hang->unique, 0, &dev, sizeof(dev));
	} else {
		rs_reply(self->s, hang->unique, 0, self->f->map + hang->offset,
			 self->f->map_len - hang->offset);
	}
	EXPECT_EQ(0, wait_soon(first));
	EXPECT_EQ(1, MAPS_ASKED_FOR());
}

TEST_F_TIMEOUT(request, does_not_hold_an_opener_of_another_file_that_is_killed, 15)
{
	pid_t first, second;
	struct rs_node *g;

	g = add_striped(self->s, "g", DEV_OFF + SIZE);
	first = opener(self->s, "f");
	ASSERT_LE(0, first);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	/* waits for an answer of its own, or for the one about the device */
	second = opener(self->s, "g");
	ASSERT_LE(0, second);
	ASSERT_TRUE(wait_until(&g->nopen, 1));
	usleep(100000);
	kill(second, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_soon(second));
	EXPECT_EQ(0, waitpid(first, NULL, WNOHANG));
	EXPECT_EQ(hang->opcode == FUSE_GET_DAXDEV ? 1 : 2, hang->count);
	kill(first, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_soon(first));
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(0, claim());
}

/* Many opens, many mounts */

FIXTURE(many) {
	struct raw_server *s;
};

FIXTURE_SETUP(many)
{
	const char *why = sandbox(2);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(many)
{
	rs_free(self->s);
}

#define NFILES		64
#define NOPENERS	6

static int slow_fmap(struct raw_server *s, const struct fuse_in_header *ih,
		     const void *arg)
{
	(void)s;
	(void)arg;
	if (ih->opcode == FUSE_GET_FMAP)
		usleep(2000);
	return 0;
}

/* Open all files until an open fails; returns 1 if they can't be used then */
static int open_all(struct raw_server *s, int first, uint32_t *opened)
{
	int fd[NFILES], n, at;
	char name[16];

	for (n = 0; n < NFILES; n++) {
		at = (first + n) % NFILES;
		snprintf(name, sizeof(name), "f%d", at);
		fd[n] = open_in(s, name, O_RDWR);
		if (fd[n] < 0)
			break;
		__atomic_add_fetch(opened, 1, __ATOMIC_RELAXED);
		if (!put(fd[n], at, 0, 100))
			return 1;
	}
	if (n < NFILES && errno != ENOTCONN && errno != ECONNABORTED)
		return 1;
	while (n--) {
		at = (first + n) % NFILES;
		if (!got(fd[n], at, 0, 100) || !put(fd[n], at, PG, 100))
			return 1;
	}
	return 0;
}

TEST_F(many, concurrent_opens_survive_the_end_of_the_server)
{
	static int (*const end[])(struct raw_server *, unsigned int) = {
		end_aborted, end_killed, end_forced,
	};
	pid_t pid[NOPENERS];
	uint32_t *opened;
	unsigned int conn;
	char name[16];
	int dir;

	opened = mmap(NULL, PG, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, opened);
	for (int round = 0; round < 3; round++) {
		*opened = 0;
		self->s = new_server(2);
		ASSERT_NE(NULL, self->s);
		for (int i = 0; i < NFILES; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			add_extents(self->s, name, i * 64 * PG, 64);
		}
		self->s->hook = slow_fmap;
		self->s->nthreads = 4;
		ASSERT_EQ(0, start_server(self->s));
		conn = connection_of(self->s);
		dir = open_in(self->s, "", O_PATH | O_DIRECTORY);
		ASSERT_LE(0, dir);
		for (int i = 0; i < NOPENERS; i++) {
			pid[i] = fork();
			ASSERT_LE(0, pid[i]);
			if (!pid[i]) {
				close(self->s->fd);
				_exit(open_all(self->s, i * 10, opened));
			}
		}
		ASSERT_TRUE(wait_until(opened, 60));
		EXPECT_EQ(0, end[round](self->s, conn));
		for (int i = 0; i < NOPENERS; i++)
			EXPECT_EQ(0, wait_soon(pid[i]));
		EXPECT_GT(NOPENERS * NFILES, *opened);
		close(dir);
		EXPECT_EQ(0, umount2(self->s->mnt, 0));
		rs_free(self->s);
		self->s = NULL;
	}
	EXPECT_EQ(0, claim_soon());
}

/* A new cgroup that counts memory; a reason to skip, or NULL */
static const char *new_cgroup(char *path, size_t len)
{
	char stat[PATH_MAX];

	if (write_file(CGROUP "/cgroup.subtree_control", "+memory"))
		return "no cgroup2 with the memory controller";
	snprintf(path, len, CGROUP "/fmap-%d", getpid());
	if (mkdir(path, 0755))
		return "no new cgroup";
	snprintf(stat, sizeof(stat), "%s/memory.stat", path);
	return number_in(stat, "kernel") < 0 ? "no memory.stat" : NULL;
}

/*
 * Bytes of kernel memory that a cgroup is charged. What is counted for each CPU
 * is added up every two seconds.
 */
static long long kernel_memory(const char *cgroup)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/memory.stat", cgroup);
	usleep(2500000);
	return number_in(path, "kernel");
}

static int join_cgroup(const char *cgroup)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	return write_file(path, "0");
}

#define NEXTENTS	8192

TEST_F_TIMEOUT(many, mounts_one_after_the_other_leave_nothing, 60)
{
	static int (*const end[])(struct raw_server *, unsigned int) = {
		end_killed, end_aborted, end_detached, end_forced,
		end_forced_and_detached, end_killed_and_detached,
	};
	long long left;
	char cgroup[64];
	int nconn = connections();
	const char *why = new_cgroup(cgroup, sizeof(cgroup));

	if (why)
		SKIP(return, "%s", why);
	ASSERT_LT(0, nconn);
	EXPECT_EQ(0, join_cgroup(cgroup));
	for (int round = 0; round < 12; round++) {
		unsigned int conn;
		int fd;

		self->s = new_server(2);
		ASSERT_NE(NULL, self->s);
		add_extents(self->s, "f", DEV_OFF, NEXTENTS);
		ASSERT_EQ(0, start_server(self->s));
		conn = connection_of(self->s);
		fd = open_in(self->s, "f", O_RDWR);
		ASSERT_LE(0, fd);
		if (round)
			EXPECT_TRUE(got(fd, round - 1, PG, 100));
		EXPECT_EQ(nconn + 1, connections());
		EXPECT_EQ(0, end[round % ARRAY_SIZE(end)](self->s, conn));
		EXPECT_TRUE(put(fd, round, PG, 100));
		close(fd);
		rs_free(self->s);
		self->s = NULL;
	}
	EXPECT_EQ(nconn, connections());
	EXPECT_EQ(0, claim());
	left = kernel_memory(cgroup);
	/* as much as the maps of three rounds take */
	EXPECT_GT(3 * NEXTENTS * 32, left) {
		TH_LOG("%lld bytes", left);
	}
	EXPECT_EQ(0, join_cgroup(CGROUP));
	rmdir(cgroup);
}

/* Who may mount */

FIXTURE(mounter) {
	struct raw_server *s;
};

FIXTURE_VARIANT(mounter) {
	uid_t uid;		/* of the process that mounts */
	uid_t user_id;		/* the mount option */
	bool offered;
};

FIXTURE_VARIANT_ADD(mounter, with_only_the_capability) {
	.uid = 1000, .offered = true,
};

FIXTURE_VARIANT_ADD(mounter, with_the_capability_but_for_a_user) {
	.uid = 1000, .user_id = 1000,
};

FIXTURE_VARIANT_ADD(mounter, who_is_root_but_for_nobody) {
	.user_id = NOBODY,
};

FIXTURE_SETUP(mounter)
{
	const char *why = sandbox(0);

	if (why)
		SKIP(return, "%s", why);
	self->s = rs_new();
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(mounter)
{
	rs_free(self->s);
}

/* Become another user who keeps what it takes to mount and to open devices */
static bool become(uid_t uid)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct cap[2] = {};

	cap[0].permitted = cap[0].effective = 1U << CAP_SYS_ADMIN |
					      1U << CAP_DAC_OVERRIDE;
	return !prctl(PR_SET_KEEPCAPS, 1) && !setresuid(uid, uid, uid) &&
	       !syscall(SYS_capset, &head, cap);
}

TEST_F(mounter, is_offered_maps_or_not)
{
	pid_t pid = fork();
	int ret;

	ASSERT_LE(0, pid);
	if (!pid) {
		if (variant->uid && !become(variant->uid))
			_exit(2);
		self->s->user_id = variant->user_id;
		ret = rs_start(self->s, NULL);
		rs_kill(self->s);
		umount2(self->s->mnt, MNT_DETACH);
		rmdir(self->s->mnt);
		_exit(ret ? 3 : 0);
	}
	EXPECT_EQ(0, wait_soon(pid));
	self->s->pid = 0;
	self->s->fd = -1;
	EXPECT_NE(0, self->s->offered);
	EXPECT_EQ(variant->offered, !!(self->s->offered & FUSE_DAX_FMAP));
	EXPECT_EQ(variant->offered, !!self->s->offered_kinds);
}

/* A device that the server has opened for reading */

FIXTURE(readonly) {
	struct raw_server *s;
	int fd;
};

FIXTURE_VARIANT(readonly) {
	int other_flags;	/* how the second of two devices is opened */
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
	add_striped(self->s, "f", DEV_OFF);
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
	add_striped(self->s, "f", DEV_OFF);
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
	EXPECT_EQ(EROFS, open_err(AT_FDCWD, path));
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
		/* nor can the kernel, on behalf of its owner */
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

/* Those who may write to what a process itself can't */
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
		/* one page of two is there before it is written */
		bool ok = is_pattern(shared, 1, 0, 2 * PG) &&
			  is_pattern(private, 1, 0, 2 * PG);

		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		/* the private pages are the process's own now */
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

/* An unprivileged user of a mount that everybody may use */

FIXTURE(user) {
	struct raw_server *s;
	char cgroup[64];
};

FIXTURE_SETUP(user)
{
	const char *why = sandbox(2);

	if (!why)
		why = new_cgroup(self->cgroup, sizeof(self->cgroup));
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(user)
{
	rs_free(self->s);
	rmdir(self->cgroup);
}

/* As fork(), for a user without any power, in a cgroup of his own */
static pid_t fork_user(const char *cgroup)
{
	pid_t pid = fork();

	if (!pid && (join_cgroup(cgroup) || setgid(NOBODY) || setuid(NOBODY)))
		_exit(255);
	return pid;
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

#define NBAD		10000

static const char *const bad_name[] = {
	"version", "end", "device", "overlap", "short",
};

static const int bad_err[] = { EIO, EIO, ENODEV, EIO, EIO };

/* Maps that are refused at different stages */
static void add_bad_files(struct raw_server *s)
{
	struct rs_node *n;
	struct rs_map m;

	for (size_t i = 0; i < ARRAY_SIZE(bad_name); i++) {
		n = rs_add_file(s, FUSE_ROOT_ID, bad_name[i]);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, 2 * PG);
		rs_map_extent(&m, 0, (10 + i) * PG, PG);
		rs_map_extent(&m, i == 2 ? 99 : 1,
			      i == 1 ? dax_size[1] : i * PG, PG);
		if (i == 0)
			rs_map_header(&m)->version++;
		if (i == 3)
			rs_map_extent(&m, 1, 3 * PG, PG);
		if (i == 4)
			rs_map_header(&m)->fmap_size++;
		rs_set_map(s, n, &m);
	}
}

/* Saves requests, not those for maps */
static int no_open(struct raw_server *s, const struct fuse_in_header *ih,
		   const void *arg)
{
	(void)s;
	(void)arg;
	return ih->opcode == FUSE_OPEN ? -ENOSYS : 0;
}

TEST_F_TIMEOUT(user, can_not_flood_the_log_nor_leak_memory, 120)
{
	int kmsg = kmsg_open(), lines, most, status;
	cpu_set_t cpu;
	long long left;
	time_t begin;
	pid_t pid;

	ASSERT_LE(0, kmsg);
	/* a machine that is emulated takes long to wake another processor */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	add_bad_files(self->s);
	self->s->hook = no_open;
	ASSERT_EQ(0, start_server(self->s));
	begin = now();
	pid = fork_user(self->cgroup);
	ASSERT_LE(0, pid);
	if (!pid) {
		for (int i = 0; i < NBAD; i++) {
			int n = i % ARRAY_SIZE(bad_name);

			if (try_open(self->s, bad_name[n], O_RDONLY) !=
			    bad_err[n])
				_exit(1 + n);
		}
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* ten in five seconds, and one that says how many were left out */
	most = 11 * ((now() - begin) / 5 + 2);
	lines = kmsg_count(kmsg, "", "");
	EXPECT_GE(most, lines);
	EXPECT_LT(0, lines);
	close(kmsg);
	left = kernel_memory(self->cgroup);
	EXPECT_GT((long long)MB, left) {
		TH_LOG("%lld bytes", left);
	}
}

#define BIG		16384

TEST_F_TIMEOUT(user, is_charged_for_the_maps_he_causes, 30)
{
	long long bytes;
	pid_t pid;

	add_extents(self->s, "f", 0, BIG);
	ASSERT_EQ(0, start_server(self->s));
	pid = fork_user(self->cgroup);
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(0, wait_soon(pid));
	/* he is gone, the map stays, and with it the charge */
	bytes = kernel_memory(self->cgroup);
	EXPECT_LE(BIG * 16, bytes) {
		TH_LOG("%lld bytes", bytes);
	}
	EXPECT_GE(BIG * 64, bytes) {
		TH_LOG("%lld bytes", bytes);
	}
	ASSERT_EQ(0, rs_unmount(self->s));
	/* what is freed may be given back to the group a little later */
	for (int i = 0; i < 1000; i++) {
		bytes = kernel_memory(self->cgroup);
		if (bytes < BIG * 8)
			break;
		usleep(5000);
	}
	EXPECT_GT(BIG * 8, bytes) {
		TH_LOG("%lld bytes", bytes);
	}
}

TEST_F_TIMEOUT(user, can_not_exhaust_memory_by_maps, 30)
{
	char name[16], path[PATH_MAX];
	uint32_t *opened;
	pid_t pid;
	int status;

	opened = mmap(NULL, PG, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, opened);
	for (int i = 0; i < 14; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		add_extents(self->s, name, i * BIG / 4 * PG, BIG / 4);
	}
	ASSERT_EQ(0, start_server(self->s));
	snprintf(path, sizeof(path), "%s/memory.max", self->cgroup);
	ASSERT_EQ(0, write_file(path, "1M"));
	pid = fork_user(self->cgroup);
	ASSERT_LE(0, pid);
	if (!pid) {
		for (int i = 0; i < 14; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			if (open_in(self->s, name, O_RDONLY) < 0)
				_exit(errno == ENOMEM ? 0 : errno);
			++*opened;
		}
		_exit(255);
	}
	status = wait_soon(pid);
	/* he gets no memory, or the kernel ends him to get it back */
	EXPECT_TRUE(status == 0 || status == SIGKILL) {
		TH_LOG("status 0x%x", status);
	}
	EXPECT_LT(0, *opened);
	EXPECT_GT(14, *opened);
	/* others are not concerned */
	EXPECT_EQ(0, try_open(self->s, "f13", O_RDONLY));
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(0, claim());
}

/* Tracepoints. What they say is checked by filters, not by their texts. */

FIXTURE(trace) {
	struct raw_server *s;
	unsigned int conn;
	char dir[64];
};

FIXTURE_SETUP(trace)
{
	const char *why = sandbox(2);

	self->dir[0] = 0;
	if (!why && access(TRACING "/instances", W_OK))
		why = "no tracefs";
	if (why)
		SKIP(return, "%s", why);
	snprintf(self->dir, sizeof(self->dir), TRACING "/instances/fmap-%d",
		 getpid());
	ASSERT_EQ(0, mkdir(self->dir, 0755));
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	add_striped(self->s, "f", DEV_OFF);
}

FIXTURE_TEARDOWN(trace)
{
	rs_free(self->s);
	if (self->dir[0])
		rmdir(self->dir);
}

/* Record an event where a filter is true */
static int record(const char *dir, const char *event, const char *filter)
{
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s/events/fuse/%s/filter", dir, event);
	ret = write_file(path, filter);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/events/fuse/%s/enable", dir, event);
	return write_file(path, "1");
}

/* How often it was recorded */
static int recorded(const char *dir, const char *event)
{
	char path[PATH_MAX], line[1024], name[64];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/trace", dir);
	snprintf(name, sizeof(name), " %s: ", event);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (line[0] != '#' && strstr(line, name))
			n++;
	if (f)
		fclose(f);
	return n;
}

TEST_F(trace, shows_the_arrival_of_a_map)
{
	char filter[256];

	ASSERT_EQ(0, start_server(self->s));
	snprintf(filter, sizeof(filter),
		 "connection == %u && nodeid == 2 && segments == 1 && file_size == %lu && memory >= 64 && memory < 4096",
		 connection_of(self->s), SIZE);
	ASSERT_EQ(0, record(self->dir, "fuse_fmap_attach", filter));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_attach"));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_attach"));
}

TEST_F(trace, shows_why_a_map_was_refused)
{
	struct rs_node *n;
	char filter[256];
	struct rs_map m;

	rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	n = rs_add_file(self->s, FUSE_ROOT_ID, "bad");
	rs_map_init(&m, FUSE_FMAP_STRIPED, 2 * CHUNK);
	rs_map_stripe(&m, 2, CHUNK, 2 * CHUNK);
	rs_map_strip(&m, 0, 40 * MB, CHUNK);
	rs_map_strip(&m, 1, DEV_OFF + PG, CHUNK);
	rs_set_map(self->s, n, &m);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	snprintf(filter, sizeof(filter),
		 "connection == %u && nodeid == %llu && segment == 0 && strip == 1 && reason ~ \"*overlap*\"",
		 connection_of(self->s),
		 (unsigned long long)rs_ino(self->s, n));
	ASSERT_EQ(0, record(self->dir, "fuse_fmap_refuse", filter));
	EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDWR));
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_refuse"));
	/* no limit here */
	for (int i = 0; i < 30; i++)
		EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDWR));
	EXPECT_EQ(31, recorded(self->dir, "fuse_fmap_refuse"));
	EXPECT_EQ(0, try_open(self->s, "plain", O_RDWR));
	EXPECT_EQ(31, recorded(self->dir, "fuse_fmap_refuse"));
}

TEST_F(trace, shows_devices_come_and_go)
{
	char filter[256];

	self->s->dev[1].index = 77;
	self->s->dev[1].oflags = FOR_READING;
	snprintf(filter, sizeof(filter),
		 "(index == 0 && device == \"%s\" && size == %llu && readonly == 0) || (index == 77 && device == \"%s\" && size == %llu && readonly == 1)",
		 dax[0], (unsigned long long)dax_size[0],
		 dax[1], (unsigned long long)dax_size[1]);
	ASSERT_EQ(0, record(self->dir, "fuse_daxdev_register", filter));
	snprintf(filter, sizeof(filter),
		 "(index == 0 && device == \"%s\") || (index == 77 && device == \"%s\")",
		 dax[0], dax[1]);
	ASSERT_EQ(0, record(self->dir, "fuse_daxdev_free", filter));
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(2, recorded(self->dir, "fuse_daxdev_register"));
	EXPECT_EQ(0, recorded(self->dir, "fuse_daxdev_free"));
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 77));
	EXPECT_EQ(1, recorded(self->dir, "fuse_daxdev_free"));
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(2, recorded(self->dir, "fuse_daxdev_register"));
	EXPECT_EQ(2, recorded(self->dir, "fuse_daxdev_free"));
}

TEST_F(trace, shows_what_a_fault_resolves_to)
{
	char filter[256], *p;
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	snprintf(filter, sizeof(filter),
		 "connection == %u && nodeid == 2 && pos == %lu && offset == %lu && len == %lu && device == \"%s\"",
		 connection_of(self->s), 3 * CHUNK + PG,
		 DEV_OFF + CHUNK + PG, CHUNK - PG, dax[1]);
	ASSERT_EQ(0, record(self->dir, "fuse_fmap_resolve", filter));
	/* a mapping that is too small for a page of 2 MiB */
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 3 * CHUNK);
	ASSERT_NE(MAP_FAILED, p);
	/* page by page; and what was resolved once may not be again */
	ASSERT_EQ(0, madvise(p, 2 * PG, MADV_RANDOM));
	p[0] = 1;
	EXPECT_EQ(0, recorded(self->dir, "fuse_fmap_resolve"));
	p[PG] = 1;
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_resolve"));
	p[PG] = 2;
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_resolve"));
	munmap(p, 2 * PG);
	close(fd);
}

/* fusectl */

FIXTURE(fusectl) {
	struct raw_server *s;
	char maps[64];
	char devices[64];
};

static void note_paths(FIXTURE_DATA(fusectl) *self)
{
	unsigned int conn = connection_of(self->s);

	snprintf(self->maps, sizeof(self->maps), CONNECTIONS "/%u/dax_maps",
		 conn);
	snprintf(self->devices, sizeof(self->devices),
		 CONNECTIONS "/%u/dax_devices", conn);
}

FIXTURE_SETUP(fusectl)
{
	const char *why = sandbox(2);

	if (!why && access(CONNECTIONS, X_OK))
		why = "no fusectl";
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	self->s->dev[1].index = 4000000000;
	self->s->dev[1].oflags = FOR_READING;
	add_extents(self->s, "ten", 0, 10);
	add_extents(self->s, "thousand", MB, 1000);
}

FIXTURE_TEARDOWN(fusectl)
{
	rs_free(self->s);
}

/* Whether a file has exactly this text */
static bool has_text(const char *path, const char *text)
{
	char b[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, b, sizeof(b) - 1);
	close(fd);
	if (n < 0)
		return false;
	b[n] = 0;
	if (strcmp(b, text))
		ksft_print_msg("%s: %s", path, b);
	return !strcmp(b, text);
}

#define EXPECT_MAPS(_maps, _segments, _bytes)				\
	do {								\
		EXPECT_EQ(_maps, number_in(self->maps, "maps"));	\
		EXPECT_EQ(_segments, number_in(self->maps, "segments")); \
		EXPECT_EQ(_bytes, number_in(self->maps, "file_bytes"));	\
	} while (0)

TEST_F(fusectl, counts_the_maps_of_a_connection)
{
	long long memory;
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	EXPECT_TRUE(has_text(self->maps,
			     "maps 0\nsegments 0\nfile_bytes 0\nmemory 0\n"));
	EXPECT_EQ(0, try_open(self->s, "ten", O_RDWR));
	EXPECT_MAPS(1, 10, 10 * PG);
	memory = number_in(self->maps, "memory");
	EXPECT_LE(10 * 16, memory);
	EXPECT_GE(10 * 32 + 1024, memory);
	fd = open_in(self->s, "thousand", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_MAPS(2, 1010, 1010 * PG);
	EXPECT_LT(memory + 1000 * 16, number_in(self->maps, "memory"));
	EXPECT_GE(memory + 1000 * 32 + 1024, number_in(self->maps, "memory"));
	/* one that is closed goes when it is forgotten */
	ASSERT_TRUE(forgotten(self->s, "ten"));
	EXPECT_MAPS(1, 1000, 1000 * PG);
	/* and the server's end changes nothing */
	rs_kill(self->s);
	EXPECT_MAPS(1, 1000, 1000 * PG);
	close(fd);
}

TEST_F(fusectl, does_not_count_a_map_that_was_refused)
{
	add_extents(self->s, "overlap", 5 * PG, 10);
	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	EXPECT_EQ(0, try_open(self->s, "ten", O_RDWR));
	EXPECT_EQ(EIO, try_open(self->s, "overlap", O_RDWR));
	EXPECT_MAPS(1, 10, 10 * PG);
}

/* Of each device the kernel keeps a bit for each page, in longs */
static unsigned long long bits_of(int i)
{
	return (dax_size[i] / PG + 63) / 64 * 8;
}

/* The line of the first device, and that of the second one if it is there */
static bool lists(FIXTURE_DATA(fusectl) *self, int maps, bool second)
{
	char text[512];
	int n;

	n = snprintf(text, sizeof(text), "0 %s %llu rw ok %d %llu 0\n", dax[0],
		     (unsigned long long)dax_size[0], maps, bits_of(0));
	if (second)
		snprintf(text + n, sizeof(text) - n,
			 "4000000000 %s %llu ro ok 0 %llu 0\n", dax[1],
			 (unsigned long long)dax_size[1], bits_of(1));
	return has_text(self->devices, text);
}

TEST_F(fusectl, lists_the_devices_of_a_connection)
{
	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	EXPECT_TRUE(lists(self, 0, true));
	EXPECT_EQ(0, try_open(self->s, "ten", O_RDWR));
	EXPECT_EQ(0, try_open(self->s, "thousand", O_RDWR));
	EXPECT_TRUE(lists(self, 2, true));
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 4000000000));
	EXPECT_TRUE(lists(self, 2, false));
	ASSERT_TRUE(forgotten(self->s, "ten"));
	EXPECT_TRUE(lists(self, 1, false));
	/* the device stays for the map, but it has no index any more */
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 0));
	EXPECT_TRUE(has_text(self->devices, ""));
}

TEST_F(fusectl, shows_them_to_their_owner_only)
{
	struct stat st;
	pid_t pid;

	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	ASSERT_EQ(0, stat(self->maps, &st));
	EXPECT_EQ(0400, st.st_mode & 07777);
	ASSERT_EQ(0, stat(self->devices, &st));
	EXPECT_EQ(0400, st.st_mode & 07777);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		_exit(open(self->maps, O_RDONLY) >= 0 ||
		      open(self->devices, O_RDONLY) >= 0);
	}
	EXPECT_EQ(0, wait_soon(pid));
}

TEST_F(fusectl, has_no_such_files_where_maps_are_not_offered)
{
	char path[64];

	self->s->user_id = 1000;
	self->s->ndev = 0;
	ASSERT_EQ(0, rs_start(self->s, NULL));
	note_paths(self);
	snprintf(path, sizeof(path), CONNECTIONS "/%u/waiting",
		 connection_of(self->s));
	EXPECT_EQ(0, access(path, F_OK));
	EXPECT_NE(0, access(self->maps, F_OK));
	EXPECT_NE(0, access(self->devices, F_OK));
}

TEST_HARNESS_MAIN
