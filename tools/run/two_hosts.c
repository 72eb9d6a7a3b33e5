// SPDX-License-Identifier: GPL-2.0
/*
 * One of two hosts that share nothing except memory.
 *
 *	two_hosts [-t SECONDS] HOST DIRECTORY FILE...
 *
 * HOST is 0 or 1. DIRECTORY has the files that both hosts map: the FILEs, and
 * the mailboxes from-0 and from-1, each written by one host and read by the
 * other. Host 0 writes all FILEs through mappings, flushes them and announces
 * this in its mailbox. Host 1, which already has them mapped and cached, compares
 * every byte by mmap and by read(2), and answers. Then they swap roles. A random
 * number in the announcement determines all bytes, so no byte can be left over
 * from earlier or be known in advance.
 *
 * The caches of the two hosts may not be coherent. So no cache line has two
 * writers at a time. A writer flushes the data before the announcement. A reader
 * drops a line from its cache before each look at it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#define LINE		64
#define BUF		(256UL << 10)	/* device memory is slow: access it once */
#define PINGS		100

/* Written by one host, with separate cache lines for separate purposes */
struct mailbox {
	/* identifies this run; and the last number seen from the other host */
	_Alignas(LINE) uint64_t number, echo;
	_Alignas(LINE) uint64_t value;
	/* number of values sent, incremented after value is written */
	_Alignas(LINE) uint64_t flag;
};

struct file {
	const char *name;
	char *map;
	size_t size;
	int fd;
};

static struct mailbox *mine, *theirs;
static uint64_t sent, received;
static int me, other, limit = 60;
static struct file *files;
static int nfiles;

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "host %d: ", me);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	printf("host %d ", me);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * The cache
 *
 * A writer uses clwb, which writes a line back and may keep it in the cache. A
 * reader needs clflushopt, which also invalidates the line. All 64-bit x86
 * processors have clflush, which does both, but orders the lines.
 */
static void each_clflush(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		_mm_clflush(p + i * LINE);
}

__attribute__((target("clflushopt")))
static void each_clflushopt(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		_mm_clflushopt(p + i * LINE);
}

__attribute__((target("clwb")))
static void each_clwb(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		_mm_clwb(p + i * LINE);
}

static struct instruction {
	const char *name;
	void (*each)(char *p, size_t nlines);
} writer = { "clflush", each_clflush }, reader = { "clflush", each_clflush };

static void choose_instructions(void)
{
	unsigned int a, b = 0, c, d;

	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	if (b & bit_CLFLUSHOPT)
		writer = reader = (struct instruction){ "clflushopt", each_clflushopt };
	if (b & bit_CLWB)
		writer = (struct instruction){ "clwb", each_clwb };
}

static void for_lines(const struct instruction *i, const void *p, size_t len)
{
	uintptr_t first = (uintptr_t)p & ~(LINE - 1UL);

	i->each((char *)first, ((uintptr_t)p + len - first + LINE - 1) / LINE);
}

/* Write @p back to memory before any later write */
static void flush(const void *p, size_t len)
{
	for_lines(&writer, p, len);
	_mm_sfence();
}

/* Make later reads of @p come from memory */
static void drop(const void *p, size_t len)
{
	_mm_mfence();
	for_lines(&reader, p, len);
	_mm_mfence();
}

static void put(uint64_t *p, uint64_t value)
{
	*(volatile uint64_t *)p = value;
	flush(p, sizeof(*p));
}

static uint64_t get(const uint64_t *p)
{
	drop(p, sizeof(*p));
	return *(const volatile uint64_t *)p;
}

/* The mailboxes */

struct wait {
	const char *what;
	double end;
	unsigned int looks;
};

static struct wait wait_for(const char *what)
{
	return (struct wait){ .what = what, .end = now() + limit };
}

static void wait_on(struct wait *w)
{
	if (now() > w->end)
		die("nothing from host %d for %d s, waiting for %s", other,
		    limit, w->what);
	/* an answer takes microseconds or seconds: in the latter case yield */
	if (++w->looks > 1000)
		usleep(200);
}

static uint64_t random_number(void)
{
	uint64_t n = 0;

	while (!n)
		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			die("getrandom: %s", strerror(errno));
	return n;
}

/*
 * Wait until each host has seen the other's new random number, because the
 * mailboxes may still have values of an earlier run.
 */
static void meet(void)
{
	struct wait w = wait_for("a sign of life");
	uint64_t number = random_number();

	put(&mine->flag, 0);
	put(&mine->echo, 0);
	put(&mine->number, number);
	while (get(&theirs->echo) != number || get(&theirs->number) != mine->echo) {
		put(&mine->echo, get(&theirs->number));
		wait_on(&w);
	}
}

/* The hosts take turns: the last value was answered before the next is sent. */
static void send(uint64_t value)
{
	put(&mine->value, value);
	put(&mine->flag, ++sent);
}

static uint64_t receive(const char *what)
{
	struct wait w = wait_for(what);

	while (get(&theirs->flag) != received + 1)
		wait_on(&w);
	received++;
	return get(&theirs->value);
}

/* The files */

static char *map_file(const char *dir, const char *name, int *fd, size_t *size)
{
	char path[4096];
	struct stat st;
	char *p;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st))
		die("%s: %s", path, strerror(errno));
	*size = st.st_size;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (p == MAP_FAILED)
		die("mmap %s: %s", path, strerror(errno));
	return p;
}

static struct mailbox *map_mailbox(const char *dir, int host)
{
	char name[16];
	size_t size;
	void *p;
	int fd;

	snprintf(name, sizeof(name), "from-%d", host);
	p = map_file(dir, name, &fd, &size);
	if (size < sizeof(struct mailbox))
		die("%s/%s has only %zu bytes", dir, name, size);
	return p;
}

