// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: tracepoints.
 *
 * The fields of an event are checked by event filters, not by its text.
 *
 * Needs root, /dev/fuse, tracefs and two DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them.
 */
#include "fmap_test.h"

#define TRACING		"/sys/kernel/tracing"

#define SIZE		(16 * MB)	/* of a file over two devices */
#define CHUNK		(2 * MB)
#define DEV_OFF		(8 * MB)

#define FOR_READING	(O_RDONLY | O_CLOEXEC)	/* rs_dev takes 0 for O_RDWR */

FIXTURE(trace) {
	struct raw_server *s;
	unsigned int conn;
	char dir[64];
};

FIXTURE_SETUP(trace)
{
	const char *why = sandbox(2);

	self->dir[0] = 0;
	if (!why && access(TRACING "/instances", W_OK))
		why = "no tracefs";
	if (why)
		SKIP(return, "%s", why);
	snprintf(self->dir, sizeof(self->dir), TRACING "/instances/fmap-%d",
		 getpid());
	ASSERT_EQ(0, mkdir(self->dir, 0755));
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	add_striped(self->s, "f", DEV_OFF, CHUNK, SIZE);
}

FIXTURE_TEARDOWN(trace)
{
	rs_free(self->s);
	if (self->dir[0])
		rmdir(self->dir);
}

/* Record the events of this name that match a filter */
static int record(const char *dir, const char *event, const char *filter)
{
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s/events/fuse/%s/filter", dir, event);
	ret = write_file(path, filter);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/events/fuse/%s/enable", dir, event);
	return write_file(path, "1");
}

/* How many were recorded */
static int recorded(const char *dir, const char *event)
{
	char path[PATH_MAX], line[1024], name[64];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/trace", dir);
	snprintf(name, sizeof(name), " %s: ", event);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (line[0] != '#' && strstr(line, name))
			n++;
	if (f)
		fclose(f);
	return n;
}

TEST_F(trace, shows_the_arrival_of_a_map)
{
	char filter[256];

	ASSERT_EQ(0, start_server(self->s));
	snprintf(filter, sizeof(filter),
		 "connection == %u && nodeid == 2 && segments == 1 && file_size == %lu && memory >= 64 && memory < 4096",
		 connection_of(self->s), SIZE);
	ASSERT_EQ(0, record(self->dir, "fuse_fmap_attach", filter));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_attach"));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_attach"));
}

TEST_F(trace, shows_why_a_map_was_refused)
{
	struct rs_node *n;
	char filter[256];
	struct rs_map m;

	rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	n = rs_add_file(self->s, FUSE_ROOT_ID, "bad");
	rs_map_init(&m, FUSE_FMAP_STRIPED, 2 * CHUNK);
	rs_map_stripe(&m, 2, CHUNK, 2 * CHUNK);
	rs_map_strip(&m, 0, 40 * MB, CHUNK);
	rs_map_strip(&m, 1, DEV_OFF + PG, CHUNK);
	rs_set_map(self->s, n, &m);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	snprintf(filter, sizeof(filter),
		 "connection == %u && nodeid == %llu && segment == 0 && strip == 1 && reason ~ \"*overlap*\"",
		 connection_of(self->s),
		 (unsigned long long)rs_ino(self->s, n));
	ASSERT_EQ(0, record(self->dir, "fuse_fmap_refuse", filter));
	EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDWR));
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_refuse"));
	/* the tracepoint has no rate limit */
	for (int i = 0; i < 30; i++)
		EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDWR));
	EXPECT_EQ(31, recorded(self->dir, "fuse_fmap_refuse"));
	EXPECT_EQ(0, try_open(self->s, "plain", O_RDWR));
	EXPECT_EQ(31, recorded(self->dir, "fuse_fmap_refuse"));
}

TEST_F(trace, shows_devices_come_and_go)
{
	char filter[256];

	self->s->dev[1].index = 77;
	self->s->dev[1].oflags = FOR_READING;
	snprintf(filter, sizeof(filter),
		 "(index == 0 && device == \"%s\" && size == %llu && readonly == 0) || (index == 77 && device == \"%s\" && size == %llu && readonly == 1)",
		 dax[0], (unsigned long long)dax_size[0],
		 dax[1], (unsigned long long)dax_size[1]);
	ASSERT_EQ(0, record(self->dir, "fuse_daxdev_register", filter));
	snprintf(filter, sizeof(filter),
		 "(index == 0 && device == \"%s\") || (index == 77 && device == \"%s\")",
		 dax[0], dax[1]);
	ASSERT_EQ(0, record(self->dir, "fuse_daxdev_free", filter));
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(2, recorded(self->dir, "fuse_daxdev_register"));
	EXPECT_EQ(0, recorded(self->dir, "fuse_daxdev_free"));
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 77));
	EXPECT_EQ(1, recorded(self->dir, "fuse_daxdev_free"));
	EXPECT_EQ(0, rs_unmount(self->s));
	EXPECT_EQ(2, recorded(self->dir, "fuse_daxdev_register"));
	EXPECT_EQ(2, recorded(self->dir, "fuse_daxdev_free"));
}

TEST_F(trace, shows_what_a_fault_resolves_to)
{
	char filter[256], *p;
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	snprintf(filter, sizeof(filter),
		 "connection == %u && nodeid == 2 && pos == %lu && offset == %lu && len == %lu && device == \"%s\"",
		 connection_of(self->s), 3 * CHUNK + PG,
		 DEV_OFF + CHUNK + PG, CHUNK - PG, dax[1]);
	ASSERT_EQ(0, record(self->dir, "fuse_fmap_resolve", filter));
	/* a mapping that is too small for a 2 MiB page */
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 3 * CHUNK);
	ASSERT_NE(MAP_FAILED, p);
	/* fault page by page; a present page isn't resolved again */
	ASSERT_EQ(0, madvise(p, 2 * PG, MADV_RANDOM));
	p[0] = 1;
	EXPECT_EQ(0, recorded(self->dir, "fuse_fmap_resolve"));
	p[PG] = 1;
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_resolve"));
	p[PG] = 2;
	EXPECT_EQ(1, recorded(self->dir, "fuse_fmap_resolve"));
	munmap(p, 2 * PG);
	close(fd);
}

TEST_HARNESS_MAIN
