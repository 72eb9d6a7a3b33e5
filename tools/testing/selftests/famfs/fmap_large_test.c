// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE DAX file maps: large numbers. A map with a million extents, 64 devices,
 * 100 000 open files, and many first opens of one file at once.
 *
 * A table holds the device page of each extent. To check it, the test stamps
 * device pages through one mount, which has one file per device, and reads the
 * stamps through the mapped files of another mount.
 *
 * Needs root, /dev/fuse, a memory cgroup, and DAX devices bound to the fsdev
 * driver, and overwrites them. The million extents need 8 GiB in all. The 64
 * devices need some that can be divided, such as CXL memory. The environment
 * can change the sizes: FMAP_LARGE_EXTENTS, FMAP_LARGE_FILES.
 */
#include <dirent.h>

#include "fmap_cgroup.h"
#include "fmap_random.h"
#include "fmap_test.h"
#include "fmap_uring.h"

#define MAX_DEVS	256
#define PIECES		16		/* into which a device is divided */
#define STAMP		64UL		/* bytes at each end of a page */
/* Timeout in seconds, for an emulated machine with a debug kernel */
#define LONG		600

#define BUS		"/sys/bus/dax/"

static struct {
	char name[32];
	uint64_t first, pages;	/* in page numbers over all devices */
} dev[MAX_DEVS];
static int ndevs;
static uint64_t npages;

static uint64_t read_number(const char *path)
{
	unsigned long long n = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

/* Find all devices bound to fsdev, of any size */
static void find_devs(void)
{
	DIR *d = opendir(BUS "drivers/fsdev_dax");
	char path[PATH_MAX];
	struct dirent *de;

	ndevs = 0;
	npages = 0;
	while (d && (de = readdir(d)) && ndevs < MAX_DEVS) {
		if (strncmp(de->d_name, "dax", 3))
			continue;
		snprintf(dev[ndevs].name, sizeof(dev[0].name), "%.31s",
			 de->d_name);
		snprintf(path, sizeof(path), BUS "devices/%.31s/size",
			 de->d_name);
		dev[ndevs].pages = read_number(path) / PG;
		dev[ndevs].first = npages;
		npages += dev[ndevs].pages;
		ndevs++;
	}
	if (d)
		closedir(d);
}

static int dev_of(uint64_t page)
{
	int i = 0;

	while (page >= dev[i].first + dev[i].pages)
		i++;
	return i;
}

static void add_extent(struct rs_map *m, uint64_t page, uint64_t pages)
{
	int i = dev_of(page);

	rs_map_extent(m, i, (page - dev[i].first) * PG, pages * PG);
}

/* Start a server, over io_uring or not, and give it all devices */
static int start_with_devs(struct raw_server *s, bool ring)
{
	int ret = ring ? start_ring(s) : start_server(s);
	char path[64];
	int fd;

	for (int i = 0; !ret && i < ndevs; i++) {
		snprintf(path, sizeof(path), "/dev/%s", dev[i].name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		ret = rs_daxdev_open(s->fd, fd, i, 0);
		ret = ret > 0 ? 0 : ret ? ret : -EPROTO;
		close(fd);
	}
	return ret;
}

/* Stamp pages of the devices at both ends */
static bool stamp_pages(const uint32_t *page, int count, uint64_t seed)
{
	struct raw_server *s = rs_new();
	int fd[MAX_DEVS];
	bool ok;

	for (int i = 0; i < ndevs; i++) {
		struct rs_node *n;
		struct rs_map m;
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		n = rs_add_file(s, FUSE_ROOT_ID, name);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, dev[i].pages * PG);
		rs_map_extent(&m, i, 0, dev[i].pages * PG);
		rs_set_map(s, n, &m);
		fd[i] = -1;
	}
	ok = !start_with_devs(s, false);
	for (int i = 0; ok && i < count; i++) {
		int d = dev_of(page[i]);
		uint64_t pos = (page[i] - dev[d].first) * PG;
		char b[STAMP], name[16];

		snprintf(name, sizeof(name), "%d", d);
		if (fd[d] < 0)
			fd[d] = open_in(s, name, O_RDWR);
		pattern(b, seed, page[i] * PG, STAMP);
		ok &= pwrite(fd[d], b, STAMP, pos) == STAMP;
		pattern(b, seed, (page[i] + 1) * PG - STAMP, STAMP);
		ok &= pwrite(fd[d], b, STAMP, pos + PG - STAMP) == STAMP;
	}
	for (int i = 0; i < ndevs; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	ok &= !rs_unmount(s);
	rs_free(s);
	return ok;
}

/* Whether a file has the stamps of that page */
static bool is_stamped(int fd, uint64_t page, uint64_t seed)
{
	char b[PG];

	return pread(fd, b, PG, 0) == PG &&
	       is_pattern(b, seed, page * PG, STAMP) &&
	       is_pattern(b + PG - STAMP, seed, (page + 1) * PG - STAMP, STAMP);
}

/* Memory */

static char cgroup[64];

/* The number after a word at the start of a line */
static int64_t find_number(const char *path, const char *word)
{
	char line[256];
	FILE *f = fopen(path, "r");
	int64_t n = -1;

	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, word, strlen(word)))
			n = strtoll(line + strlen(word), NULL, 0);
	if (f)
		fclose(f);
	return n;
}

