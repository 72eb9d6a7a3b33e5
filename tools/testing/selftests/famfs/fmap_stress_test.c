// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE DAX file maps: concurrent operations and failures.
 *
 * Some actors open files, fault, read and write, fork, or are killed. Others
 * evict inodes, open files with broken maps, unregister devices, unmount, abort
 * the connection, kill the server, unbind a device, or poison a page. The tests
 * run every pair of actors, and all of them at once. Each actor is a process. A
 * generation runs the actors on one mount for some hundredths of a second.
 * Afterwards all maps must be free, and the next generation must find the data
 * of the earlier ones.
 *
 * Every operation has a deadline and a list of valid results. No actor unbinds
 * or poisons the first device, so its data can always be read and written
 * through an open file. Failures affect only the second device. A page can't be
 * unpoisoned, so the test binds the device again, which makes new pages.
 *
 * The program runs for about FMAP_STRESS_SECONDS (default 40).
 * FMAP_STRESS_SEED repeats the random choices of a run, but not its scheduling.
 *
 * Needs root, /dev/fuse, fusectl and two DAX devices bound to the fsdev driver
 * of at least 64 MiB each; overwrites them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "fmap_test.h"
#include "fmap_random.h"

#define DEADLINE	60	/* seconds for any operation */
#define NO_TIMEOUT	1000000	/* the deadline ends a test that hangs */

#define SAFE		0	/* devices, and their indexes */
#define LOST		1

#define STAMP		64	/* constant bytes at the start of each page */
#define SLOTS		2048	/* offset of the slots: 8 bytes per actor */
#define PRIVATE_AT	3072	/* written by private mappings only */

enum actor {
	OPENS, FAULTS, READS, FORKS, SIGNALS, EVICTS, REFUSES, REGISTERS,
	UNMOUNTS, ABORTS, KILLS, UNBINDS, POISONS, NACTORS
};

static const char *const actor_name[NACTORS] = {
	"open", "fault", "read and write", "fork", "kill a process", "evict",
	"refuse a map", "register a device", "unmount", "abort",
	"kill the server", "unbind a device", "poison a page",
};

#define BIT(actor)	(1U << (actor))
/* Actors that may end a mount */
#define ENDS		(BIT(UNMOUNTS) | BIT(ABORTS) | BIT(KILLS))

enum file { WHOLE, PIECES, ON_LOST, STRIPED, WIDE, POISONED, NFILES };

static const struct {
	const char *name;
	unsigned long npages;
	unsigned long chunk;	/* pages; 0: on one device only */
	int dev;
} file[NFILES] = {
	[WHOLE]		= { "whole", 1024, 0, SAFE },
	[PIECES]	= { "pieces", 256, 0, SAFE },
	[ON_LOST]	= { "lost", 512, 0, LOST },
	[STRIPED]	= { "striped", 512, 16, -1 },
	[WIDE]		= { "wide", 2048, 512, -1 },
	[POISONED]	= { "poisoned", 16, 0, LOST },
};

#define MAX_PAGES	2048
#define POISONED_PAGE	8
#define NBROKEN		4
#define MAX_ACTORS	20

/* A process of a generation */
struct worker {
	pid_t pid;
	enum actor actor;
	bool gone;
	const char *what;	/* current operation, file, start */
	const char *name;
	uint64_t since;
};

/* Shared by all processes */
static struct shared {
	uint32_t mask;		/* actors in this generation */
	unsigned int conn;
	bool running;		/* the server process may act */
	bool stop;
	bool forget_all;	/* request to the server, which clears it */
	uint64_t hit;		/* start of the disruptive actors */
	bool hung;
	bool failed;
	char msg[512];
	uint32_t done[NACTORS];
	struct worker worker[MAX_ACTORS + 1];	/* and the test itself */
	/* Last version in each slot, 0: none */
	uint32_t version[MAX_ACTORS][NFILES][MAX_PAGES];
} *sh;

static struct raw_server *server;
static struct worker *me;
static int connections_before;
static unsigned int seed;
static bool no_slots;		/* for processes that may be killed */

static unsigned int below(unsigned int n)
{
	return rand_r(&seed) / 16 % n;
}

static bool in_mask(uint32_t actors)
{
	return sh->mask & actors;
}

/* Only the first problem is reported */
__attribute__((format(printf, 1, 2)))
static void problem(const char *fmt, ...)
{
	va_list ap;

	if (__atomic_exchange_n(&sh->failed, true, __ATOMIC_ACQ_REL))
		return;
	va_start(ap, fmt);
	vsnprintf(sh->msg, sizeof(sh->msg), fmt, ap);
	va_end(ap);
}

static bool stopped(void)
{
	return __atomic_load_n(&sh->stop, __ATOMIC_ACQUIRE) || sh->failed;
}

static void count_act(enum actor a)
{
	__atomic_add_fetch(&sh->done[a], 1, __ATOMIC_RELAXED);
}

