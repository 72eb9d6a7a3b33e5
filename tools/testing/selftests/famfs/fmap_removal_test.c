// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: a device is taken away while its files are in use.
 *
 * A file striped over two devices, and one on each of them alone. When one
 * device is unbound from its driver, what is on it is lost to the files, and
 * nothing else: no page table may know its pages afterwards, whoever faults,
 * reads, opens, closes or unmounts meanwhile.
 *
 * Needs root, /dev/fuse and two DAX devices bound to the fsdev driver.
 */
#include <pthread.h>

#include "fmap_test.h"

#define CHUNK		(64 * KB)
#define STRIPED_LEN	(8 * MB)
#define ALONE_LEN	(4 * MB)

FIXTURE(removal) {
	struct raw_server *s;
	bool unbound;
	int fd;
	char *p;		/* the striped file */
};

/* Byte in the first chunk that is on device 0 or 1 */
static unsigned long on_dev(int dev)
{
	return dev * CHUNK;
}

FIXTURE_SETUP(removal)
{
	const char *why = sandbox(2);
	struct rs_node *n;
	struct rs_map m;

	self->fd = -1;
	self->p = MAP_FAILED;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);

	rs_map_init(&m, FUSE_FMAP_STRIPED, STRIPED_LEN);
	rs_map_stripe(&m, 2, CHUNK, STRIPED_LEN);
	rs_map_strip(&m, 0, 0, STRIPED_LEN / 2);
	rs_map_strip(&m, 1, 0, STRIPED_LEN / 2);
	n = rs_add_file(self->s, FUSE_ROOT_ID, "striped");
	rs_set_map(self->s, n, &m);
	for (int dev = 0; dev < 2; dev++) {
		rs_map_init(&m, FUSE_FMAP_EXTENTS, ALONE_LEN);
		rs_map_extent(&m, dev, 8 * MB, ALONE_LEN);
		n = rs_add_file(self->s, FUSE_ROOT_ID, dev ? "on1" : "on0");
		rs_set_map(self->s, n, &m);
	}
	ASSERT_EQ(0, start_server(self->s));
	self->fd = open_in(self->s, "striped", O_RDWR);
	ASSERT_LE(0, self->fd);
	self->p = mmap(NULL, STRIPED_LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
		       self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->p);
	for (unsigned long i = 0; i < STRIPED_LEN; i += PG)
		self->p[i] = i / PG;
}

FIXTURE_TEARDOWN(removal)
{
	if (self->p != MAP_FAILED)
		munmap(self->p, STRIPED_LEN);
	if (self->fd >= 0)
		close(self->fd);
	if (self->s)
		rs_free(self->s);
	if (self->unbound)
		bind_to(dax[0], NULL, "fsdev_dax");
}

static int unbind_0(FIXTURE_DATA(removal) *self)
{
	int ret = bind_to(dax[0], "fsdev_dax", NULL);

	self->unbound = !ret;
	return ret;
}

static void expect_the_rest_works(struct __test_metadata *_metadata,
				  FIXTURE_DATA(removal) *self)
{
	char c;

	EXPECT_EQ(SIGBUS, signal_of(self->p + on_dev(0), false));
	EXPECT_EQ(SIGBUS, signal_of(self->p + on_dev(0), true));
	EXPECT_EQ(0, signal_of(self->p + on_dev(1), false));
	EXPECT_EQ(0, signal_of(self->p + on_dev(1), true));
	EXPECT_EQ((char)(on_dev(1) / PG + 1), self->p[on_dev(1) + PG]);
	EXPECT_EQ(-1, pread(self->fd, &c, 1, on_dev(0)));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(1, pread(self->fd, &c, 1, on_dev(1)));
	EXPECT_EQ(-1, pwrite(self->fd, &c, 1, on_dev(0)));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(1, pwrite(self->fd, &c, 1, on_dev(1)));
}

TEST_F(removal, takes_from_a_striped_file_what_is_on_the_device)
{
	ASSERT_EQ(0, unbind_0(self));
	expect_the_rest_works(_metadata, self);
}

