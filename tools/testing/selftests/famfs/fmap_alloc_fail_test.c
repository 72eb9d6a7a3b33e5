// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: memory runs out.
 *
 * Each operation that leads into the code of DAX file maps is done again and
 * again. The first time its first allocation fails, then its second one, and so
 * on until it needs no more; then all of that once more with every allocation
 * failing from there on, which also defeats kvmalloc(). The operation may fail
 * with ENOMEM, or not notice. Nothing may be half done then: it works when it
 * is tried again, the data is right, the sums in fusectl are, and all devices
 * can be had by somebody else in the end.
 *
 * Where the code makes allocations of its own, only those fail that it asks
 * for, itself or through others, and the stack traces of the failures tell
 * whether each of its own had its turn.
 *
 * Needs root, /dev/fuse, fusectl, two DAX devices bound to the fsdev driver,
 * which are overwritten, and a kernel with KALLSYMS, FAILSLAB, FAIL_PAGE_ALLOC,
 * FAULT_INJECTION_DEBUG_FS and FAULT_INJECTION_STACKTRACE_FILTER.
 */
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <linux/fiemap.h>
#include <linux/fs.h>

#include "fmap_test.h"
#include "../../../include/io_uring/mini_liburing.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define DEBUGFS		"/sys/kernel/debug/"
#define MAX_SITES	32
#define MAX_ALLOCS	3000		/* that an operation may make */
#define MAX_SWEEPS	5

/* Not 0: the connection's table of devices needs memory to get there */
#define INDEX		70000U

/* A kernel that looks into everything, on a busy machine */
#define LONG		120

/* Failing allocations */

static int set(const char *attr, const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", attr, file);
	return write_file(path, value);
}

/* Actions of syslog(2) */
#define CONSOLE_OFF	6
#define CONSOLE_ON	7

static void set_verbose(bool on)
{
	set("failslab", "verbose", on ? "2" : "0");
	set("fail_page_alloc", "verbose", on ? "2" : "0");
}

static bool is_ours(const char *function)
{
	return !strncmp(function, "fuse_fmap_", 10) ||
	       !strncmp(function, "fuse_daxdev_", 12) ||
	       !strncmp(function, "fuse_dax_notify", 13);
}

/*
 * Where the kernel has the functions of DAX file maps: side by side, but for
 * those that are hardly ever executed.
 */
static unsigned long code_begin = ~0UL, code_end;

static __attribute__((constructor)) void find_code(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char name[128], type;
	unsigned long at;

	while (f && fscanf(f, "%lx %c %127s%*[^\n]", &at, &type, name) == 3) {
		if (!strchr("tT", type) || !is_ours(name) ||
		    strstr(name, ".cold"))
			continue;
		if (at < code_begin)
			code_begin = at;
		/* where the last one ends is not told */
		if (at >= code_end)
			code_end = at + 1024;
	}
	if (f)
		fclose(f);
}

/* Only what is asked for from there is to fail, or anything */
static int set_code(bool only_ours)
{
	static const char *const attr[] = { "failslab", "fail_page_alloc" };
	char begin[24], end[24];

	snprintf(begin, sizeof(begin), "%#lx", only_ours ? code_begin : 0);
	snprintf(end, sizeof(end), "%#lx", only_ours ? code_end : ~0UL);
	for (int i = 0; i < 2; i++)
		if (set(attr[i], "require-start", begin) ||
		    set(attr[i], "require-end", end))
			return -1;
	return 0;
}

/*
 * The one that fails is chosen by fail-nth. After that the attributes count,
 * for a task that is marked to fail: slab allocations fail, pages don't, since
 * without them not even a page fault of the test itself would come to an end.
 */
static const char *enable_failures(void)
{
	if (code_begin > code_end || !code_begin)
		return "no functions of DAX file maps in /proc/kallsyms";
	if (set_code(false))
		return "kernel without FAULT_INJECTION_STACKTRACE_FILTER";
	if (set("failslab", "ignore-gfp-wait", "N") ||
	    set("fail_page_alloc", "ignore-gfp-wait", "N"))
		return "kernel without FAILSLAB or FAIL_PAGE_ALLOC in debugfs";
	if (access("/proc/thread-self/fail-nth", W_OK))
		return "no fail-nth in procfs";
	if (set("failslab", "task-filter", "Y") ||
	    set("failslab", "times", "-1") ||
	    set("failslab", "space", "0") ||
	    set("failslab", "interval", "1") ||
	    set("failslab", "probability", "100") ||
	    set("fail_page_alloc", "probability", "0") ||
	    set("fail_page_alloc", "ignore-gfp-highmem", "N") ||
	    set("fail_page_alloc", "min-order", "0"))
		return "failslab can't be set up";
	set_verbose(false);
	return NULL;
}

static void disable_failures(void)
{
	set_code(false);
	set("failslab", "probability", "0");
	set("failslab", "task-filter", "N");
	set("failslab", "ignore-gfp-wait", "Y");
	set("fail_page_alloc", "ignore-gfp-wait", "Y");
	set("fail_page_alloc", "ignore-gfp-highmem", "Y");
	set("fail_page_alloc", "min-order", "1");
}

/*
 * One operation with its allocations failing in turn:
 *
 *	while (next(w)) {
 *		arm(w);
 *		ret = ...;
 *		disarm(w);
 *		...
 *	}
 */
