// SPDX-License-Identifier: GPL-2.0
/*
 * Measure the cost of faults and calls on mapped files and on alternatives.
 *
 *   bench [GROUP]... NAME=PATH...
 *
 * This runs in a VM whose clock counts instructions. NAME=PATH are the files to
 * compare with: devdax-4k and devdax-2m (raw devices), ext4, xfs, tmpfs,
 * tmpfs-huge, of 34 MiB each, and backing, a file for FUSE passthrough. Mapped
 * files are made here, on the devices bound to the fsdev driver, which are
 * overwritten. The server is that of the kselftests.
 *
 * GROUP is fault, call, open, map, list or fio; the default is all of these.
 * profile runs the most important cases of fault and call for the QEMU plugin
 * count.c. scale needs a machine with several processors and an ordinary clock.
 *
 * Each line of output is one measure, with tabs between the fields: "bench",
 * group, subject, measure, and the figure of each run.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fmap_util.h"

#define RUNS		7
#define MAX_TRIES	100		/* to get a run without timer interrupt */
#define HUGE		(2 * MB)
#define SIZE		(34 * MB)	/* 2 MiB faults: 16 and a first one */
#define SMALL		(511 * PG)	/* 4 KiB faults: 510 and a first one */
#define CALL_SIZE	(4 * MB)	/* the part that calls read and write */
#define BIG		(4096 * MB)	/* a device for a million extents */
#define MILLION		1000000U
#define SETTLE_US	3000		/* until the server is idle */

/*
 * No-operations that the QEMU plugin recognizes. It counts the instructions
 * executed between the two.
 */
#define MARK_BEGIN()	asm volatile(".byte 0x0f, 0x1f, 0x80; .long 0x46440001")
#define MARK_END()	asm volatile(".byte 0x0f, 0x1f, 0x80; .long 0x46440002")

struct subject {
	const char *name;
	char path[PATH_MAX];
	struct rs_node *node;	/* on the server, or NULL */
	uint64_t off;		/* start of the part where faults are counted */
	int64_t move;		/* add this to off before each first touch */
	bool no_4k, no_2m;	/* faults of this size don't happen */
	bool no_write;		/* skip write faults */
	bool no_calls;		/* skip read(2) and write(2) */
	bool device;		/* a raw device: its inode can't be evicted */
	bool page_cache;	/* written pages go to the server */
	bool fresh;		/* truncate to 0 before the first touch */
	bool profile;		/* part of the group profile */
};

static struct subject subjects[64];
static int nsubjects;
static struct raw_server *server;
static bool profile;
static int nruns = RUNS;

static void fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "bench: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(errno));
	if (server)
		rs_free(server);
	exit(1);
}

static void row(const char *group, const char *subject, const char *measure,
		const double *run, int n)
{
	if (profile)
		return;
	printf("bench\t%s\t%s\t%s", group, subject, measure);
	for (int i = 0; i < n; i++)
		printf("\t%.2f", run[i]);
	printf("\n");
	fflush(stdout);
}

static inline uint64_t now(void)
{
	return __builtin_ia32_rdtsc();
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

/* The number of timer interrupts so far */
static unsigned long nticks(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	unsigned long n = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " LOC: %lu", &n) == 1)
			break;
	if (!n)
		fail("/proc/interrupts");
	fclose(f);
	return n;
}

static int open_subject(const struct subject *s)
{
	int fd = open(s->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("%s", s->path);
	return fd;
}

static void settle(void)
{
	usleep(SETTLE_US);
}

/* Remount the file's file system, which certainly evicts the inode */
static void mount_again(const struct subject *s)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	char path[PATH_MAX], *dir;
	struct mntent *m;

	strcpy(path, s->path);
	dir = dirname(path);
	while ((m = getmntent(f)) && strcmp(m->mnt_dir, dir))
		;
	if (!m || umount2(dir, 0) ||
	    mount(m->mnt_fsname, dir, m->mnt_type, 0, "dax"))
		fail("mount %s again", dir);
	endmntent(f);
	/* the first open makes ext4 record its mount point: do it now */
	strcpy(path, s->path);
	strcat(dirname(path), "/other");
	close(open(path, O_RDONLY));
}