/* Record the next step for the deadline and the messages */
static void step(const char *what, const char *name)
{
	me->what = what;
	me->name = name;
	__atomic_store_n(&me->since, now(), __ATOMIC_RELEASE);
}

static bool is_one_of(int err, const int *list)
{
	while (*list && *list != err)
		list++;
	return *list;
}

/* The result must be 0 or one of the listed errors */
#define EXPECT_ONE_OF(_err, ...)					\
	do {								\
		int err_ = (_err);					\
		if (err_ && !is_one_of(err_, (int[]){ __VA_ARGS__, 0 })) \
			problem("%s: %s %s: %s", actor_name[me->actor],	\
				me->what, me->name, strerror(err_));	\
	} while (0)

/* Sleep, at most until the end of the generation */
static void sleep_for(unsigned int us)
{
	uint64_t end = now() + us * 1000ULL;

	while (!stopped() && now() < end)
		usleep(us < 1000 ? us : 1000);
}

/* Files and devices */

static int dev_of(int f, unsigned long page)
{
	if (!file[f].chunk)
		return file[f].dev;
	return page / file[f].chunk % 2 ? LOST : SAFE;
}

static bool is_poisoned(int f, unsigned long page)
{
	return f == POISONED && page == POISONED_PAGE;
}

/* Whether access to the page may fail */
static bool may_fail(int f, unsigned long page)
{
	return (in_mask(BIT(UNBINDS)) && dev_of(f, page) == LOST) ||
	       (in_mask(BIT(POISONS)) && is_poisoned(f, page));
}

static bool any_may_fail(int f)
{
	return may_fail(f, 0) || (file[f].chunk && may_fail(f, file[f].chunk)) ||
	       may_fail(f, POISONED_PAGE);
}

static void add_files(struct raw_server *s)
{
	struct rs_map m;
	char name[16];

	for (int f = 0; f < NFILES; f++) {
		unsigned long n = file[f].npages, chunk = file[f].chunk;
		uint64_t off = (8 + f * 8) * MB;	/* below 56 MiB */

		if (chunk) {
			rs_map_init(&m, FUSE_FMAP_STRIPED, n * PG);
			rs_map_stripe(&m, 2, chunk * PG, n * PG);
			rs_map_strip(&m, SAFE, off, n / 2 * PG);
			rs_map_strip(&m, LOST, off, n / 2 * PG);
		} else {
			rs_map_init(&m, FUSE_FMAP_EXTENTS, n * PG);
			if (f == POISONED)
				off = dax_size[LOST] - n * PG;
			if (f != PIECES)
				rs_map_extent(&m, file[f].dev, off, n * PG);
			for (unsigned long i = 0; f == PIECES && i < n; i++)
				rs_map_extent(&m, SAFE, off + 2 * i * PG, PG);
		}
		rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, file[f].name), &m);
	}

	/* past the end of the device; a page twice; too short; bad version */
	for (int i = 0; i < NBROKEN; i++) {
		struct rs_node *n;

		snprintf(name, sizeof(name), "broken%d", i);
		n = rs_add_file(s, FUSE_ROOT_ID, name);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, 2 * PG);
		rs_map_extent(&m, SAFE, i == 0 ? dax_size[SAFE] : 0, PG);
		rs_map_extent(&m, SAFE, i == 1 ? 0 : PG, PG);
		if (i == 3)
			rs_map_header(&m)->version++;
		rs_set_map(s, n, &m);
		if (i == 2)
			n->map_len -= 8;
	}
}

static void stamp(void *b, int f, unsigned long page)
{
	pattern(b, f + 1, page * PG, STAMP);
}

static bool is_stamp(const void *b, int f, unsigned long page)
{
	return is_poisoned(f, page) || is_pattern(b, f + 1, page * PG, STAMP);
}

/* The server process */