/* Bytes allocated by the kernel, whether charged or not */
static int64_t allocated(void)
{
	return 1024 * (find_number("/proc/meminfo", "Slab:") +
		       find_number("/proc/meminfo", "VmallocUsed:"));
}

/* Wait for delayed frees, until at most @limit bytes are allocated */
static int64_t allocated_at_most(int64_t limit)
{
	int64_t n;

	for (int i = 0; i < 50; i++) {
		n = allocated();
		if (n <= limit)
			break;
		usleep(100000);
	}
	return n;
}

/* A million extents */

enum layout { EQUAL, UNEQUAL, FRAGMENTED };

FIXTURE(million) {
	struct raw_server *s;
	uint32_t count;
	uint32_t *page;		/* first page of each extent */
	uint32_t *start;	/* file offsets in pages, and the end */
};

FIXTURE_VARIANT(million) {
	enum layout layout;
	bool ring;
};

FIXTURE_VARIANT_ADD(million, equal_extents) {
	.layout = EQUAL,
};

FIXTURE_VARIANT_ADD(million, unequal_extents) {
	.layout = UNEQUAL,
};

FIXTURE_VARIANT_ADD(million, fragments_over_io_uring) {
	.layout = FRAGMENTED, .ring = true,
};

/*
 * Lay out extents in device order: EQUAL uses every page, UNEQUAL one or two
 * pages at a time, FRAGMENTED every second page. Returns the number of extents.
 */
static uint32_t lay_out(enum layout layout, uint32_t count, uint32_t *page,
			uint32_t *pages)
{
	uint32_t n = 0, len;
	int d = 0;

	for (uint64_t p = 0; n < count; p += layout == FRAGMENTED ? 2 : len) {
		len = layout == UNEQUAL ? 1 + random_below(2) : 1;
		while (d < ndevs && p + len > dev[d].first + dev[d].pages)
			p = dev[++d].first;
		if (d == ndevs)
			break;
		page[n] = p;
		pages[n++] = len;
	}
	return n;
}

