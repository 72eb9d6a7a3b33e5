// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: memory of a device is bad.
 *
 * The pages are good, and are only said to be bad, through hwpoison in debugfs.
 * Exactly those who have the page mapped must get the signal, and exactly the
 * bytes of the page must be lost, until somebody writes the page anew. The
 * server is told, if it wants to know.
 *
 * Needs root, /dev/fuse, two DAX devices bound to the fsdev driver, debugfs
 * with hwpoison/corrupt-pfn.
 */
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "fmap_test.h"

#define TRACING		"/sys/kernel/tracing"
#define CHUNK		(3 * PG)	/* of the striped file */
#define STRIPED_LEN	(64 * CHUNK)
#define HUGE_AT		(16 * MB)
#define HUGE_LEN	(4 * MB)
#define ALONE_AT	(8 * MB)
#define ALONE_LEN	(1 * MB)
#define SEED		7

/* What a process says that may have got a signal */
struct victim {
	pid_t pid;
	bool ready;
	bool again;		/* set to have it read the byte once more */
	char *addr;		/* of the mapping */
	int sig, code;
	void *bad_addr;
	int lsb;
};

FIXTURE(failure) {
	struct raw_server *s;
	struct rs_node *striped_node, *alone_node;
	struct victim *victims;	/* shared with the children */
	int striped, alone, huge;
	bool bad[2];
};

static struct victim *me;

static struct rs_node *add(struct raw_server *s, const char *name,
			   struct rs_map *m)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);

	rs_set_map(s, n, m);
	return n;
}

FIXTURE_SETUP(failure)
{
	const char *why = sandbox(2);
	struct rs_map m;

	if (!why && access(CORRUPT, W_OK))
		why = "no hwpoison/corrupt-pfn in debugfs";
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	self->s->want |= FUSE_DAX_FAILURES;
	self->victims = mmap(NULL, PG, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->victims);

	rs_map_init(&m, FUSE_FMAP_STRIPED, STRIPED_LEN);
	rs_map_stripe(&m, 2, CHUNK, STRIPED_LEN);
	rs_map_strip(&m, 0, 0, STRIPED_LEN / 2);
	rs_map_strip(&m, 1, 0, STRIPED_LEN / 2);
	self->striped_node = add(self->s, "striped", &m);
	rs_map_init(&m, FUSE_FMAP_EXTENTS, ALONE_LEN);
	rs_map_extent(&m, 0, ALONE_AT, ALONE_LEN);
	self->alone_node = add(self->s, "alone", &m);
	rs_map_init(&m, FUSE_FMAP_EXTENTS, HUGE_LEN);
	rs_map_extent(&m, 1, HUGE_AT, HUGE_LEN);
	add(self->s, "huge", &m);
	ASSERT_EQ(0, start_server(self->s));
	ASSERT_NE(0, self->s->offered & FUSE_DAX_FAILURES);
	self->striped = open_in(self->s, "striped", O_RDWR);
	self->alone = open_in(self->s, "alone", O_RDWR);
	self->huge = open_in(self->s, "huge", O_RDWR);
	ASSERT_LE(0, self->striped);
	ASSERT_LE(0, self->alone);
	ASSERT_LE(0, self->huge);
	ASSERT_TRUE(put(self->striped, SEED, 0, STRIPED_LEN));
	ASSERT_TRUE(put(self->alone, SEED, 0, ALONE_LEN));
}

FIXTURE_TEARDOWN(failure)
{
	if (self->victims)
		for (struct victim *v = self->victims; v->pid; v++) {
			kill(v->pid, SIGKILL);
			waitpid(v->pid, NULL, 0);
		}
	close(self->striped);
	close(self->alone);
	close(self->huge);
	if (self->s)
		rs_free(self->s);
	/* A device that comes back has forgotten what was bad */
	for (int i = 0; i < 2; i++)
		if (self->bad[i] && !bind_to(dax[i], "fsdev_dax", NULL))
			bind_to(dax[i], NULL, "fsdev_dax");
}

