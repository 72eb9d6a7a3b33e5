// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE DAX file maps: basic operation.
 *
 * Reads, writes and maps files whose bytes are on DAX devices. The layout tests
 * compute the place of each byte from the map message. They compare it with the
 * contents of the devices, which a second mount shows as one file per device.
 *
 * Needs root, /dev/fuse and up to four DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them.
 */
#include <pthread.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "fmap_data.h"
#include "fmap_test.h"

/* INIT */

FIXTURE(init) {
	struct raw_server *s;
};

FIXTURE_SETUP(init)
{
	const char *why = sandbox(0);

	if (why)
		SKIP(return, "%s", why);
	self->s = rs_new();
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(init)
{
	rs_free(self->s);
}

TEST_F(init, maps_are_offered_on_a_mount_by_root)
{
	ASSERT_EQ(0, rs_start(self->s, NULL));
	EXPECT_NE(0, self->s->offered & FUSE_DAX_FMAP);
	EXPECT_EQ(KIND_BIT(FUSE_FMAP_EXTENTS) | KIND_BIT(FUSE_FMAP_STRIPED),
		  self->s->offered_kinds &
		  (KIND_BIT(FUSE_FMAP_EXTENTS) | KIND_BIT(FUSE_FMAP_STRIPED)));
}

TEST_F(init, maps_are_not_offered_on_a_mount_for_a_user)
{
	self->s->user_id = 1000;
	ASSERT_EQ(0, rs_start(self->s, NULL));
	EXPECT_EQ(0, self->s->offered & FUSE_DAX_FMAP);
	EXPECT_EQ(0, self->s->offered_kinds);
}

TEST_F(init, maps_are_not_offered_in_a_user_namespace)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int ret;

		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			_exit(2);
		if (write_file("/proc/self/setgroups", "deny") ||
		    write_file("/proc/self/uid_map", "0 0 1") ||
		    write_file("/proc/self/gid_map", "0 0 1"))
			_exit(3);
		ret = rs_start(self->s, NULL);
		rs_kill(self->s);
		if (self->s->mnt_made) {
			umount2(self->s->mnt, MNT_DETACH);
			rmdir(self->s->mnt);
		}
		_exit(ret ? 4 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	self->s->pid = 0;
	self->s->fd = -1;
	ASSERT_TRUE(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		SKIP(return, "no user namespaces");
	ASSERT_EQ(0, WEXITSTATUS(status));
	EXPECT_NE(0, self->s->offered);
	EXPECT_EQ(0, self->s->offered & FUSE_DAX_FMAP);
	EXPECT_EQ(0, self->s->offered_kinds);
}

TEST_F(init, no_map_is_requested_without_the_flag)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	struct rs_map m;
	int fd;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, MB);
	rs_map_extent(&m, 0, 0, MB);
	rs_set_map(self->s, n, &m);
	self->s->want = 0;
	ASSERT_EQ(0, rs_start(self->s, NULL));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(0, self->s->count[FUSE_GET_FMAP]);
}

TEST_F(init, a_server_that_answers_ENOSYS_is_asked_once)
{
	char name[8] = "0";

	for (int i = 0; i < 4; i++) {
		name[0] = '0' + i;
		rs_add_file(self->s, FUSE_ROOT_ID, name);
	}
	self->s->no_fmap = true;
	ASSERT_EQ(0, rs_start(self->s, NULL));
	if (!(self->s->offered & FUSE_DAX_FMAP))
		SKIP(return, "kernel without FUSE_DAX_FMAP");
	for (int i = 0; i < 4; i++) {
		int fd;

		name[0] = '0' + i;
		fd = open_in(self->s, name, O_RDWR);
		ASSERT_LE(0, fd);
		EXPECT_TRUE(put(fd, i, 0, 1000));
		EXPECT_TRUE(got(fd, i, 0, 1000));
		close(fd);
	}
	EXPECT_EQ(1, self->s->count[FUSE_GET_FMAP]);
}

/* Which mounts are offered maps */

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

FIXTURE_VARIANT_ADD(mounter, with_the_capability_for_a_user) {
	.uid = 1000, .user_id = 1000,
};