/*
 * Make sure that the part to be touched has no DAX entries. The caller's warm-up
 * redoes everything else that the first access needs.
 */
static void forget_subject(struct subject *s)
{
	if (s->move) {
		s->off += s->move;
	} else if (s->node) {
		errno = -forget(server, s->node->name);
		if (errno && errno != ENOENT)
			fail("forget %s", s->name);
	} else if (s->fresh) {
		if (truncate(s->path, 0) || truncate(s->path, SIZE))
			fail("truncate %s", s->path);
	} else if (!s->device) {
		mount_again(s);
	}
	settle();
}

/* Page faults */

static __attribute__((noinline)) uint64_t touch(volatile char *p, size_t step,
						size_t n, bool write)
{
	uint64_t t = now();

	if (write)
		for (; n; n--, p += step)
			*p = 1;
	else
		for (; n; n--, p += step)
			(void)*p;
	return now() - t;
}

static long nfaults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt + u.ru_majflt;
}

struct fault {
	double insns;		/* per page */
	double faults;		/* per page */
	bool whole;		/* a fault mapped the whole page */
	bool ticked;		/* there was a timer interrupt */
};

/*
 * Map a part of a file, and touch each page of it once. The first page is not
 * counted, because its fault allocates the page table.
 */
static struct fault faults_on(int fd, uint64_t off, size_t step, bool write,
			      bool in_page_cache)
{
	/* an address where 2 MiB of the file can be one huge page, or cannot */
	size_t shift = step == HUGE || off % HUGE == PG ? 0 : PG;
	size_t len = step == HUGE ? SIZE : SMALL;
	size_t n = len / step - 1;
	struct fault f = {};
	unsigned long ticks;
	char *room, *p;
	uint64_t cost, loop;
	long count;

	room = mmap(NULL, len + 2 * HUGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	p = (char *)(((uintptr_t)room + HUGE - 1) / HUGE * HUGE) + shift;
	p = mmap(p, len, PROT_READ | (write ? PROT_WRITE : 0),
		 MAP_SHARED | MAP_FIXED, fd, off);
	if (room == MAP_FAILED || p == MAP_FAILED)
		fail("mmap");

	settle();
	/* allocates the page table, and updates the file's time */
	touch(p, step, 1, write);
	ticks = nticks();
	count = nfaults();
	MARK_BEGIN();
	cost = touch(p + step, step, n, write);
	MARK_END();
	f.faults = (double)(nfaults() - count) / n;
	f.ticked = nticks() != ticks;
	/* the loop without faults; written pages fault again after writeback */
	do {
		count = nfaults();
		loop = touch(p + step, step, n, write);
	} while (nfaults() != count);
	f.insns = ((double)cost - loop) / n;

	count = nfaults();
	for (size_t i = 0; i < len; i += step)
		touch(p + i + step - PG, 1, 1, write);
	f.whole = nfaults() == count;
	munmap(room, len + 2 * HUGE);
	/* clean the page cache; DAX entries stay dirty */
	if (in_page_cache)
		fsync(fd);
	return f;
}

static void touch_end(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char *p = mmap(NULL, PG, PROT_READ, MAP_SHARED, fd, end - PG);

	if (p == MAP_FAILED)
		fail("mmap");
	touch(p, PG, 1, false);
	munmap(p, PG);
}

static void section(const char *subject, bool write, size_t step,
		    const char *when)
{
	printf("section\t%s\t%s-%s-%s\t%zu\n", subject,
	       write ? "write" : "read", step == HUGE ? "2m" : "4k", when,
	       (step == HUGE ? SIZE / HUGE : SMALL / PG) - 1);
}

/* Measure the first touch, and a later mapping of the same pages */
static void fault_rows(struct subject *s, const char *group, size_t step,
		       bool write)
{
	static const char *const when[] = { "first", "later" };
	double insns[2][RUNS], faults[2] = {};
	char name[64];

	for (int i = 0, tries = 0; i < nruns;) {
		struct fault f;
		char c;
		int fd;

		forget_subject(s);
		fd = open_subject(s);
		/* give the tree of entries its full height */
		if (s->move && s->node->map)
			touch_end(fd);
		/* set up what belongs to the inode, not to the pages */
		if (!s->device && !s->fresh &&
		    pread(fd, &c, 1, s->off + SMALL - 1) != 1)
			fail("pread %s", s->path);
		for (int later = 0; later < 2;) {
			f = faults_on(fd, s->off, step, write,
				      s->page_cache);
			if (step == HUGE && !f.whole) {
				printf("# %s: no 2 MiB mappings\n", s->name);
				close(fd);
				return;
			}
			if (profile)
				section(f.ticked ? "" : s->name, write, step,
					when[later]);
			/* above this, a run is longer than a tick (clearing 2 MiB) */
			if (f.ticked && ++tries < MAX_TRIES && f.insns < 100000) {
				if (later)
					continue;
				break;
			}
			insns[later][i] = f.insns;
			faults[later] += f.faults / nruns;
			i += later++;
		}
		close(fd);
	}
	for (int later = 0; later < 2; later++) {
		snprintf(name, sizeof(name), "%s-%s-%s",
			 write ? "write" : "read", step == HUGE ? "2m" : "4k",
			 when[later]);
		row(group, s->name, name, insns[later], nruns);
		strcat(name, "-faults");
		row(group, s->name, name, &faults[later], 1);
	}
}

static void all_faults(struct subject *s, const char *group)
{
	for (int write = 0; write < 2 - s->no_write; write++) {
		if (!s->no_4k)
			fault_rows(s, group, PG, write);
		if (!s->no_2m)
			fault_rows(s, group, HUGE, write);
	}
}

/* read(2) and write(2): each run is the median of several calls */

static void call_rows(const struct subject *s, size_t size)
{
	static char buf[MB] __attribute__((aligned(4096)));
	int n = size > 64 * KB ? 15 : 63;
	double run[RUNS], call[63];
	int fd = open_subject(s);
	char name[64];

	for (int write = 0; write < 2; write++) {
		snprintf(name, sizeof(name), "%s-%zuk",
			 write ? "pwrite" : "pread", size / KB);
		for (int i = -1; i < nruns; i++) {
			MARK_BEGIN();
			for (int k = 0; k < n; k++) {
				off_t off = k * size % CALL_SIZE;
				uint64_t t = now();
				ssize_t done = write ?
					pwrite(fd, buf, size, off) :
					pread(fd, buf, size, off);

				call[k] = now() - t;
				if (done != (ssize_t)size)
					fail("%s: %zd bytes", s->path, done);
			}
			MARK_END();
			if (profile)
				printf("section\t%s\t%s\t%d\n", s->name, name, n);
			if (i >= 0)
				run[i] = median(call, n);
		}
		row("call", s->name, name, run, nruns);
	}
	close(fd);
}

/* open(2), close(2), stat(2) */

/* Open a file; set *insns to the instructions it took */
static int timed_open(const struct subject *s, const char *what, double *insns)
{
	uint64_t t;
	int fd;

	MARK_BEGIN();
	t = now();
	fd = open(s->path, O_RDWR | O_CLOEXEC);
	*insns = now() - t;
	MARK_END();
	if (fd < 0)
		fail("%s", s->path);
	if (profile)
		printf("section\t%s\t%s\t1\n", s->name, what);
	return fd;
}

static void open_rows(struct subject *s)
{
	double first[RUNS], later[RUNS], closed[RUNS], stats[RUNS], sync[RUNS];
	double asked = 0;
	struct statx stx;
	struct stat st;
	uint64_t t;
	int fd;

	for (int i = 0; i < RUNS; i++) {
		uint32_t before = 0;

		forget_subject(s);
		/* the inode is cached but was never opened */
		if (stat(s->path, &st))
			fail("stat %s", s->path);
		settle();
		if (s->node)
			before = server->count[FUSE_GET_FMAP];
		fd = timed_open(s, "open-first", &first[i]);
		settle();
		if (s->node)
			asked += server->count[FUSE_GET_FMAP] - before;
		close(fd);
		settle();

		fd = timed_open(s, "open-later", &later[i]);
		settle();
		t = now();
		close(fd);
		closed[i] = now() - t;
		settle();

		t = now();
		stat(s->path, &st);
		stats[i] = now() - t;
		settle();
		/* costs one round trip to the server */
		t = now();
		statx(AT_FDCWD, s->path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
		      &stx);
		sync[i] = now() - t;
		settle();
	}
	row("open", s->name, "open-first", first, RUNS);
	row("open", s->name, "open-later", later, RUNS);
	row("open", s->name, "close", closed, RUNS);
	row("open", s->name, "stat", stats, RUNS);
	asked /= RUNS;
	if (s->node) {
		row("open", s->name, "stat-synced", sync, RUNS);
		row("open", s->name, "open-first-get-fmaps", &asked, 1);
	}
}

/* Maps */

static double map_memory(void)
{
	char path[64];

	snprintf(path, sizeof(path), CONNECTIONS "/%u/dax_maps",
		 connection_of(server));
	return number_in(path, "memory");
}

static void map_rows(struct subject *s, int runs)
{
	/* several subjects are one file: omit the place after the name */
	char *title = strndup(s->name, strcspn(s->name, " "));
	double send[RUNS], drop[RUNS], memory, wire = s->node->map_len;
	const char *name = s->node->name;
	struct stat st;
	uint64_t t;
	int fd;

	for (int i = 0; i < runs; i++) {
		forget(server, name);
		settle();
		if (stat(s->path, &st))
			fail("stat %s", s->path);
		settle();
		memory = map_memory();
		t = now();
		fd = open_subject(s);
		send[i] = now() - t;
		memory = map_memory() - memory;
		close(fd);
		settle();
		t = now();
		fd = open_subject(s);
		send[i] -= now() - t;
		close(fd);
		settle();
		t = now();
		forget(server, name);
		drop[i] = now() - t;
		settle();
	}
	row("map", title, "wire", &wire, 1);
	row("map", title, "memory", &memory, 1);
	row("map", title, "send", send, runs);
	row("map", title, "drop", drop, runs);
	free(title);
}

/* Rates: several processes, and fio */

#define NPROCS		4
#define RATES		3	/* runs */
#define ROUNDS		10

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void faulting_process(const char *path, bool *go)
{
	int fd = open(path, O_RDWR);
	char *p;

	while (!__atomic_load_n(go, __ATOMIC_ACQUIRE))
		;
	for (int i = 0; i < ROUNDS; i++) {
		p = mmap(NULL, 2 * SMALL, PROT_READ, MAP_SHARED, fd, PG);
		if (p == MAP_FAILED)
			_exit(1);
		touch(p, PG, SMALL / PG, false);
		munmap(p, 2 * SMALL);
	}
	_exit(0);
}

/* Faults per second of @n processes, on one file or on one file each */
static double fault_rate(const struct subject *s, int n, bool each)
{
	bool *go = mmap(NULL, PG, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char dir[PATH_MAX], path[PATH_MAX + 16];
	double t;
	int status;

	strcpy(dir, s->path);
	dirname(dir);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/scale-%d", dir, each ? i : 0);
		if (!fork())
			faulting_process(path, go);
	}
	usleep(100000);
	t = seconds();
	__atomic_store_n(go, true, __ATOMIC_RELEASE);
	for (int i = 0; i < n; i++)
		if (wait(&status) < 0 || status)
			fail("%s", path);
	t = seconds() - t;
	munmap(go, PG);
	return (double)n * ROUNDS * SMALL / PG / t;
}

static void scale_rows(const struct subject *s)
{
	double run[RATES];
	char name[32];

	for (int each = 0; each < 2; each++) {
		for (int n = 1; n <= NPROCS; n *= 2) {
			for (int i = 0; i < RATES; i++)
				run[i] = fault_rate(s, n, each);
			snprintf(name, sizeof(name), "%s-%d",
				 each ? "each" : "one", n);
			row("scale", s->name, name, run, RATES);
		}
	}
}

static void fio_rows(const struct subject *s)
{
	static const char *const engine[] = { "mmap", "psync" };
	static const char *const rw[] = { "randread", "randwrite" };
	char command[PATH_MAX + 256], name[32];
	double run[RATES], reads, writes;
	FILE *f;

	for (int e = 0; e < 2; e++) {
		for (int w = 0; w < 2; w++) {
			snprintf(command, sizeof(command),
				 "fio --minimal --name=x --filename=%s --size=32m --io_size=128m --bs=4k --thread"
				 " --ioengine=%s --rw=%s | cut -d';' -f8,49 | tr ';' ' '",
				 s->path, engine[e], rw[w]);
			for (int i = 0; i < RATES; i++) {
				f = popen(command, "r");
				if (!f || fscanf(f, "%lf %lf", &reads, &writes) != 2)
					fail("%s", command);
				pclose(f);
				run[i] = w ? writes : reads;
			}
			snprintf(name, sizeof(name), "%s-%s", engine[e], rw[w]);
			row("fio", s->name, name, run, RATES);
		}
	}
}

/* Mapped files */

static int order[MAX_DAX];	/* index into dax[], by the server's index */
static int nstrip_devs;		/* devices of stripe sets; the others are big */
static uint64_t dev_used[MAX_DAX];

static void sort_devices(void)
{
	int n = 0;

	max_dax = MAX_DAX;
	find_dax();
	for (int big = 0; big < 2; big++) {
		for (int i = 0; i < ndax; i++)
			if ((dax_size[i] > BIG) == big)
				order[n++] = i;
		if (!big)
			nstrip_devs = n;
	}
	if (nstrip_devs < 16 || nstrip_devs == ndax)
		fail("%d and %d devices", nstrip_devs, ndax - nstrip_devs);
}

static uint64_t take(int dev, uint64_t len)
{
	uint64_t off = dev_used[dev];

	dev_used[dev] += (len + HUGE - 1) / HUGE * HUGE;
	if (dev_used[dev] > dax_size[order[dev]])
		fail("device %d is too small", dev);
	return off;
}

static struct subject *add_subject(const char *name)
{
	struct subject *s = &subjects[nsubjects++];

	s->name = name;
	return s;
}

/* All names have the same length, because it affects the cost of a lookup */
static const char *node_name(void)
{
	static char name[8];

	snprintf(name, sizeof(name), "f%03u", server->nnodes);
	return name;
}

static struct rs_node *add_node(void)
{
	return rs_add_file(server, FUSE_ROOT_ID, node_name());
}

static struct subject *add_ours(const char *name, struct rs_node *node)
{
	struct subject *s = add_subject(name);

	s->node = node;
	return s;
}

static struct subject *add_extent(const char *name, uint64_t size)
{
	return add_ours(name, add_mapped(server, node_name(), 0,
					 take(0, size), size));
}

static struct subject *add_stripes(const char *name, uint32_t nstrips,
				   uint32_t chunk, uint64_t size)
{
	struct rs_node *n = add_node();
	uint64_t chunks = (size + chunk - 1) / chunk;
	uint64_t strip = (chunks + nstrips - 1) / nstrips * chunk;
	static int next;
	struct subject *s;
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_STRIPED, size);
	rs_map_stripe(&m, nstrips, chunk, size);
	for (uint32_t i = 0; i < nstrips; i++, next++)
		rs_map_strip(&m, next % nstrip_devs,
			     take(next % nstrip_devs, strip), strip);
	rs_set_map(server, n, &m);
	s = add_ours(name, n);
	s->no_2m = chunk % HUGE;
	return s;
}