/* Say that the page of the file is bad; @dev is the place of its device */
static int poison(FIXTURE_DATA(failure) *self, int fd, off_t pos, int dev)
{
	uint64_t pfn = pfn_at(fd, pos);

	if (!pfn)
		return -ENOENT;
	self->bad[dev] = true;
	return poison_pfn(pfn);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	me->code = info->si_code;
	me->bad_addr = info->si_addr;
	me->lsb = info->si_addr_lsb;
	__atomic_store_n(&me->sig, sig, __ATOMIC_RELEASE);
	_exit(0);
}

/*
 * A process that maps some of a file, reads a byte of it or not, and waits. It
 * wants its signal at once.
 */
static bool want_late;		/* ... or at the next access */

static struct victim *start_victim(FIXTURE_DATA(failure) *self, int fd,
				   off_t from, size_t len, ssize_t touch)
{
	struct sigaction sa = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO,
	};
	struct victim *v = self->victims;
	pid_t pid;

	while (v->pid)
		v++;
	pid = fork();
	if (pid) {
		v->pid = pid;
		while (!__atomic_load_n(&v->ready, __ATOMIC_ACQUIRE) &&
		       waitpid(pid, NULL, WNOHANG) == 0)
			usleep(1000);
		return v;
	}

	me = v;
	sigaction(SIGBUS, &sa, NULL);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET,
	      want_late ? PR_MCE_KILL_LATE : PR_MCE_KILL_EARLY, 0, 0);
	v->addr = map_huge(fd, len, PROT_READ | PROT_WRITE, MAP_SHARED, from);
	/* and has no page mapped but the one that it reads */
	if (v->addr == MAP_FAILED || madvise(v->addr, len, MADV_RANDOM))
		_exit(1);
	if (touch >= 0)
		*(volatile char *)(v->addr + touch);
	__atomic_store_n(&v->ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&v->again, __ATOMIC_ACQUIRE))
		usleep(1000);
	*(volatile char *)(v->addr + touch);
	_exit(0);
}

/* Did it get a signal? It is given time to. */
static bool was_hit(struct victim *v)
{
	for (int i = 0; i < 300 && !__atomic_load_n(&v->sig, __ATOMIC_ACQUIRE);
	     i++)
		usleep(10000);
	return v->sig;
}

static char *page_of(void *addr)
{
	return (char *)((uintptr_t)addr & ~(PG - 1));
}

/* No waiting: for when one that was hit has been seen already */
static bool is_well(struct victim *v)
{
	usleep(50000);
	return !v->sig && v->ready && !kill(v->pid, 0);
}

TEST_F(failure, signals_who_maps_the_page_and_nobody_else)
{
	size_t at = 5 * PG;
	struct victim *user = start_victim(self, self->alone, 0, ALONE_LEN, at + 3);
	struct victim *user2 = start_victim(self, self->alone, 4 * PG, 4 * PG, PG);
	struct victim *beside = start_victim(self, self->alone, 0, ALONE_LEN, 6 * PG);
	struct victim *idle = start_victim(self, self->alone, 0, ALONE_LEN, -1);
	struct victim *other = start_victim(self, self->striped, 0, STRIPED_LEN, at);

	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	EXPECT_TRUE(was_hit(user));
	EXPECT_EQ(SIGBUS, user->sig);
	EXPECT_EQ(BUS_MCEERR_AO, user->code);
	EXPECT_EQ(user->addr + at, user->bad_addr);
	EXPECT_EQ(12, user->lsb);
	EXPECT_TRUE(was_hit(user2));
	EXPECT_EQ(user2->addr + PG, user2->bad_addr);
	EXPECT_TRUE(is_well(beside));
	EXPECT_TRUE(is_well(idle));
	EXPECT_TRUE(is_well(other));
}

