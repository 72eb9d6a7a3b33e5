// SPDX-License-Identifier: GPL-2.0
/*
 * Fill the files of a mounted tree, or read them and compare their checksums.
 * Sizes and layouts come from the server's manifest (see
 * lib/libfuse-famfs/example/fmap_tree.c).
 *
 *	treeio fill MANIFEST SOURCE TARGET	copy each file, by write(2) or a mapping
 *	treeio verify MANIFEST SUMS TREE TABLE	read each file by mmap and by read(2)
 *
 * SUMS has a line per file: SHA-256, size, path; sorted by path. It omits paths
 * with a newline or a backslash, and so does this program. TABLE is written.
 *
 * The faults of a file are those of reading it once through a new mapping. A perf
 * event of this process counts the tracepoint dax_pmd_fault_done. The other faults
 * have no common tracepoint: fault-around and present entries bypass those of
 * fs/dax.c. They are the page faults of the process, less those of 2 MiB.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/perf_event.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define HUGE		(2UL << 20)
#define BUF		(256UL << 10)
#define MAX_DEVS	8
#define FAULT_DONE	"result & 256"	/* VM_FAULT_NOPAGE: mapped */

static char buf[BUF] __attribute__((aligned(4096)));
static double started;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("treeio: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* SHA-256 */

struct sha {
	EVP_MD_CTX *ctx;
};

static void sha_init(struct sha *c)
{
	c->ctx = EVP_MD_CTX_new();
	if (!c->ctx || !EVP_DigestInit_ex(c->ctx, EVP_sha256(), NULL))
		die("cannot set up SHA-256");
}

static void sha_update(struct sha *c, const void *data, size_t len)
{
	if (!EVP_DigestUpdate(c->ctx, data, len))
		die("SHA-256 failed");
}

/* @hex has room for 64 digits and a NUL */
static void sha_final(struct sha *c, char *hex)
{
	unsigned char md[32];

	if (!EVP_DigestFinal_ex(c->ctx, md, NULL))
		die("SHA-256 failed");
	EVP_MD_CTX_free(c->ctx);
	for (int i = 0; i < 32; i++)
		sprintf(hex + 2 * i, "%02x", md[i]);
}

/* The manifest */

struct entry {
	const char *path;
	uint64_t size;
	uint64_t chunk;		/* 0: the ranges are consecutive */
	int nranges;
	struct {
		unsigned int dev;
		uint64_t off, len;
	} range[MAX_DEVS];
	/* results of reading it */
	uint64_t huge, small;	/* faults */
	const char *verdict;
};

static struct entry *entries;
static int nentries;
static uint64_t all_bytes;

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->path,
		      ((const struct entry *)b)->path);
}

static void read_manifest(const char *name)
{
	static cfg_opt_t device[] = {
		CFG_INT("index", 0, CFGF_NONE),
		CFG_STR("name", NULL, CFGF_NONE),
		CFG_END()
	}, file[] = {
		CFG_STR("path", NULL, CFGF_NONE),
		CFG_INT("mode", 0, CFGF_NONE),
		CFG_INT("size", 0, CFGF_NONE),
		CFG_INT("chunk", 0, CFGF_NONE),
		CFG_INT_LIST("ranges", NULL, CFGF_NONE),
		CFG_END()
	}, manifest[] = {
		CFG_SEC("device", device, CFGF_MULTI),
		CFG_SEC("file", file, CFGF_MULTI),
		CFG_END()
	};
	cfg_t *cfg = cfg_init(manifest, CFGF_NONE);

	if (!cfg || cfg_parse(cfg, name) != CFG_SUCCESS)
		die("can't read %s", name);
	entries = calloc(cfg_size(cfg, "file") + 1, sizeof(*entries));
	if (!entries)
		die("no memory");
	for (unsigned int i = 0; i < cfg_size(cfg, "file"); i++) {
		cfg_t *f = cfg_getnsec(cfg, "file", i);
		struct entry *e = &entries[nentries];

		e->path = cfg_getstr(f, "path");
		if (strpbrk(e->path, "\n\\"))
			continue;
		e->size = cfg_getint(f, "size");
		e->chunk = cfg_getint(f, "chunk");
		e->nranges = cfg_size(f, "ranges") / 3;
		if (e->nranges > MAX_DEVS)
			die("%s has more than %d ranges", e->path, MAX_DEVS);
		for (int r = 0; r < e->nranges; r++) {
			e->range[r].dev = cfg_getnint(f, "ranges", 3 * r);
			e->range[r].off = cfg_getnint(f, "ranges", 3 * r + 1);
			e->range[r].len = cfg_getnint(f, "ranges", 3 * r + 2);
			if (e->range[r].dev >= MAX_DEVS)
				die("%s: more than %d devices", name, MAX_DEVS);
		}
		all_bytes += e->size;
		nentries++;
	}
	qsort(entries, nentries, sizeof(*entries), compare_entries);
}