static void close_or_open_device(struct raw_server *s)
{
	static const int right[] = {
		EEXIST, EBUSY, ENODEV, ENOENT, ENOTCONN, 0
	};
	int index = below(2), fd, ret;
	char path[80];

	if (below(2)) {
		ret = rs_daxdev_close(s->fd, index);
	} else {
		snprintf(path, sizeof(path), "/dev/%s", s->dev[index].name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		/* the device is unbound */
		if (fd < 0)
			return;
		ret = rs_daxdev_open(s->fd, fd, index, 0);
		close(fd);
	}
	if (ret >= 0)
		count_act(REGISTERS);
	else if (!is_one_of(-ret, right))
		problem("(un)registering a device: %s", strerror(-ret));
}

/* A thread of the server process */
static void *server_acts(void *arg)
{
	struct raw_server *s = arg;

	for (;;) {
		if (sh->forget_all) {
			for (int f = 0; f < NFILES; f++)
				forget(s, file[f].name);
			__atomic_store_n(&sh->forget_all, false,
					 __ATOMIC_RELEASE);
		}
		usleep(below(4000));
		if (!sh->running)
			continue;
		if (in_mask(BIT(EVICTS)))
			forget(s, file[below(NFILES)].name);
		if (in_mask(BIT(REGISTERS)))
			close_or_open_device(s);
	}
	return NULL;
}

/* Delay some requests, so that actors can interrupt them */
static int slow_hook(struct raw_server *s, const struct fuse_in_header *ih,
		     const void *arg)
{
	static __thread unsigned int r;
	pthread_t thread;

	(void)arg;
	switch (ih->opcode) {
	case FUSE_INIT:
		if (pthread_create(&thread, NULL, server_acts, s))
			return -ENOMEM;
		return 0;
	case FUSE_LOOKUP:
	case FUSE_OPEN:
	case FUSE_GET_FMAP:
	case FUSE_GET_DAXDEV:
		if (sh->running && rand_r(&r) % 4 == 0)
			usleep(rand_r(&r) % 3000);
	}
	return 0;
}

/* Reads and writes, through a mapping or a file descriptor */

static sigjmp_buf on_fault;
static volatile sig_atomic_t may_fault;

static void sigbus(int sig, siginfo_t *info, void *context)
{
	(void)context;
	/* sent to every process that maps the page, at any time */
	if (info->si_code == BUS_MCEERR_AO && in_mask(BIT(POISONS)))
		return;
	if (!may_fault) {
		signal(sig, SIG_DFL);
		return;
	}
	may_fault = 0;
	siglongjmp(on_fault, 1);
}

/* memcpy() that returns false after SIGBUS */
static bool copied(void *to, const void *from, size_t len)
{
	if (sigsetjmp(on_fault, 1))
		return false;
	may_fault = 1;
	__asm__ volatile("" ::: "memory");
	memcpy(to, from, len);
	__asm__ volatile("" ::: "memory");
	may_fault = 0;
	return true;
}

/* A file that is open, or mapped, or both */
struct use {
	int f;
	int fd;			/* or -1 */
	bool writable;
	char *p;		/* or NULL */
	bool private;
};

/* Whether to use the mapping or the descriptor */
static bool by_mapping(const struct use *u)
{
	return u->fd < 0 || (u->p && !u->private && below(2));
}

/* Returns 0, or EIO after an error; reports an unexpected error */
static int transfer(struct use *u, bool write, bool mapped, unsigned long pos,
		    void *buf, size_t len)
{
	unsigned long page = pos / PG;
	const char *how = mapped ? "mapping" : "file";
	ssize_t n = len;
	int err = 0;

	if (mapped && !(write ? copied(u->p + pos, buf, len) :
				copied(buf, u->p + pos, len)))
		err = EIO;
	if (!mapped)
		n = write ? pwrite(u->fd, buf, len, pos) :
			    pread(u->fd, buf, len, pos);
	if (n < 0)
		err = errno;
	if (!err && n == (ssize_t)len)
		return 0;
	if (err == EIO && may_fail(u->f, page))
		return err;
	problem("%s: %s the %s of %s, page %lu: %zd, %s",
		actor_name[me->actor], write ? "write" : "read", how,
		file[u->f].name, page, n, mapped && err ? "SIGBUS" :
		strerror(err));
	return EIO;
}

static uint64_t value(int f, unsigned long page, uint32_t version)
{
	return (uint64_t)version << 32 | (me - sh->worker) << 24 | f << 16 |
	       page;
}

/* Check the last version in the worker's slot, and write the next */
static void use_slot(struct use *u, unsigned long page)
{
	uint32_t *version = &sh->version[me - sh->worker][u->f][page];
	unsigned long pos = page * PG + SLOTS + 8 * (me - sh->worker);
	uint64_t v;

	if (transfer(u, false, by_mapping(u), pos, &v, 8))
		return;
	if (*version && v != value(u->f, page, *version)) {
		problem("%s, page %lu: wrote %#llx, found %#llx",
			file[u->f].name, page,
			(unsigned long long)value(u->f, page, *version),
			(unsigned long long)v);
		return;
	}
	if (!u->writable)
		return;
	v = value(u->f, page, *version + 1);
	if (transfer(u, true, by_mapping(u), pos, &v, 8))
		return;
	++*version;
	v = 0;
	if (!transfer(u, false, by_mapping(u), pos, &v, 8) &&
	    v != value(u->f, page, *version))
		problem("%s, page %lu: read differs from the last write",
			file[u->f].name, page);
}

static void use_page(struct use *u)
{
	unsigned long page = below(file[u->f].npages);
	char b[STAMP], c[STAMP];

	if (u->f == POISONED && !below(4))
		page = POISONED_PAGE;
	if (transfer(u, false, u->private || by_mapping(u), page * PG, b, STAMP))
		return;
	if (!is_stamp(b, u->f, page))
		problem("%s: %s, page %lu has changed", actor_name[me->actor],
			file[u->f].name, page);
	if (is_poisoned(u->f, page))
		return;
	if (u->private) {
		stamp(b, u->f, page);
		if (transfer(u, true, true, page * PG + PRIVATE_AT, b, STAMP) ||
		    transfer(u, false, false, page * PG + PRIVATE_AT, c, STAMP))
			return;
		if (!memcmp(b, c, STAMP))
			problem("a private mapping writes to %s, page %lu",
				file[u->f].name, page);
	} else if (u->writable && !below(8)) {
		transfer(u, true, by_mapping(u), page * PG, b, STAMP);
	}
	if (!no_slots)
		use_slot(u, page);
}

/* Open a file; the actors of the generation determine which errors are valid */
static bool opened(struct use *u, const char *name, int flags)
{
	static const int gone[] = { ENOENT, 0 };
	static const int ended[] = { ENOTCONN, ECONNABORTED, 0 };
	static const int no_device[] = { ENODEV, EBUSY, EOPNOTSUPP, 0 };
	int err;

	step("open", name);
	u->p = NULL;
	u->private = false;
	u->writable = flags == O_RDWR;
	u->fd = open_in(server, name, flags);
	if (u->fd >= 0)
		return true;
	err = errno;
	if ((in_mask(BIT(UNMOUNTS)) && is_one_of(err, gone)) ||
	    (in_mask(ENDS) && is_one_of(err, ended)) ||
	    (in_mask(BIT(UNBINDS) | BIT(REGISTERS)) &&
	     is_one_of(err, no_device)))
		return false;
	if (err != EIO || u->f < NFILES)
		problem("%s: open of %s: %s", actor_name[me->actor], name,
			strerror(err));
	return false;
}

static bool opened_any(struct use *u)
{
	u->f = below(NFILES);
	return opened(u, file[u->f].name, below(4) ? O_RDWR : O_RDONLY);
}

static void close_it(struct use *u)
{
	step("close", file[u->f].name);
	close(u->fd);
	u->fd = -1;
}

static bool mapped(struct use *u)
{
	unsigned long len = file[u->f].npages * PG;

	step("mmap", file[u->f].name);
	u->private = !below(4);
	u->p = map_huge(u->fd, len,
			PROT_READ | (u->writable || u->private ? PROT_WRITE : 0),
			u->private ? MAP_PRIVATE : MAP_SHARED, 0);
	if (u->p != MAP_FAILED)
		return true;
	problem("mmap of %s: %s", file[u->f].name, strerror(errno));
	return false;
}

static void unmap(struct use *u)
{
	step("munmap", file[u->f].name);
	munmap(u->p, file[u->f].npages * PG);
	u->p = NULL;
	u->private = false;
}

/* Actors; each one is a process */

static void do_opens(void)
{
	struct use u;

	if (!opened_any(&u))
		return;
	step("read", file[u.f].name);
	use_page(&u);
	close_it(&u);
	count_act(OPENS);
}

/* Splice a page of the mapping to a pipe, which holds a reference */
static void lend(struct use *u)
{
	unsigned long page = below(file[u->f].npages);
	struct iovec iov = { u->p + page * PG, STAMP };
	char b[STAMP];
	int pipes[2];

	step("vmsplice", file[u->f].name);
	if (pipe2(pipes, O_CLOEXEC)) {
		problem("pipe2 failed");
		return;
	}
	if (vmsplice(pipes[1], &iov, 1, 0) == STAMP) {
		usleep(below(3000));
		if (read(pipes[0], b, STAMP) != STAMP ||
		    (!u->private && !is_stamp(b, u->f, page)))
			problem("%s, page %lu differs from the pipe",
				file[u->f].name, page);
	} else if (!may_fail(u->f, page)) {
		problem("vmsplice of %s, page %lu: %s", file[u->f].name, page,
			strerror(errno));
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void do_faults(void)
{
	struct use u;

	if (!opened_any(&u))
		return;
	if (mapped(&u)) {
		/* the mapping keeps the file open */
		if (!u.private && below(2))
			close_it(&u);
		for (int i = below(32); i >= 0 && !stopped(); i--) {
			step("use the mapping", file[u.f].name);
			use_page(&u);
		}
		if (!below(4))
			lend(&u);
		if (!below(4)) {
			step("populate", file[u.f].name);
			if (madvise(u.p, file[u.f].npages * PG,
				    MADV_POPULATE_READ) &&
			    !any_may_fail(u.f))
				problem("populating %s: %s", file[u.f].name,
					strerror(errno));
		}
		unmap(&u);
	}
	if (u.fd >= 0)
		close_it(&u);
	count_act(FAULTS);
}

static void do_reads(void)
{
	struct use u;

	if (!opened_any(&u))
		return;
	for (int i = below(32); i >= 0 && !stopped(); i--) {
		step("read and write", file[u.f].name);
		use_page(&u);
	}
	step("fsync", file[u.f].name);
	if (fsync(u.fd) && !(errno == EIO && any_may_fail(u.f)))
		problem("fsync of %s: %s", file[u.f].name, strerror(errno));
	close_it(&u);
	count_act(READS);
}

/* Fork a process that dies with its parent */
static pid_t fork_actor(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		seed++;
	}
	if (pid < 0)
		problem("fork: %s", strerror(errno));
	return pid;
}

static int status_of(pid_t pid)
{
	int status = -1;

	step("wait for a process", "");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void do_forks(void)
{
	struct use u;
	int status;
	pid_t pid;

	if (!opened_any(&u))
		return;
	if (mapped(&u)) {
		use_page(&u);
		pid = fork_actor();
		if (!pid) {
			no_slots = true;
			for (int i = below(8); i >= 0; i--)
				use_page(&u);
			if (below(2))
				_exit(0);
			execl("/bin/true", "true", NULL);
			_exit(127);
		}
		for (int i = below(8); i >= 0; i--)
			use_page(&u);
		status = status_of(pid);
		if (status)
			problem("a process with a mapping of %s ended with %#x",
				file[u.f].name, status);
		unmap(&u);
	}
	close_it(&u);
	count_act(FORKS);
}

static void do_signals(void)
{
	static void (*const victim[])(void) = { do_opens, do_faults, do_reads };
	void (*act)(void) = victim[below(3)];
	pid_t pid = fork_actor();
	int status;

	if (!pid) {
		no_slots = true;
		while (!sh->failed)
			act();
		_exit(1);
	}
	usleep(below(20000));
	kill(pid, SIGKILL);
	status = status_of(pid);
	if (status != SIGKILL)
		problem("a killed process ended with %#x", status);
	count_act(SIGNALS);
}

static void do_evicts(void)
{
	if (below(4)) {
		/* a remount drops unused dentries */
		step("remount", "");
		if (!mount(NULL, server->mnt, NULL,
			   MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL))
			count_act(EVICTS);
		else if (!(errno == EINVAL && in_mask(BIT(UNMOUNTS))))
			EXPECT_ONE_OF(errno, 0);
	} else {
		/* the kernel may lack sysctl */
		step("drop caches", "");
		EXPECT_ONE_OF(-write_file("/proc/sys/vm/drop_caches", "2"),
			      ENOENT);
	}
	sleep_for(below(5000));
}

static void do_refuses(void)
{
	struct use u = { .f = NFILES };
	char name[16];

	snprintf(name, sizeof(name), "broken%d", below(NBROKEN));
	if (opened(&u, name, O_RDWR)) {
		problem("%s can be opened", name);
		close(u.fd);
	}
	count_act(REFUSES);
}

/* The server process registers devices; this actor triggers requests for them */
static void do_registers(void)
{
	struct use u;

	if (opened_any(&u))
		close_it(&u);
	sleep_for(below(5000));
}

static void do_unmounts(void)
{
	static const int flags[] = {
		0, 0, MNT_DETACH, MNT_FORCE, MNT_FORCE | MNT_DETACH
	};

	step("unmount", "");
	if (!umount2(server->mnt, flags[below(5)]))
		count_act(UNMOUNTS);
	else
		EXPECT_ONE_OF(errno, EBUSY, EINVAL);
	sleep_for(below(5000));
}

static void do_aborts(void)
{
	int ret;

	step("abort", "");
	ret = abort_connection(sh->conn);
	if (!ret)
		count_act(ABORTS);
	else if (!in_mask(BIT(UNMOUNTS)))
		EXPECT_ONE_OF(-ret, 0);
	else
		EXPECT_ONE_OF(-ret, ENOENT);
	sleep_for(20000);
}

static void do_kills(void)
{
	step("kill", "");
	EXPECT_ONE_OF(kill(server->pid, SIGKILL) ? errno : 0, 0);
	count_act(KILLS);
	sleep_for(300000);
	/*
	 * A server thread may be in a notification about a name and wait for a
	 * lock. The LOOKUP that holds the lock waits for the server. Only an
	 * abort ends this deadlock, as with any FUSE server.
	 */
	abort_connection(sh->conn);
	sleep_for(1000000);
}

static void do_unbinds(void)
{
	int ret;

	step("unbind", dax[LOST]);
	ret = bind_to(dax[LOST], "fsdev_dax", NULL);
	/* another actor may have unbound it */
	EXPECT_ONE_OF(-ret, ENODEV);
	sleep_for(below(10000));
	if (!ret) {
		step("bind", dax[LOST]);
		EXPECT_ONE_OF(-bind_to(dax[LOST], NULL, "fsdev_dax"), 0);
		count_act(UNBINDS);
	}
	sleep_for(below(10000));
}

static void do_poisons(void)
{
	struct use u = { .f = POISONED };
	char b[STAMP];

	if (!opened(&u, file[POISONED].name, O_RDWR))
		return;
	step("poison", "");
	u.p = mmap(NULL, file[POISONED].npages * PG, PROT_READ | PROT_WRITE,
		   MAP_SHARED, u.fd, 0);
	if (u.p == MAP_FAILED) {
		problem("mmap to poison: %s", strerror(errno));
	} else {
		transfer(&u, false, true, POISONED_PAGE * PG, b, STAMP);
		if (sigsetjmp(on_fault, 1)) {
			count_act(POISONS);
		} else {
			may_fault = 1;
			if (!madvise(u.p + POISONED_PAGE * PG, PG,
				     MADV_HWPOISON))
				count_act(POISONS);
			else
				EXPECT_ONE_OF(errno, EBUSY, EFAULT, EHWPOISON,
					      ENXIO, EIO, ENODEV);
			may_fault = 0;
		}
		use_page(&u);
		unmap(&u);
	}
	close_it(&u);
	sleep_for(below(10000));
}

static void (*const acts[NACTORS])(void) = {
	do_opens, do_faults, do_reads, do_forks, do_signals, do_evicts,
	do_refuses, do_registers, do_unmounts, do_aborts, do_kills, do_unbinds,
	do_poisons,
};

/* The disruptive actors start at about the same time */
static void actor_process(void)
{
	if (BIT(me->actor) & (ENDS | BIT(UNBINDS) | BIT(POISONS))) {
		uint64_t t = now();

		step("begin", "");
		if (t < sh->hit)
			sleep_for((sh->hit - t) / 1000);
		if (below(2))
			sleep_for(below(5000));
	}
	while (!stopped())
		acts[me->actor]();
}

/* The test process */

static void show_stack(const char *who, pid_t pid)
{
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		ksft_print_msg("%s: %s", who, line);
	if (f)
		fclose(f);
}

/* Print the stacks before the abort, since processes may hang for good */
static void report_hang(int nworkers)
{
	write_file("/proc/sysrq-trigger", "w");
	show_stack("server", server->pid);
	for (int i = 0; i < nworkers; i++)
		if (!sh->worker[i].gone)
			show_stack(actor_name[sh->worker[i].actor],
				   sh->worker[i].pid);
	abort_connection(sh->conn);
	for (int i = 0; i < nworkers; i++)
		if (!sh->worker[i].gone)
			kill(sh->worker[i].pid, SIGKILL);
}

/* Reap the workers that have exited; returns how many are left */
static int collect(int nworkers)
{
	int left = 0, status;

	for (int i = 0; i < nworkers; i++) {
		struct worker *w = &sh->worker[i];

		if (w->gone)
			continue;
		if (waitpid(w->pid, &status, WNOHANG) != w->pid) {
			left++;
			/* signed: a step may start just after now() */
			if ((int64_t)(now() - w->since) >
			    DEADLINE * 1000000000LL) {
				problem("%s: %s %s hangs", actor_name[w->actor],
					w->what, w->name);
				sh->hung = true;
			}
			continue;
		}
		w->gone = true;
		if (status)
			problem("%s: ended with %#x at %s %s",
				actor_name[w->actor], status, w->what, w->name);
	}
	return left;
}

/* Run the actors for @us, then wait until all have exited */
static void run_actors(const enum actor *list, int n, unsigned int us)
{
	uint64_t begin = now();
	pid_t pid;

	sh->stop = false;
	sh->hit = begin + us * (250ULL + below(500));
	for (int i = 0; i < n; i++) {
		struct worker *w = &sh->worker[i];

		w->actor = list[i];
		w->gone = false;
		w->what = "start";
		w->name = "";
		w->since = begin;
		pid = fork_actor();
		if (!pid) {
			me = w;
			seed += 7919 * (i + 1);
			actor_process();
			_exit(0);
		}
		w->pid = pid;
	}
	sh->running = true;
	while (now() - begin < us * 1000ULL && !sh->failed) {
		usleep(2000);
		collect(n);
	}
	sh->running = false;
	__atomic_store_n(&sh->stop, true, __ATOMIC_RELEASE);
	while (collect(n)) {
		usleep(1000);
		if (sh->hung) {
			report_hang(n);
			break;
		}
	}
}

/* Each file can be opened and has the data written before */
static void check_data(void)
{
	struct use u;

	me = &sh->worker[MAX_ACTORS];
	no_slots = true;
	for (u.f = 0; u.f < NFILES; u.f++) {
		if (!opened(&u, file[u.f].name, O_RDWR))
			continue;
		for (int i = 0; i < 4; i++)
			use_page(&u);
		close(u.fd);
	}
	no_slots = false;
}

/* How many attachments of maps to devices remain */
static unsigned long attached_maps(void)
{
	unsigned long attached = 0, n;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), CONNECTIONS "/%u/dax_devices", sh->conn);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*u %*s %*u %*s %*s %lu", &n) == 1)
			attached += n;
	if (f)
		fclose(f);
	return attached;
}

/*
 * No file is open. After the dentries are dropped, all maps must be freed and
 * detached. That may wait for the reply to a RELEASE, which holds an inode.
 */
static void check_maps_are_freed(void)
{
	uint64_t end = now() + DEADLINE * 1000000000ULL;
	char path[64];

	snprintf(path, sizeof(path), CONNECTIONS "/%u/dax_maps", sh->conn);
	__atomic_store_n(&sh->forget_all, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&sh->forget_all, __ATOMIC_ACQUIRE) ||
	       number_in(path, "maps") || attached_maps()) {
		if (now() > end) {
			problem("forgotten: %d, %lld maps, %lu attachments",
				!sh->forget_all, number_in(path, "maps"),
				attached_maps());
			report_hang(0);
			return;
		}
		usleep(500);
	}
}