static uint32_t pages_of(uint32_t extent, bool equal)
{
	return equal ? 1 : pattern_at(1, extent) % 3 + 1;
}

/*
 * Add a file whose extents are in reverse order on the device, so that no two are
 * contiguous. Pages are touched at the file's start, in the middle, at the end.
 */
static struct subject *add_list(const char *name, int dev, uint32_t count,
				bool equal)
{
	static const char *const place[] = { "first", "middle", "last" };
	struct rs_node *n = add_node();
	uint64_t pages = 0, off;
	struct subject *s;
	struct rs_map m;

	for (uint32_t i = 0; i < count; i++)
		pages += pages_of(i, equal);
	off = take(dev, pages * PG) + pages * PG;
	rs_map_init(&m, FUSE_FMAP_EXTENTS, pages * PG);
	for (uint32_t i = 0; i < count; i++) {
		off -= pages_of(i, equal) * PG;
		rs_map_extent(&m, dev, off, pages_of(i, equal) * PG);
	}
	rs_set_map(server, n, &m);

	for (int i = 0; i < 3; i++) {
		char *full;

		if (asprintf(&full, "%s %s", name, place[i]) < 0)
			fail("memory");
		s = add_ours(full, n);
		s->off = (i * (pages - SMALL / PG) / 2) * PG;
		/* sending this map again is slow: touch other pages instead */
		if (count == MILLION)
			s->move = i == 2 ? -(int64_t)SMALL : SMALL;
		s->no_2m = s->no_write = s->no_calls = true;
	}
	return s;
}