struct failing {
	unsigned int n;		/* this allocation fails */
	bool stays;		/* and all after it */
	bool hit;		/* so it was in the last round */
	unsigned int misses;	/* rounds without a failure */
	unsigned int hits;	/* with one */
	bool once_only;		/* leave out the rounds with @stays */
	int wanted;		/* sites of ours: nothing else fails. 0: all */
	int sweeps;
	int kmsg;
	int warnings;		/* of the kernel, found there */
	char site[MAX_SITES][128];
	int nsites;
};

static __thread int fail_nth = -1, make_it_fail = -1;

/*
 * Hundreds of stack traces are too much for a serial console, and warnings have
 * their level: so these are looked for in the log.
 */
static void first(struct failing *w, int wanted)
{
	memset(w, 0, sizeof(*w));
	w->wanted = wanted;
	w->kmsg = -1;
	if (!wanted)
		return;
	set_code(true);
	w->kmsg = kmsg_open();
	klogctl(CONSOLE_OFF, NULL, 0);
	set_verbose(true);
}

static void last(struct failing *w)
{
	if (!w->wanted)
		return;
	set_verbose(false);
	klogctl(CONSOLE_ON, NULL, 0);
	close(w->kmsg);
}

/*
 * Not every round needs the same memory: the first miss may not be the end, and
 * a slab that is new in one round makes it pass by what should have failed. So
 * all is done again if a site is missing.
 */
static bool next(struct failing *w)
{
	if (w->misses == 3) {
		if (!w->stays && !w->once_only)
			w->stays = true;
		else if (w->nsites < w->wanted && ++w->sweeps < MAX_SWEEPS)
			w->stays = false;
		else
			return false;
		w->misses = 0;
		w->n = 0;
	}
	return w->n++ < MAX_ALLOCS;
}

/* From here to disarm() there is no fork() and no memory that is new */
static void arm(struct failing *w)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", w->n);

	if (fail_nth < 0) {
		fail_nth = open("/proc/thread-self/fail-nth",
				O_RDWR | O_CLOEXEC);
		make_it_fail = open("/proc/thread-self/make-it-fail",
				    O_WRONLY | O_CLOEXEC);
	}
	if (write(fail_nth, text, len) != len ||
	    (w->stays && write(make_it_fail, "1", 1) != 1))
		abort();
	errno = 0;
}

/* Parts of the names of functions that allocate memory */
static bool allocates(const char *function)
{
	static const char *const part[] = {
		"alloc", "slab", "get_vm_area", "xa_", "xas_", "fail",
		"dump_stack",
	};

	for (size_t i = 0; i < sizeof(part) / sizeof(*part); i++)
		if (strstr(function, part[i]))
			return true;
	return false;
}

static void add_site(struct failing *w, const char *allocator,
		     const char *caller)
{
	char site[sizeof(w->site[0])];

	snprintf(site, sizeof(site), "%.60s <- %.60s", allocator, caller);
	for (int i = 0; i < w->nsites; i++)
		if (!strcmp(w->site[i], site))
			return;
	if (w->nsites < MAX_SITES) {
		ksft_print_msg("%s\n", site);
		strcpy(w->site[w->nsites++], site);
	}
}

/*
 * Look in the traces since the last call for allocations that a function of
 * ours asked for itself. The records of a trace: the innermost function comes
 * first, " name+0xoffset/0xsize"; a ? marks one that may not belong there.
 */
static void note_sites(struct failing *w)
{
	char rec[8192], allocator[128] = "", caller[128] = "";
	bool within = false;
	ssize_t n;

	for (;;) {
		char *text, *plus;

		n = read(w->kmsg, rec, sizeof(rec) - 1);
		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (n <= 0)
			return;
		rec[n] = 0;
		text = strchr(rec, ';');
		if (!text)
			continue;
		if (strstr(text, "WARNING: ") || strstr(text, "BUG: ")) {
			ksft_print_msg("%s", text);
			w->warnings++;
		}
		if (strstr(text, "FAULT_INJECTION: forcing")) {
			within = true;
			allocator[0] = 0;
			continue;
		}
		if (!within || sscanf(text, "; %127[^ \n]", caller) != 1 ||
		    caller[0] == '?')
			continue;
		plus = strstr(caller, "+0x");
		if (!plus)
			continue;
		if (is_ours(caller)) {
			*strchrnul(plus, '/') = 0;
			add_site(w, allocator, caller);
			within = false;
		} else if (!strncmp(caller, "fuse_", 5) ||
			   !strncmp(caller, "__fuse_", 7)) {
			within = false;
		} else {
			*plus = 0;
			within = allocates(caller);
			strcpy(allocator, caller);
		}
	}
}

static void disarm(struct failing *w)
{
	int err = errno;
	char left[16] = "";

	if (w->stays && write(make_it_fail, "0", 1) != 1)
		abort();
	if (pread(fail_nth, left, sizeof(left) - 1, 0) < 1 ||
	    write(fail_nth, "0", 1) != 1)
		abort();
	w->hit = !atoi(left);
	w->misses = w->hit ? 0 : w->misses + 1;
	w->hits += w->hit;
	if (w->wanted)
		note_sites(w);
	errno = err;
}

/* How many sites have this in their names */
static int sites(const struct failing *w, const char *part)
{
	int n = 0;

	for (int i = 0; i < w->nsites; i++)
		n += !!strstr(w->site[i], part);
	return n;
}