static void check_server_exits(void)
{
	uint64_t begin = now();
	int status, err;

	/* files of an exited process may be closed a little later */
	do
		err = umount2(server->mnt, 0) ? errno : 0;
	while (err == EBUSY && !usleep(500) &&
	       now() - begin < DEADLINE * 1000000000ULL);
	if (err && !(err == EINVAL && in_mask(BIT(UNMOUNTS))))
		problem("the last unmount: %s", strerror(err));
	while (waitpid(server->pid, &status, WNOHANG) != server->pid) {
		if (now() - begin > DEADLINE * 1000000000ULL) {
			problem("the server hangs with its connection");
			report_hang(0);
			return;
		}
		usleep(500);
	}
	server->pid = 0;
	if (status && !(status == SIGKILL && in_mask(BIT(KILLS))))
		problem("the server ended with %#x", status);
}

static void begin_server(void)
{
	static const enum rs_dev_how how[] = {
		RS_PUSH_AT_INIT, RS_PUSH_WHEN_ASKED, RS_PULL
	};
	int ret;

	connections_before = connections();
	sh->mask = 0;
	server = rs_new();
	if (!server) {
		problem("cannot allocate a server");
		return;
	}
	for (int i = 0; i < 2; i++)
		rs_add_dev(server, dax[i], i, how[below(3)]);
	add_files(server);
	server->hook = slow_hook;
	server->nthreads = 3;
	ret = start_server(server);
	if (ret) {
		problem("cannot start a server: %s", strerror(-ret));
		return;
	}
	sh->conn = connection_of(server);
	/* the death of the server must close the last descriptor */
	close(server->fd);
	check_data();
}