/* FUSE files without a map: page cache, and passthrough to a backing file */
static void add_ordinary(const char *backing)
{
	struct fuse_daxdev_map map = {};
	struct subject *s;

	s = add_ours("fuse", add_node());
	s->no_2m = s->page_cache = true;
	if (!backing)
		return;
	s = add_ours("fuse-passthrough", add_node());
	s->node->open_flags = FOPEN_PASSTHROUGH;
	s->node->size = 256 * MB;
	s->no_2m = true;
	s->move = SMALL;
	map.fd = open(backing, O_RDWR | O_CLOEXEC);
	server->backing_id = ioctl(server->fd, FUSE_DEV_IOC_BACKING_OPEN, &map);
	if (server->backing_id <= 0)
		fail("%s as backing file", backing);
	close(map.fd);
}

static void fill(const struct subject *s)
{
	static char zeros[MB];
	int fd = open_subject(s);

	for (uint64_t at = 0; at < CALL_SIZE; at += MB)
		if (pwrite(fd, zeros, MB, at) != MB)
			fail("%s", s->path);
	close(fd);
	settle();
}

static void new_mount(void)
{
	memset(dev_used, 0, sizeof(dev_used));
	server = rs_new();
	if (!server)
		fail("memory");
	server->nthreads = 1;
	server->want |= FUSE_PASSTHROUGH;
	for (int i = 0; i < ndax; i++)
		rs_add_dev(server, dax[order[i]], i, RS_PUSH_AT_INIT);
	errno = -start_server(server);
	if (errno)
		fail("server");
}

