// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: the server dies, stops, or loses its mount.
 *
 * A server is killed, stopped, aborted or unmounted, while it is idle and while
 * an open waits for its reply. Open files must still work, new opens must fail
 * with an error, and the devices must be free after the last user has gone.
 *
 * Needs root, /dev/fuse, fusectl and two DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them.
 * One test also needs cgroup2 with the memory controller.
 */
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "fmap_cgroup.h"
#include "fmap_test.h"

#define SIZE		(16 * MB)	/* of a file over two devices */
#define CHUNK		(2 * MB)
#define DEV_OFF		(8 * MB)

/* Ways in which a server ends. Each function returns 0 on success. */

static int end_killed(struct raw_server *s, unsigned int conn)
{
	(void)conn;
	rs_kill(s);
	return 0;
}

#define PATIENCE	3	/* seconds until abort_late() aborts the connection */

static pthread_t watchdog;

static void *abort_late(void *conn)
{
	sleep(PATIENCE);
	abort_connection((uintptr_t)conn);
	return NULL;
}

/* A task that waits for a stopped server can't always be killed: abort later */
static int end_stopped(struct raw_server *s, unsigned int conn)
{
	int status;

	if (kill(s->pid, SIGSTOP) ||
	    waitpid(s->pid, &status, WUNTRACED) != s->pid)
		return -1;
	return pthread_create(&watchdog, NULL, abort_late,
			      (void *)(uintptr_t)conn);
}

/*
 * Whether no task has waited for the stopped server, so that the connection was
 * not aborted. Only the first call has an effect.
 */
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

/* A mount in use stays, without its server */
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
	int fresh;		/* another file, with nothing cached */
	char *p;		/* MAPPED bytes of the first file */
};

FIXTURE_VARIANT(server) {
	int (*end)(struct raw_server *s, unsigned int conn);
	int open_err;		/* errno of a new open; -1: it waits */
	bool alive;		/* the server still answers */
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

/* Supports extended attributes, but no file has any */
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
	add_striped(self->s, "f", DEV_OFF, CHUNK, SIZE);
	add_striped(self->s, "fresh", DEV_OFF + SIZE, CHUNK, SIZE);
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
		TH_LOG("a task waited for the stopped server");
	}
	/* close() may also wait for it */
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

/* Like fork(), but the child's exit closes no file, which would need the server */
static pid_t fork_with_files(void)
{
	return syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

/* The kernel doesn't ask for attributes that a write could remove */
TEST_F_TIMEOUT(server, ends_and_the_first_write_to_a_file_needs_no_request, 10)
{
	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_TRUE(put(self->fresh, 3, PG, 100));
	EXPECT_TRUE(got(self->fresh, 3, PG, 100));
}

TEST_F_TIMEOUT(server, ends_and_lseek_needs_no_request, 10)
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
		/* fsync() waits for the server, which may still answer */
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
	/* a present page, another page of the same 2 MiB, other pages */
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));
	EXPECT_TRUE(is_pattern(p + CHUNK - PG, 1, CHUNK - PG, 2 * PG));
	pattern(p + 2 * CHUNK + 7, 5, 2 * CHUNK + 7, 3 * PG);
	EXPECT_TRUE(got(self->fd, 5, 2 * CHUNK + 7, 3 * PG));
	EXPECT_EQ(0, madvise(p, MAPPED, MADV_DONTNEED));
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));

	/* a second mapping, which is moved and grows */
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

	/* a private mapping */
	q = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fresh,
		 MB);
	ASSERT_NE(MAP_FAILED, q);
	q[PG] = p[CHUNK];
	q[PG]++;
	EXPECT_NE(p[CHUNK], q[PG]);
	munmap(q, 2 * PG);

	/* a mapping in a child */
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

TEST_F_TIMEOUT(server, ends_and_new_opens_get_its_reply_or_an_error, 10)
{
	char path[64];
	pid_t pid;

	ASSERT_EQ(0, variant->end(self->s, self->conn));
	if (variant->open_err < 0) {
		/* the server is only stopped, so the open waits */
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(try_open_at(self->dir, "f"));
		usleep(200000);
		EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
		EXPECT_EQ(0, kill(self->s->pid, SIGCONT));
		EXPECT_EQ(0, wait_soon(pid));
		return;
	}
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(variant->open_err, try_open_at(self->dir, "f"));
		EXPECT_EQ(variant->open_err, try_open_at(self->dir, "plain"));
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	EXPECT_EQ(variant->open_err, try_open_at(AT_FDCWD, path));
	EXPECT_TRUE(got(self->fd, 1, 0, PG));
}

/* A new server serves what was written to the file */
static bool next_server_has(uint64_t seed, uint64_t pos, size_t len)
{
	struct raw_server *s = new_server(2);
	bool ok = false;
	int fd;

	add_striped(s, "f", DEV_OFF, CHUNK, SIZE);
	if (!start_server(s)) {
		fd = open_in(s, "f", O_RDWR);
		ok = fd >= 0 && got(fd, seed, pos, len);
		close_and_clear(&fd);
	}
	rs_free(s);
	return ok;
}

/* Unmount, if that hasn't happened yet */
static int unmounted(struct raw_server *s, bool detached)
{
	return detached || !umount2(s->mnt, 0) ? 0 : -errno;
}

/* End a stopped server, so that tasks that wait for it can end */
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
	EXPECT_EQ(-EBUSY, claim_devices(2));
	close_and_clear(&self->dir);
	close_and_clear(&self->fresh);
	close_and_clear(&self->sync_fd);
	EXPECT_EQ(-EBUSY, claim_devices(2));
	EXPECT_TRUE(got(self->fd, 7, CHUNK - PG, 2 * PG));
	if (!variant->detached) {
		EXPECT_EQ(-1, umount2(self->s->mnt, 0));
		EXPECT_EQ(EBUSY, errno);
	}
	close_and_clear(&self->fd);
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim_devices(2));
	EXPECT_TRUE(next_server_has(7, CHUNK - PG, 2 * PG));
}