/* Count the bytes of a file on each device */
static void spread(const struct entry *e, uint64_t *bytes)
{
	uint64_t pos = 0;

	memset(bytes, 0, MAX_DEVS * sizeof(*bytes));
	for (int i = 0; pos < e->size; i++) {
		int s = e->chunk ? i % e->nranges : i;
		uint64_t n = e->chunk ? e->chunk : e->range[s].len;

		if (n > e->size - pos)
			n = e->size - pos;
		bytes[e->range[s].dev] += n;
		pos += n;
	}
}

struct progress {
	const char *what;
	double last;
	uint64_t bytes;
	int files;
};

static void progress(struct progress *p, uint64_t bytes)
{
	p->bytes += bytes;
	if (now() - p->last < 2)
		return;
	p->last = now();
	printf("# %s: %d files, %.1f of %.1f MB, %.0f s\n", p->what, p->files,
	       p->bytes / 1e6, all_bytes / 1e6, now() - started);
	fflush(stdout);
}

static int open_at(const char *dir, const char *name, int flags)
{
	char path[8192];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die("open %s: %s", path, strerror(errno));
	return fd;
}

/* Map a whole file; one of 2 MiB or more at an aligned address */
static char *map_file(int fd, uint64_t size, int prot, const char *name)
{
	char *area, *p;

	if (size < HUGE)
		area = NULL;
	else
		area = mmap(NULL, size + HUGE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	p = area ? (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1)) : NULL;
	p = mmap(p, size, prot, MAP_SHARED | (p ? MAP_FIXED : 0), fd, 0);
	if (p == MAP_FAILED)
		die("mmap %s: %s", name, strerror(errno));
	return p;
}

static int fill(const char *source, const char *target)
{
	struct progress p = { .what = "filling", .last = now() };
	int by_map = 0;

	for (struct entry *e = entries; e < entries + nentries; e++, p.files++) {
		/* every fourth file through a mapping */
		bool mapped = p.files % 4 == 3 && e->size;
		int in = open_at(source, e->path, O_RDONLY);
		int out = open_at(target, e->path, O_RDWR);
		char *to = NULL;
		uint64_t pos = 0;
		ssize_t n;

		if (mapped) {
			to = map_file(out, e->size, PROT_READ | PROT_WRITE,
				      e->path);
			by_map++;
		}
		while ((n = read(in, buf, BUF)) > 0) {
			if (pos + n > e->size)
				die("%s is longer than it was", e->path);
			if (mapped)
				memcpy(to + pos, buf, n);
			else if (pwrite(out, buf, n, pos) != n)
				die("write %s: %s", e->path, strerror(errno));
			pos += n;
			progress(&p, n);
		}
		if (n < 0)
			die("read %s: %s", e->path, strerror(errno));
		if (pos != e->size)
			die("%s is shorter than it was", e->path);
		if (mapped) {
			if (msync(to, e->size, MS_SYNC))
				die("msync %s: %s", e->path, strerror(errno));
			munmap(to, e->size);
		}
		close(in);
		close(out);
	}
	printf("# filled %d files (%d of them by mmap), %.1f MB, in %.1f s\n",
	       p.files, by_map, p.bytes / 1e6, now() - started);
	return 0;
}