FIXTURE_SETUP(million)
{
	uint32_t count = from_env("FMAP_LARGE_EXTENTS", 1000000), *pages;
	const char *why = sandbox(1);

	if (!why)
		why = new_cgroup(cgroup, sizeof(cgroup));
	if (!why && variant->ring)
		why = enable_uring();
	if (why)
		SKIP(return, "%s", why);
	random_state = 88172645463325252UL;
	find_devs();
	self->page = calloc(count, sizeof(*self->page));
	self->start = calloc(count + 1, sizeof(*self->start));
	pages = calloc(count, sizeof(*pages));
	ASSERT_TRUE(self->page && self->start && pages);
	self->count = lay_out(variant->layout, count, self->page, pages);
	if (self->count < count)
		SKIP(return, "only %u extents fit in %lu MiB of DAX devices, needs %u",
		     self->count, npages * PG / MB, count);
	/*
	 * Shuffle the extents. Equal ones must not be adjacent both in the file
	 * and on the device, because the kernel would merge them.
	 */
	for (uint32_t i = 0; i < count - 1; i++) {
		uint32_t j = i + random_below(count - i), p = self->page[j];
		uint32_t n = pages[j];

		self->page[j] = self->page[i];
		self->page[i] = p;
		pages[j] = pages[i];
		pages[i] = n;
		if (variant->layout == EQUAL && i &&
		    p == self->page[i - 1] + 1)
			i--;
	}
	for (uint32_t i = 0; i < count; i++)
		self->start[i + 1] = self->start[i] + pages[i];
	free(pages);
	self->s = rs_new();
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(million)
{
	rs_free(self->s);
	restore_uring();
	remove_cgroup(cgroup);
}

#define SAMPLES		250

/* Check the end of extent @i and the start of the next */
static bool check_seam(int fd, const uint32_t *page, const uint32_t *start,
		       uint32_t i, uint64_t seed)
{
	uint64_t last = page[i] + start[i + 1] - start[i];
	char b[2 * STAMP];

	return pread(fd, b, 2 * STAMP, start[i + 1] * PG - STAMP) ==
		2 * STAMP &&
	       is_pattern(b, seed, last * PG - STAMP, STAMP) &&
	       is_pattern(b + STAMP, seed, page[i + 1] * PG, STAMP);
}

/*
 * Return the lowest of many short averages, in ns. Other load can only add to
 * them, and it rarely affects all of them.
 */
#define ROUNDS		500
#define BATCH		10

static uint64_t time_of_pread(int fd, off_t pos)
{
	uint64_t best = UINT64_MAX, t;
	char b[64];

	for (int i = 0; i < ROUNDS; i++) {
		t = now();
		for (int j = 0; j < BATCH; j++)
			if (pread(fd, b, sizeof(b), pos) != sizeof(b))
				return 0;
		t = (now() - t) / BATCH;
		if (t < best)
			best = t;
	}
	return best;
}

static uint64_t time_of_fault(int fd, off_t pos)
{
	volatile char *p = mmap(NULL, PG, PROT_READ, MAP_SHARED, fd, pos);
	uint64_t best = UINT64_MAX, t;

	if (p == MAP_FAILED)
		return 0;
	for (int i = 0; i < ROUNDS; i++) {
		t = now();
		for (int j = 0; j < BATCH; j++) {
			madvise((void *)p, PG, MADV_DONTNEED);
			(void)*p;
		}
		t = (now() - t) / BATCH;
		if (t < best)
			best = t;
	}
	munmap((void *)p, PG);
	return best;
}

TEST_F_TIMEOUT(million, load_and_resolve_in_little_memory, LONG)
{
	uint32_t *page = self->page, *start = self->start, count = self->count;
	uint64_t seed = 100 + variant->layout, t, first, last;
	uint32_t at[SAMPLES], stamped[4 * SAMPLES];
	int64_t before, taken, taken_charged;
	struct raw_server *s = self->s;
	struct rs_map m;
	int n = 0, fd;
	uint32_t low;
	char *p;

	/* Stamp a sample of extents and their successors */
	for (int i = 0; i < SAMPLES; i++) {
		at[i] = i == 0 ? 0 : i == 1 ? count / 2 : i == 2 ? count - 2 :
			random_below(count - 1);
		stamped[n++] = page[at[i]];
		stamped[n++] = page[at[i]] + start[at[i] + 1] - start[at[i]] - 1;
		stamped[n++] = page[at[i] + 1];
		stamped[n++] = page[at[i] + 1] + start[at[i] + 2] -
			       start[at[i] + 1] - 1;
	}
	ASSERT_TRUE(stamp_pages(stamped, n, seed));

	rs_map_init(&m, FUSE_FMAP_EXTENTS, start[count] * PG);
	for (uint32_t i = 0; i < count; i++)
		add_extent(&m, page[i], start[i + 1] - start[i]);
	rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, "f"), &m);

	before = allocated();
	ASSERT_EQ(0, start_with_devs(s, variant->ring));
	ASSERT_EQ(0, join_cgroup(cgroup));
	taken_charged = kernel_memory_now(cgroup);
	t = now();
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	t = now() - t;
	taken_charged = kernel_memory_now(cgroup) - taken_charged;
	taken = allocated() - before;
	ksft_print_msg("%u extents on %d devices: opened in %lu ms, %u requests\n",
		       count, ndevs, t / 1000000, s->count[FUSE_GET_FMAP]);
	ksft_print_msg("bytes per extent: %.2f in all, %.2f charged to the opener\n",
		       (double)taken / count, (double)taken_charged / count);
	EXPECT_LE(taken, 32L * count);
	/* At least the map itself is charged */
	EXPECT_LE(8L * count, taken_charged);
	if (variant->ring)
		EXPECT_EQ(s->count[FUSE_GET_FMAP],
			  s->ring_count[FUSE_GET_FMAP]);

	/* Each sample is where the table says */
	p = mmap(NULL, start[count] * PG, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t pos = start[at[i]] * PG;

		EXPECT_TRUE(check_seam(fd, page, start, at[i], seed));
		EXPECT_TRUE(is_pattern(p + pos, seed, page[at[i]] * PG, STAMP));
	}
	EXPECT_TRUE(is_pattern(p + start[count] * PG - STAMP, seed,
			       (page[count - 1] + start[count] -
				start[count - 1]) * PG - STAMP, STAMP));
	munmap(p, start[count] * PG);

	/*
	 * Looking up the last extent takes about as long as the first. Compare
	 * on one device: emulated CXL memory is much slower than an NVDIMM.
	 */
	for (low = 0; dev_of(page[low]) != dev_of(page[count - 1]); low++)
		;
	first = time_of_pread(fd, start[low] * PG);
	last = time_of_pread(fd, start[count - 1] * PG);
	ksft_print_msg("pread: %lu ns in extent %u, %lu in the last\n", first,
		       low, last);
	EXPECT_NE(0, first);
	EXPECT_GT(3 * first, last);
	first = time_of_fault(fd, start[low] * PG);
	last = time_of_fault(fd, start[count - 1] * PG);
	ksft_print_msg("fault: %lu ns in extent %u, %lu in the last\n", first,
		       low, last);
	EXPECT_NE(0, first);
	EXPECT_GT(3 * first, last);

	close(fd);
	t = now();
	ASSERT_EQ(0, rs_unmount(s));
	ksft_print_msg("unmounted in %lu ms\n", (now() - t) / 1000000);
	/* all memory is freed */
	EXPECT_GT(before + 2 * (int64_t)MB,
		  allocated_at_most(before + 2 * (int64_t)MB));
}

