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
#include <semaphore.h>
#include <sys/utsname.h>

#include "fmap_test.h"

#define CHUNK		(64 * KB)
#define STRIPED_LEN	(8 * MB)
#define ALONE_LEN	(4 * MB)

#define AUTOPROBE	"/sys/bus/dax/drivers_autoprobe"

FIXTURE(removal) {
	struct raw_server *s;
	bool unbound;
	char region[PATH_MAX];	/* that is disabled */
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

/* The region of CXL, or of NVDIMMs, that a device is in; "" if it is in none */
static void find_region(const char *name, char *region)
{
	char path[PATH_MAX];
	char *end;

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s", name);
	if (!realpath(path, region))
		*region = 0;
	for (end = region + strlen(region); end > region; end--) {
		if (*end != '/')
			continue;
		*end = 0;
		if (strncmp(strrchr(region, '/') ?: "", "/region", 7))
			continue;
		snprintf(path, sizeof(path), "%s/driver/unbind", region);
		if (!access(path, W_OK))
			return;
	}
	*region = 0;
}

/* As "cxl disable-region" and "ndctl disable-region" do, and back */
static int disable_region(FIXTURE_DATA(removal) *self)
{
	char driver[PATH_MAX], path[PATH_MAX + 16];
	int ret;

	snprintf(path, sizeof(path), "%s/driver", self->region);
	if (!realpath(path, driver))
		return -errno;
	snprintf(path, sizeof(path), "%s/unbind", driver);
	ret = write_file(path, strrchr(self->region, '/') + 1);
	/* where to bind it again */
	snprintf(self->region + strlen(self->region) + 1,
		 sizeof(self->region) - strlen(self->region) - 1, "%s/bind",
		 driver);
	return ret;
}

static int enable_region(FIXTURE_DATA(removal) *self)
{
	const char *bind = self->region + strlen(self->region) + 1;
	char path[PATH_MAX];
	int ret;

	/* or the first driver that finds it takes the device */
	write_file(AUTOPROBE, "0");
	ret = write_file(bind, strrchr(self->region, '/') + 1);
	self->region[0] = 0;
	/* It appears some time later, and before drivers can have it */
	snprintf(path, sizeof(path), "/sys/bus/dax/drivers/fsdev_dax/%s",
		 dax[0]);
	for (int i = 0; !ret && access(path, F_OK); i++) {
		usleep(5000);
		ret = i < 2000 ? bind_to(dax[0], NULL, "fsdev_dax") : -ETIMEDOUT;
	}
	write_file(AUTOPROBE, "1");
	return ret;
}

FIXTURE_TEARDOWN(removal)
{
	if (self->p != MAP_FAILED)
		munmap(self->p, STRIPED_LEN);
	if (self->fd >= 0)
		close(self->fd);
	if (self->s)
		rs_free(self->s);
	if (self->region[0])
		enable_region(self);
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

/* The device goes from below: its driver is not what was asked to let go */
TEST_F(removal, with_the_region_that_it_is_in_is_no_other)
{
	char path[64];
	int fd;

	find_region(dax[0], self->region);
	if (!self->region[0])
		SKIP(return, "%s is in no region", dax[0]);
	ASSERT_EQ(0, disable_region(self));
	snprintf(path, sizeof(path), "/dev/%s", dax[0]);
	EXPECT_EQ(-1, access(path, F_OK));
	expect_the_rest_works(_metadata, self);

	ASSERT_EQ(0, enable_region(self));
	EXPECT_EQ(SIGBUS, signal_of(self->p + on_dev(0), false));
	fd = open_in(self->s, "on0", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 2, 0, ALONE_LEN));
	EXPECT_TRUE(got(fd, 2, 0, ALONE_LEN));
	close(fd);
}

TEST_F(removal, is_told_by_fsync)
{
	int on1 = open_in(self->s, "on1", O_RDWR);

	ASSERT_LE(0, on1);
	EXPECT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, unbind_0(self));
	EXPECT_EQ(-1, fsync(self->fd));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, fsync(on1));
	close(on1);
}

/* In the server: while the kernel waits for device 1, device 0 goes away */
static int unbind_0_when_asked(struct raw_server *s,
			       const struct fuse_in_header *ih, const void *arg)
{
	(void)s;
	(void)arg;
	if (ih->opcode == FUSE_GET_DAXDEV)
		bind_to(dax[0], "fsdev_dax", NULL);
	return 0;
}