TEST_F(failure, signals_others_when_they_come_to_the_page_again)
{
	size_t at = 5 * PG;
	struct victim *user;

	want_late = true;
	user = start_victim(self, self->alone, 0, ALONE_LEN, at + 3);
	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	EXPECT_TRUE(is_well(user));
	__atomic_store_n(&user->again, true, __ATOMIC_RELEASE);
	EXPECT_TRUE(was_hit(user));
	EXPECT_EQ(BUS_MCEERR_AR, user->code);
	EXPECT_EQ(user->addr + at, page_of(user->bad_addr));
}

TEST_F(failure, makes_later_faults_of_the_page_fail)
{
	size_t at = 5 * PG;
	struct victim *v;

	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	v = start_victim(self, self->alone, 0, ALONE_LEN, at + 7);
	EXPECT_EQ(SIGBUS, v->sig);
	EXPECT_EQ(BUS_MCEERR_AR, v->code);
	EXPECT_EQ(v->addr + at, page_of(v->bad_addr));
	EXPECT_TRUE(is_well(start_victim(self, self->alone, 0, ALONE_LEN, at - 1)));
	EXPECT_TRUE(is_well(start_victim(self, self->alone, 0, ALONE_LEN, at + PG)));
}

TEST_F(failure, lets_a_read_have_the_good_bytes_before_it)
{
	size_t at = 5 * PG;
	char b[8 * PG];

	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	EXPECT_EQ((ssize_t)(at - 100), pread(self->alone, b, sizeof(b), 100));
	EXPECT_TRUE(is_pattern(b, SEED, 100, at - 100));
	EXPECT_EQ(-1, pread(self->alone, b, 10, at));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pread(self->alone, b, 10, at + PG - 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(got(self->alone, SEED, at + PG, ALONE_LEN - at - PG));
	EXPECT_TRUE(got(self->striped, SEED, 0, STRIPED_LEN));
}

TEST_F(failure, stays_while_the_file_is_forgotten_and_mapped_again)
{
	size_t at = 5 * PG;
	char c;

	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	close(self->alone);
	EXPECT_TRUE(forgotten(self->s, "alone"));
	self->alone = open_in(self->s, "alone", O_RDWR);
	ASSERT_LE(0, self->alone);
	EXPECT_EQ(2, self->alone_node->nfmap);
	EXPECT_EQ(-1, pread(self->alone, &c, 1, at));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(SIGBUS, start_victim(self, self->alone, 0, ALONE_LEN, at)->sig);
	EXPECT_TRUE(got(self->alone, SEED, 0, at));
}

TEST_F(failure, is_undone_by_writing_the_page_anew)
{
	size_t at = 5 * PG;
	char page[PG];

	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	/* the rest of the page would be made up */
	pattern(page, SEED + 1, at, PG);
	EXPECT_EQ(-1, pwrite(self->alone, page, PG - 1, at));
	EXPECT_EQ(-1, pwrite(self->alone, page + 1, PG - 1, at + 1));
	EXPECT_EQ(-1, pread(self->alone, page, 1, at));
	EXPECT_EQ(EIO, errno);

	EXPECT_TRUE(put(self->alone, SEED + 1, at, PG));
	EXPECT_TRUE(got(self->alone, SEED, 0, at));
	EXPECT_TRUE(got(self->alone, SEED + 1, at, PG));
	EXPECT_TRUE(got(self->alone, SEED, at + PG, PG));
	EXPECT_TRUE(is_well(start_victim(self, self->alone, 0, ALONE_LEN, at)));
}

TEST_F(failure, is_undone_by_a_long_write_across_it)
{
	size_t at = 5 * PG;

	ASSERT_EQ(0, poison(self, self->alone, at, 0));
	ASSERT_EQ(0, poison(self, self->alone, at + 2 * PG, 0));
	EXPECT_TRUE(put(self->alone, SEED + 1, 100, 20 * PG));
	EXPECT_TRUE(got(self->alone, SEED + 1, 100, 20 * PG));
}

TEST_F(failure, may_come_again)
{
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, poison(self, self->alone, 0, 0));
		EXPECT_FALSE(got(self->alone, SEED + i, 0, 1));
		EXPECT_TRUE(put(self->alone, SEED + i + 1, 0, PG));
		EXPECT_TRUE(got(self->alone, SEED + i + 1, 0, PG));
	}
}