static void end_server(void)
{
	uint64_t end;

	check_server_exits();
	if (server->pid > 0)
		return;
	server->fd = -1;
	rs_free(server);
	server = NULL;
	/* a mount may also be freed a little later */
	end = now() + DEADLINE * 1000000000ULL;
	while (connections() != connections_before && now() < end)
		usleep(500);
	if (connections() != connections_before)
		problem("%d connections, %d before", connections(),
			connections_before);
}

/* The server stays for the next generation, unless the actors ended it */
static void generation(const enum actor *list, int n, unsigned int us)
{
	unsigned int next = rand_r(&seed);

	alarm(5 * DEADLINE);
	if (!server)
		begin_server();
	sh->mask = 0;
	for (int i = 0; i < n; i++)
		sh->mask |= BIT(list[i]);
	if (!sh->failed)
		run_actors(list, n, us);
	if (!sh->failed && !in_mask(ENDS))
		check_maps_are_freed();
	if (!sh->failed && (in_mask(ENDS | BIT(POISONS)) || !below(8)))
		end_server();
	if (!sh->failed && in_mask(BIT(POISONS)) &&
	    (bind_to(dax[LOST], "fsdev_dax", NULL) ||
	     bind_to(dax[LOST], NULL, "fsdev_dax")))
		problem("the poisoned device can't be bound again");
	seed = next;
}

