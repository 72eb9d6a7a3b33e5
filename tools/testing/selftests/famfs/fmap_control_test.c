// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: dax_maps and dax_devices, the control files of a
 * connection in fusectl.
 *
 * Needs root, /dev/fuse, fusectl and two DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them.
 */
#include "fmap_test.h"

#define FOR_READING	(O_RDONLY | O_CLOEXEC)	/* rs_dev takes 0 for O_RDWR */

FIXTURE(fusectl) {
	struct raw_server *s;
	char maps[64];
	char devices[64];
};

static void note_paths(FIXTURE_DATA(fusectl) *self)
{
	unsigned int conn = connection_of(self->s);

	snprintf(self->maps, sizeof(self->maps), CONNECTIONS "/%u/dax_maps",
		 conn);
	snprintf(self->devices, sizeof(self->devices),
		 CONNECTIONS "/%u/dax_devices", conn);
}

FIXTURE_SETUP(fusectl)
{
	const char *why = sandbox(2);

	if (!why && access(CONNECTIONS, X_OK))
		why = "no fusectl";
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	self->s->dev[1].index = 4000000000;
	self->s->dev[1].oflags = FOR_READING;
	add_extents(self->s, "ten", 0, 10);
	add_extents(self->s, "thousand", MB, 1000);
}

FIXTURE_TEARDOWN(fusectl)
{
	rs_free(self->s);
}

/* Whether a file consists of exactly this text */
static bool has_text(const char *path, const char *text)
{
	char b[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, b, sizeof(b) - 1);
	close(fd);
	if (n < 0)
		return false;
	b[n] = 0;
	if (strcmp(b, text))
		ksft_print_msg("%s: %s", path, b);
	return !strcmp(b, text);
}

#define EXPECT_MAPS(_maps, _segments, _bytes)				\
	do {								\
		EXPECT_EQ(_maps, number_in(self->maps, "maps"));	\
		EXPECT_EQ(_segments, number_in(self->maps, "segments")); \
		EXPECT_EQ(_bytes, number_in(self->maps, "file_bytes"));	\
	} while (0)

TEST_F(fusectl, counts_the_maps_of_a_connection)
{
	long long memory;
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	EXPECT_TRUE(has_text(self->maps,
			     "maps 0\nsegments 0\nfile_bytes 0\nmemory 0\n"));
	EXPECT_EQ(0, try_open(self->s, "ten", O_RDWR));
	EXPECT_MAPS(1, 10, 10 * PG);
	memory = number_in(self->maps, "memory");
	EXPECT_LE(10 * 16, memory);
	EXPECT_GE(10 * 32 + 1024, memory);
	fd = open_in(self->s, "thousand", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_MAPS(2, 1010, 1010 * PG);
	EXPECT_LT(memory + 1000 * 16, number_in(self->maps, "memory"));
	EXPECT_GE(memory + 1000 * 32 + 1024, number_in(self->maps, "memory"));
	/* the map of a closed file is freed with its inode */
	ASSERT_TRUE(forgotten(self->s, "ten"));
	EXPECT_MAPS(1, 1000, 1000 * PG);
	/* the server's death changes nothing */
	rs_kill(self->s);
	EXPECT_MAPS(1, 1000, 1000 * PG);
	close(fd);
}

TEST_F(fusectl, does_not_count_a_map_that_was_refused)
{
	add_extents(self->s, "overlap", 5 * PG, 10);
	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	EXPECT_EQ(0, try_open(self->s, "ten", O_RDWR));
	EXPECT_EQ(EIO, try_open(self->s, "overlap", O_RDWR));
	EXPECT_MAPS(1, 10, 10 * PG);
}

/* The bytes of the kernel's bitmap with one bit per page, in longs */
static unsigned long long bits_of(int i)
{
	return (dax_size[i] / PG + 63) / 64 * 8;
}

/* Whether the file has the first device's line, and with @second the other's */
static bool lists(FIXTURE_DATA(fusectl) *self, int maps, bool second)
{
	char text[512];
	int n;

	n = snprintf(text, sizeof(text), "0 %s %llu rw ok %d %llu 0\n", dax[0],
		     (unsigned long long)dax_size[0], maps, bits_of(0));
	if (second)
		snprintf(text + n, sizeof(text) - n,
			 "4000000000 %s %llu ro ok 0 %llu 0\n", dax[1],
			 (unsigned long long)dax_size[1], bits_of(1));
	return has_text(self->devices, text);
}

TEST_F(fusectl, lists_the_devices_of_a_connection)
{
	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	EXPECT_TRUE(lists(self, 0, true));
	EXPECT_EQ(0, try_open(self->s, "ten", O_RDWR));
	EXPECT_EQ(0, try_open(self->s, "thousand", O_RDWR));
	EXPECT_TRUE(lists(self, 2, true));
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 4000000000));
	EXPECT_TRUE(lists(self, 2, false));
	ASSERT_TRUE(forgotten(self->s, "ten"));
	EXPECT_TRUE(lists(self, 1, false));
	/* the map still uses the device, but the index is free */
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 0));
	EXPECT_TRUE(has_text(self->devices, ""));
}

TEST_F(fusectl, shows_these_files_to_the_owner_only)
{
	struct stat st;
	pid_t pid;

	ASSERT_EQ(0, start_server(self->s));
	note_paths(self);
	ASSERT_EQ(0, stat(self->maps, &st));
	EXPECT_EQ(0400, st.st_mode & 07777);
	ASSERT_EQ(0, stat(self->devices, &st));
	EXPECT_EQ(0400, st.st_mode & 07777);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		_exit(open(self->maps, O_RDONLY) >= 0 ||
		      open(self->devices, O_RDONLY) >= 0);
	}
	EXPECT_EQ(0, wait_soon(pid));
}

TEST_F(fusectl, has_no_such_files_if_maps_are_not_offered)
{
	char path[64];

	self->s->user_id = 1000;
	self->s->ndev = 0;
	ASSERT_EQ(0, rs_start(self->s, NULL));
	note_paths(self);
	snprintf(path, sizeof(path), CONNECTIONS "/%u/waiting",
		 connection_of(self->s));
	EXPECT_EQ(0, access(path, F_OK));
	EXPECT_NE(0, access(self->maps, F_OK));
	EXPECT_NE(0, access(self->devices, F_OK));
}

TEST_HARNESS_MAIN