FIXTURE_VARIANT_ADD(mounter, as_root_for_user_nobody) {
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

/* Change the user, but keep the capabilities to mount and to open devices */
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

TEST_F(mounter, is_offered_maps_if_privileged)
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

/* One mapped file with one extent, and one ordinary file */

#define ONE_SIZE	(4 * MB - 1000)
#define ONE_LEN		(4 * MB)
#define ONE_OFF		(6 * MB)

FIXTURE(one) {
	struct raw_server *s;
	struct rs_node *f;
	struct rs_node *plain;
	int fd;
};

FIXTURE_SETUP(one)
{
	const char *why = sandbox(1);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->f = add_mapped(self->s, "f", 0, ONE_OFF, ONE_SIZE);
	self->plain = rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	ASSERT_EQ(0, start_server(self->s));
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(one)
{
	if (self->fd >= 0)
		close(self->fd);
	rs_free(self->s);
}

TEST_F(one, write_then_read_returns_the_same)
{
	EXPECT_TRUE(put(self->fd, 1, 0, 100));
	EXPECT_TRUE(put(self->fd, 1, PG - 3, 2 * PG + 9));
	EXPECT_TRUE(put(self->fd, 1, 2 * MB - 5, 10));
	EXPECT_TRUE(got(self->fd, 1, 0, 100));
	EXPECT_TRUE(got(self->fd, 1, PG - 3, 2 * PG + 9));
	EXPECT_TRUE(got(self->fd, 1, 2 * MB - 5, 10));
}

TEST_F(one, no_read_or_write_reaches_the_server)
{
	char *p;

	EXPECT_TRUE(put(self->fd, 2, 12345, 50000));
	EXPECT_TRUE(got(self->fd, 2, 12345, 50000));
	p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	p[0]++;
	p[PG]++;
	EXPECT_EQ(0, msync(p, MB, MS_SYNC));
	munmap(p, MB);
	EXPECT_EQ(0, self->s->count[FUSE_READ]);
	EXPECT_EQ(0, self->s->count[FUSE_WRITE]);
	EXPECT_EQ(1, self->s->count[FUSE_GET_FMAP]);
}

TEST_F(one, a_shared_mapping_and_read_and_write_see_the_same_bytes)
{
	char *p = mmap(NULL, ONE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		       self->fd, 0);
	char c = 'q';

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(put(self->fd, 3, 5000, 9000));
	EXPECT_TRUE(is_pattern(p + 5000, 3, 5000, 9000));
	pattern(p + 70000, 3, 70000, 5000);
	EXPECT_TRUE(got(self->fd, 3, 70000, 5000));
	EXPECT_EQ(1, pwrite(self->fd, &c, 1, 70001));
	EXPECT_EQ('q', p[70001]);
	munmap(p, ONE_SIZE);
}

TEST_F(one, a_private_mapping_copies_on_write)
{
	char *p;

	ASSERT_TRUE(put(self->fd, 4, 0, 3 * PG));
	p = mmap(NULL, 3 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd,
		 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p, 4, 0, 3 * PG));
	memset(p, 0, 2 * PG);
	EXPECT_TRUE(got(self->fd, 4, 0, 3 * PG));
	EXPECT_EQ(0, p[5]);
	EXPECT_TRUE(is_pattern(p + 2 * PG, 4, 2 * PG, PG));
	munmap(p, 3 * PG);
}

TEST_F(one, a_read_ends_at_an_unaligned_end_of_file)
{
	char b[3000];

	ASSERT_TRUE(put(self->fd, 5, ONE_SIZE - 2000, 2000));
	EXPECT_EQ(500, pread(self->fd, b, sizeof(b), ONE_SIZE - 500));
	EXPECT_TRUE(is_pattern(b, 5, ONE_SIZE - 500, 500));
	EXPECT_EQ(0, pread(self->fd, b, sizeof(b), ONE_SIZE));
	EXPECT_EQ(0, pread(self->fd, b, sizeof(b), ONE_LEN + MB));
}

TEST_F(one, a_mapping_has_the_last_page_and_nothing_after_it)
{
	char *p = mmap(NULL, ONE_LEN + 2 * PG, PROT_READ | PROT_WRITE,
		       MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_TRUE(put(self->fd, 6, ONE_SIZE - 64, 64));
	EXPECT_TRUE(is_pattern(p + ONE_SIZE - 64, 6, ONE_SIZE - 64, 64));
	EXPECT_EQ(0, signal_of(p + ONE_LEN - 1, false));
	EXPECT_EQ(SIGBUS, signal_of(p + ONE_LEN, false));
	EXPECT_EQ(SIGBUS, signal_of(p + ONE_LEN, true));
	munmap(p, ONE_LEN + 2 * PG);
}

TEST_F(one, nothing_changes_the_size)
{
	char path[PATH_MAX], b[2000] = {};
	struct stat st;

	ASSERT_TRUE(put(self->fd, 7, ONE_SIZE - 100, 100));
	EXPECT_EQ(-1, ftruncate(self->fd, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, ftruncate(self->fd, ONE_SIZE + 1));
	EXPECT_EQ(EOPNOTSUPP, errno);
	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	EXPECT_EQ(-1, truncate(path, PG));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, "f", O_RDWR | O_TRUNC));
	EXPECT_EQ(-1, fallocate(self->fd, 0, 0, ONE_LEN + MB));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE |
				FALLOC_FL_KEEP_SIZE, 0, PG));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, pwrite(self->fd, b, 1, ONE_SIZE));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, pwrite(self->fd, b, 1, ONE_LEN + MB));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_TRUE(got(self->fd, 7, ONE_SIZE - 100, 100));
	/* A write that starts inside the file is cut at EOF */
	EXPECT_EQ(50, pwrite(self->fd, b, sizeof(b), ONE_SIZE - 50));
	EXPECT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(ONE_SIZE, st.st_size);
	/* The server must not see any of these requests */
	EXPECT_EQ(0, self->s->count[FUSE_SETATTR]);
	EXPECT_EQ(0, self->s->count[FUSE_FALLOCATE]);
	EXPECT_EQ(0, self->s->count[FUSE_WRITE]);
}