TEST_F(failure, takes_one_page_of_a_huge_one)
{
	size_t at = 77 * PG;
	struct victim *v;
	char *p;

	v = start_victim(self, self->huge, 0, HUGE_LEN, at);
	ASSERT_EQ(0, poison(self, self->huge, at, 1));
	EXPECT_TRUE(was_hit(v));

	p = map_huge(self->huge, HUGE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(SIGBUS, signal_of(p + at, true));
	for (size_t i = 0; i < HUGE_LEN; i += 11 * PG)
		if (i != at)
			p[i] = i / PG;
	EXPECT_EQ(0, signal_of(p + at - PG, true));
	EXPECT_EQ(0, signal_of(p + at + PG, true));
	for (size_t i = 0; i < HUGE_LEN; i += 11 * PG)
		if (i != at)
			EXPECT_EQ((char)(i / PG), p[i]);
	munmap(p, HUGE_LEN);
}

TEST_F(failure, finds_the_page_of_a_striped_file)
{
	/* second page of chunk 7, which is on device 1 */
	size_t at = 7 * CHUNK + PG;
	struct victim *v = start_victim(self, self->striped, 0, STRIPED_LEN, at);

	ASSERT_EQ(0, poison(self, self->striped, at, 1));
	EXPECT_TRUE(was_hit(v));
	EXPECT_EQ(v->addr + at, v->bad_addr);
	EXPECT_TRUE(got(self->striped, SEED, 0, at));
	EXPECT_FALSE(got(self->striped, SEED, at, 1));
	EXPECT_TRUE(got(self->striped, SEED, at + PG, STRIPED_LEN - at - PG));
}

/* The server's end of it */

static bool wait_failures(struct raw_server *s, uint32_t n)
{
	for (int i = 0; i < 300; i++) {
		if (__atomic_load_n(&s->nfailures, __ATOMIC_ACQUIRE) >= n)
			return true;
		usleep(10000);
	}
	return false;
}

TEST_F(failure, is_told_to_the_server_with_device_and_file)
{
	size_t at = 7 * CHUNK + PG;
	struct rs_failure *f = self->s->failure;

	ASSERT_EQ(0, poison(self, self->striped, at, 1));
	ASSERT_TRUE(wait_failures(self->s, 1));
	EXPECT_EQ(rs_ino(self->s, self->striped_node), f->nodeid);
	EXPECT_EQ(1, f->in.index);
	EXPECT_EQ(FUSE_DAX_BAD_MEMORY, f->in.event);
	EXPECT_EQ(3 * CHUNK + PG, f->in.offset);
	EXPECT_EQ(PG, f->in.len);
	EXPECT_EQ(at, f->in.pos);
	usleep(50000);
	EXPECT_EQ(1, self->s->nfailures);
}

TEST_F(failure, of_a_page_that_no_file_has_is_told_for_the_root)
{
	uint64_t pfn = pfn_at(self->alone, 0);
	struct rs_failure *f = self->s->failure;

	ASSERT_NE(0, pfn);
	self->bad[0] = true;
	ASSERT_EQ(0, poison_pfn(pfn - 1));
	ASSERT_TRUE(wait_failures(self->s, 1));
	EXPECT_EQ(FUSE_ROOT_ID, f->nodeid);
	EXPECT_EQ(0, f->in.index);
	EXPECT_EQ(ALONE_AT - PG, f->in.offset);
	EXPECT_EQ(0, f->in.pos);
}

TEST_F(failure, is_told_no_more_once_the_server_says_ENOSYS)
{
	self->s->failure_err = ENOSYS;
	ASSERT_EQ(0, poison(self, self->alone, 0, 0));
	ASSERT_TRUE(wait_failures(self->s, 1));
	usleep(100000);
	ASSERT_EQ(0, poison(self, self->alone, PG, 0));
	usleep(100000);
	EXPECT_EQ(1, self->s->nfailures);
}

TEST_F(failure, does_not_wait_for_the_server)
{
	struct victim *v = start_victim(self, self->alone, 0, ALONE_LEN, 9 * PG);
	struct timespec a, b;
	siginfo_t info;

	kill(self->s->pid, SIGSTOP);
	ASSERT_EQ(0, waitid(P_PID, self->s->pid, &info, WSTOPPED | WNOWAIT));
	/* more than the kernel lets be under way in the background */
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, poison(self, self->alone, i * PG, 0));
	clock_gettime(CLOCK_MONOTONIC, &b);
	EXPECT_TRUE(was_hit(v));
	EXPECT_GT(10, b.tv_sec - a.tv_sec);
	EXPECT_EQ(0, self->s->nfailures);
	kill(self->s->pid, SIGCONT);
	EXPECT_TRUE(wait_failures(self->s, 20));
}

