// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE over io_uring: the requests that bring maps and devices
 * take that way too, a long map in slices as large as a queue's buffers.
 *
 * Needs root, /dev/fuse, CONFIG_FUSE_IO_URING and a DAX device bound to the
 * fsdev driver of at least 80 MiB; overwrites it.
 */
#include "fmap_test.h"
#include "fmap_uring.h"

/* What was asked through /dev/fuse and not over io_uring */
static uint32_t not_by_ring(const struct raw_server *s, uint32_t opcode)
{
	return s->count[opcode] - s->ring_count[opcode];
}

FIXTURE(ring) {
	struct raw_server *s;
};

FIXTURE_SETUP(ring)
{
	const char *why = sandbox(1);

	if (!why)
		why = enable_uring();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(ring)
{
	rs_free(self->s);
	restore_uring();
}

TEST_F(ring, a_map_arrives)
{
	struct raw_server *s = self->s;
	char *p;
	int fd;

	add_mapped(s, "f", 0, MB, MB);
	ASSERT_EQ(0, start_ring(s));
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(1, s->ring_count[FUSE_GET_FMAP]);
	EXPECT_EQ(1, s->ring_count[FUSE_OPEN]);
	EXPECT_EQ(0, not_by_ring(s, FUSE_GET_FMAP));
	EXPECT_TRUE(put(fd, 1, 10, 9000));
	p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p + 10, 1, 10, 9000));
	munmap(p, MB);
	close(fd);
	EXPECT_EQ(0, s->count[FUSE_READ] + s->count[FUSE_WRITE]);
	EXPECT_EQ(0, rs_unmount(s));
}

TEST_F(ring, a_file_without_a_map_is_an_ordinary_file)
{
	struct raw_server *s = self->s;
	int fd;

	rs_add_file(s, FUSE_ROOT_ID, "plain");
	ASSERT_EQ(0, start_ring(s));
	for (int i = 0; i < 2; i++) {
		fd = open_in(s, "plain", O_RDWR);
		ASSERT_LE(0, fd);
		EXPECT_TRUE(put(fd, i, 0, 10000));
		EXPECT_TRUE(got(fd, i, 0, 10000));
		close(fd);
	}
	EXPECT_EQ(1, s->ring_count[FUSE_GET_FMAP]);
	EXPECT_NE(0, s->ring_count[FUSE_WRITE]);
	EXPECT_EQ(0, not_by_ring(s, FUSE_WRITE));
}

TEST_F(ring, a_server_that_answers_ENOSYS_is_asked_once)
{
	struct raw_server *s = self->s;

	rs_add_file(s, FUSE_ROOT_ID, "f");
	rs_add_file(s, FUSE_ROOT_ID, "g");
	s->no_fmap = true;
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
	EXPECT_EQ(0, try_open(s, "g", O_RDWR));
	EXPECT_EQ(1, s->ring_count[FUSE_GET_FMAP]);
}

TEST_F(ring, an_error_fails_the_open_and_a_later_one_works)
{
	struct raw_server *s = self->s;
	struct rs_node *f = add_mapped(s, "f", 0, 0, MB);

	f->map_err = EACCES;
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(EACCES, try_open(s, "f", O_RDWR));
	f->map_err = 0;
	/* cut off in the middle of the extent */
	f->map_len -= 8;
	EXPECT_EQ(EIO, try_open(s, "f", O_RDWR));
	/* not even a header */
	f->map_len = 0;
	EXPECT_EQ(EIO, try_open(s, "f", O_RDWR));
	f->map_len = sizeof(struct fuse_fmap_header) +
		     sizeof(struct fuse_fmap_extent);
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
	EXPECT_EQ(0, not_by_ring(s, FUSE_GET_FMAP));
}

TEST_F(ring, a_malformed_map_fails_the_open)
{
	struct raw_server *s = self->s;
	struct rs_node *f = add_mapped(s, "f", 0, 0, MB);
	struct fuse_fmap_header *h = (void *)f->map;

	h->version++;
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(EIO, try_open(s, "f", O_RDWR));
	h->version--;
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
	EXPECT_EQ(2, s->ring_count[FUSE_GET_FMAP]);
}

TEST_F(ring, a_device_that_the_server_does_not_give_fails_the_open)
{
	struct raw_server *s = self->s;

	add_mapped(s, "f", 0, 0, MB);
	s->dev[0].index = 1;		/* the map says 0 */
	s->daxdev_err = EPERM;
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(ENODEV, try_open(s, "f", O_RDWR));
	EXPECT_EQ(1, s->ring_count[FUSE_GET_DAXDEV]);
	/* and a reply of the wrong length is none */
	s->daxdev_err = 0;
	s->daxdev_raw = true;
	s->daxdev_reply_len = 16;
	EXPECT_EQ(ENODEV, try_open(s, "f", O_RDWR));
	EXPECT_EQ(2, s->ring_count[FUSE_GET_DAXDEV]);
}