TEST_F(removal, while_a_map_arrives_fails_the_open)
{
	struct rs_node *n;
	struct rs_map m;

	/* the server takes device 1 back, so that it is asked for it */
	munmap(self->p, STRIPED_LEN);
	self->p = MAP_FAILED;
	close(self->fd);
	self->fd = -1;
	ASSERT_TRUE(forgotten(self->s, "striped"));
	ASSERT_EQ(0, rs_daxdev_close(self->s->fd, 1));
	self->s->dev[1].how = RS_PUSH_WHEN_ASKED;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, 2 * MB);
	rs_map_extent(&m, 0, 16 * MB, MB);
	rs_map_extent(&m, 1, 16 * MB, MB);
	n = rs_add_file(self->s, FUSE_ROOT_ID, "late");
	rs_set_map(self->s, n, &m);
	self->s->hook = unbind_0_when_asked;
	self->unbound = true;
	EXPECT_EQ(ENODEV, try_open(self->s, "late", O_RDWR));
	EXPECT_EQ(1, self->s->count[FUSE_GET_DAXDEV]);
	EXPECT_EQ(0, try_open(self->s, "on1", O_RDWR));
}

/*
 * Faults that are in the middle of what they do when the device goes away.
 * Many threads share a processor, so that nearly all of them are stopped
 * somewhere, and then one takes it that lets none of them go on. Each has a chunk
 * of its own, and MADV_RANDOM makes it a fault for each page, so that some are
 * stopped where they hold up the removal, whatever it is that they do there.
 */
#define NFAULTERS	(STRIPED_LEN / CHUNK / 2 - 1)
#define HOG_SECONDS	2

struct faulter {
	pthread_t thread;
	pthread_barrier_t *begin;
	char *chunk;
	volatile bool *last;
};

struct hog {
	pthread_t thread;
	sem_t begin;
	volatile bool begun;
	volatile bool end;
	FIXTURE_DATA(removal) *self;
};

static bool pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void *faulter(void *arg)
{
	struct sched_param param = {};
	struct faulter *f = arg;

	pin_to(1);
	pthread_barrier_wait(f->begin);
	sched_setscheduler(0, SCHED_IDLE, &param);
	while (!*f->last) {
		madvise(f->chunk, CHUNK, MADV_DONTNEED);
		madvise(f->chunk, CHUNK, MADV_POPULATE_WRITE);
	}
	return NULL;
}

/* Not real-time: of that the scheduler keeps a part for the others */
static void *hog(void *arg)
{
	struct hog *h = arg;

	pin_to(1);
	setpriority(PRIO_PROCESS, 0, -20);
	sem_wait(&h->begin);
	h->begun = true;
	while (!h->end)
		;
	return NULL;
}

static void *unbind(void *arg)
{
	struct hog *h = arg;

	while (!h->begun)
		usleep(1000);
	return (void *)(intptr_t)unbind_0(h->self);
}

static bool is_mapped(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	pread(fd, &entry, sizeof(entry), (uintptr_t)p / PG * sizeof(entry));
	close(fd);
	return entry >> 63;
}