/* A server may have freed what it knows of a node that was forgotten */
TEST_F(failure, is_told_before_the_file_is_forgotten)
{
	uint64_t pfn = pfn_at(self->alone, 0);
	struct raw_server *s = self->s;
	siginfo_t info;

	ASSERT_NE(0, pfn);
	self->bad[0] = true;
	/* closed, the file is there as long as its name is */
	close(self->alone);
	self->alone = -1;
	usleep(100000);	/* until RELEASE is done, which holds it, too */
	kill(s->pid, SIGSTOP);
	ASSERT_EQ(0, waitid(P_PID, s->pid, &info, WSTOPPED | WNOWAIT));
	/* more than are under way at a time: the others stand in line */
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(0, poison_pfn(pfn + i));
	EXPECT_EQ(0, forget(s, "alone"));
	kill(s->pid, SIGCONT);
	ASSERT_TRUE(wait_failures(s, 20));
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(rs_ino(s, self->alone_node), s->failure[i].nodeid);
		EXPECT_EQ(0, s->failure[i].nforgets);
	}
	/* then it can be */
	for (int i = 0; i < 300 && !s->count[FUSE_FORGET] &&
	     !s->count[FUSE_BATCH_FORGET]; i++)
		usleep(10000);
	EXPECT_NE(0, s->count[FUSE_FORGET] + s->count[FUSE_BATCH_FORGET]);
}

TEST_F(failure, goes_well_without_the_server)
{
	rs_kill(self->s);
	ASSERT_EQ(0, poison(self, self->alone, PG, 0));
	EXPECT_TRUE(got(self->alone, SEED, 0, PG));
	EXPECT_FALSE(got(self->alone, SEED, PG, 1));
	EXPECT_TRUE(put(self->alone, SEED, PG, PG));
	EXPECT_TRUE(got(self->alone, SEED, 0, ALONE_LEN));
}

TEST(a_server_that_did_not_ask_is_not_told)
{
	const char *why = sandbox(1);
	struct raw_server *s;
	struct rs_map m;
	uint64_t pfn;
	int fd;

	if (!why && access(CORRUPT, W_OK))
		why = "no hwpoison/corrupt-pfn in debugfs";
	if (why)
		SKIP(return, "%s", why);
	s = new_server(1);
	rs_map_init(&m, FUSE_FMAP_EXTENTS, ALONE_LEN);
	rs_map_extent(&m, 0, ALONE_AT, ALONE_LEN);
	add(s, "alone", &m);
	ASSERT_EQ(0, start_server(s));
	fd = open_in(s, "alone", O_RDWR);
	ASSERT_LE(0, fd);
	pfn = pfn_at(fd, 0);
	ASSERT_NE(0, pfn);
	EXPECT_EQ(0, poison_pfn(pfn));
	EXPECT_FALSE(got(fd, SEED, 0, 1));
	usleep(100000);
	EXPECT_EQ(0, s->count[FUSE_DAX_FAILURE]);
	EXPECT_TRUE(put(fd, SEED, 0, PG));
	close(fd);
	rs_free(s);
}