/* Add all files except the one that needs the whole big device */
static void add_files(const char *backing)
{
	char name[16];

	add_extent("extent", SIZE)->profile = true;
	add_stripes("stripes-2", 2, HUGE, SIZE)->profile = true;
	add_stripes("stripes-4", 4, HUGE, SIZE);
	add_stripes("stripes-16", 16, HUGE, SIZE);
	add_stripes("stripes-4-of-6m", 4, 6 * MB, 36 * MB);
	add_stripes("stripes-4-of-4k", 4, PG, CALL_SIZE);
	add_stripes("stripes-4-of-12k", 4, 3 * PG, CALL_SIZE);
	add_stripes("stripes-4-of-3m", 4, 3 * MB, 12 * MB);
	for (int i = 0; i < NPROCS; i++) {
		snprintf(name, sizeof(name), "scale-%d", i);
		add_mapped(server, name, i, take(i, CALL_SIZE), CALL_SIZE);
	}
	add_ordinary(backing);
	if (profile)
		return;
	add_list("list-1000-equal", 0, 1000, true);
	add_list("list-1000-unequal", 0, 1000, false);
	add_list("list-1000000-equal", nstrip_devs, MILLION, true);
}

static void set_paths(void)
{
	for (int i = 0; i < nsubjects; i++) {
		struct subject *s = &subjects[i];

		if (!s->node || s->path[0])
			continue;
		snprintf(s->path, sizeof(s->path), "%s/%s", server->mnt,
			 s->node->name);
		if (!s->no_calls && !(s->node->open_flags & FOPEN_PASSTHROUGH))
			fill(s);
	}
}