/* 64 devices */

static int driver_do(const char *what, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), BUS "drivers/fsdev_dax/%s", what);
	return write_file(path, name);
}

static int set_size(const char *name, uint64_t size)
{
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof(path), BUS "devices/%.31s/size", name);
	snprintf(text, sizeof(text), "%lu", size);
	return write_file(path, text);
}

/* The path of a sysfs file in the region of a device */
static void region_path(char *path, const char *name, const char *file)
{
	snprintf(path, PATH_MAX, BUS "devices/%.31s/../dax_region/%s", name,
		 file);
}

/* Divide each device that allows it into PIECES; returns 0 or -errno */
static int divide_devs(void)
{
	char path[PATH_MAX], piece[32];
	int whole = ndevs, ret = 0;

	for (int i = 0; !ret && i < whole; i++) {
		const char *name = dev[i].name;
		uint64_t size = dev[i].pages * PG / PIECES & ~(2 * MB - 1);

		region_path(path, name, "create");
		if (!size || access(path, F_OK))
			continue;
		ret = driver_do("unbind", name);
		if (!ret)
			ret = set_size(name, size);
		if (!ret)
			ret = driver_do("bind", name);
		for (int j = 1; !ret && j < PIECES; j++) {
			FILE *f;

			region_path(path, name, "create");
			ret = write_file(path, "1");
			region_path(path, name, "seed");
			f = fopen(path, "r");
			if (!f || fscanf(f, "%31s", piece) != 1)
				ret = -ENODEV;
			if (f)
				fclose(f);
			if (!ret)
				ret = set_size(piece, size);
			if (!ret)
				ret = driver_do("new_id", piece);
		}
	}
	find_devs();
	return ret;
}

/* Make one device per region again, whatever the state of its pieces */
static int join_devs(void)
{
	char path[PATH_MAX];
	int ret = 0;

	find_devs();
	for (int i = 0; i < ndevs; i++) {
		const char *name = dev[i].name, *dot = strchr(name, '.');

		region_path(path, name, "delete");
		if (!dot || !strcmp(dot, ".0") || access(path, F_OK))
			continue;
		ret |= driver_do("unbind", name);
		ret |= driver_do("remove_id", name);
		ret |= set_size(name, 0);
		ret |= write_file(path, name);
	}
	for (int i = 0; i < ndevs; i++) {
		const char *name = dev[i].name, *dot = strchr(name, '.');
		uint64_t size;

		region_path(path, name, "create");
		if (!dot || strcmp(dot, ".0") || access(path, F_OK))
			continue;
		region_path(path, name, "size");
		size = read_number(path);
		if (size == dev[i].pages * PG)
			continue;
		ret |= driver_do("unbind", name);
		ret |= set_size(name, size);
		ret |= driver_do("bind", name);
	}
	return ret;
}

FIXTURE(devices) {
	struct raw_server *s;
};