TEST_F(ring, the_data_path_goes_on_when_the_server_is_killed)
{
	struct raw_server *s = self->s;
	int fd, err = 0;

	add_mapped(s, "f", 0, 0, MB);
	add_mapped(s, "g", 0, MB, MB);
	ASSERT_EQ(0, start_ring(s));
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	rs_kill(s);
	EXPECT_TRUE(put(fd, 1, 5000, 5000));
	EXPECT_TRUE(got(fd, 1, 5000, 5000));
	/* a request may find the connection, or its ring, about to go */
	for (int i = 0; i < 300; i++) {
		err = try_open(s, "g", O_RDWR);
		if (err != ECONNABORTED && err != ECANCELED)
			break;
		usleep(10000);
	}
	EXPECT_EQ(ENOTCONN, err);
	close(fd);
}

TEST_F(ring, devices_are_free_for_the_next_server)
{
	struct raw_server *next;
	int ret;

	add_mapped(self->s, "f", 0, 0, MB);
	ASSERT_EQ(0, start_ring(self->s));
	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	ASSERT_EQ(0, rs_unmount(self->s));
	next = new_server(1);
	ASSERT_NE(NULL, next);
	ret = start_ring(next);
	EXPECT_EQ(0, ret);
	rs_free(next);
}

/* Openers on all CPUs use all queues at the same time */
#define NFILES	200

TEST_F(ring, files_are_opened_from_all_cpus_at_the_same_time)
{
	struct raw_server *s = self->s;
	int ncpus = sysconf(_SC_NPROCESSORS_ONLN), status;
	pid_t pid[64];
	char name[16];

	if (ncpus > 64)
		ncpus = 64;
	for (int i = 0; i < NFILES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		add_mapped(s, name, 0, i * PG, PG);
	}
	ASSERT_EQ(0, start_ring(s));
	for (int c = 0; c < ncpus; c++) {
		pid[c] = fork();
		ASSERT_LE(0, pid[c]);
		if (!pid[c]) {
			cpu_set_t set;
			int bad = 0;

			CPU_ZERO(&set);
			CPU_SET(c, &set);
			bad |= sched_setaffinity(0, sizeof(set), &set);
			for (int i = 0; i < NFILES; i++) {
				snprintf(name, sizeof(name), "%d", i);
				bad |= try_open(s, name, O_RDWR);
			}
			_exit(!!bad);
		}
	}
	for (int c = 0; c < ncpus; c++) {
		ASSERT_EQ(pid[c], waitpid(pid[c], &status, 0));
		EXPECT_EQ(0, status);
	}
	/* an inode that nobody has open may be evicted between two opens */
	EXPECT_LE(NFILES, s->ring_count[FUSE_GET_FMAP]);
	EXPECT_GE(NFILES + NFILES / 20, s->ring_count[FUSE_GET_FMAP]);
	EXPECT_EQ(ncpus * NFILES, s->ring_count[FUSE_OPEN]);
}

/* GET_DAXDEV */

FIXTURE(device) {
	struct raw_server *s;
};

FIXTURE_VARIANT(device) {
	enum rs_dev_how how;
	int asked;
};

FIXTURE_VARIANT_ADD(device, pushed_before_it_is_needed) {
	.how = RS_PUSH_AT_INIT, .asked = 0,
};

FIXTURE_VARIANT_ADD(device, pushed_when_asked_for) {
	.how = RS_PUSH_WHEN_ASKED, .asked = 1,
};

FIXTURE_VARIANT_ADD(device, pulled_by_its_name) {
	.how = RS_PULL, .asked = 1,
};

FIXTURE_SETUP(device)
{
	const char *why = sandbox(1);

	if (!why)
		why = enable_uring();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->dev[0].how = variant->how;
}

FIXTURE_TEARDOWN(device)
{
	rs_free(self->s);
	restore_uring();
}

TEST_F(device, is_registered)
{
	struct raw_server *s = self->s;

	add_mapped(s, "f", 0, 0, MB);
	add_mapped(s, "g", 0, MB, MB);
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
	EXPECT_EQ(0, try_open(s, "g", O_RDWR));
	EXPECT_EQ(variant->asked, s->ring_count[FUSE_GET_DAXDEV]);
	EXPECT_EQ(0, not_by_ring(s, FUSE_GET_DAXDEV));
}