/* Count this process's faults that mapped something */
static int fault_counter(const char *event)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
	};
	unsigned long long id;
	char path[256];
	FILE *f;
	int fd;

	snprintf(path, sizeof(path),
		 "/sys/kernel/tracing/events/fs_dax/%s/id", event);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llu", &id) != 1)
		die("%s: no such tracepoint", path);
	fclose(f);
	attr.config = id;
	fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1,
		     PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_FILTER, FAULT_DONE))
		die("counting %s: %s", event, strerror(errno));
	return fd;
}

static uint64_t counted(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		die("perf counter: %s", strerror(errno));
	return n;
}

static uint64_t page_faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt + u.ru_majflt;
}

/* @pmd: counter of 2 MiB faults */
static void sum_by_mmap(int fd, struct entry *e, int pmd, char *hex)
{
	struct sha c;
	char *p;

	sha_init(&c);
	if (e->size) {
		p = map_file(fd, e->size, PROT_READ, e->path);
		/* device memory is slow: read each byte only once */
		for (uint64_t pos = 0; pos < e->size; pos += BUF) {
			size_t n = e->size - pos < BUF ? e->size - pos : BUF;
			uint64_t huge = counted(pmd), all = page_faults();

			memcpy(buf, p + pos, n);
			all = page_faults() - all;
			huge = counted(pmd) - huge;
			e->huge += huge;
			e->small += all - huge;
			sha_update(&c, buf, n);
		}
		munmap(p, e->size);
	}
	sha_final(&c, hex);
}

static void sum_by_read(int fd, const struct entry *e, char *hex)
{
	struct sha c;
	ssize_t n;

	sha_init(&c);
	while ((n = read(fd, buf, BUF)) > 0)
		sha_update(&c, buf, n);
	if (n < 0)
		die("read %s: %s", e->path, strerror(errno));
	sha_final(&c, hex);
}

/* The tables */

#define LARGEST		10	/* files that are shown */

struct table {
	FILE *out;
	int width;		/* of names; longer ones are cut on the left */
};

static void print_head(const struct table *t)
{
	fprintf(t->out, "%-*s  %9s  %-12s  %27s  %13s\n", t->width, "", "", "",
		"KiB on device", "faults of");
	fprintf(t->out, "%-*s  %9s  %-12s %6d %6d %6d %6d  %6s %6s  %s\n",
		t->width, "file", "size", "layout", 0, 1, 2, 3, "2 MiB",
		"4 KiB", "sha256");
}

static void print_row(const struct table *t, const char *name, uint64_t size,
		      const char *layout, const uint64_t *bytes, uint64_t huge,
		      uint64_t small, const char *verdict)
{
	int len = strlen(name), cut = len > t->width ? len - t->width + 2 : 0;

	fprintf(t->out, "%s%-*s  %9" PRIu64 "  %-12s", cut ? ".." : "",
		cut ? 0 : t->width, name + cut, size, layout);
	for (int i = 0; i < 4; i++)
		fprintf(t->out, " %6" PRIu64, (bytes[i] + 1023) >> 10);
	fprintf(t->out, "  %6" PRIu64 " %6" PRIu64 "  %s\n", huge, small, verdict);
}

static void print_entry(const struct table *t, const struct entry *e)
{
	uint64_t bytes[MAX_DEVS];
	char layout[32];

	if (e->chunk && e->chunk % (1 << 20) == 0)
		snprintf(layout, sizeof(layout), "%" PRIu64 "M stripes",
			 e->chunk >> 20);
	else if (e->chunk)
		snprintf(layout, sizeof(layout), "%" PRIu64 "K stripes",
			 e->chunk >> 10);
	else
		strcpy(layout, e->nranges ? "extent" : "empty");
	spread(e, bytes);
	print_row(t, e->path, e->size, layout, bytes, e->huge, e->small,
		  e->verdict);
}

static int larger(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return compare_entries(a, b);
}