FIXTURE_SETUP(devices)
{
	const char *why = sandbox(1);

	if (why)
		SKIP(return, "%s", why);
	/* an earlier run may have been killed */
	ASSERT_EQ(0, join_devs());
	find_devs();
	ASSERT_EQ(0, divide_devs());
	self->s = rs_new();
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(devices)
{
	rs_free(self->s);
	EXPECT_EQ(0, join_devs());
}

/* A server may choose any index */
static uint32_t odd_index(int i)
{
	return i * 2654435761U + 12345;
}

/* Reply to GET_DAXDEV with the name of the device */
static int name_devs(struct raw_server *s, const struct fuse_in_header *ih,
		     const void *arg)
{
	const struct fuse_get_daxdev_in *in = arg;
	struct fuse_daxdev_out out = { .index = in->index };

	if (ih->opcode != FUSE_GET_DAXDEV)
		return 0;
	for (int i = 0; i < ndevs; i++) {
		if (odd_index(i) != in->index)
			continue;
		strcpy(out.name, dev[i].name);
		rs_reply(s, ih->unique, 0, &out, sizeof(out));
		return 1;
	}
	return -ENODEV;
}

TEST_F_TIMEOUT(devices, serve_one_file_each_and_one_stripe_set, LONG)
{
	struct raw_server *s = self->s;
	uint64_t chunk = 64 * KB, rows = 3, size = ndevs * rows * chunk - 1000;
	struct rs_node *f;
	struct rs_map m;
	char name[16];
	int fd;

	if (ndevs < 64)
		SKIP(return, "only %d DAX devices, and none can be divided", ndevs);
	ksft_print_msg("%d devices\n", ndevs);
	for (int i = 0; i < ndevs; i++) {
		snprintf(name, sizeof(name), "%d", i);
		f = rs_add_file(s, FUSE_ROOT_ID, name);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, rows * chunk);
		rs_map_extent(&m, odd_index(i), MB, rows * chunk);
		rs_set_map(s, f, &m);
	}
	s->hook = name_devs;
	ASSERT_EQ(0, start_server(s));
	for (int i = 0; i < ndevs; i++) {
		snprintf(name, sizeof(name), "%d", i);
		fd = open_in(s, name, O_RDWR);
		ASSERT_LE(0, fd);
		for (uint64_t row = 0; row < rows; row++) {
			EXPECT_TRUE(put(fd, i, row * chunk, STAMP));
			EXPECT_TRUE(put(fd, i, row * chunk + chunk - 2000,
					2000));
		}
		close(fd);
	}
	EXPECT_EQ(ndevs, s->count[FUSE_GET_DAXDEV]);
	EXPECT_EQ(0, rs_unmount(s));
	rs_free(s);

	/* Strip i has the data of file i */
	self->s = s = rs_new();
	ASSERT_NE(NULL, s);
	f = rs_add_file(s, FUSE_ROOT_ID, "all");
	rs_map_init(&m, FUSE_FMAP_STRIPED, size);
	rs_map_stripe(&m, ndevs, chunk, size);
	for (int i = 0; i < ndevs; i++)
		rs_map_strip(&m, odd_index(i), MB, rows * chunk);
	rs_set_map(s, f, &m);
	s->hook = name_devs;
	ASSERT_EQ(0, start_server(s));
	fd = open_in(s, "all", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(ndevs, s->count[FUSE_GET_DAXDEV]);
	for (uint64_t c = 0; c < ndevs * rows; c++) {
		uint64_t in_file = c / ndevs * chunk;
		char b[1000];

		EXPECT_EQ(STAMP, pread(fd, b, STAMP, c * chunk));
		EXPECT_TRUE(is_pattern(b, c % ndevs, in_file, STAMP));
		EXPECT_EQ(1000, pread(fd, b, 1000, (c + 1) * chunk - 2000));
		EXPECT_TRUE(is_pattern(b, c % ndevs, in_file + chunk - 2000,
				       1000));
	}
	close(fd);
}

static int dev_by_name(const char *name)
{
	for (int i = 0; i < ndevs; i++)
		if (!strcmp(dev[i].name, name))
			return i;
	return -1;
}

/*
 * Add the range of piece 2 of a region to piece 0, so that piece 1 is between
 * the two ranges of piece 0. Returns the number of piece 0, and that of piece 1
 * in @beside. Returns -ENXIO without a region, and -1 after an error.
 */
static int make_two_ranges(int *beside)
{
	char path[PATH_MAX], name[3][40];
	uint64_t size = 0;
	int ret;

	for (int i = 0; i < ndevs && !size; i++) {
		int len = strcspn(dev[i].name, ".");

		region_path(path, dev[i].name, "create");
		if (access(path, F_OK))
			continue;
		size = dev[i].pages * PG;
		for (int j = 0; j < 3; j++)
			snprintf(name[j], sizeof(name[0]), "%.*s.%d", len,
				 dev[i].name, j);
	}
	if (!size)
		return -ENXIO;

	ret = driver_do("unbind", name[2]);
	ret |= driver_do("remove_id", name[2]);
	ret |= set_size(name[2], 0);
	region_path(path, name[0], "delete");
	ret |= write_file(path, name[2]);
	ret |= driver_do("unbind", name[0]);
	ret |= set_size(name[0], 2 * size);
	ret |= driver_do("bind", name[0]);
	find_devs();
	*beside = dev_by_name(name[1]);
	return ret || *beside < 0 ? -1 : dev_by_name(name[0]);
}

TEST_F_TIMEOUT(devices, with_two_ranges_are_one_device, LONG)
{
	struct raw_server *s = self->s;
	uint64_t size, edge, from;
	int beside, a = make_two_ranges(&beside), fd, other;
	struct rs_node *f;
	char path[PATH_MAX], *p;
	struct rs_map m;

	if (a == -ENXIO)
		SKIP(return, "needs a DAX region that can be divided");
	ASSERT_LE(0, a);
	snprintf(path, sizeof(path), BUS "devices/%s/mapping1/start",
		 dev[a].name);
	ASSERT_EQ(0, access(path, F_OK));
	size = dev[a].pages * PG;
	edge = size / 2;
	from = edge - 2 * MB;

	f = rs_add_file(s, FUSE_ROOT_ID, "two");
	rs_map_init(&m, FUSE_FMAP_EXTENTS, size);
	rs_map_extent(&m, odd_index(a), 0, size);
	rs_set_map(s, f, &m);
	f = rs_add_file(s, FUSE_ROOT_ID, "beside");
	rs_map_init(&m, FUSE_FMAP_EXTENTS, 2 * MB);
	rs_map_extent(&m, odd_index(beside), 0, 2 * MB);
	rs_set_map(s, f, &m);
	s->hook = name_devs;
	ASSERT_EQ(0, start_server(s));
	other = open_in(s, "beside", O_RDWR);
	ASSERT_LE(0, other);
	ASSERT_TRUE(put(other, 1, 0, 64 * KB));
	fd = open_in(s, "two", O_RDWR);
	ASSERT_LE(0, fd);

	/* one call and one mapping across the boundary */
	EXPECT_TRUE(put(fd, 2, edge - 64 * KB, 128 * KB));
	EXPECT_TRUE(got(fd, 2, edge - 64 * KB, 128 * KB));
	p = map_huge(fd, 4 * MB, PROT_READ | PROT_WRITE, MAP_SHARED, from);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p + 2 * MB - 64 * KB, 2, edge - 64 * KB,
			       128 * KB));
	pattern(p, 3, 0, STAMP);
	pattern(p + 4 * MB - STAMP, 3, 0, STAMP);
	EXPECT_TRUE(got(fd, 2, edge - 64 * KB, 128 * KB));
	munmap(p, 4 * MB);
	/* the other device, between the ranges, is unchanged */
	EXPECT_TRUE(got(other, 1, 0, 64 * KB));
	close(fd);
	close(other);
}