/* Write all stamps */
static void write_stamps(void)
{
	char b[STAMP];

	for (int f = 0; f < NFILES; f++) {
		int fd = open_in(server, file[f].name, O_RDWR);

		for (unsigned long i = 0; i < file[f].npages; i++) {
			stamp(b, f, i);
			if (pwrite(fd, b, STAMP, i * PG) != STAMP)
				problem("first write to %s", file[f].name);
		}
		close(fd);
	}
}

FIXTURE(stress) {
	unsigned int seed;
	uint32_t actors;	/* that this kernel supports */
	unsigned int seconds;
	uint64_t begin;
};

FIXTURE_SETUP(stress)
{
	const char *why = sandbox(2);
	struct sigaction sa = {
		.sa_sigaction = sigbus, .sa_flags = SA_SIGINFO | SA_RESTART
	};

	if (!why && connections() < 0)
		why = "no fusectl";
	if (why)
		SKIP(return, "%s", why);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, sh);
	ASSERT_EQ(0, sigaction(SIGBUS, &sa, NULL));
	self->seconds = from_env("FMAP_STRESS_SECONDS", 40);
	self->seed = from_env("FMAP_STRESS_SEED", now() / 1000 % 1000000);
	ksft_print_msg("FMAP_STRESS_SEED=%u\n", self->seed);
	seed = self->seed;
	self->begin = now();
	self->actors = BIT(NACTORS) - 1;
	/* a known advice succeeds for length 0 */
	if (madvise((void *)(8 * MB), 0, MADV_HWPOISON)) {
		ksft_print_msg("no MADV_HWPOISON: no page is poisoned\n");
		self->actors &= ~BIT(POISONS);
	}
	server = new_server(2);
	ASSERT_NE(NULL, server);
	add_files(server);
	ASSERT_EQ(0, start_server(server));
	write_stamps();
	ASSERT_FALSE(sh->failed);
	ASSERT_EQ(0, rs_unmount(server));
	rs_free(server);
	server = NULL;
}