/* Make the bytes of file @file at @pos, a multiple of 8, from @seed (splitmix64) */
static void make_bytes(char *buf, size_t len, uint64_t seed, int file,
		       size_t pos)
{
	uint64_t state = seed + ((uint64_t)file << 56) + pos / 8;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t z = state++ * 0x9e3779b97f4a7c15;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
		z ^= z >> 31;
		memcpy(buf + i, &z, len - i < 8 ? len - i : 8);
	}
}

static size_t part(const struct file *f, size_t pos)
{
	return f->size - pos < BUF ? f->size - pos : BUF;
}

static void write_file(struct file *f, uint64_t seed)
{
	double began = now();
	static char buf[BUF];

	for (size_t pos = 0; pos < f->size; pos += BUF) {
		make_bytes(buf, part(f, pos), seed, f - files, pos);
		memcpy(f->map + pos, buf, part(f, pos));
	}
	flush(f->map, f->size);
	say("writes  %-12s %8zu bytes by mmap, %s, %.0f ms", f->name, f->size,
	    writer.name, (now() - began) * 1e3);
}

/* Map all pages, and bring old bytes into the cache */
static void touch_file(const struct file *f)
{
	static char buf[BUF];

	for (size_t pos = 0; pos < f->size; pos += BUF)
		memcpy(buf, f->map + pos, part(f, pos));
}

/* Count the bytes that differ from those of @seed, by mmap or by read(2) */
static size_t differences(const struct file *f, uint64_t seed, int by_read)
{
	static char buf[BUF], want[BUF];
	size_t n = 0;

	for (size_t pos = 0; pos < f->size; pos += BUF) {
		size_t len = part(f, pos);

		make_bytes(want, len, seed, f - files, pos);
		if (!by_read)
			memcpy(buf, f->map + pos, len);
		else if (pread(f->fd, buf, len, pos) != (ssize_t)len)
			die("read %s at %zu: %s", f->name, pos,
			    errno ? strerror(errno) : "it is shorter");
		for (size_t i = 0; i < len; i++) {
			if (buf[i] == want[i])
				continue;
			if (!n++)
				say("reads   %-12s differs from byte %zu on",
				    f->name, pos + i);
		}
	}
	return n;
}

static size_t compare_file(const struct file *f, uint64_t seed)
{
	double began = now();
	size_t by_map, by_read;

	drop(f->map, f->size);
	by_map = differences(f, seed, 0);
	by_read = differences(f, seed, 1);
	say("reads   %-12s %8zu bytes, %zu differ by mmap, %zu by read(2), %.0f ms",
	    f->name, f->size, by_map, by_read, (now() - began) * 1e3);
	return by_map + by_read;
}

/* The two roles */

static void as_writer(void)
{
	uint64_t seed = random_number(), different;
	double began, there_and_back;

	receive("the message that all files are mapped");
	for (int i = 0; i < nfiles; i++)
		write_file(&files[i], seed);
	began = now();
	send(seed);
	receive("the message that it has seen the announcement");
	there_and_back = now() - began;
	say("announces it: host %d has seen that, the answer was back after %.0f us",
	    other, there_and_back * 1e6);
	send(there_and_back * 1e9);
	different = receive("the result of its comparison");
	if (different)
		die("host %d sees %" PRIu64 " bytes that differ", other,
		    different);
}

static void as_reader(void)
{
	uint64_t seed, ns, different = 0;

	for (int i = 0; i < nfiles; i++)
		touch_file(&files[i]);
	send(0);
	seed = receive("the announcement of what it wrote");
	send(0);
	ns = receive("the message to go on");
	say("sees the announcement, at most %.0f us after it was made",
	    ns / 1e3);
	for (int i = 0; i < nfiles; i++)
		different += compare_file(&files[i], seed);
	send(different);
	if (different)
		die("%" PRIu64 " bytes differ from what host %d wrote",
		    different, other);
}

static int ascending(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

/* Host 1 begins, because host 0 sent the last value */
static void pings(void)
{
	double us[PINGS];

	for (int i = 0; i < PINGS; i++) {
		us[i] = now();
		if (me == 1) {
			send(i);
			receive("its answer to a ping");
		} else {
			receive("a ping");
			send(i);
		}
		us[i] = (now() - us[i]) * 1e6;
	}
	if (me == 0)
		return;
	qsort(us, PINGS, sizeof(*us), ascending);
	say("flags   %d round trips: %.0f us minimum, %.0f us median, %.0f us maximum",
	    PINGS, us[0], us[PINGS / 2], us[PINGS - 1]);
}

int main(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "t:")) != -1) {
		if (opt != 't')
			return 2;
		limit = atoi(optarg);
	}
	argv += optind;
	nfiles = argc - optind - 2;
	if (nfiles < 1 || (strcmp(argv[0], "0") && strcmp(argv[0], "1"))) {
		fputs("usage: two_hosts [-t SECONDS] 0|1 DIRECTORY FILE...\n",
		      stderr);
		return 2;
	}
	me = atoi(argv[0]);
	other = !me;
	choose_instructions();
	mine = map_mailbox(argv[1], me);
	theirs = map_mailbox(argv[1], other);
	files = calloc(nfiles, sizeof(*files));
	if (!files)
		die("no memory");
	for (int i = 0; i < nfiles; i++) {
		files[i].name = argv[2 + i];
		files[i].map = map_file(argv[1], files[i].name, &files[i].fd,
					&files[i].size);
	}

	meet();
	say("has met host %d; it writes with %s, reads with %s", other,
	    writer.name, reader.name);
	for (int turn = 0; turn < 2; turn++) {
		if (turn == me)
			as_writer();
		else
			as_reader();
	}
	pings();
	return 0;
}