TEST_F(removal, leaves_files_on_other_devices_alone)
{
	int on0 = open_in(self->s, "on0", O_RDWR);
	int on1 = open_in(self->s, "on1", O_RDWR);

	ASSERT_LE(0, on0);
	ASSERT_LE(0, on1);
	ASSERT_EQ(0, unbind_0(self));
	EXPECT_TRUE(put(on1, 1, 0, ALONE_LEN));
	EXPECT_TRUE(got(on1, 1, 0, ALONE_LEN));
	EXPECT_FALSE(put(on0, 1, 0, PG));
	close(on0);
	close(on1);
}

TEST_F(removal, makes_new_opens_fail_with_ENODEV)
{
	ASSERT_EQ(0, unbind_0(self));
	EXPECT_EQ(ENODEV, try_open(self->s, "on0", O_RDWR));
	EXPECT_EQ(0, try_open(self->s, "on1", O_RDWR));
}

TEST_F(removal, and_a_return_serve_files_that_are_opened_anew)
{
	int fd;

	ASSERT_EQ(0, unbind_0(self));
	ASSERT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
	self->unbound = false;
	/* what was mapped before stays lost */
	EXPECT_EQ(SIGBUS, signal_of(self->p + on_dev(0), false));

	/* the server is asked for the device again, and names it */
	fd = open_in(self->s, "on0", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 2, 0, ALONE_LEN));
	EXPECT_TRUE(got(fd, 2, 0, ALONE_LEN));
	EXPECT_EQ(1, self->s->count[FUSE_GET_DAXDEV]);
	close(fd);
}

/* While these run, the device goes away */

struct worker {
	FIXTURE_DATA(removal) *self;
	volatile bool *stop;
	unsigned int seed;
	unsigned long done;
};

/* Faults on pages of both devices */
static void *worker_faults(void *arg)
{
	struct worker *w = arg;
	int fd = open_in(w->self->s, "striped", O_RDWR);

	while (!*w->stop) {
		char *p = mmap(NULL, STRIPED_LEN, PROT_READ | PROT_WRITE,
			       MAP_SHARED, fd, 0);
		unsigned int r = rand_r(&w->seed);

		if (p == MAP_FAILED)
			continue;
		/* an error instead of a signal where nothing is left */
		madvise(p + (r % 64) * CHUNK, CHUNK,
			r & 64 ? MADV_POPULATE_READ : MADV_POPULATE_WRITE);
		madvise(p, STRIPED_LEN, MADV_POPULATE_READ);
		munmap(p, STRIPED_LEN);
		w->done++;
	}
	close(fd);
	return NULL;
}

static void *worker_reads(void *arg)
{
	static __thread char buf[2 * CHUNK];
	struct worker *w = arg;

	while (!*w->stop) {
		off_t at = rand_r(&w->seed) % (STRIPED_LEN - sizeof(buf));

		if (pread(w->self->fd, buf, sizeof(buf), at) < 0 && errno != EIO)
			break;
		w->done++;
	}
	return NULL;
}

/* First opens and evictions of a file that lies on the device */
static void *worker_opens(void *arg)
{
	struct worker *w = arg;

	while (!*w->stop) {
		int fd = open_in(w->self->s, "on0", O_RDWR);

		if (fd >= 0)
			close(fd);
		forget(w->self->s, "on0");
		w->done++;
	}
	return NULL;
}

TEST_F(removal, goes_well_with_faults_reads_and_opens_under_way)
{
	void *(*const work[])(void *) = {
		worker_faults, worker_faults, worker_reads, worker_opens
	};
	struct worker w[4] = {};
	volatile bool stop = false;
	pthread_t thread[4];

	for (int i = 0; i < 4; i++) {
		w[i].self = self;
		w[i].stop = &stop;
		w[i].seed = i;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, work[i], &w[i]));
	}
	usleep(300000);
	EXPECT_EQ(0, unbind_0(self));
	usleep(300000);
	stop = true;
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_NE(0, w[i].done);
	}
	expect_the_rest_works(_metadata, self);
}

TEST_F(removal, goes_well_with_an_unmount_under_way)
{
	pid_t pid;
	int status;

	munmap(self->p, STRIPED_LEN);
	self->p = MAP_FAILED;
	close(self->fd);
	self->fd = -1;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(-unbind_0(self));
	EXPECT_EQ(0, rs_unmount(self->s));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	self->unbound = true;
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

TEST_HARNESS_MAIN