/* Errno of an operation, 0 for none */
#define ERR(_ret)	((_ret) < 0 ? errno : 0)

/* 0, or ENOMEM if an allocation has failed */
#define EXPECT_DONE_OR_ENOMEM(_err, _w)					\
	do {								\
		if (_err)						\
			EXPECT_EQ(ENOMEM, _err);			\
		if (_err)						\
			EXPECT_TRUE((_w)->hit);				\
	} while (0)

/* Connections */

static const char *ready(int need_dax)
{
	const char *why = sandbox(need_dax);

	if (!why && access(CONNECTIONS, X_OK))
		why = "no fusectl";
	return why ? why : enable_failures();
}

static void path_of(char *path, size_t len, struct raw_server *s,
		    const char *file)
{
	snprintf(path, len, CONNECTIONS "/%u/%s", connection_of(s), file);
}

/* The text of a small file: 0 or the errno */
static int text_of(const char *path, char *text, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;
	ssize_t n;

	if (fd < 0)
		return errno;
	n = read(fd, text, room - 1);
	err = ERR(n);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return err;
}

/* Capabilities are asked for at each open, and can be said to have changed */
static int xattr_hook(struct raw_server *s, const struct fuse_in_header *ih,
		      const void *arg)
{
	switch (ih->opcode) {
	case FUSE_GETXATTR:
		return -ENODATA;
	case FUSE_SETXATTR:
		return -EPERM;
	}
	return 0;
}

/* Files, all with the device bytes of their maps where nobody else has any */

#define MANY	400

static void map_one(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_EXTENTS, 100 * KB - 7);
	rs_map_extent(m, INDEX, 2 * MB, 100 * KB);
}

static void map_stripes(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, 512 * KB);
	rs_map_stripe(m, 2, 64 * KB, 512 * KB);
	rs_map_strip(m, INDEX, 3 * MB, 256 * KB);
	rs_map_strip(m, 1, 3 * MB, 256 * KB);
}

/* Unequal extents whose message takes more than one request */
static void map_many(struct rs_map *m)
{
	uint64_t at = 4 * MB, size = 0;

	rs_map_init(m, FUSE_FMAP_EXTENTS, 0);
	for (int i = 0; i < MANY; i++) {
		uint64_t len = PG * (1 + i % 2);

		rs_map_extent(m, i & 4 ? 1 : INDEX, at, len);
		at += len;
		size += len;
	}
	rs_map_header(m)->file_size = size;
}

static void map_mixed(struct rs_map *m)
{
	rs_map_init(m, FUSE_FMAP_STRIPED, 400 * KB);
	rs_map_stripe(m, 1, 4 * KB, 100 * KB);
	rs_map_strip(m, 1, 8 * MB, 100 * KB);
	rs_map_stripe(m, 2, 12 * KB, 300 * KB);
	rs_map_strip(m, 1, 9 * MB, 156 * KB);
	rs_map_strip(m, INDEX, 9 * MB, 144 * KB);
}

static void add_file(struct raw_server *s, const char *name,
		     void (*make)(struct rs_map *))
{
	struct rs_map m;

	make(&m);
	rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, name), &m);
}

/* Some bytes from all over the file are those of the pattern */
static bool is_well(int fd, uint64_t seed)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	for (int i = 0; i < 12; i++)
		if (!got(fd, seed, i * (st.st_size - 100) / 11, 100))
			return false;
	return true;
}

/* Mount */

FIXTURE(mounting) {
	struct failing w;
	char mnt[32];
	int fuse_fd;
};

FIXTURE_VARIANT(mounting) {
	int sites;		/* allocations that are our own, 0: all fail */
	unsigned int hits;	/* more failures than that */
};

/* The files in sysfs and fusectl are most of them */
FIXTURE_VARIANT_ADD(mounting, while_any_allocation_fails) {
	.hits = 50,
};

/* The connection's part for maps */
FIXTURE_VARIANT_ADD(mounting, while_one_of_ours_fails) {
	.sites = 1,
};

FIXTURE_SETUP(mounting)
{
	const char *why = ready(0);

	if (why)
		SKIP(return, "%s", why);
	strcpy(self->mnt, "/tmp/fmap-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->mnt));
	self->fuse_fd = -1;
	first(&self->w, variant->sites);
	self->w.once_only = !variant->sites;
}

/* At which failure did it go wrong? */
static void say_where(struct __test_metadata *_metadata,
		      const struct failing *w)
{
	TH_LOG("%u failures; the last one: allocation %u%s", w->hits, w->n,
	       w->stays ? " and all that follow" : "");
}

FIXTURE_TEARDOWN(mounting)
{
	say_where(_metadata, &self->w);
	last(&self->w);
	disable_failures();
	rmdir(self->mnt);
}

static int mount_fuse(FIXTURE_DATA(mounting) *self, struct failing *w)
{
	char opts[64];
	int ret, err;

	/* What failed may have used up the descriptor */
	self->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (self->fuse_fd < 0)
		return errno;
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 self->fuse_fd);
	if (w)
		arm(w);
	ret = mount("alloc_fail", self->mnt, "fuse", MS_NOSUID | MS_NODEV, opts);
	err = ERR(ret);
	if (w)
		disarm(w);
	if (err)
		close(self->fuse_fd);
	return err;
}

