// SPDX-License-Identifier: GPL-2.0
/*
 * What faults and calls cost on mapped files, and on what else there is.
 *
 *   bench NAME=PATH...
 *
 * runs in a VM whose clock counts instructions. NAME=PATH are files to compare
 * with: devdax-4k and devdax-2m (raw devices), ext4, xfs, tmpfs, of SIZE bytes
 * each. Our own files are made here, on the devices that are bound to the fsdev
 * driver and are overwritten; the server is that of the kselftests.
 *
 * Each line of output is a measure, separated by tabs: "bench", group, subject,
 * measure, then the figure of each run.
 */
#define _GNU_SOURCE
#define MAX_DAX		17
#include "fmap_test.h"

#include <libgen.h>
#include <mntent.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#define RUNS		7
#define HUGE		(2 * MB)
#define SIZE		(34 * MB)	/* of files that have 2 MiB faults */
#define SMALL		(4 * MB)	/* where 4 KiB faults are counted */
#define NCALLS		64
#define BIG		(4096 * MB)	/* a device for a million extents */
#define SETTLE_US	2000

struct subject {
	const char *name;
	char path[PATH_MAX];
	const char *node;	/* name of the server's file */
	bool no_4k, no_2m;	/* can't have these */
	bool no_calls;		/* is a device */
	bool fresh;		/* first touch: of a file that was cut to 0 */
};

static struct subject subjects[64];
static int nsubjects;
static struct raw_server *server;

/*
 * Instructions that do nothing, and that the QEMU plugin count.c knows: it
 * counts what is executed between the two.
 */
#define MARK_BEGIN()	asm volatile(".byte 0x0f, 0x1f, 0x80; .long 0x46440001")
#define MARK_END()	asm volatile(".byte 0x0f, 0x1f, 0x80; .long 0x46440002")

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

static int open_subject(const struct subject *s)
{
	int fd = open(s->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("%s", s->path);
	return fd;
}

/* Unmount what a file is on, and mount it again: the inode is gone for sure */
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
}

/*
 * Nobody has touched the file since its inode came into memory, so no DAX entry
 * is there. What else the first access needs, the caller's warm-up brings.
 */
static void forget_subject(const struct subject *s)
{
	if (s->node) {
		errno = -forget(server, s->node);
		if (errno && errno != ENOENT)
			fail("forget %s", s->node);
	} else if (s->fresh) {
		if (truncate(s->path, 0) || truncate(s->path, SIZE))
			fail("truncate %s", s->path);
	} else if (!s->no_calls) {
		mount_again(s);
	}
	usleep(SETTLE_US);
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

/*
 * Touch a byte of each page, but not of the first one that needs a page table of
 * its own: that has been touched before. Instructions; *n: pages.
 */
static uint64_t touch_all(char *start, char *end, size_t step, bool write,
			  size_t *n)
{
	size_t span = 512 * step;
	uint64_t sum = 0;
	char *next;

	*n = 0;
	for (char *p = start; p < end; p = next) {
		size_t pages;

		next = (char *)(((uintptr_t)p / span + 1) * span);
		if (next > end)
			next = end;
		pages = (next - p) / step - 1;
		sum += touch(p + step, step, pages, write);
		*n += pages;
	}
	return sum;
}

static void touch_tables(char *start, char *end, size_t step, bool write)
{
	size_t span = 512 * step;

	for (char *p = start; p < end;
	     p = (char *)(((uintptr_t)p / span + 1) * span))
		touch(p, step, 1, write);
}

static long nfaults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt + u.ru_majflt;
}

struct fault {
	double insns;		/* a page */
	double faults;		/* a page */
	bool whole;		/* a fault has mapped all of its page */
};