TEST_F_TIMEOUT(removal, waits_for_faults_that_have_begun, 60)
{
	char *untouched = self->p + on_dev(0);
	struct faulter f[NFAULTERS];
	volatile bool last = false;
	struct timespec limit;
	struct hog h = { .self = self };
	pthread_barrier_t begin;
	struct utsname kernel;
	pthread_t unbinder;
	void *ret;
	char *p;

	if (!pin_to(1))
		SKIP(return, "two processors needed");
	ASSERT_TRUE(pin_to(0));
	ASSERT_EQ(0, uname(&kernel));
	if (!strstr(kernel.version, " PREEMPT "))
		SKIP(return, "no kernel that stops a fault for another thread");
	ASSERT_EQ(0, madvise(self->p, STRIPED_LEN, MADV_RANDOM));
	ASSERT_TRUE(is_mapped(untouched));
	/*
	 * All threads are there before the first one faults: to make another one,
	 * whose stack is to be mapped, means to wait until no fault is under way.
	 */
	ASSERT_EQ(0, pthread_barrier_init(&begin, NULL, NFAULTERS + 1));
	ASSERT_EQ(0, sem_init(&h.begin, 0, 0));
	ASSERT_EQ(0, pthread_create(&h.thread, NULL, hog, &h));
	ASSERT_EQ(0, pthread_create(&unbinder, NULL, unbind, &h));
	for (unsigned int i = 0; i < NFAULTERS; i++) {
		f[i].chunk = untouched + (i + 1) * 2 * CHUNK;
		f[i].last = &last;
		f[i].begin = &begin;
		ASSERT_EQ(0, pthread_create(&f[i].thread, NULL, faulter, &f[i]));
	}
	pthread_barrier_wait(&begin);
	/* a few ticks for each */
	usleep(NFAULTERS * 10000);
	sem_post(&h.begin);
	while (!h.begun)
		usleep(1000);
	last = true;
	/* what is first in the file goes first, but not yet */
	sleep(HOG_SECONDS);
	EXPECT_TRUE(is_mapped(untouched));
	h.end = true;
	pthread_join(h.thread, NULL);
	sem_destroy(&h.begin);
	for (unsigned int i = 0; i < NFAULTERS; i++)
		pthread_join(f[i].thread, NULL);
	pthread_barrier_destroy(&begin);

	/* a page that was mapped after all would be waited for till munmap() */
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 20;
	EXPECT_EQ(0, pthread_timedjoin_np(unbinder, &ret, &limit)) {
		TH_LOG("the removal hangs");
		p = self->p;
		self->p = MAP_FAILED;
		munmap(p, STRIPED_LEN);
		pthread_join(unbinder, &ret);
		return;
	}
	EXPECT_EQ(NULL, ret);
	expect_the_rest_works(_metadata, self);
}

/* A page in a pipe. It is taken out of it in the end, or after 20 s */
struct pinned {
	pthread_t thread;
	sem_t end;
	int pipefd[2];
	bool in_the_way;	/* nothing went on for 20 s */
};

static void *unpin(void *arg)
{
	struct pinned *pin = arg;
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 20;
	pin->in_the_way = sem_timedwait(&pin->end, &limit);
	close(pin->pipefd[0]);
	close(pin->pipefd[1]);
	return NULL;
}

static void begin_pin(struct __test_metadata *_metadata, struct pinned *pin,
		      char *page)
{
	struct iovec iov = { .iov_base = page, .iov_len = PG };

	ASSERT_EQ(0, sem_init(&pin->end, 0, 0));
	ASSERT_EQ(0, pipe(pin->pipefd));
	ASSERT_EQ((ssize_t)PG, vmsplice(pin->pipefd[1], &iov, 1, 0));
	ASSERT_EQ(0, pthread_create(&pin->thread, NULL, unpin, pin));
}

static void end_pin(struct __test_metadata *_metadata, struct pinned *pin)
{
	sem_post(&pin->end);
	pthread_join(pin->thread, NULL);
	sem_destroy(&pin->end);
	EXPECT_FALSE(pin->in_the_way);
}

TEST_F_TIMEOUT(removal, waits_for_no_page_on_another_device, 60)
{
	struct pinned pin = {};

	begin_pin(_metadata, &pin, self->p + on_dev(1));
	EXPECT_EQ(0, unbind_0(self));
	end_pin(_metadata, &pin);
	EXPECT_FALSE(is_mapped(self->p + on_dev(0) + 2 * CHUNK));
	EXPECT_TRUE(is_mapped(self->p + on_dev(1)));
	expect_the_rest_works(_metadata, self);
}

/* Who has pinned a page may be about to fault on the next one */
TEST_F_TIMEOUT(removal, does_not_hold_up_faults_while_it_waits_for_a_page, 60)
{
	struct hog h = { .self = self, .begun = true };
	struct pinned pin = {};
	pthread_t unbinder;
	void *ret;

	begin_pin(_metadata, &pin, self->p + on_dev(0));
	ASSERT_EQ(0, pthread_create(&unbinder, NULL, unbind, &h));
	for (int i = 0; i < 1000 && is_mapped(self->p + on_dev(0)); i++)
		usleep(5000);
	EXPECT_FALSE(is_mapped(self->p + on_dev(0)));
	usleep(100000);
	EXPECT_EQ(EBUSY, pthread_tryjoin_np(unbinder, &ret));
	EXPECT_EQ(SIGBUS, signal_of(self->p + on_dev(0), false));
	EXPECT_EQ(0, madvise(self->p + on_dev(1), PG, MADV_DONTNEED));
	EXPECT_EQ(0, signal_of(self->p + on_dev(1), true));
	end_pin(_metadata, &pin);
	pthread_join(unbinder, &ret);
	EXPECT_EQ(NULL, ret);
	expect_the_rest_works(_metadata, self);
}