TEST_F_TIMEOUT(mounting, works_or_leaves_no_connection_behind, LONG)
{
	int before = connections(), err;
	struct failing *w = &self->w;

	while (next(w)) {
		err = mount_fuse(self, w);
		/* INIT that can't be sent ends the connection */
		if (err != ENOTCONN)
			EXPECT_DONE_OR_ENOMEM(err, w);
		if (err) {
			ASSERT_EQ(before, connections());
			ASSERT_EQ(0, mount_fuse(self, NULL));
		}
		ASSERT_EQ(before + 1, connections());
		ASSERT_EQ(0, umount2(self->mnt, 0));
		close(self->fuse_fd);
		ASSERT_EQ(before, connections());
	}
	EXPECT_EQ(variant->sites, sites(w, "<- fuse_fmap_conn_alloc"));
	EXPECT_EQ(0, w->warnings);
	EXPECT_LT(variant->hits, w->hits);
}

/* Devices */

FIXTURE(device) {
	struct failing w;
	struct raw_server *s;
	struct raw_server *other;
	char devices[64];
	int fd;
};

FIXTURE_SETUP(device)
{
	const char *why = ready(1);
	char path[64];

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(0);
	self->other = new_server(0);
	ASSERT_NE(NULL, self->s);
	ASSERT_NE(NULL, self->other);
	ASSERT_EQ(0, start_server(self->s));
	ASSERT_EQ(0, start_server(self->other));
	path_of(self->devices, sizeof(self->devices), self->s, "dax_devices");
	snprintf(path, sizeof(path), "/dev/%s", dax[0]);
	self->fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(device)
{
	say_where(_metadata, &self->w);
	last(&self->w);
	disable_failures();
	if (self->fd >= 0)
		close(self->fd);
	rs_free(self->other);
	rs_free(self->s);
}

TEST_F_TIMEOUT(device, is_registered_or_left_to_others, LONG)
{
	struct failing *w = &self->w;
	char text[256], wanted[64];
	int ret;

	/*
	 * The device, its place among all that are claimed, its bits, and its
	 * place in the connection's table
	 */
	first(w, 4);
	snprintf(wanted, sizeof(wanted), "%u %s ", INDEX, dax[0]);
	while (next(w)) {
		arm(w);
		ret = rs_daxdev_open(self->s->fd, self->fd, INDEX, 0);
		disarm(w);
		if (ret < 0) {
			EXPECT_EQ(-ENOMEM, ret);
			EXPECT_TRUE(w->hit);
			ASSERT_EQ(0, text_of(self->devices, text, sizeof(text)));
			EXPECT_STREQ("", text);
			EXPECT_EQ(1, rs_daxdev_open(self->other->fd, self->fd,
						    INDEX, 0));
			EXPECT_EQ(0, rs_daxdev_close(self->other->fd, INDEX));
			ret = rs_daxdev_open(self->s->fd, self->fd, INDEX, 0);
		}
		ASSERT_EQ(1, ret);
		ASSERT_EQ(0, text_of(self->devices, text, sizeof(text)));
		EXPECT_EQ(0, strncmp(text, wanted, strlen(wanted)));
		EXPECT_EQ(-EBUSY, rs_daxdev_open(self->other->fd, self->fd,
						 INDEX, 0));
		ASSERT_EQ(0, rs_daxdev_close(self->s->fd, INDEX));
	}
	EXPECT_LE(4, w->nsites);
	EXPECT_EQ(2, sites(w, "xa_insert"));
	EXPECT_EQ(1, sites(w, "vzalloc"));
	EXPECT_EQ(0, w->warnings);
}

TEST_F(device, is_given_up_without_memory)
{
	struct failing *w = &self->w;

	first(w, 0);
	while (next(w)) {
		ASSERT_EQ(1, rs_daxdev_open(self->s->fd, self->fd, INDEX, 0));
		arm(w);
		EXPECT_EQ(0, rs_daxdev_close(self->s->fd, INDEX));
		disarm(w);
		ASSERT_EQ(1, rs_daxdev_open(self->other->fd, self->fd, INDEX, 0));
		ASSERT_EQ(0, rs_daxdev_close(self->other->fd, INDEX));
	}
	EXPECT_EQ(0, w->hits);
}

/* First opens */

#define NO_MAPS	"maps 0\nsegments 0\nfile_bytes 0\nmemory 0\n"

FIXTURE(opening) {
	struct failing w;
	struct raw_server *s;
	char maps[64];
	char full[256];
};

FIXTURE_VARIANT(opening) {
	void (*map)(struct rs_map *m);
	enum rs_dev_how how;
	uint32_t slice;		/* bytes in each reply, 0: what fits */
	bool truncate;		/* to its own size, instead of an open */
	int sites;		/* allocations that are our own, 0: all fail */
	unsigned int hits;	/* more failures than that */
};

FIXTURE_VARIANT_ADD(opening, a_file_while_any_allocation_fails) {
	.map = map_stripes, .hits = 20,
};

/* The message, the table of its devices, the map */
FIXTURE_VARIANT_ADD(opening, a_file_of_one_extent) {
	.map = map_one, .sites = 3,
};

FIXTURE_VARIANT_ADD(opening, a_file_of_stripes) {
	.map = map_stripes, .sites = 3,
};

/* The rest of the message, too */
FIXTURE_VARIANT_ADD(opening, a_file_of_many_extents) {
	.map = map_many, .sites = 4,
};

FIXTURE_VARIANT_ADD(opening, a_file_of_mixed_segments_in_slices) {
	.map = map_mixed, .slice = 20, .sites = 4,
};

/* GET_DAXDEV, and what it takes to register a device */
FIXTURE_VARIANT_ADD(opening, a_file_whose_devices_have_names) {
	.map = map_stripes, .how = RS_PULL, .sites = 8,
};

FIXTURE_VARIANT_ADD(opening, a_file_that_needs_everything) {
	.map = map_many, .how = RS_PULL, .slice = 4000, .sites = 9,
};

FIXTURE_VARIANT_ADD(opening, a_file_whose_devices_are_pushed_when_asked) {
	.map = map_stripes, .how = RS_PUSH_WHEN_ASKED, .sites = 4,
};

FIXTURE_VARIANT_ADD(opening, a_file_to_truncate_it) {
	.map = map_one, .truncate = true, .sites = 3,
};

FIXTURE_SETUP(opening)
{
	const char *why = ready(2);
	struct stat st;
	int fd;

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(0);
	ASSERT_NE(NULL, self->s);
	self->s->hook = xattr_hook;
	rs_add_dev(self->s, dax[0], INDEX, variant->how);
	rs_add_dev(self->s, dax[1], 1, variant->how);
	if (variant->slice)
		self->s->first = self->s->slice = variant->slice;
	add_file(self->s, "f", variant->map);
	ASSERT_EQ(0, start_server(self->s));
	path_of(self->maps, sizeof(self->maps), self->s, "dax_maps");

	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_TRUE(put(fd, 1, 0, st.st_size));
	close(fd);
	ASSERT_EQ(0, text_of(self->maps, self->full, sizeof(self->full)));
	ASSERT_STRNE(NO_MAPS, self->full);
	first(&self->w, variant->sites);
}

FIXTURE_TEARDOWN(opening)
{
	say_where(_metadata, &self->w);
	last(&self->w);
	disable_failures();
	rs_free(self->s);
}

/* Evict the file; then the devices are not used and can be dropped */
static int start_over(FIXTURE_DATA(opening) *self, bool drop_devices)
{
	int ret = forget(self->s, "f");

	if (ret || !drop_devices)
		return ret;
	rs_daxdev_close(self->s->fd, 1);	/* not every map needs it */
	return rs_daxdev_close(self->s->fd, INDEX);
}

TEST_F_TIMEOUT(opening, works_or_leaves_nothing_behind, LONG)
{
	struct failing *w = &self->w;
	struct raw_server *s = self->s;
	char path[PATH_MAX], text[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/f", s->mnt);
	ASSERT_EQ(0, stat(path, &st));
	while (next(w)) {
		int fd = -1, err;

		ASSERT_EQ(0, start_over(self, variant->how));
		/* RELEASE holds the inode until the server has answered */
		for (int i = 0; i < 300; i++) {
			ASSERT_EQ(0, text_of(self->maps, text, sizeof(text)));
			if (!strcmp(text, NO_MAPS))
				break;
			usleep(10000);
		}
		ASSERT_STREQ(NO_MAPS, text);
		arm(w);
		if (variant->truncate)
			err = ERR(truncate(path, st.st_size));
		else
			err = ERR(fd = open(path, O_RDWR | O_CLOEXEC));
		disarm(w);

		EXPECT_DONE_OR_ENOMEM(err, w);
		/* It may have failed when the map was there already */
		ASSERT_EQ(0, text_of(self->maps, text, sizeof(text)));
		if (!err || strcmp(text, NO_MAPS))
			EXPECT_STREQ(self->full, text);
		if (fd < 0)
			fd = open(path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, text_of(self->maps, text, sizeof(text)));
		ASSERT_STREQ(self->full, text);
		ASSERT_TRUE(is_well(fd, 1));
		close(fd);
	}
	EXPECT_LE(variant->sites, w->nsites);
	EXPECT_EQ(0, w->warnings);
	EXPECT_LT(variant->hits, w->hits);

	/* Nobody holds the devices when this connection is gone */
	ASSERT_EQ(0, rs_unmount(s));
	rs_free(s);
	self->s = new_server(2);
	ASSERT_EQ(0, start_server(self->s));
}

/* What the server does for a request fails */

static struct served {
	struct failing w;
	uint32_t opcode;	/* this request's; 0: no more */
	bool done;
} *served;

static int failing_hook(struct raw_server *s, const struct fuse_in_header *ih,
			const void *arg)
{
	static __thread bool within;

	if (within || ih->opcode != served->opcode)
		return 0;
	within = true;
	arm(&served->w);
	rs_handle(s, ih, arg);
	disarm(&served->w);
	within = false;
	__atomic_store_n(&served->done, true, __ATOMIC_RELEASE);
	return 1;
}

FIXTURE(serving) {
	struct raw_server *s;
};

FIXTURE_VARIANT(serving) {
	uint32_t opcode;
	int err;		/* an open may fail with, beside ENOMEM */
	unsigned int hits;	/* more failures than that */
};

FIXTURE_VARIANT_ADD(serving, a_map) {
	.opcode = FUSE_GET_FMAP,
};

/* The server pushes it and fails: it has no such device */
FIXTURE_VARIANT_ADD(serving, a_device) {
	.opcode = FUSE_GET_DAXDEV, .err = ENODEV, .hits = 20,
};

FIXTURE_SETUP(serving)
{
	const char *why = ready(1);
	int fd;

	if (why)
		SKIP(return, "%s", why);
	served = mmap(NULL, sizeof(*served), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, served);
	first(&served->w, 0);
	self->s = new_server(0);
	ASSERT_NE(NULL, self->s);
	/* the marks of who fails are those of one thread */
	self->s->nthreads = 1;
	self->s->hook = failing_hook;
	rs_add_dev(self->s, dax[0], INDEX, RS_PUSH_WHEN_ASKED);
	add_file(self->s, "f", map_one);
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(fd, 1, 0, 100 * KB - 7));
	close(fd);
}

FIXTURE_TEARDOWN(serving)
{
	say_where(_metadata, &served->w);
	disable_failures();
	rs_free(self->s);
	munmap(served, sizeof(*served));
}

TEST_F_TIMEOUT(serving, works_the_next_time, LONG)
{
	struct failing *w = &served->w;
	struct raw_server *s = self->s;
	int fd, err;

	while (next(w)) {
		ASSERT_EQ(0, forget(s, "f"));
		ASSERT_EQ(0, rs_daxdev_close(s->fd, INDEX));
		served->done = false;
		served->opcode = variant->opcode;
		err = try_open(s, "f", O_RDWR);
		for (int i = 0; i < 5000 && !served->done; i++)
			usleep(1000);
		served->opcode = 0;
		ASSERT_TRUE(__atomic_load_n(&served->done, __ATOMIC_ACQUIRE));
		if (err && err != variant->err)
			EXPECT_EQ(ENOMEM, err);
		if (err)
			EXPECT_TRUE(w->hit);
		fd = open_in(s, "f", O_RDWR);
		ASSERT_LE(0, fd);
		ASSERT_TRUE(is_well(fd, 1));
		close(fd);
	}
	EXPECT_LE(variant->hits, w->hits);
}

/* Mapped files */

#define FILE_SIZE	(2 * MB)

FIXTURE(file) {
	struct failing w;
	struct raw_server *s;
	struct raw_server *other;
	char *area;		/* for a mapping */
	int fd;
	bool bad;		/* pages of the device are */
};

FIXTURE_VARIANT(file) {
	uint64_t off;		/* in the device */
};

FIXTURE_VARIANT_ADD(file, of_small_pages) {
	.off = 12 * MB + PG,
};

FIXTURE_VARIANT_ADD(file, of_huge_pages) {
	.off = 16 * MB,
};

FIXTURE_SETUP(file)
{
	const char *why = ready(1);
	struct rs_map m;

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	self->other = new_server(0);
	ASSERT_NE(NULL, self->s);
	ASSERT_NE(NULL, self->other);
	self->s->hook = xattr_hook;
	self->s->want |= FUSE_DAX_FAILURES;
	rs_map_init(&m, FUSE_FMAP_EXTENTS, FILE_SIZE);
	rs_map_extent(&m, 0, variant->off, FILE_SIZE);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
	ASSERT_EQ(0, start_server(self->other));
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	ASSERT_TRUE(put(self->fd, 1, 0, FILE_SIZE));
	self->area = map_huge(-1, FILE_SIZE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	first(&self->w, 0);
}

FIXTURE_TEARDOWN(file)
{
	say_where(_metadata, &self->w);
	last(&self->w);
	disable_failures();
	if (self->fd >= 0)
		close(self->fd);
	rs_free(self->other);
	rs_free(self->s);
	/* A device that comes back has forgotten what was bad */
	if (self->bad && !bind_to(dax[0], "fsdev_dax", NULL))
		bind_to(dax[0], NULL, "fsdev_dax");
}

/* The file as it is when nobody has ever touched it */
static bool reopen(FIXTURE_DATA(file) *self)
{
	char c;

	/* RELEASE holds the inode, and its map, until the server has answered */
	for (int i = 0; i < 300; i++) {
		if (self->fd >= 0)
			close(self->fd);
		forget(self->s, "f");
		self->fd = open_in(self->s, "f", O_RDWR);
		if (self->fd >= 0 && pread(self->fd, &c, 1, 0) == 1)
			return true;
		usleep(10000);
	}
	return false;
}

static bool map_area(FIXTURE_DATA(file) *self, int flags)
{
	return mmap(self->area, FILE_SIZE, PROT_READ | PROT_WRITE,
		    flags | MAP_FIXED, self->fd, 0) != MAP_FAILED;
}

static void unmap_area(FIXTURE_DATA(file) *self)
{
	mmap(self->area, FILE_SIZE, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

TEST_F_TIMEOUT(file, is_mapped_page_by_page_or_not, LONG)
{
	static const struct {
		int flags, advice;
	} how[] = {
		{ MAP_SHARED, MADV_POPULATE_READ },
		{ MAP_SHARED, MADV_POPULATE_WRITE },
		{ MAP_PRIVATE, MADV_POPULATE_READ },
		{ MAP_PRIVATE, MADV_POPULATE_WRITE },
	};
	struct failing *w = &self->w;
	unsigned int hits = 0;
	int err;

	for (int i = 0; i < 4; i++) {
		first(w, 0);
		while (next(w)) {
			ASSERT_TRUE(reopen(self));
			ASSERT_TRUE(map_area(self, how[i].flags));
			arm(w);
			err = ERR(madvise(self->area + 4 * PG, 2 * PG,
					  how[i].advice));
			disarm(w);
			EXPECT_DONE_OR_ENOMEM(err, w);
			ASSERT_EQ(0, madvise(self->area + 4 * PG, 2 * PG,
					     how[i].advice));
			ASSERT_TRUE(is_pattern(self->area + 4 * PG, 1, 4 * PG,
					       2 * PG));
			/* a private page is one's own */
			if (how[i].flags == MAP_PRIVATE)
				self->area[5 * PG] ^= 1;
			ASSERT_TRUE(is_well(self->fd, 1));
			ASSERT_TRUE(got(self->fd, 1, 4 * PG, 2 * PG));
			unmap_area(self);
		}
		EXPECT_LT(0, w->hits);
		hits += w->hits;
	}
	TH_LOG("%u failures", hits);
}

/*
 * The same with a processor that touches the page. It knows no ENOMEM: the
 * kernel tries again, until memory is there.
 */
TEST_F_TIMEOUT(file, is_mapped_by_a_touch, LONG)
{
	volatile char *p = self->area + 5 * PG;
	struct failing *w = &self->w;

	for (int i = 0; i < 4; i++) {
		first(w, 0);
		w->once_only = true;
		while (next(w)) {
			char c;

			ASSERT_TRUE(reopen(self));
			ASSERT_TRUE(map_area(self, i & 1 ? MAP_PRIVATE :
							   MAP_SHARED));
			arm(w);
			c = *p;
			if (i & 2)
				*p = c;
			disarm(w);
			ASSERT_EQ((char)pattern_at(1, 5 * PG), c);
			ASSERT_TRUE(is_pattern(self->area, 1, 0, 16 * PG));
			if (i & 1)
				*p = c ^ 1;
			ASSERT_TRUE(got(self->fd, 1, 5 * PG, PG));
			unmap_area(self);
		}
		EXPECT_LT(0, w->hits);
	}
}

/* What else is done with an open file. Each returns the errno. */

static int op_mmap(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	bool ok;
	int err;

	arm(w);
	ok = map_area(self, MAP_SHARED);
	err = ok ? 0 : errno;
	disarm(w);
	unmap_area(self);
	return err;
}

static int op_read(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	ssize_t n;
	int err;

	memset(b, 0, 3 * PG);
	arm(w);
	n = pread(self->fd, b, 3 * PG, 100);
	err = ERR(n);
	disarm(w);
	if (n >= 0 && (n != 3 * PG || !is_pattern(b, 1, 100, 3 * PG)))
		return EIO;
	return err;
}

static int op_write(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	ssize_t n;
	int err;

	pattern(b, 1, 100, 3 * PG);
	arm(w);
	n = pwrite(self->fd, b, 3 * PG, 100);
	err = ERR(n);
	disarm(w);
	return n >= 0 && n != 3 * PG ? EIO : err;
}

/* The first write after capabilities have changed: the server is asked */
static int op_write_caps(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/f", self->s->mnt);
	if (!setxattr(path, "user.x", "", 0, 0) || errno != EPERM)
		return EIO;
	return op_write(self, w, b);
}

static int op_fsync(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	int err;

	arm(w);
	err = ERR(fsync(self->fd));
	disarm(w);
	return err;
}

static int op_fiemap(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	struct {
		struct fiemap h;
		struct fiemap_extent e[2];
	} r = { .h = { .fm_length = ~0ULL, .fm_extent_count = 2 } };
	int err;

	arm(w);
	err = ERR(ioctl(self->fd, FS_IOC_FIEMAP, &r));
	disarm(w);
	return !err && r.h.fm_mapped_extents != 1 ? EIO : err;
}

static int op_read_ctl(FIXTURE_DATA(file) *self, struct failing *w, char *b,
		       const char *file)
{
	char path[64], before[256], text[256] = "";
	int err;

	path_of(path, sizeof(path), self->s, file);
	if (text_of(path, before, sizeof(before)))
		return EIO;
	arm(w);
	err = text_of(path, text, sizeof(text));
	disarm(w);
	return !err && strcmp(before, text) ? EIO : err;
}

static int op_read_maps(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	return op_read_ctl(self, w, b, "dax_maps");
}

static int op_read_devices(FIXTURE_DATA(file) *self, struct failing *w,
			   char *b)
{
	return op_read_ctl(self, w, b, "dax_devices");
}

static int op_io_uring(FIXTURE_DATA(file) *self, struct failing *w, char *b)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int err, res = 0;

	if (io_uring_queue_init(4, &ring, 0))
		return EIO;
	sqe = io_uring_get_sqe(&ring);
	if (!sqe)
		return EIO;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ;
	sqe->fd = self->fd;
	sqe->addr = (uintptr_t)b;
	sqe->len = 3 * PG;
	sqe->off = 100;
	memset(b, 0, 3 * PG);
	arm(w);
	err = io_uring_submit(&ring) == 1 ? 0 : errno;
	disarm(w);
	/* EAGAIN is what io_uring says when it gets no memory for a request */
	if (err == EAGAIN && w->hit)
		err = ENOMEM;
	if (!err && !io_uring_wait_cqe(&ring, &cqe)) {
		res = cqe->res;
		io_uring_cqe_seen(&ring);
	}
	close(ring.ring_fd);
	if (err || res < 0)
		return err ? err : -res;
	return res == 3 * PG && is_pattern(b, 1, 100, res) ? 0 : EIO;
}

TEST_F_TIMEOUT(file, is_used_or_left_as_it_is, LONG)
{
	static const struct {
		const char *name;
		int (*run)(FIXTURE_DATA(file) *self, struct failing *w,
			   char *b);
		bool fails;	/* it makes allocations */
	} op[] = {
		{ "mmap", op_mmap, true },
		{ "read", op_read },
		{ "write", op_write },
		{ "first write", op_write_caps, true },
		{ "fsync", op_fsync, true },
		{ "FIEMAP", op_fiemap },
		{ "dax_maps", op_read_maps, true },
		{ "dax_devices", op_read_devices, true },
		{ "io_uring", op_io_uring, true },
	};
	struct failing *w = &self->w;
	static char b[3 * PG];

	for (size_t i = 0; i < ARRAY_SIZE(op); i++) {
		first(w, 0);
		while (next(w)) {
			int err = op[i].run(self, w, b);

			EXPECT_DONE_OR_ENOMEM(err, w);
			ASSERT_TRUE(is_well(self->fd, 1));
		}
		TH_LOG("%s: %u failures", op[i].name, w->hits);
		if (op[i].fails)
			EXPECT_LT(0, w->hits);
	}
}

/* No page is spared because the server can't be told of it */
TEST_F_TIMEOUT(file, loses_a_page_and_its_server_is_told_or_not, LONG)
{
	struct failing *w = &self->w;
	struct raw_server *s = self->s;
	off_t at = 0;

	if (access(CORRUPT, W_OK))
		SKIP(return, "no hwpoison/corrupt-pfn in debugfs");
	self->bad = true;
	first(w, 1);
	while (next(w)) {
		uint32_t told = s->nfailures;
		uint64_t pfn = pfn_at(self->fd, at);
		char c;

		ASSERT_NE(0, pfn);
		arm(w);
		EXPECT_EQ(0, poison_pfn(pfn));
		disarm(w);
		EXPECT_EQ(-1, pread(self->fd, &c, 1, at));
		EXPECT_EQ(EIO, errno);
		if (!w->hit)
			EXPECT_TRUE(wait_until(&s->nfailures, told + 1));
		at += PG;
		ASSERT_TRUE(got(self->fd, 1, at, 16 * PG));
	}
	EXPECT_EQ(1, sites(w, "<- fuse_dax_notify"));
	EXPECT_EQ(0, w->warnings);
}

/* What the open file needs goes away */

/* Register the first device for another connection: 1 or -errno */
static int claim(FIXTURE_DATA(file) *self)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/%s", dax[0]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = rs_daxdev_open(self->other->fd, fd, 0, 0);
	close(fd);
	if (ret > 0)
		rs_daxdev_close(self->other->fd, 0);
	return ret;
}

TEST_F_TIMEOUT(file, lets_go_of_its_device_at_unmount, LONG)
{
	struct failing *w = &self->w;
	struct raw_server *s = self->s;
	struct rs_map m;
	int err;

	close(self->fd);
	self->fd = -1;
	while (next(w)) {
		ASSERT_EQ(0, try_open(s, "f", O_RDWR));
		EXPECT_EQ(-EBUSY, claim(self));
		arm(w);
		err = ERR(umount2(s->mnt, 0));
		disarm(w);
		EXPECT_DONE_OR_ENOMEM(err, w);
		if (err) {
			ASSERT_EQ(0, try_open(s, "f", O_RDWR));
			ASSERT_EQ(0, umount2(s->mnt, 0));
		}
		ASSERT_EQ(1, claim(self));

		rs_free(s);
		self->s = s = new_server(1);
		ASSERT_NE(NULL, s);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, FILE_SIZE);
		rs_map_extent(&m, 0, variant->off, FILE_SIZE);
		rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, "f"), &m);
		ASSERT_EQ(0, start_server(s));
	}
}