static void add_given(const char *name, const char *path)
{
	struct subject *s = add_subject(name);

	snprintf(s->path, sizeof(s->path), "%s", path);
	s->device = s->no_calls = !strncmp(name, "devdax", 6);
	s->no_2m = !strcmp(name, "devdax-4k") || !strcmp(name, "tmpfs");
	s->no_4k = !strcmp(name, "devdax-2m") || !strcmp(name, "tmpfs-huge");
	s->fresh = !strncmp(name, "tmpfs", 5);
	s->profile = s->device || !strcmp(name, "ext4");
}

/*
 * Make switches deterministic: a process that is woken doesn't preempt the other
 * one, client or server, before that one waits.
 */
static void take_turns(bool on)
{
	struct sched_param param = { .sched_priority = on };
	int policy = on ? SCHED_FIFO : SCHED_OTHER;

	if (sched_setscheduler(0, policy, &param) ||
	    sched_setscheduler(server->pid, policy, &param))
		fail("sched_setscheduler");
}

static void run(struct subject *s, const char *group)
{
	/* each list is three subjects but one file */
	bool again = s > subjects && s->node && s[-1].node == s->node;
	bool list = !strncmp(s->name, "list", 4);

	if (!strcmp(group, "profile")) {
		if (s->profile) {
			all_faults(s, "fault");
			if (!s->no_calls)
				call_rows(s, 4 * KB);
		}
		if (s->node && (s->profile || s->page_cache)) {
			take_turns(true);
			open_rows(s);
			take_turns(false);
		}
	} else if (!strcmp(group, "fault")) {
		if (!list)
			all_faults(s, group);
	} else if (!strcmp(group, "list")) {
		if (list)
			all_faults(s, group);
	} else if (!strcmp(group, "call")) {
		if (!s->no_calls) {
			call_rows(s, 4 * KB);
			call_rows(s, 64 * KB);
			call_rows(s, MB);
		}
	} else if (!strcmp(group, "open")) {
		if (!s->device && !list) {
			take_turns(true);
			open_rows(s);
			take_turns(false);
		}
	} else if (!strcmp(group, "map")) {
		if (s->node && s->node->map && !again) {
			take_turns(true);
			map_rows(s, s->move ? 2 : RUNS);
			take_turns(false);
		}
	} else if (!strcmp(group, "scale")) {
		if (!strcmp(s->name, "extent") || !strcmp(s->name, "ext4"))
			scale_rows(s);
	} else if (!strcmp(group, "fio")) {
		if (s->profile && !s->device)
			fio_rows(s);
	} else {
		errno = EINVAL;
		fail("%s", group);
	}
}