TEST_F(one, copy_file_range_into_it_is_refused)
{
	loff_t in = 0, out = 0;
	int plain = open_in(self->s, "plain", O_RDWR);

	ASSERT_LE(0, plain);
	ASSERT_TRUE(put(self->fd, 8, 0, PG));
	ASSERT_TRUE(put(plain, 9, 0, PG));
	EXPECT_EQ(-1, copy_file_range(plain, &in, self->fd, &out, PG, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_TRUE(got(self->fd, 8, 0, PG));
	close(plain);
}

TEST_F(one, append_is_refused)
{
	int fd = open_in(self->s, "f", O_WRONLY | O_APPEND);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(EOPNOTSUPP, errno);
	close(fd);
}

TEST_F(one, many_opens_fetch_the_map_once)
{
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(0, try_open(self->s, "f", i & 1 ? O_RDONLY : O_RDWR));
	EXPECT_EQ(21, self->f->nopen);
	EXPECT_EQ(1, self->f->nfmap);
}

TEST_F(one, a_file_without_a_map_is_an_ordinary_file)
{
	struct stat st;
	char *p;

	for (int i = 0; i < 3; i++) {
		int fd = open_in(self->s, "plain", O_RDWR);

		ASSERT_LE(0, fd);
		EXPECT_TRUE(put(fd, 10 + i, 0, 10000));
		EXPECT_TRUE(got(fd, 10 + i, 0, 10000));
		EXPECT_EQ(0, ftruncate(fd, 5000 + i));
		EXPECT_EQ(0, fstat(fd, &st));
		EXPECT_EQ(5000 + i, st.st_size);
		p = mmap(NULL, PG, PROT_READ, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, p);
		EXPECT_TRUE(is_pattern(p, 10 + i, 0, PG));
		munmap(p, PG);
		close(fd);
	}
	EXPECT_EQ(1, self->plain->nfmap);
	EXPECT_NE(0, self->s->count[FUSE_WRITE]);
	EXPECT_TRUE(put(self->fd, 1, 0, 100));
	EXPECT_TRUE(got(self->fd, 1, 0, 100));
}

TEST_F(one, a_created_file_is_an_ordinary_file)
{
	int fd = open_in(self->s, "new", O_RDWR | O_CREAT | O_EXCL);

	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 11, 0, 5000));
	EXPECT_TRUE(got(fd, 11, 0, 5000));
	close(fd);
	EXPECT_EQ(0, try_open(self->s, "new", O_RDONLY));
}

TEST_F(one, direct_io_splice_and_sendfile_work)
{
	loff_t off = 3;
	char *b = aligned_alloc(PG, 2 * PG);
	int fd = open_in(self->s, "f", O_RDWR | O_DIRECT);
	int pipefd[2], mem;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pipe(pipefd));
	pattern(b, 12, PG, 2 * PG);
	EXPECT_EQ(2 * PG, pwrite(fd, b, 2 * PG, PG));
	EXPECT_TRUE(got(self->fd, 12, PG, 2 * PG));
	memset(b, 0, 2 * PG);
	EXPECT_EQ(2 * PG, pread(fd, b, 2 * PG, PG));
	EXPECT_TRUE(is_pattern(b, 12, PG, 2 * PG));
	close(fd);

	ASSERT_TRUE(put(self->fd, 13, 0, PG));
	EXPECT_EQ(1000, splice(self->fd, &off, pipefd[1], NULL, 1000, 0));
	EXPECT_EQ(1000, read(pipefd[0], b, 1000));
	EXPECT_TRUE(is_pattern(b, 13, 3, 1000));
	mem = memfd_create("sink", 0);
	ASSERT_LE(0, mem);
	EXPECT_EQ(1000, sendfile(mem, self->fd, &(off_t){ 7 }, 1000));
	EXPECT_EQ(1000, pread(mem, b, 1000, 0));
	EXPECT_TRUE(is_pattern(b, 13, 7, 1000));
	close(mem);
	close(pipefd[0]);
	close(pipefd[1]);
	free(b);
}

TEST_F(one, a_program_on_it_can_be_executed)
{
	char buf[65536], path[PATH_MAX];
	int in = open("/bin/true", O_RDONLY), status;
	off_t pos = 0;
	ssize_t n;
	pid_t pid;

	ASSERT_LE(0, in);
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		ASSERT_EQ(n, pwrite(self->fd, buf, n, pos));
		pos += n;
	}
	close(in);
	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	ASSERT_EQ(0, chmod(path, 0755));
	close(self->fd);
	self->fd = -1;
	pid = fork();
	if (!pid) {
		execl(path, "true", NULL);
		_exit(errno);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(one, fsync_and_msync_work)
{
	char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		       0);

	ASSERT_NE(MAP_FAILED, p);
	p[1] = 1;
	p[100000] = 1;
	EXPECT_TRUE(put(self->fd, 14, 200000, 5000));
	EXPECT_EQ(0, msync(p, MB, MS_SYNC));
	EXPECT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(0, fsync(self->fd));
	munmap(p, MB);
}