/* Seeing it */

TEST_F(failure, is_logged_once_with_device_offset_and_file)
{
	int log = kmsg_open();
	char where[64];

	ASSERT_LE(0, log);
	snprintf(where, sizeof(where), "0x%lx, node %llu at 0x%lx",
		 ALONE_AT + PG, (unsigned long long)
		 rs_ino(self->s, self->alone_node), PG);
	ASSERT_EQ(0, poison(self, self->alone, PG, 0));
	EXPECT_EQ(1, kmsg_count(log, dax[0], where));
	close(log);
}

TEST_F(failure, is_counted_in_fusectl)
{
	char path[PATH_MAX], line[256] = "", name[32];
	unsigned long index, maps, bytes;
	unsigned long long size;
	char mode[8], state[16];
	struct stat st;
	long failures;
	FILE *f;

	ASSERT_EQ(0, poison(self, self->alone, PG, 0));
	ASSERT_EQ(0, poison(self, self->alone, 2 * PG, 0));
	ASSERT_EQ(0, fstat(self->alone, &st));
	snprintf(path, sizeof(path), CONNECTIONS "/%lu/dax_devices",
		 (unsigned long)st.st_dev);
	f = fopen(path, "r");
	if (!f)
		SKIP(return, "no fusectl");
	EXPECT_NE(NULL, fgets(line, sizeof(line), f));
	fclose(f);
	ASSERT_EQ(8, sscanf(line, "%lu %31s %llu %7s %15s %lu %lu %ld", &index,
			    name, &size, mode, state, &maps, &bytes, &failures));
	EXPECT_EQ(2, failures);
	EXPECT_STREQ("ok", state);
}

TEST_F(failure, has_a_tracepoint)
{
	char record[8192] = "", want[64];
	ssize_t n;
	int fd;

	if (write_file(TRACING "/events/fuse/fuse_daxdev_failure/enable", "1"))
		SKIP(return, "no tracefs");
	write_file(TRACING "/trace", "");
	EXPECT_EQ(0, poison(self, self->alone, PG, 0));
	write_file(TRACING "/events/fuse/fuse_daxdev_failure/enable", "0");
	fd = open(TRACING "/trace", O_RDONLY | O_CLOEXEC);
	n = read(fd, record, sizeof(record) - 1);
	EXPECT_LT(0, n);
	close(fd);
	snprintf(want, sizeof(want), "device %s event 0 offset 0x%lx", dax[0],
		 ALONE_AT + PG);
	EXPECT_NE(NULL, strstr(record, want));
}

/* Many at once, and others who use the files meanwhile */

struct user {
	FIXTURE_DATA(failure) *self;
	volatile bool *stop;
	unsigned long done, wrong;
};

/* Reads of what is never bad: the second half of the file */
static void *read_good(void *arg)
{
	struct user *u = arg;

	while (!*u->stop) {
		if (!got(u->self->alone, SEED, ALONE_LEN / 2, 32 * PG) ||
		    !got(u->self->striped, SEED, 0, 32 * PG))
			u->wrong++;
		u->done++;
	}
	return NULL;
}

/* Reads of what may be bad: the right bytes, or EIO */
static void *read_bad(void *arg)
{
	struct user *u = arg;
	char b[PG];

	while (!*u->stop) {
		off_t at = u->done % 64 * PG;
		ssize_t n = pread(u->self->alone, b, PG, at);

		if (n < 0)
			u->wrong += errno != EIO;
		else if (n != (ssize_t)PG || !is_pattern(b, SEED, at, PG))
			u->wrong++;
		u->done++;
	}
	return NULL;
}