/* A long map */

FIXTURE(slices) {
	struct raw_server *s;
};

FIXTURE_VARIANT(slices) {
	uint32_t first;
	uint32_t slice;
	int nextents;
	int requests;		/* 0: the room in a request decides */
};

FIXTURE_VARIANT_ADD(slices, as_large_as_the_requests_have_room_for) {
	.first = UINT32_MAX, .slice = UINT32_MAX, .nextents = 20000,
};

FIXTURE_VARIANT_ADD(slices, of_an_odd_size) {
	.first = 4093, .slice = 7777, .nextents = 2000,
	.requests = 1 + (2000 * 24 + 32 - 4093 + 7776) / 7777,
};

FIXTURE_VARIANT_ADD(slices, of_one_byte) {
	.first = 1, .slice = 1, .nextents = 4, .requests = 4 * 24 + 32,
};

FIXTURE_SETUP(slices)
{
	const char *why = sandbox(1);

	if (!why)
		why = enable_uring();
	if (!why && dax_size[0] < 20000 * PG)
		why = "the first DAX device is too small";
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(slices)
{
	rs_free(self->s);
	restore_uring();
}

/* Pages backwards on the device */
static struct rs_node *add_backwards(struct raw_server *s, const char *name,
				     int count)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, count * PG);
	for (int i = 0; i < count; i++)
		rs_map_extent(&m, 0, (count - 1 - i) * PG, PG);
	rs_set_map(s, n, &m);
	return n;
}

TEST_F(slices, make_the_whole_map)
{
	struct raw_server *s = self->s;
	int count = variant->nextents, step = count < 100 ? 1 : count / 97;
	struct rs_node *n = add_backwards(s, "f", count);
	uint32_t len = n->map_len;
	int fd;

	s->first = variant->first;
	s->slice = variant->slice;
	ASSERT_EQ(0, start_ring(s));
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	if (variant->requests) {
		EXPECT_EQ(variant->requests, s->ring_count[FUSE_GET_FMAP]);
	} else {
		/* more than two: no request has room for more than max_write */
		EXPECT_LT(2, s->ring_count[FUSE_GET_FMAP]);
		EXPECT_LT(s->fmap_last_offset, len);
		EXPECT_EQ(len - s->fmap_last_offset + 1, s->fmap_last_size);
	}
	EXPECT_EQ(0, not_by_ring(s, FUSE_GET_FMAP));
	for (int i = 0; i < count; i += step)
		EXPECT_TRUE(put(fd, i, i * PG, 100));
	EXPECT_TRUE(put(fd, count - 1, (count - 1) * PG, 100));
	close(fd);
	ASSERT_EQ(0, rs_unmount(s));

	/* The same pages on the device as it is */
	rs_free(s);
	self->s = s = new_server(1);
	ASSERT_NE(NULL, s);
	add_mapped(s, "whole", 0, 0, count * PG);
	ASSERT_EQ(0, start_server(s));
	fd = open_in(s, "whole", O_RDONLY);
	ASSERT_LE(0, fd);
	for (int i = 0; i < count; i += step) {
		char b[100];

		EXPECT_EQ(100, pread(fd, b, 100, (count - 1 - i) * PG));
		EXPECT_TRUE(is_pattern(b, i, i * PG, 100));
	}
	close(fd);
}

static int spoil_later_slices(struct raw_server *s,
			      const struct fuse_in_header *ih, const void *arg)
{
	const struct fuse_get_fmap_in *in = arg;

	(void)s;
	if (ih->opcode != FUSE_GET_FMAP || !in->offset)
		return 0;
	return -EREMOTEIO;
}

TEST_F(slices, with_an_error_among_them_make_no_map)
{
	struct raw_server *s = self->s;

	if (variant->nextents < 1000)
		s->first = s->slice = 50;	/* the header and a bit */
	add_backwards(s, "f", variant->nextents);
	s->hook = spoil_later_slices;
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(EREMOTEIO, try_open(s, "f", O_RDWR));
	EXPECT_EQ(2, s->ring_count[FUSE_GET_FMAP]);
}

TEST_F(slices, that_end_too_early_make_no_map)
{
	struct raw_server *s = self->s;
	struct rs_node *n = add_backwards(s, "f", variant->nextents);

	n->map_len -= 24;
	s->first = variant->first;
	s->slice = variant->slice;
	ASSERT_EQ(0, start_ring(s));
	EXPECT_EQ(EIO, try_open(s, "f", O_RDWR));
	n->map_len += 24;
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
}

TEST_HARNESS_MAIN