TEST_F(one, data_path_works_after_the_server_is_killed)
{
	char *p;

	ASSERT_TRUE(put(self->fd, 15, 0, 4 * PG));
	p = mmap(NULL, 4 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p, 15, 0, PG));
	rs_kill(self->s);
	/* present pages, new faults, reads and writes */
	EXPECT_TRUE(is_pattern(p, 15, 0, 4 * PG));
	p[3 * PG] = 1;
	EXPECT_TRUE(got(self->fd, 15, 0, 3 * PG));
	EXPECT_TRUE(put(self->fd, 16, MB, PG));
	EXPECT_TRUE(got(self->fd, 16, MB, PG));
	munmap(p, 4 * PG);
	EXPECT_EQ(ENOTCONN, try_open(self->s, "f", O_RDONLY));
	EXPECT_EQ(ENOTCONN, try_open(self->s, "plain", O_RDONLY));
}

TEST_F(one, devices_are_free_for_the_next_server_after_unmount)
{
	struct raw_server *s;
	int fd, ret;

	ASSERT_TRUE(put(self->fd, 17, 100, 100));
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, rs_unmount(self->s));
	s = new_server(1);
	ASSERT_NE(NULL, s);
	add_mapped(s, "g", 0, ONE_OFF, ONE_SIZE);
	ret = start_server(s);
	fd = open_in(s, "g", O_RDONLY);
	EXPECT_EQ(0, ret);
	EXPECT_LE(0, fd);
	EXPECT_TRUE(got(fd, 17, 100, 100));
	close(fd);
	rs_free(s);
}

TEST_F(one, devices_are_free_after_unmount_while_the_server_keeps_dev_fuse_open)
{
	struct raw_server *s;
	int ret;

	close(self->fd);
	self->fd = -1;
	/* not rs_unmount(), which closes the fd */
	ASSERT_EQ(0, umount2(self->s->mnt, 0));
	s = new_server(1);
	ASSERT_NE(NULL, s);
	ret = start_server(s);
	EXPECT_EQ(0, ret);
	rs_free(s);
}

TEST_F(one, no_device_is_registered_after_unmount)
{
	char path[64];
	int dev, ret;

	snprintf(path, sizeof(path), "/dev/%s", dax[0]);
	dev = open(path, O_RDWR);
	ASSERT_LE(0, dev);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, umount2(self->s->mnt, 0));
	ret = rs_daxdev_open(self->s->fd, dev, 0, 0);
	EXPECT_EQ(-ENOTCONN, ret);
	close(dev);
}

TEST_F(one, a_dropped_index_keeps_its_maps_and_can_be_used_again)
{
	struct rs_node *g;

	if (ndax < 2)
		SKIP(return, "needs two DAX devices");
	ASSERT_TRUE(put(self->fd, 18, 0, PG));
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 0));
	EXPECT_EQ(-ENOENT, rs_daxdev_close(self->s->fd, 0));
	EXPECT_TRUE(got(self->fd, 18, 0, PG));
	EXPECT_TRUE(put(self->fd, 19, 0, PG));
	/* another device under the same index */
	snprintf(self->s->dev[0].name, sizeof(self->s->dev[0].name), "%s",
		 dax[1]);
	self->s->dev[0].how = RS_PUSH_WHEN_ASKED;
	g = add_mapped(self->s, "g", 0, ONE_OFF, MB);
	int fd = open_in(self->s, "g", O_RDWR);

	ASSERT_LE(0, fd);
	EXPECT_EQ(1, g->nfmap);
	EXPECT_EQ(1, self->s->count[FUSE_GET_DAXDEV]);
	EXPECT_TRUE(put(fd, 20, 0, PG));
	EXPECT_TRUE(got(fd, 20, 0, PG));
	EXPECT_TRUE(got(self->fd, 19, 0, PG));
	close(fd);
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
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(own)
{
	rs_free(self->s);
}

TEST_F(own, the_size_is_that_of_the_map)
{
	struct rs_node *n = add_mapped(self->s, "f", 0, 0, 123456);
	struct stat st;
	int fd;

	/* each GETATTR reply has another size */
	n->size = 77;
	self->s->valid = 0;
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(0, fstat(fd, &st));
		EXPECT_EQ(123456, st.st_size);
	}
	EXPECT_EQ(123456, lseek(fd, 0, SEEK_END));
	EXPECT_TRUE(put(fd, 1, 123000, 456));
	EXPECT_TRUE(got(fd, 1, 123000, 456));
	close(fd);
}