/* Print all files to @out; the largest ones and the totals to stdout */
static void print_tables(FILE *out)
{
	struct table all = { .out = out }, brief = { .out = stdout, .width = 32 };
	uint64_t bytes[MAX_DEVS], total[MAX_DEVS] = {}, huge = 0, small = 0;
	int shown = nentries < LARGEST ? nentries : LARGEST, ok = 0;
	char name[64], verdict[64];

	all.width = snprintf(name, sizeof(name), "all %d files", nentries);
	for (int n = 0; n < nentries; n++)
		if (all.width < (int)strlen(entries[n].path))
			all.width = strlen(entries[n].path);
	print_head(&all);
	for (int n = 0; n < nentries; n++) {
		print_entry(&all, &entries[n]);
		spread(&entries[n], bytes);
		for (int i = 0; i < MAX_DEVS; i++)
			total[i] += bytes[i];
		huge += entries[n].huge;
		small += entries[n].small;
		ok += !strcmp(entries[n].verdict, "ok");
	}
	snprintf(verdict, sizeof(verdict), "%d of %d ok", ok, nentries);
	print_row(&all, name, all_bytes, "", total, huge, small, verdict);

	qsort(entries, nentries, sizeof(*entries), larger);
	if (shown < nentries)
		printf("The %d largest of %d files:\n", shown, nentries);
	print_head(&brief);
	for (int n = 0; n < shown; n++)
		print_entry(&brief, &entries[n]);
	print_row(&brief, name, all_bytes, "", total, huge, small, verdict);
}

static int verify(const char *sums, const char *tree, const char *table)
{
	struct progress p = { .what = "reading", .last = now() };
	int pmd = fault_counter("dax_pmd_fault_done");
	int bad = 0, huge_expected = 0, huge_missing = 0;
	char want[65], by_mmap[65], by_read[65], first_bad[4200] = "";
	FILE *m = fopen(sums, "r"), *out;

	if (!m)
		die("%s: %s", sums, strerror(errno));
	/* so that no fault on it is counted */
	memset(buf, 1, BUF);
	for (struct entry *e = entries; e < entries + nentries; e++, p.files++) {
		char line[8192];
		struct stat st;
		int at, fd;

		if (!fgets(line, sizeof(line), m) ||
		    sscanf(line, "%64s %*u%n", want, &at) != 1)
			die("manifest and checksums differ at %s", e->path);
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line + at + 1, e->path))
			die("manifest and checksums differ at %s", e->path);
		fd = open_at(tree, e->path, O_RDONLY);
		sum_by_mmap(fd, e, pmd, by_mmap);
		sum_by_read(fd, e, by_read);
		if (fstat(fd, &st))
			die("fstat %s: %s", e->path, strerror(errno));
		close(fd);

		e->verdict = (uint64_t)st.st_size != e->size ? "SIZE DIFFERS" :
			     strcmp(by_mmap, want) ? "DIFFERS BY MMAP" :
			     strcmp(by_read, want) ? "DIFFERS BY READ" : "ok";
		if (strcmp(e->verdict, "ok") && !bad++)
			snprintf(first_bad, sizeof(first_bad), "%s: %s", e->path,
				 e->verdict);
		/* fmap_tree aligns these, and their chunks, to 2 MiB */
		if (e->size >= HUGE) {
			huge_expected++;
			huge_missing += e->huge != e->size / HUGE;
		}
		progress(&p, e->size);
	}
	if (fgets(buf, BUF, m))
		die("there are more checksums than files in the manifest");
	printf("# read %d files twice, by mmap and by read(2), in %.1f s\n",
	       p.files, now() - started);

	out = fopen(table, "w");
	if (!out)
		die("%s: %s", table, strerror(errno));
	print_tables(out);
	if (fclose(out))
		die("%s: %s", table, strerror(errno));
	if (bad)
		die("%d of %d files differ, the first is %s", bad, p.files,
		    first_bad);
	if (huge_missing)
		die("%d of %d files of 2 MiB or more were not mapped by 2 MiB faults",
		    huge_missing, huge_expected);
	return 0;
}

int main(int argc, char **argv)
{
	started = now();
	if (argc == 5 && !strcmp(argv[1], "fill")) {
		read_manifest(argv[2]);
		return fill(argv[3], argv[4]);
	}
	if (argc == 6 && !strcmp(argv[1], "verify")) {
		read_manifest(argv[2]);
		return verify(argv[3], argv[4], argv[5]);
	}
	fputs("usage: treeio fill MANIFEST SOURCE TARGET | verify MANIFEST SUMS TREE TABLE\n",
	      stderr);
	return 2;
}