int main(int argc, char **argv)
{
	const char *groups[16], *backing = NULL;
	int ngroups = 0;

	for (int i = 1; i < argc && i < 16; i++) {
		char *path = strchr(argv[i], '=');

		if (path)
			*path++ = 0;
		if (!path)
			groups[ngroups++] = argv[i];
		else if (!strcmp(argv[i], "backing"))
			backing = path;
		else
			add_given(argv[i], path);
	}
	if (!ngroups) {
		groups[ngroups++] = "fault";
		groups[ngroups++] = "call";
		groups[ngroups++] = "open";
		groups[ngroups++] = "map";
		groups[ngroups++] = "list";
		groups[ngroups++] = "fio";
	}
	profile = !strcmp(groups[0], "profile");
	if (profile)
		nruns = 1;

	sort_devices();
	new_mount();
	add_files(backing);
	set_paths();
	for (int g = 0; g < ngroups; g++)
		for (int i = 0; i < nsubjects; i++)
			run(&subjects[i], groups[g]);
	rs_free(server);
	if (profile)
		return 0;

	/* the file that needs the whole big device */
	nsubjects = 0;
	memset(subjects, 0, sizeof(subjects));
	new_mount();
	add_list("list-1000000-unequal", nstrip_devs, MILLION, false);
	set_paths();
	for (int g = 0; g < ngroups; g++)
		for (int i = 0; i < nsubjects; i++)
			run(&subjects[i], groups[g]);
	rs_free(server);
	return 0;
}