static int slow_fmap(struct raw_server *s, const struct fuse_in_header *ih,
		     const void *arg)
{
	(void)s;
	(void)arg;
	if (ih->opcode == FUSE_GET_FMAP)
		usleep(300000);
	return 0;
}

TEST_F(own, concurrent_first_opens_ask_for_the_map_once)
{
	struct rs_node *n = add_mapped(self->s, "f", 0, 0, MB);
	pid_t pid[4];

	self->s->hook = slow_fmap;
	self->s->nthreads = 6;
	ASSERT_EQ(0, start_server(self->s));
	for (int i = 0; i < 4; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			int fd = open_in(self->s, "f", O_RDWR);

			_exit(fd >= 0 && put(fd, i, i * PG, PG) &&
			      got(fd, i, i * PG, PG) ? 0 : 1);
		}
	}
	for (int i = 0; i < 4; i++) {
		int status;

		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(1, n->nfmap);
	EXPECT_EQ(4, n->nopen);
}

TEST_F(own, O_TRUNC_on_a_first_open_is_refused)
{
	struct stat st;
	int fd;

	add_mapped(self->s, "f", 0, 0, MB);
	add_mapped(self->s, "g", 0, MB, MB);
	rs_add_file(self->s, FUSE_ROOT_ID, "plain")->size = 0;
	self->s->want |= FUSE_ATOMIC_O_TRUNC;
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, "f", O_RDWR | O_TRUNC));
	EXPECT_EQ(0, self->s->count[FUSE_OPEN]);
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(MB, st.st_size);
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, "f", O_RDWR | O_TRUNC));
	close(fd);
	/* an ordinary file is truncated as usual */
	fd = open_in(self->s, "plain", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 0, 100));
	close(fd);
	fd = open_in(self->s, "plain", O_RDWR | O_TRUNC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0, st.st_size);
	close(fd);
}

TEST_F(own, open_flags_for_the_page_cache_are_ignored)
{
	char *p;
	int fd;

	add_mapped(self->s, "f", 0, 0, MB);
	self->s->open_flags = FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE |
			      FOPEN_PARALLEL_DIRECT_WRITES;
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 1, 10, 9000));
	p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p + 10, 1, 10, 9000));
	munmap(p, MB);
	close(fd);
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
}

TEST_F(own, a_device_is_pulled_by_its_name)
{
	self->s->dev[0].how = RS_PULL;
	add_mapped(self->s, "f", 0, 0, MB);
	add_mapped(self->s, "g", 0, MB, MB);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(0, try_open(self->s, "g", O_RDWR));
	EXPECT_EQ(1, self->s->count[FUSE_GET_DAXDEV]);
}

TEST_F(own, a_device_is_pulled_by_its_path)
{
	struct rs_dev *d = &self->s->dev[0];

	d->how = RS_PULL;
	snprintf(d->name, sizeof(d->name), "/dev/%s", dax[0]);
	add_mapped(self->s, "f", 0, 0, MB);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
}

TEST_F(own, a_device_name_is_not_looked_up_as_a_path)
{
	/* An opener without /dev gets the same device */
	self->s->dev[0].how = RS_PULL;
	add_mapped(self->s, "f", 0, 0, MB);
	ASSERT_EQ(0, start_server(self->s));
	ASSERT_EQ(0, mount("none", "/dev", "tmpfs", 0, NULL));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
}

TEST_F(own, a_device_is_pushed_while_its_index_is_requested)
{
	self->s->dev[0].how = RS_PUSH_WHEN_ASKED;
	self->s->dev[0].index = 3000000000U;
	add_mapped(self->s, "f", 3000000000U, 0, MB);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(1, self->s->dev[0].result);
	EXPECT_EQ(1, self->s->count[FUSE_GET_DAXDEV]);
}