static struct fault faults_on(int fd, uint64_t off, size_t len, size_t step,
			      bool write)
{
	/* where 2 MiB of the file can be one page of the address space, or not */
	size_t shift = off % HUGE + (step == HUGE ? 0 : PG);
	struct fault f = {};
	uint64_t cost, loop;
	char *room, *p;
	long count;
	size_t n;

	room = mmap(NULL, len + 3 * HUGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	p = (char *)(((uintptr_t)room + HUGE - 1) / HUGE * HUGE) + shift;
	p = mmap(p, len, PROT_READ | (write ? PROT_WRITE : 0),
		 MAP_SHARED | MAP_FIXED, fd, off);
	if (room == MAP_FAILED || p == MAP_FAILED)
		fail("mmap");

	touch_tables(p, p + len, step, write);
	count = nfaults();
	MARK_BEGIN();
	cost = touch_all(p, p + len, step, write, &n);
	MARK_END();
	f.faults = (double)(nfaults() - count) / n;
	loop = touch_all(p, p + len, step, write, &n);
	f.insns = ((double)cost - loop) / n;

	count = nfaults();
	for (size_t i = 0; i < len; i += step)
		touch(p + i + step - PG, 1, 1, write);
	f.whole = nfaults() == count;
	munmap(room, len + 3 * HUGE);
	return f;
}

/* First touch, and mapped again after that */
static void fault_rows(const struct subject *s, const char *group, uint64_t off,
		       size_t len, size_t step, bool write)
{
	double first[RUNS], later[RUNS], each[2] = {};
	const char *what = write ? "write" : "read";
	const char *size = step == HUGE ? "2m" : "4k";
	bool whole = true;
	char name[64];

	for (int i = 0; i < RUNS; i++) {
		struct fault f;
		char c;
		int fd;

		forget_subject(s);
		fd = open_subject(s);
		/* of the file, not of the pages: what the inode needs */
		if (!s->no_calls && !s->fresh && pread(fd, &c, 1, off + len - 1) != 1)
			fail("pread %s", s->path);
		f = faults_on(fd, off, len, step, write);
		first[i] = f.insns;
		each[0] += f.faults / RUNS;
		whole &= f.whole;
		f = faults_on(fd, off, len, step, write);
		later[i] = f.insns;
		each[1] += f.faults / RUNS;
		whole &= f.whole;
		close(fd);
	}
	snprintf(name, sizeof(name), "%s-%s-first", what, size);
	row(group, s->name, name, first, RUNS);
	strcat(name, "-faults");
	row(group, s->name, name, &each[0], 1);
	snprintf(name, sizeof(name), "%s-%s-later", what, size);
	row(group, s->name, name, later, RUNS);
	strcat(name, "-faults");
	row(group, s->name, name, &each[1], 1);
	if (step == HUGE && !whole)
		printf("# %s, %s: not all of them are 2 MiB mappings\n",
		       s->name, what);
}

/* read(2) and write(2) */

static void call_rows(const struct subject *s, size_t size)
{
	static char buf[MB] __attribute__((aligned(4096)));
	double run[2][RUNS];
	int fd = open_subject(s);
	char name[64];

	for (int w = 0; w < 2; w++) {
		for (int i = -1; i < RUNS; i++) {
			uint64_t sum = 0;

			for (int k = 0; k < NCALLS; k++) {
				off_t off = k * size % SMALL;
				uint64_t t = now();
				ssize_t n;

				n = w ? pwrite(fd, buf, size, off) :
					pread(fd, buf, size, off);
				sum += now() - t;
				if (n != (ssize_t)size)
					fail("%s: %zd of %zu bytes", s->path, n,
					     size);
			}
			if (i >= 0)
				run[w][i] = (double)sum / NCALLS;
		}
		snprintf(name, sizeof(name), "%s-%zuk", w ? "pwrite" : "pread",
			 size / KB);
		row("call", s->name, name, run[w], RUNS);
	}
	close(fd);
}

/* Our files */

static int order[MAX_DAX];	/* places in dax[] by the server's index */
static int nstrip_devs;		/* those that stripe sets are on; the rest are big */
static uint64_t dev_used[MAX_DAX];

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

/* A file on the server */
static struct rs_node *add_ours(const char *name)
{
	struct subject *s = add_subject(name);

	s->node = name;
	return rs_add_file(server, FUSE_ROOT_ID, name);
}

static void add_striped(const char *name, uint32_t nstrips, uint32_t chunk,
			uint64_t size)
{
	struct rs_node *n = add_ours(name);
	uint64_t chunks = (size + chunk - 1) / chunk;
	uint64_t strip = (chunks + nstrips - 1) / nstrips * chunk;
	static int next;
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_STRIPED, size);
	rs_map_stripe(&m, nstrips, chunk, size);
	for (uint32_t i = 0; i < nstrips; i++, next++)
		rs_map_strip(&m, next % nstrip_devs,
			     take(next % nstrip_devs, strip), strip);
	rs_set_map(server, n, &m);
}

static void add_extent(const char *name, uint64_t size)
{
	add_subject(name)->node = name;
	add_extent_file(server, name, 0, take(0, size), size);
}

static void start(void)
{
	server = rs_new();
	if (!server)
		fail("memory");
	server->nthreads = 1;
	server->want |= FUSE_PASSTHROUGH;
	for (int i = 0; i < ndax; i++)
		rs_add_dev(server, dax[order[i]], i, RS_PUSH_AT_INIT);

	add_extent("extent", SIZE);
	add_striped("stripes-2", 2, HUGE, SIZE);
	add_striped("stripes-4", 4, HUGE, SIZE);
	add_striped("stripes-16", 16, HUGE, SIZE);

	errno = -start_server(server);
	if (errno)
		fail("server");
	for (int i = 0; i < nsubjects; i++)
		if (subjects[i].node)
			snprintf(subjects[i].path, sizeof(subjects[i].path),
				 "%s/%s", server->mnt, subjects[i].node);
}

static void add_given(char *arg)
{
	char *path = strchr(arg, '=');
	struct subject *s;

	if (!path)
		fail("what is %s?", arg);
	*path++ = 0;
	s = add_subject(arg);
	snprintf(s->path, sizeof(s->path), "%s", path);
	s->no_calls = !strncmp(arg, "devdax", 6);
	s->no_2m = !strcmp(arg, "devdax-4k");
	s->no_4k = !strcmp(arg, "devdax-2m");
	s->fresh = !strncmp(arg, "tmpfs", 5);
}

static void sort_devices(void)
{
	int n = 0;

	find_dax();
	for (int big = 0; big < 2; big++) {
		for (int i = 0; i < ndax; i++)
			if ((dax_size[i] > BIG) == big)
				order[n++] = i;
		if (!big)
			nstrip_devs = n;
	}
	if (nstrip_devs < 16)
		fail("16 devices are needed, %d found", nstrip_devs);
}

int main(int argc, char **argv)
{
	sort_devices();
	for (int i = 1; i < argc; i++)
		add_given(argv[i]);
	start();

	for (int i = 0; i < nsubjects; i++) {
		const struct subject *s = &subjects[i];

		for (int w = 0; w < 2; w++) {
			if (!s->no_4k)
				fault_rows(s, "fault", 0, SMALL, PG, w);
			if (!s->no_2m)
				fault_rows(s, "fault", 0, SIZE, HUGE, w);
		}
		if (!s->no_calls)
			call_rows(s, 4 * KB);
	}
	rs_free(server);
	return 0;
}