TEST_F_TIMEOUT(file, lets_go_of_its_device_when_that_is_unbound, LONG)
{
	struct failing *w = &self->w;
	int unbind, err;
	ssize_t n;
	char c;

	while (next(w)) {
		ASSERT_TRUE(map_area(self, MAP_SHARED));
		ASSERT_EQ(0, madvise(self->area, FILE_SIZE,
				     MADV_POPULATE_WRITE));
		unbind = open("/sys/bus/dax/drivers/fsdev_dax/unbind",
			      O_WRONLY | O_CLOEXEC);
		ASSERT_LE(0, unbind);
		arm(w);
		n = write(unbind, dax[0], strlen(dax[0]));
		err = ERR(n);
		disarm(w);
		EXPECT_DONE_OR_ENOMEM(err, w);
		if (err) {
			ASSERT_TRUE(is_well(self->fd, 1));
			ASSERT_LT(0, write(unbind, dax[0], strlen(dax[0])));
		}
		close(unbind);
		EXPECT_EQ(-1, pread(self->fd, &c, 1, 0));
		EXPECT_EQ(EIO, errno);
		EXPECT_EQ(-1, madvise(self->area, PG, MADV_POPULATE_READ));
		unmap_area(self);

		write_file("/sys/bus/dax/drivers/fsdev_dax/remove_id", dax[0]);
		ASSERT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
		ASSERT_TRUE(reopen(self));
		ASSERT_TRUE(is_well(self->fd, 1));
	}
	EXPECT_LT(0, w->hits);
}

TEST_HARNESS_MAIN