/* Many files */

#define FIRST_NODE	1000000

static uint32_t nfiles;

/* Each file has one page; the pages are spread over the devices */
static uint64_t page_of_file(uint32_t n)
{
	return n * (npages / nfiles);
}

static void fill_file(uint32_t n, struct fuse_attr *a)
{
	a->ino = FIRST_NODE + n;
	a->mode = S_IFREG | 0644;
	a->nlink = 1;
	a->size = PG;
	a->blksize = PG;
}

/* Return the entries and attributes of as many files as fit */
static int list_files(struct raw_server *s, const struct fuse_in_header *ih,
		      const struct fuse_read_in *in)
{
	char *buf = calloc(1, in->size);
	uint32_t len = 0;

	for (uint32_t n = in->offset; n < nfiles; n++) {
		struct fuse_direntplus *e = (void *)(buf + len);
		char name[16];

		snprintf(name, sizeof(name), "%u", n);
		if (len + FUSE_REC_ALIGN(sizeof(*e) + strlen(name)) > in->size)
			break;
		e->entry_out.nodeid = FIRST_NODE + n;
		e->entry_out.entry_valid = e->entry_out.attr_valid = 3600;
		fill_file(n, &e->entry_out.attr);
		e->dirent.ino = FIRST_NODE + n;
		e->dirent.off = n + 1;
		e->dirent.type = DT_REG;
		e->dirent.namelen = strlen(name);
		memcpy(e->dirent.name, name, strlen(name));
		len += FUSE_DIRENTPLUS_SIZE(e);
	}
	rs_reply(s, ih->unique, 0, buf, len);
	free(buf);
	return 1;
}