FIXTURE_TEARDOWN(stress)
{
	rs_free(server);
	/* the device may still be unbound */
	bind_to(dax[LOST], NULL, "fsdev_dax");
}

#define EXPECT_NO_PROBLEM(_list, _n)					\
	ASSERT_FALSE(sh->failed) {					\
		TH_LOG("%s", sh->msg);					\
		for (int i_ = 0; i_ < (_n); i_++)			\
			TH_LOG("  with: %s", actor_name[(_list)[i_]]);	\
	}

/* End the last server, and print totals */
static void finish(struct __test_metadata *const _metadata,
		   FIXTURE_DATA(stress) *self, int ngenerations)
{
	sh->mask = 0;
	if (server)
		end_server();
	EXPECT_NO_PROBLEM((enum actor *)NULL, 0);
	ksft_print_msg("%d generations in %llu s\n", ngenerations,
		       (unsigned long long)(now() - self->begin) / 1000000000);
	for (enum actor a = 0; a < NACTORS; a++)
		if (self->actors & BIT(a))
			ksft_print_msg("%s: %u times\n", actor_name[a],
				       sh->done[a]);
}

TEST_F_TIMEOUT(stress, every_pair_of_actors, NO_TIMEOUT)
{
	uint64_t begin = now(), end = begin + self->seconds * 600000000ULL;
	enum actor pair[NACTORS * NACTORS][2];
	int npairs = 0, i = 0;

	for (enum actor a = 0; a < NACTORS; a++)
		for (enum actor b = a; b < NACTORS; b++)
			if ((self->actors & BIT(a)) && (self->actors & BIT(b))) {
				pair[npairs][0] = a;
				pair[npairs++][1] = b;
			}
	for (; i < npairs || now() < end; i++) {
		enum actor *p = pair[i % npairs];

		/* a slow machine stops early; another seed tests other pairs */
		if (now() > begin + 3 * (end - begin))
			break;
		if (i < npairs) {
			enum actor *q = pair[i + below(npairs - i)], tmp[2];

			memcpy(tmp, p, sizeof(tmp));
			memcpy(p, q, sizeof(tmp));
			memcpy(q, tmp, sizeof(tmp));
		}
		generation(p, 2, 20000 + below(100000));
		EXPECT_NO_PROBLEM(p, 2);
	}
	/* on a slow machine an actor may not have run yet */
	for (enum actor a = 0; a < NACTORS && i >= npairs; a++) {
		enum actor alone[2] = { a, a };

		for (int k = 0; k < 20 && (self->actors & BIT(a)) &&
		     !sh->done[a]; k++) {
			generation(alone, 2, 500000);
			EXPECT_NO_PROBLEM(alone, 2);
		}
	}
	finish(_metadata, self, i);
	if (i < npairs)
		ksft_print_msg("too slow: %d of %d pairs left out\n",
			       npairs - i, npairs);
	for (enum actor a = 0; a < NACTORS && i >= npairs; a++) {
		EXPECT_TRUE(sh->done[a] || !(self->actors & BIT(a))) {
			TH_LOG("%s: never done", actor_name[a]);
		}
	}
}

TEST_F_TIMEOUT(stress, all_actors_at_once, NO_TIMEOUT)
{
	uint64_t end = now() + self->seconds * 400000000ULL;
	enum actor list[MAX_ACTORS];
	int n, ngenerations = 0;

	/* all actors in even generations, some in odd ones */
	do {
		uint32_t actors = self->actors;

		if (ngenerations % 2)
			actors &= rand_r(&seed) / 16;
		n = 0;
		for (enum actor a = 0; a < NACTORS; a++)
			if (actors & BIT(a))
				list[n++] = a;
		for (enum actor a = OPENS; a <= FORKS; a++)
			if (actors & BIT(a))
				list[n++] = a;
		generation(list, n, 100000 + below(500000));
		EXPECT_NO_PROBLEM(list, n);
		ngenerations++;
	} while (now() < end || ngenerations < 4);
	finish(_metadata, self, ngenerations);
}

TEST_HARNESS_MAIN