TEST_F(own, a_device_opened_for_reading_serves_read_only_files)
{
	char *p;
	int fd;

	self->s->dev[0].oflags = O_RDONLY | O_CLOEXEC;
	add_mapped(self->s, "f", 0, 0, MB);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(EROFS, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(EROFS, try_open(self->s, "f", O_WRONLY));
	fd = open_in(self->s, "f", O_RDONLY);
	ASSERT_LE(0, fd);
	p = mmap(NULL, MB, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, signal_of(p, false));
	EXPECT_EQ(-1, mprotect(p, MB, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	munmap(p, MB);
	p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	munmap(p, MB);
	close(fd);
}

TEST_F(own, a_map_without_a_size_may_end_in_zeros)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	char zeros[100] = {};
	struct rs_map m;

	/* some servers reply with a whole buffer */
	rs_map_init(&m, FUSE_FMAP_EXTENTS, MB);
	rs_map_extent(&m, 0, 0, MB);
	rs_map_append(&m, zeros, sizeof(zeros));
	rs_map_header(&m)->fmap_size = 0;
	rs_set_map(self->s, n, &m);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
}

TEST_F(own, an_evicted_file_fetches_its_map_again)
{
	struct rs_node *n = add_mapped(self->s, "f", 0, 0, MB);
	struct rs_node *plain = rs_add_file(self->s, FUSE_ROOT_ID, "plain");

	ASSERT_EQ(0, start_server(self->s));
	for (int i = 1; i <= 2; i++) {
		int fd = open_in(self->s, "f", O_RDWR);

		ASSERT_LE(0, fd);
		EXPECT_TRUE(put(fd, i, 0, PG));
		EXPECT_TRUE(got(fd, i, 0, PG));
		close(fd);
		EXPECT_EQ(0, try_open(self->s, "plain", O_RDWR));
		EXPECT_EQ(i, n->nfmap);
		EXPECT_EQ(i, plain->nfmap);
		ASSERT_TRUE(forgotten(self->s, "f"));
		ASSERT_TRUE(forgotten(self->s, "plain"));
	}
}

/* Where the bytes go */

/* A stripe set over the first @n devices; no strip is longer than needed */
static void add_set(struct rs_map *m, uint32_t n, uint32_t chunk,
		    uint64_t nbytes, uint64_t off)
{
	uint64_t full = nbytes / chunk, tail = nbytes % chunk;

	rs_map_stripe(m, n, chunk, nbytes);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t len = (full / n + (i < full % n)) * chunk;

		if (i == full % n)
			len += (tail + PG - 1) & ~(PG - 1);
		/* even an unused strip needs a length */
		rs_map_strip(m, i, off + i * 2 * MB, len ? len : PG);
	}
}

static void stripes(struct rs_map *m, uint32_t n, uint32_t chunk,
		    uint64_t nbytes)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, nbytes);
	add_set(m, n, chunk, nbytes, 4 * MB);
}

static void equal_extents(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 12 * 3 * PG - 77);
	for (int i = 0; i < 12; i++)
		rs_map_extent(m, i % 2, 2 * MB + (20 - i) * 3 * PG, 3 * PG);
}

static void unequal_extents(struct rs_map *m)
{
	uint64_t off = 3 * MB, size = 0;

	rs_map_init(m, FUSE_FMAP_EXTENTS, 0);
	for (int i = 0; i < 40; i++) {
		uint64_t len = (1 + i * 7 % 11) * PG;

		rs_map_extent(m, i % 3 % 2, off, len);
		off += len + PG * (i % 2);
		size += len;
	}
	rs_map_header(m)->file_size = size - 1;
}

static void extents_longer_than_the_file(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 5 * PG + 1);
	rs_map_extent(m, 1, MB, 4 * PG);
	rs_map_extent(m, 0, MB, MB);
}

static void mixed_sets(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, 8 * PG + 64 * PG + 5 * PG + 1234);
	/* a plain extent first */
	rs_map_stripe(m, 1, MB, 8 * PG);
	rs_map_strip(m, 1, 30 * MB, 8 * PG);
	add_set(m, 2, 4 * PG, 64 * PG, 10 * MB);
	rs_map_stripe(m, 1, PG, 5 * PG + 1234);
	rs_map_strip(m, 0, 40 * MB, 6 * PG);
}

static void strips_on_one_device(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, 64 * PG);
	rs_map_stripe(m, 4, PG, 64 * PG);
	for (int i = 0; i < 4; i++)
		rs_map_strip(m, 0, (8 - i) * MB, 16 * PG);
}

static void last_bytes_of_a_device(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 8 * PG);
	rs_map_extent(m, 0, dax_size[0] - 4 * PG, 4 * PG);
	rs_map_extent(m, 1, 0, 4 * PG);
}