/*
 * A directory of numbered files. The server keeps no table of them. READDIRPLUS
 * and ENOSYS to OPEN save a LOOKUP, a GETATTR and an OPEN for each file.
 */
static int serve_files(struct raw_server *s, const struct fuse_in_header *ih,
		       const void *arg)
{
	struct fuse_attr_out attr = { .attr_valid = 3600 };
	uint32_t n = ih->nodeid - FIRST_NODE;
	struct rs_map m;

	switch (ih->opcode) {
	case FUSE_READDIRPLUS:
		return list_files(s, ih, arg);
	case FUSE_OPEN:
		return -ENOSYS;
	case FUSE_GETATTR:
		if (ih->nodeid < FIRST_NODE)
			return 0;
		fill_file(n, &attr.attr);
		rs_reply(s, ih->unique, 0, &attr, sizeof(attr));
		return 1;
	case FUSE_GET_FMAP:
		rs_map_init(&m, FUSE_FMAP_EXTENTS, PG);
		add_extent(&m, page_of_file(n), 1);
		rs_reply(s, ih->unique, 0, m.b, m.len);
		rs_map_free(&m);
		return 1;
	}
	return 0;
}

/* Many threads open files, because one would mostly wait for the server */
#define OPENERS		32

struct opener {
	pthread_t thread;
	struct raw_server *s;
	uint32_t first, end;
	int *fd;
};

static void *open_some(void *arg)
{
	struct opener *o = arg;
	char name[16];

	for (uint32_t i = o->first; i < o->end; i++) {
		snprintf(name, sizeof(name), "%u", i);
		o->fd[i] = open_in(o->s, name, O_RDWR);
	}
	return NULL;
}

/* A debug kernel needs ten times as long, and more memory per object */
static bool debug_kernel;

FIXTURE(files) {
	struct raw_server *s;
	int *fd;
};

FIXTURE_SETUP(files)
{
	const char *why = sandbox(1);
	struct rlimit limit;

	if (!why)
		why = new_cgroup(cgroup, sizeof(cgroup));
	if (why)
		SKIP(return, "%s", why);
	random_state = 88172645463325252UL;
	find_devs();
	debug_kernel = !access("/sys/kernel/debug/kmemleak", F_OK);
	nfiles = from_env("FMAP_LARGE_FILES", debug_kernel ? 10000 : 100000);
	if (npages < nfiles)
		SKIP(return, "only %lu pages in DAX devices, needs %u", npages,
		     nfiles);
	limit.rlim_cur = limit.rlim_max = nfiles + 100;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	self->fd = malloc(nfiles * sizeof(int));
	self->s = rs_new();
	ASSERT_TRUE(self->fd && self->s);
}

FIXTURE_TEARDOWN(files)
{
	rs_free(self->s);
	remove_cgroup(cgroup);
}