TEST_F_TIMEOUT(server, ends_and_the_last_munmap_frees_the_devices, 15)
{
	close_files(self);
	ASSERT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_TRUE(is_pattern(self->p, 1, 0, PG));
	pattern(self->p + CHUNK, 8, CHUNK, 2 * PG);
	EXPECT_EQ(-EBUSY, claim_devices(2));
	LET_GO();
	/* the rest of the mapping still works */
	ASSERT_EQ(0, munmap(self->p, CHUNK));
	EXPECT_EQ(-EBUSY, claim_devices(2));
	EXPECT_TRUE(is_pattern(self->p + CHUNK, 8, CHUNK, 2 * PG));
	unmap(self);
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim_devices(2));
	EXPECT_TRUE(next_server_has(8, CHUNK, 2 * PG));
}

TEST_F_TIMEOUT(server, ends_when_all_is_closed_and_the_devices_are_free, 10)
{
	unmap(self);
	close_files(self);
	/* MNT_FORCE unmounts a mount that isn't in use */
	if (variant->end == end_forced) {
		ASSERT_EQ(0, umount2(self->s->mnt, MNT_FORCE));
	} else {
		ASSERT_EQ(0, variant->end(self->s, self->conn));
		ASSERT_EQ(0, unmounted(self->s, variant->detached));
	}
	EXPECT_EQ(0, claim_devices(2));
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
		/* a copy of the descriptor would keep the connection alive */
		close(self->s->fd);
		close(pipefd[0]);
		close(pipefd[1]);
		for (;;)
			pause();
	}
	close(pipefd[1]);
	EXPECT_EQ(0, read(pipefd[0], &c, 1));
	close(pipefd[0]);
	/* now only the child has the files */
	unmap(self);
	close_files(self);
	EXPECT_EQ(0, variant->end(self->s, self->conn));
	EXPECT_EQ(-EBUSY, claim_devices(2));
	LET_GO();
	kill(pid, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_soon(pid));
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim_devices_soon(2));
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
	EXPECT_EQ(-EBUSY, claim_devices(2));
	memset(ctl, 0, sizeof(ctl));
	ASSERT_EQ(1, recvmsg(sv[1], &msg, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	EXPECT_TRUE(got(fd, 1, 0, PG));
	LET_GO();
	close(fd);
	ASSERT_EQ(0, unmounted(self->s, variant->detached));
	EXPECT_EQ(0, claim_devices(2));
	close(sv[0]);
	close(sv[1]);
}

/* A server ends, or a signal arrives, while an open waits for a reply */

/* Shared with the server: which request gets no reply */
struct hang {
	uint32_t opcode;
	uint64_t offset;	/* for GET_FMAP: at or after this offset */
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
	/* the second device is requested while the first is registered */
	rs_add_dev(self->s, dax[0], 0, RS_PUSH_AT_INIT);
	rs_add_dev(self->s, dax[1], 1, RS_PULL);
	self->f = add_striped(self->s, "f", DEV_OFF, CHUNK, SIZE);
	self->s->hook = hang_hook;
	self->s->first = variant->offset ? variant->offset : UINT32_MAX;
	ASSERT_EQ(0, start_server(self->s));
	self->conn = connection_of(self->s);
}

FIXTURE_TEARDOWN(request)
{
	rs_free(self->s);
}

/* How often the map was requested, including requests without a reply */
#define MAPS_ASKED_FOR()						\
	(self->f->nfmap + (variant->opcode == FUSE_GET_FMAP &&		\
			   !variant->offset ? hang->count : 0))

static void end_while_waiting(struct __test_metadata *const _metadata,
			      FIXTURE_DATA(request) *self,
			      int (*end)(struct raw_server *, unsigned int))
{
	/* keeps MNT_FORCE from unmounting */
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
	EXPECT_EQ(0, claim_devices(2));
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
	EXPECT_EQ(-EBUSY, claim_devices(2));
	/* a reply without a map */
	ASSERT_EQ(0, rs_reply(self->s, hang->unique, -EPERM, NULL, 0));
	EXPECT_EQ((hang->opcode == FUSE_GET_DAXDEV ? ENODEV : EPERM) << 8,
		  wait_soon(pid));
	EXPECT_EQ(0, claim_devices_soon(2));
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
	EXPECT_EQ(0, claim_devices(2));
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
	EXPECT_EQ(0, claim_devices(2));
}

/* The opener got no file, so it has no reason to wait for RELEASE */
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
	/* now the reply arrives */
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

	g = add_striped(self->s, "g", DEV_OFF + SIZE, CHUNK, SIZE);
	first = opener(self->s, "f");
	ASSERT_LE(0, first);
	ASSERT_TRUE(wait_until(&hang->count, 1));
	/* waits for its own reply, or for the reply about the device */
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
	EXPECT_EQ(0, claim_devices(2));
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

/* Open all files until an open fails; 1 if the open ones don't work then */
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

TEST_F(many, concurrent_opens_survive_the_death_of_the_server)
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
	EXPECT_EQ(0, claim_devices_soon(2));
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
	EXPECT_EQ(0, claim_devices(2));
	left = kernel_memory(cgroup);
	/* less than the maps of three rounds */
	EXPECT_GT(3 * NEXTENTS * 32, left) {
		TH_LOG("%lld bytes", left);
	}
	remove_cgroup(cgroup);
}

TEST_HARNESS_MAIN
