// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: the memory of maps and memory cgroups.
 *
 * The process that first opens a file is charged for its map, and the charge is
 * returned with the map. A user of a mount can neither exceed the limit of the
 * cgroup, nor leak memory, nor flood the kernel log.
 *
 * Needs root, /dev/fuse, cgroup2 with the memory controller and two DAX devices
 * bound to the fsdev driver (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each;
 * overwrites them.
 */
#include "fmap_cgroup.h"
#include "fmap_random.h"
#include "fmap_test.h"

/* Charges to the first opener */

#define GROUP_EXTENTS	16000

FIXTURE(group) {
	struct raw_server *s;
	struct rs_node *f;
	char group[64];
};

FIXTURE_SETUP(group)
{
	const char *why = sandbox(1);
	struct rs_map m;

	if (!why)
		why = new_cgroup(self->group, sizeof(self->group));
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	/* the lengths alternate, so that the kernel stores each extent */
	self->f = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	rs_map_init(&m, FUSE_FMAP_EXTENTS, 0);
	for (uint64_t i = 0; i < GROUP_EXTENTS; i++) {
		rs_map_extent(&m, 0, (GROUP_EXTENTS - i) * 3 * PG,
			      (1 + i % 2) * PG);
		rs_map_header(&m)->file_size += (1 + i % 2) * PG;
	}
	rs_set_map(self->s, self->f, &m);
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(group)
{
	rs_free(self->s);
	remove_cgroup(self->group);
}

/*
 * A child in the cgroup that opens and closes the file. Before each step it
 * writes a byte to @report and waits for a byte from @go_on.
 */
static pid_t open_in_group(struct raw_server *s, const char *group,
			   int report, int go_on)
{
	pid_t pid = fork();
	char c;
	int fd;

	if (pid)
		return pid;
	if (join_cgroup(group))
		_exit(255);
	if (write(report, "r", 1) != 1 || read(go_on, &c, 1) != 1)
		_exit(254);
	fd = open_in(s, "f", O_RDWR);
	if (fd < 0)
		_exit(errno);
	if (write(report, "o", 1) != 1 || read(go_on, &c, 1) != 1)
		_exit(253);
	close(fd);
	if (write(report, "c", 1) != 1 || read(go_on, &c, 1) != 1)
		_exit(252);
	_exit(0);
}

TEST_F(group, of_the_first_opener_is_charged_for_the_map)
{
	long long before, with, after = 0;
	int report[2], go_on[2];
	char c;
	pid_t pid;

	ASSERT_EQ(0, pipe(report));
	ASSERT_EQ(0, pipe(go_on));
	pid = open_in_group(self->s, self->group, report[1], go_on[0]);
	ASSERT_LE(0, pid);
	close(report[1]);
	ASSERT_EQ(1, read(report[0], &c, 1));
	before = kernel_memory_now(self->group);
	ASSERT_EQ(1, write(go_on[1], "", 1));
	ASSERT_EQ(1, read(report[0], &c, 1));
	with = kernel_memory_now(self->group);
	ASSERT_EQ(1, write(go_on[1], "", 1));
	ASSERT_EQ(1, read(report[0], &c, 1));
	ASSERT_TRUE(forgotten(self->s, "f"));
	/* memory is uncharged in batches, after a grace period */
	for (int i = 0; i < 50; i++) {
		after = kernel_memory_now(self->group);
		if (after < before + (with - before) / 4)
			break;
		usleep(100000);
	}
	ASSERT_EQ(1, write(go_on[1], "", 1));
	EXPECT_EQ(0, wait_soon(pid));
	EXPECT_LE(GROUP_EXTENTS * 24, with - before);
	EXPECT_GE(before + (with - before) / 4, after) {
		TH_LOG("before %lld, with %lld, after %lld", before, with, after);
	}
	close(report[0]);
	close(go_on[0]);
	close(go_on[1]);
}

TEST_F(group, that_has_no_room_for_the_map_does_not_get_it)
{
	int report[2], go_on[2], status;
	char path[PATH_MAX], text[32], c;
	pid_t pid;

	ASSERT_EQ(0, pipe(report));
	ASSERT_EQ(0, pipe(go_on));
	pid = open_in_group(self->s, self->group, report[1], go_on[0]);
	ASSERT_LE(0, pid);
	close(report[1]);
	ASSERT_EQ(1, read(report[0], &c, 1));
	/* room for half of the message */
	snprintf(path, sizeof(path), "%s/memory.max", self->group);
	snprintf(text, sizeof(text), "%lld",
		 cgroup_value(self->group, "memory.current") +
		 GROUP_EXTENTS * 12);
	ASSERT_EQ(0, write_file(path, text));
	ASSERT_EQ(1, write(go_on[1], "", 1));
	/* the open fails, or the OOM killer kills the process */
	EXPECT_EQ(0, read(report[0], &c, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
		    (WIFEXITED(status) && WEXITSTATUS(status) == ENOMEM)) {
		TH_LOG("status %#x", status);
	}
	/* processes outside the cgroup are not affected */
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	close(report[0]);
	close(go_on[0]);
	close(go_on[1]);
}

/* An unprivileged user of a mount with allow_other */

FIXTURE(user) {
	struct raw_server *s;
	char cgroup[64];
};

FIXTURE_SETUP(user)
{
	const char *why = sandbox(2);

	if (!why)
		why = new_cgroup(self->cgroup, sizeof(self->cgroup));
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(user)
{
	rs_free(self->s);
	remove_cgroup(self->cgroup);
}

/* Like fork(), but the child is unprivileged and in the cgroup */
static pid_t fork_user(const char *cgroup)
{
	pid_t pid = fork();

	if (!pid && (join_cgroup(cgroup) || setgid(NOBODY) || setuid(NOBODY)))
		_exit(255);
	return pid;
}

#define NBAD		10000

static const char *const bad_name[] = {
	"version", "end", "device", "overlap", "short",
};

static const int bad_err[] = { EIO, EIO, ENODEV, EIO, EIO };

/* Maps that are refused at different stages */
static void add_bad_files(struct raw_server *s)
{
	struct rs_node *n;
	struct rs_map m;

	for (size_t i = 0; i < ARRAY_SIZE(bad_name); i++) {
		n = rs_add_file(s, FUSE_ROOT_ID, bad_name[i]);
		rs_map_init(&m, FUSE_FMAP_EXTENTS, 2 * PG);
		rs_map_extent(&m, 0, (10 + i) * PG, PG);
		rs_map_extent(&m, i == 2 ? 99 : 1,
			      i == 1 ? dax_size[1] : i * PG, PG);
		if (i == 0)
			rs_map_header(&m)->version++;
		if (i == 3)
			rs_map_extent(&m, 1, 3 * PG, PG);
		if (i == 4)
			rs_map_header(&m)->fmap_size++;
		rs_set_map(s, n, &m);
	}
}

/* This saves OPEN requests, but not GET_FMAP requests */
static int no_open(struct raw_server *s, const struct fuse_in_header *ih,
		   const void *arg)
{
	(void)s;
	(void)arg;
	return ih->opcode == FUSE_OPEN ? -ENOSYS : 0;
}

TEST_F_TIMEOUT(user, can_not_flood_the_log_or_leak_memory, 120)
{
	int kmsg = kmsg_open(), lines, most, status;
	cpu_set_t cpu;
	long long left;
	uint64_t begin;
	pid_t pid;

	ASSERT_LE(0, kmsg);
	/* an emulated machine needs long to wake up another processor */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	add_bad_files(self->s);
	self->s->hook = no_open;
	ASSERT_EQ(0, start_server(self->s));
	begin = now();
	pid = fork_user(self->cgroup);
	ASSERT_LE(0, pid);
	if (!pid) {
		for (int i = 0; i < NBAD; i++) {
			int n = i % ARRAY_SIZE(bad_name);

			if (try_open(self->s, bad_name[n], O_RDONLY) !=
			    bad_err[n])
				_exit(1 + n);
		}
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* ten lines in five seconds, and one with the number of suppressed lines */
	most = 11 * ((now() - begin) / 5000000000 + 2);
	lines = kmsg_count(kmsg, "", "");
	EXPECT_GE(most, lines);
	EXPECT_LT(0, lines);
	close(kmsg);
	left = kernel_memory(self->cgroup);
	EXPECT_GT((long long)MB, left) {
		TH_LOG("%lld bytes", left);
	}
}

#define BIG		16384

TEST_F_TIMEOUT(user, is_charged_for_the_maps_of_files_opened_first, 30)
{
	long long bytes;
	pid_t pid;

	add_extents(self->s, "f", 0, BIG);
	ASSERT_EQ(0, start_server(self->s));
	pid = fork_user(self->cgroup);
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(0, wait_soon(pid));
	/* the process has exited, but the map and its charge remain */
	bytes = kernel_memory(self->cgroup);
	EXPECT_LE(BIG * 16, bytes) {
		TH_LOG("%lld bytes", bytes);
	}
	EXPECT_GE(BIG * 64, bytes) {
		TH_LOG("%lld bytes", bytes);
	}
	ASSERT_EQ(0, rs_unmount(self->s));
	/* the uncharge may happen a little later */
	for (int i = 0; i < 1000; i++) {
		bytes = kernel_memory(self->cgroup);
		if (bytes < BIG * 8)
			break;
		usleep(5000);
	}
	EXPECT_GT(BIG * 8, bytes) {
		TH_LOG("%lld bytes", bytes);
	}
}

TEST_F_TIMEOUT(user, can_not_exhaust_memory_by_maps, 30)
{
	char name[16], path[PATH_MAX];
	uint32_t *opened;
	pid_t pid;
	int status;

	opened = mmap(NULL, PG, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, opened);
	for (int i = 0; i < 14; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		add_extents(self->s, name, i * BIG / 4 * PG, BIG / 4);
	}
	ASSERT_EQ(0, start_server(self->s));
	snprintf(path, sizeof(path), "%s/memory.max", self->cgroup);
	ASSERT_EQ(0, write_file(path, "1M"));
	pid = fork_user(self->cgroup);
	ASSERT_LE(0, pid);
	if (!pid) {
		for (int i = 0; i < 14; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			if (open_in(self->s, name, O_RDONLY) < 0)
				_exit(errno == ENOMEM ? 0 : errno);
			++*opened;
		}
		_exit(255);
	}
	status = wait_soon(pid);
	/* the open fails, or the OOM killer kills the process */
	EXPECT_TRUE(status == 0 || status == SIGKILL) {
		TH_LOG("status 0x%x", status);
	}
	EXPECT_LT(0, *opened);
	EXPECT_GT(14, *opened);
	/* processes outside the cgroup are not affected */
	EXPECT_EQ(0, try_open(self->s, "f13", O_RDONLY));
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(0, claim_devices(2));
}

TEST_HARNESS_MAIN