/*
 * Open the file on device 0 that was lost, until it is served again: RELEASE
 * holds the inode until the server has answered it
 */
static int open_anew(FIXTURE_DATA(removal) *self)
{
	for (int i = 0; i < 300; i++) {
		int fd = open_in(self->s, "on0", O_RDWR);

		if (fd >= 0 && put(fd, 2, 0, PG))
			return fd;
		close(fd);
		usleep(10000);
	}
	return -1;
}

static void expect_it_is_served(struct __test_metadata *_metadata,
				FIXTURE_DATA(removal) *self)
{
	int fd = open_anew(self);

	ASSERT_LE(0, fd);
	EXPECT_TRUE(put(fd, 2, 0, ALONE_LEN));
	EXPECT_TRUE(got(fd, 2, 0, ALONE_LEN));
	close(fd);
}

static void remove_and_return(struct __test_metadata *_metadata,
			      FIXTURE_DATA(removal) *self)
{
	ASSERT_EQ(0, unbind_0(self));
	ASSERT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
	self->unbound = false;
}

TEST_F(removal, and_a_return_serve_files_that_were_open_before)
{
	int open_before = open_in(self->s, "on0", O_RDWR);
	int fd;

	ASSERT_LE(0, open_before);
	EXPECT_EQ(0, try_open(self->s, "on1", O_RDWR));
	remove_and_return(_metadata, self);
	EXPECT_FALSE(put(open_before, 2, 0, PG));
	/* as long as somebody has the file, it is the one that was lost */
	fd = open_in(self->s, "on0", O_RDWR);
	EXPECT_FALSE(put(fd, 2, 0, PG));
	close(fd);
	close(open_before);
	expect_it_is_served(_metadata, self);
}

TEST_F(removal, and_a_return_serve_files_that_were_closed_before)
{
	EXPECT_EQ(0, try_open(self->s, "on0", O_RDWR));
	remove_and_return(_metadata, self);
	expect_it_is_served(_metadata, self);
}

/* Nor does a name hold the file that it got when it was lost already */
TEST_F(removal, and_a_return_serve_files_that_got_a_name_between)
{
	int open_before = open_in(self->s, "on0", O_RDWR);
	char from[PATH_MAX], to[PATH_MAX];

	ASSERT_LE(0, open_before);
	remove_and_return(_metadata, self);
	snprintf(from, sizeof(from), "%s/on0", self->s->mnt);
	snprintf(to, sizeof(to), "%s/between", self->s->mnt);
	EXPECT_EQ(0, link(from, to));
	EXPECT_EQ(0, access(to, F_OK));
	close(open_before);
	expect_it_is_served(_metadata, self);
}

#define OPENS	3	/* of the striped file, of the one on device 0, and again */

/* In the server: RELEASE is not answered before the file is open again */
static int answer_release_late(struct raw_server *s,
			       const struct fuse_in_header *ih, const void *arg)
{
	const uint32_t *opens = &s->count[FUSE_OPEN];

	(void)arg;
	if (ih->opcode == FUSE_RELEASE)
		wait_until(opens, OPENS);
	return 0;
}

TEST_F(removal, and_a_return_serve_files_that_were_opened_while_they_closed)
{
	int open_before = open_in(self->s, "on0", O_RDWR);
	int fd;

	ASSERT_LE(0, open_before);
	remove_and_return(_metadata, self);
	self->s->hook = answer_release_late;
	close(open_before);
	fd = open_in(self->s, "on0", O_RDWR);
	EXPECT_EQ(OPENS, self->s->count[FUSE_OPEN]);
	EXPECT_FALSE(put(fd, 2, 0, PG));
	close(fd);
	expect_it_is_served(_metadata, self);
}

TEST_F(removal, and_a_return_go_well_while_the_device_is_open)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", dax[0]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, unbind_0(self));
	ASSERT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
	/* what was opened before is no part of what came back */
	close(fd);
	ASSERT_EQ(0, bind_to(dax[0], "fsdev_dax", NULL));
	ASSERT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
	self->unbound = false;
	EXPECT_EQ(0, try_open(self->s, "on0", O_RDWR));
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