/* Faults on what may be bad, by way of an error in place of a signal */
static void *fault_bad(void *arg)
{
	struct user *u = arg;

	while (!*u->stop) {
		char *p = mmap(NULL, 64 * PG, PROT_READ | PROT_WRITE,
			       MAP_SHARED, u->self->alone, 0);

		for (int i = 0; i < 64 && p != MAP_FAILED; i++)
			if (madvise(p + i * PG, PG, MADV_POPULATE_READ) &&
			    errno != EHWPOISON && errno != EFAULT)
				u->wrong++;
		munmap(p, 64 * PG);
		u->done++;
	}
	return NULL;
}

TEST_F_TIMEOUT(failure, in_a_storm_leaves_the_rest_alone, 120)
{
	void *(*const work[])(void *) = { read_good, read_bad, fault_bad };
	struct user u[3] = {};
	volatile bool stop = false;
	pthread_t thread[3];
	uint64_t pfn = pfn_at(self->alone, 0);

	ASSERT_NE(0, pfn);
	self->bad[0] = true;
	/* this process has pages mapped, and is told so */
	signal(SIGBUS, ignore);
	for (int i = 0; i < 3; i++) {
		u[i].self = self;
		u[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, work[i], &u[i]));
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			EXPECT_EQ(0, poison_pfn(pfn + i));
		EXPECT_TRUE(put(self->alone, SEED, 0, 64 * PG));
	}
	usleep(100000);
	stop = true;
	for (int i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_NE(0, u[i].done);
		EXPECT_EQ(0, u[i].wrong);
	}
	EXPECT_TRUE(wait_failures(self->s, 3 * 64));
	EXPECT_TRUE(got(self->alone, SEED, 0, ALONE_LEN));
	signal(SIGBUS, SIG_DFL);
}

/* Pages that somebody has pinned */

TEST_F(failure, buffers_on_a_mapped_file_can_not_be_registered)
{
	struct io_uring_params p = {};
	struct iovec iov = { .iov_len = PG };
	int ring = syscall(__NR_io_uring_setup, 4, &p);

	if (ring < 0)
		SKIP(return, "no io_uring");
	iov.iov_base = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->alone, 0);
	ASSERT_NE(MAP_FAILED, iov.iov_base);
	EXPECT_EQ(-1, syscall(__NR_io_uring_register, ring,
			      IORING_REGISTER_BUFFERS, &iov, 1));
	EXPECT_EQ(EOPNOTSUPP, errno);
	munmap(iov.iov_base, PG);
	close(ring);
}

TEST_F(failure, a_removal_waits_for_pinned_pages_and_is_told)
{
	struct iovec iov = { .iov_len = PG };
	int pipefd[2], status;
	pid_t pid;
	char b[PG];

	self->bad[0] = false;
	ASSERT_EQ(0, pipe(pipefd));
	iov.iov_base = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->alone, 0);
	ASSERT_NE(MAP_FAILED, iov.iov_base);
	ASSERT_EQ((ssize_t)PG, vmsplice(pipefd[1], &iov, 1, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipefd[0]);
		close(pipefd[1]);
		_exit(-bind_to(dax[0], "fsdev_dax", NULL));
	}
	ASSERT_TRUE(wait_failures(self->s, 1));
	EXPECT_EQ(FUSE_DAX_REMOVED, self->s->failure[0].in.event);
	EXPECT_EQ(FUSE_ROOT_ID, self->s->failure[0].nodeid);
	EXPECT_EQ(0, self->s->failure[0].in.index);
	EXPECT_EQ(0, self->s->failure[0].in.offset);
	EXPECT_EQ(dax_size[0], self->s->failure[0].in.len);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	/* the bytes are there as long as somebody has the page */
	EXPECT_EQ((ssize_t)PG, read(pipefd[0], b, PG));
	EXPECT_TRUE(is_pattern(b, SEED, 0, PG));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	munmap(iov.iov_base, PG);
	close(pipefd[0]);
	close(pipefd[1]);
	EXPECT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
}

TEST_HARNESS_MAIN