#define STRIPES(_n, _chunk, _nbytes)					\
	static void stripes_##_n##_##_chunk(struct rs_map *m)		\
	{								\
		stripes(m, _n, CHUNK_##_chunk, _nbytes);		\
	}
#define CHUNK_4K	(4 * KB)
#define CHUNK_12K	(12 * KB)
#define CHUNK_64K	(64 * KB)
#define CHUNK_2M	(2 * MB)
#define CHUNK_3M4K	(3 * MB + 4 * KB)

STRIPES(2, 4K, 40 * 4 * KB - 100)
STRIPES(4, 4K, 63 * 4 * KB + 1)
STRIPES(3, 12K, 30 * 12 * KB + 5 * KB)
STRIPES(2, 64K, 21 * 64 * KB + 4095)
STRIPES(4, 64K, 22 * 64 * KB)
STRIPES(2, 2M, 10 * MB + 12345)
STRIPES(4, 2M, 18 * MB + 1)
STRIPES(2, 3M4K, 5 * (3 * MB + 4 * KB) + 100)
STRIPES(4, 3M4K, 10 * (3 * MB + 4 * KB) - 5000)

FIXTURE(layout) {
	struct raw_server *s;
};

FIXTURE_VARIANT(layout) {
	void (*build)(struct rs_map *m);
	int ndax;
};

#define LAYOUT(_name, _build, _ndax)					\
	FIXTURE_VARIANT_ADD(layout, _name) {				\
		.build = _build,					\
		.ndax = _ndax,						\
	}

LAYOUT(two_strips_with_4K_chunks, stripes_2_4K, 2);
LAYOUT(four_strips_with_4K_chunks, stripes_4_4K, 4);
LAYOUT(three_strips_with_12K_chunks, stripes_3_12K, 3);
LAYOUT(two_strips_with_64K_chunks, stripes_2_64K, 2);
LAYOUT(four_strips_with_64K_chunks, stripes_4_64K, 4);
LAYOUT(two_strips_with_2M_chunks, stripes_2_2M, 2);
LAYOUT(four_strips_with_2M_chunks, stripes_4_2M, 4);
LAYOUT(two_strips_with_3M_and_4K_chunks, stripes_2_3M4K, 2);
LAYOUT(four_strips_with_3M_and_4K_chunks, stripes_4_3M4K, 4);
LAYOUT(equal_extents, equal_extents, 2);
LAYOUT(unequal_extents, unequal_extents, 2);
LAYOUT(extents_longer_than_the_file, extents_longer_than_the_file, 2);
LAYOUT(stripe_sets_and_plain_extents_mixed, mixed_sets, 2);
LAYOUT(strips_on_one_device, strips_on_one_device, 1);
LAYOUT(last_bytes_of_a_device, last_bytes_of_a_device, 2);

FIXTURE_SETUP(layout)
{
	const char *why = sandbox(variant->ndax);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(variant->ndax);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(layout)
{
	rs_free(self->s);
}

#define MAX_PIECES	40
#define PIECE		64	/* bytes on each side of a seam */

/*
 * The pieces to check: the start and the end of the file, and both sides of
 * seams all over it. At a seam the next byte is elsewhere on the devices.
 */
static int find_pieces(const unsigned char *map, uint64_t size, uint64_t *at)
{
	uint64_t seams = 0, skip;
	int n = 0;

	for (uint64_t pos = 0; pos < size; pos += PG)
		seams += is_seam(map, pos);
	skip = seams / (MAX_PIECES - 4) + 1;
	seams = 0;
	at[n++] = 0;
	for (uint64_t pos = 0; pos < size - PIECE; pos += PG)
		if (is_seam(map, pos) && seams++ % skip == 0)
			at[n++] = pos - PIECE;
	at[n++] = size - 2 * PIECE;
	return n;
}

TEST_F(layout, puts_each_byte_where_the_map_says)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	uint64_t at[MAX_PIECES], size, off, big, big_len;
	int fd, view[MAX_DAX], pieces;
	unsigned char *map, *p, c;
	struct raw_server *s;
	struct rs_map m;
	char name[8];
	uint32_t dev;

	variant->build(&m);
	size = rs_map_header(&m)->file_size;
	map = malloc(m.len);
	memcpy(map, m.b, m.len);
	rs_set_map(self->s, n, &m);
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	pieces = find_pieces(map, size, at);

	/* one write over many seams, then pieces by write and by mapping */
	big = size / 3 + 1;
	big_len = size / 2 < 200000 ? size / 2 : 200000;
	EXPECT_TRUE(put(fd, 1, big, big_len));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (int i = 0; i < pieces; i++) {
		if (i % 2)
			pattern(p + at[i], 1, at[i], 2 * PIECE);
		else
			EXPECT_TRUE(put(fd, 1, at[i], 2 * PIECE));
	}

	/* read everything by read and by mapping */
	EXPECT_TRUE(got(fd, 1, big, big_len));
	EXPECT_TRUE(is_pattern(p + big, 1, big, big_len));
	for (int i = 0; i < pieces; i++) {
		EXPECT_TRUE(got(fd, 1, at[i], 2 * PIECE));
		EXPECT_TRUE(is_pattern(p + at[i], 1, at[i], 2 * PIECE));
	}
	munmap(p, size);
	close(fd);
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
	ASSERT_EQ(0, rs_unmount(self->s));

	/* the same bytes on the devices */
	s = new_server(variant->ndax);
	ASSERT_NE(NULL, s);
	for (int i = 0; i < variant->ndax; i++) {
		snprintf(name, sizeof(name), "dev%d", i);
		add_mapped(s, name, i, 0, dax_size[i]);
	}
	ASSERT_EQ(0, start_server(s));
	for (int i = 0; i < variant->ndax; i++) {
		snprintf(name, sizeof(name), "dev%d", i);
		view[i] = open_in(s, name, O_RDONLY);
		ASSERT_LE(0, view[i]);
	}
	for (int i = 0; i < pieces; i++) {
		for (uint64_t pos = at[i]; pos < at[i] + 2 * PIECE; pos++) {
			ASSERT_TRUE(locate(map, pos, &dev, &off));
			ASSERT_EQ(1, pread(view[dev], &c, 1, off));
			ASSERT_EQ(pattern_at(1, pos), c) {
				TH_LOG("byte %llu", (unsigned long long)pos);
			}
		}
	}
	for (uint64_t pos = big; pos < big + big_len; pos += 997) {
		ASSERT_TRUE(locate(map, pos, &dev, &off));
		ASSERT_EQ(1, pread(view[dev], &c, 1, off));
		ASSERT_EQ(pattern_at(1, pos), c);
	}
	for (int i = 0; i < variant->ndax; i++)
		close(view[i]);
	rs_free(s);
	free(map);
}

/* Which faults are taken */

FIXTURE(faults) {
	struct raw_server *s;
};

FIXTURE_VARIANT(faults) {
	uint64_t dev_off;	/* of each strip */
	uint64_t map_off;	/* file offset of the mapping */
	uint32_t nstrips;
	uint32_t chunk;
	int flags;
	bool write;
	long expect;		/* faults when 4 MiB are touched page by page */
};

FIXTURE_VARIANT_ADD(faults, of_2M_read_in_an_aligned_extent) {
	.dev_off = 2 * MB, .nstrips = 1, .chunk = 2 * MB,
	.flags = MAP_SHARED, .expect = 2,
};

FIXTURE_VARIANT_ADD(faults, of_2M_written_in_an_aligned_extent) {
	.dev_off = 4 * MB, .nstrips = 1, .chunk = 2 * MB,
	.flags = MAP_SHARED, .write = true, .expect = 2,
};

FIXTURE_VARIANT_ADD(faults, of_2M_with_2M_chunks) {
	.dev_off = 2 * MB, .nstrips = 2, .chunk = 2 * MB,
	.flags = MAP_SHARED, .expect = 2,
};

FIXTURE_VARIANT_ADD(faults, of_2M_in_the_middle_of_a_file) {
	.dev_off = 2 * MB, .map_off = 2 * MB, .nstrips = 2, .chunk = 2 * MB,
	.flags = MAP_SHARED, .expect = 2,
};

FIXTURE_VARIANT_ADD(faults, of_2M_read_in_a_private_mapping) {
	.dev_off = 2 * MB, .nstrips = 1, .chunk = 2 * MB,
	.flags = MAP_PRIVATE, .expect = 2,
};

FIXTURE_VARIANT_ADD(faults, of_4K_written_in_a_private_mapping) {
	.dev_off = 2 * MB, .nstrips = 1, .chunk = 2 * MB,
	.flags = MAP_PRIVATE, .write = true, .expect = 1024,
};

FIXTURE_VARIANT_ADD(faults, of_4K_on_an_unaligned_extent) {
	.dev_off = 2 * MB + 4 * KB, .nstrips = 1, .chunk = 2 * MB,
	.flags = MAP_SHARED, .expect = 1024,
};

FIXTURE_VARIANT_ADD(faults, of_4K_with_64K_chunks) {
	.dev_off = 2 * MB, .nstrips = 2, .chunk = 64 * KB,
	.flags = MAP_SHARED, .expect = 1024,
};

FIXTURE_VARIANT_ADD(faults, of_4K_at_an_unaligned_file_offset) {
	.dev_off = 2 * MB, .map_off = 4 * KB, .nstrips = 1, .chunk = 2 * MB,
	.flags = MAP_SHARED, .expect = 1024,
};

FIXTURE_SETUP(faults)
{
	const char *why = sandbox(variant->nstrips);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(variant->nstrips);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(faults)
{
	rs_free(self->s);
}

TEST_F(faults, are_taken)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	unsigned int requests = 0;
	long before, taken;
	struct rs_map m;
	char *p, sum = 0;
	int fd;

	rs_map_init(&m, FUSE_FMAP_STRIPED, 8 * MB);
	rs_map_stripe(&m, variant->nstrips, variant->chunk, 8 * MB);
	for (uint32_t i = 0; i < variant->nstrips; i++)
		rs_map_strip(&m, i, variant->dev_off, 8 * MB);
	rs_set_map(self->s, n, &m);
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	p = map_huge(fd, 4 * MB, PROT_READ | PROT_WRITE, variant->flags,
		     variant->map_off);
	ASSERT_NE(MAP_FAILED, p);
	if (variant->write && variant->flags == MAP_PRIVATE)
		madvise(p, 4 * MB, MADV_NOHUGEPAGE);
	/* otherwise the kernel may map the pages around a fault */
	madvise(p, 4 * MB, MADV_RANDOM);
	for (int i = 0; i < RS_NOPCODES; i++)
		requests += self->s->count[i];

	before = minor_faults();
	for (size_t i = 0; i < 4 * MB; i += PG) {
		if (variant->write)
			((volatile char *)p)[i] = 1;
		else
			sum += ((volatile char *)p)[i];
	}
	taken = minor_faults() - before;
	EXPECT_LE(variant->expect, taken);
	/* the process itself takes a few faults */
	EXPECT_GE(variant->expect + 8, taken);
	for (int i = 0; i < RS_NOPCODES; i++)
		requests -= self->s->count[i];
	EXPECT_EQ(0, requests) {
		TH_LOG("a fault sent a request to the server (%d)", sum);
	}
	munmap(p, 4 * MB);
	close(fd);
}

TEST_HARNESS_MAIN