TEST_F_TIMEOUT(files, can_be_open_by_the_hundred_thousand, LONG)
{
	uint32_t sample[SAMPLES], page[SAMPLES];
	struct raw_server *s = self->s;
	struct opener opener[OPENERS];
	int64_t before, taken;
	uint32_t listed;
	DIR *dir;
	uint64_t t;

	for (int i = 0; i < SAMPLES; i++) {
		sample[i] = i == 0 ? 0 : i == 1 ? nfiles - 1 :
			    random_below(nfiles);
		page[i] = page_of_file(sample[i]);
	}
	ASSERT_TRUE(stamp_pages(page, SAMPLES, 200));

	s->want |= FUSE_PARALLEL_DIROPS | FUSE_DO_READDIRPLUS;
	s->hook = serve_files;
	ASSERT_EQ(0, start_with_devs(s, false));
	ASSERT_EQ(0, join_cgroup(cgroup));
	before = allocated();
	taken = kernel_memory_now(cgroup);
	t = now();
	dir = opendir(s->mnt);
	ASSERT_NE(NULL, dir);
	for (listed = 0; readdir(dir); listed++)
		;
	closedir(dir);
	ASSERT_EQ(nfiles, listed);
	for (int i = 0; i < OPENERS; i++) {
		opener[i].s = s;
		opener[i].first = (uint64_t)nfiles * i / OPENERS;
		opener[i].end = (uint64_t)nfiles * (i + 1) / OPENERS;
		opener[i].fd = self->fd;
		ASSERT_EQ(0, pthread_create(&opener[i].thread, NULL, open_some,
					    &opener[i]));
	}
	for (int i = 0; i < OPENERS; i++)
		ASSERT_EQ(0, pthread_join(opener[i].thread, NULL));
	t = now() - t;
	for (uint32_t i = 0; i < nfiles; i++)
		ASSERT_LE(0, self->fd[i]);
	taken = kernel_memory_now(cgroup) - taken;
	ksft_print_msg("%u files opened in %lu ms\n", nfiles, t / 1000000);
	ksft_print_msg("bytes per file: %.0f in all, %.0f charged to the opener\n",
		       (double)(allocated() - before) / nfiles,
		       (double)taken / nfiles);
	EXPECT_EQ(nfiles, s->count[FUSE_GET_FMAP]);
	EXPECT_EQ(0, s->count[FUSE_LOOKUP]);
	/* The memory is for the inode, dentry, open file and map */
	if (!debug_kernel)
		EXPECT_GT(4096L * nfiles, allocated() - before);

	for (int i = 0; i < SAMPLES; i++)
		EXPECT_TRUE(is_stamped(self->fd[sample[i]], page[i], 200));
	/* Open files can be read and closed without the server */
	rs_kill(s);
	for (int i = 0; i < SAMPLES; i++)
		EXPECT_TRUE(is_stamped(self->fd[sample[i]], page[i], 200));
	t = now();
	for (uint32_t i = 0; i < nfiles; i++)
		close(self->fd[i]);
	ASSERT_EQ(0, umount2(s->mnt, 0));
	ksft_print_msg("closed and unmounted in %lu ms\n",
		       (now() - t) / 1000000);
	if (!debug_kernel)
		EXPECT_GT(before + 10 * (int64_t)MB,
			  allocated_at_most(before + 10 * (int64_t)MB));
}

/* Many first openers */

#define FIRST_OPENERS	64

static struct raw_server *opened;
static pthread_barrier_t all_ready;

static void *open_f(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&all_ready);
	return (void *)(long)open_in(opened, "f", O_RDWR);
}

static int slow_fmap(struct raw_server *s, const struct fuse_in_header *ih,
		     const void *arg)
{
	(void)s;
	(void)arg;
	if (ih->opcode == FUSE_GET_FMAP)
		usleep(50000);
	return 0;
}

FIXTURE(openers) {
	struct raw_server *s;
};

FIXTURE_SETUP(openers)
{
	const char *why = sandbox(1);

	if (why)
		SKIP(return, "%s", why);
	self->s = opened = new_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(openers)
{
	rs_free(self->s);
}

TEST_F_TIMEOUT(openers, fetch_the_map_of_one_file_once, LONG)
{
	struct rs_node *f = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	pthread_t thread[FIRST_OPENERS];
	struct rs_map m;
	int slices;

	/* several slow slices leave time for a second request */
	rs_map_init(&m, FUSE_FMAP_EXTENTS, 1000 * PG);
	for (int i = 0; i < 1000; i++)
		rs_map_extent(&m, 0, (999 - i) * PG, PG);
	slices = 1 + (m.len - 8192 + 6999) / 7000;
	rs_set_map(self->s, f, &m);
	self->s->slice = 7000;
	self->s->hook = slow_fmap;
	self->s->nthreads = 8;
	ASSERT_EQ(0, start_server(self->s));
	ASSERT_EQ(0, pthread_barrier_init(&all_ready, NULL, FIRST_OPENERS));
	for (int i = 0; i < FIRST_OPENERS; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, open_f, NULL));
	for (int i = 0; i < FIRST_OPENERS; i++) {
		void *result;
		int fd;

		ASSERT_EQ(0, pthread_join(thread[i], &result));
		fd = (long)result;
		ASSERT_LE(0, fd);
		EXPECT_TRUE(put(fd, i, i * PG, 100));
		EXPECT_TRUE(got(fd, i, i * PG, 100));
		close(fd);
	}
	EXPECT_EQ(FIRST_OPENERS, f->nopen);
	EXPECT_EQ(1, f->nfmap);
	EXPECT_EQ(slices, self->s->count[FUSE_GET_FMAP]);
}

TEST_HARNESS_MAIN
