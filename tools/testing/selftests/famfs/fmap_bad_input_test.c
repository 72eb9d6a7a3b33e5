// SPDX-License-Identifier: GPL-2.0
/*
 * DAX file maps of FUSE: what a server may do wrong.
 *
 * A map that is not valid fails the open, says why in the kernel log, and
 * leaves nothing behind: the next good map on the same mount works. A device
 * that can't be registered gives a proper errno, and its index stays free.
 *
 * Needs root, /dev/fuse and up to four DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them and binds
 * one of them to other drivers for a while.
 */
#include <glob.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "fmap_test.h"

#define EXTENTS		FUSE_FMAP_EXTENTS
#define STRIPED		FUSE_FMAP_STRIPED

static struct fuse_fmap_extent *ext(struct rs_map *m, int i)
{
	return (struct fuse_fmap_extent *)(rs_map_header(m) + 1) + i;
}

static struct fuse_fmap_stripe_set *set(struct rs_map *m)
{
	return (struct fuse_fmap_stripe_set *)(rs_map_header(m) + 1);
}

/* Strip @i of the first stripe set, which is as long as an extent */
static struct fuse_fmap_extent *strip(struct rs_map *m, int i)
{
	return ext(m, i + 1);
}

/* A valid map to start from: two extents on two devices */
static void good_extents(struct rs_map *m)
{
	rs_map_init(m, EXTENTS, 8 * PG - 100);
	rs_map_extent(m, 0, 2 * MB, 4 * PG);
	rs_map_extent(m, 1, 2 * MB, 4 * PG);
}

/* A valid map to start from: five chunks on two strips, the last one short */
static void good_stripes(struct rs_map *m)
{
	rs_map_init(m, STRIPED, 10 * PG - 100);
	rs_map_stripe(m, 2, 2 * PG, 10 * PG - 100);
	rs_map_strip(m, 0, 2 * MB, 6 * PG);
	rs_map_strip(m, 1, 2 * MB, 4 * PG);
}

static struct rs_node *add_file(struct raw_server *s, const char *name,
				void (*build)(struct rs_map *m))
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	build(&m);
	rs_set_map(s, n, &m);
	return n;
}

/* A file opens, and its bytes can be written and read */
static bool works(struct raw_server *s, const char *name)
{
	int fd = open_in(s, name, O_RDWR);
	bool ok;

	if (fd < 0)
		return false;
	ok = put(fd, 1, 0, 2 * PG + 5) && got(fd, 1, 0, 2 * PG + 5);
	close(fd);
	return ok;
}

/* Maps that are refused */

FIXTURE(map) {
	struct raw_server *s;
};

FIXTURE_VARIANT(map) {
	void (*build)(struct rs_map *m);
	uint32_t kinds;
};

#define BAD_MAP(_name, _good, ...)					\
	static void build_##_name(struct rs_map *m)			\
	{								\
		_good(m);						\
		__VA_ARGS__						\
	}								\
	FIXTURE_VARIANT_ADD(map, _name) { .build = build_##_name, }

#define BAD_EXTENTS(_name, ...)	BAD_MAP(_name, good_extents, __VA_ARGS__)
#define BAD_STRIPES(_name, ...)	BAD_MAP(_name, good_stripes, __VA_ARGS__)

/* alignment */
BAD_EXTENTS(with_a_misaligned_offset, ext(m, 1)->offset += 512;);
BAD_EXTENTS(with_a_misaligned_length, ext(m, 1)->len += 2048;);
BAD_STRIPES(with_a_misaligned_strip, strip(m, 1)->offset += 1;);
BAD_STRIPES(with_a_misaligned_strip_length, strip(m, 0)->len += 1;);
BAD_STRIPES(with_a_misaligned_chunk, set(m)->chunk_size = 2 * PG - 2048;);
BAD_STRIPES(with_a_chunk_below_a_page, set(m)->chunk_size = 512;);

/* bounds */
BAD_EXTENTS(past_the_end_of_the_device, ext(m, 1)->offset = dax_size[1];);
BAD_EXTENTS(with_a_page_past_the_end_of_the_device,
	    ext(m, 1)->offset = dax_size[1] - 3 * PG;);
BAD_EXTENTS(far_past_the_end_of_the_device, ext(m, 1)->offset = 1ULL << 62;);
BAD_EXTENTS(longer_than_the_device, ext(m, 1)->len = dax_size[1] + PG;);
BAD_STRIPES(with_a_strip_past_the_end_of_the_device,
	    strip(m, 1)->offset = dax_size[1] - 3 * PG;);
BAD_EXTENTS(with_an_extent_that_wraps_around, ext(m, 1)->offset = -PG;);
BAD_EXTENTS(with_a_length_that_wraps_around, ext(m, 1)->len = -PG;);
BAD_EXTENTS(with_an_extent_that_wraps_to_zero,
	    ext(m, 1)->offset = -4 * PG;);
BAD_EXTENTS(with_lengths_whose_sum_wraps_around,
	    ext(m, 0)->len = 1ULL << 63;
	    ext(m, 1)->len = (1ULL << 63) + 8 * PG;);
BAD_STRIPES(with_a_strip_that_wraps_around, strip(m, 1)->offset = -PG;);
BAD_STRIPES(with_nbytes_close_to_the_end_of_64_bits,
	    set(m)->nbytes = -1ULL;);
BAD_STRIPES(with_nbytes_whose_sum_wraps_around,
	    set(m)->nbytes = 1ULL << 63;
	    rs_map_stripe(m, 1, PG, (1ULL << 63) + 10 * PG);
	    rs_map_strip(m, 0, 8 * MB, 10 * PG););
BAD_STRIPES(with_more_strips_than_bytes,
	    set(m)->nstrips = 3;);
BAD_STRIPES(with_strips_whose_size_wraps_around_32_bits,
	    set(m)->nstrips = 178956971;);
BAD_STRIPES(with_4294967295_strips, set(m)->nstrips = UINT32_MAX;);
BAD_EXTENTS(with_more_extents_than_bytes, rs_map_header(m)->nextents = 3;);
BAD_EXTENTS(with_fewer_extents_than_bytes, rs_map_header(m)->nextents = 1;
	    rs_map_header(m)->file_size = PG;);
BAD_EXTENTS(with_extents_whose_size_wraps_around_32_bits,
	    rs_map_header(m)->nextents = 178956971;);
BAD_EXTENTS(with_4294967295_extents,
	    rs_map_header(m)->nextents = UINT32_MAX;);

/* overlap */
BAD_EXTENTS(with_the_same_extent_twice, *ext(m, 1) = *ext(m, 0););
BAD_EXTENTS(with_extents_that_overlap_in_a_page,
	    *ext(m, 1) = *ext(m, 0);
	    ext(m, 1)->offset += 3 * PG;);
BAD_EXTENTS(with_an_extent_inside_another,
	    ext(m, 1)->devindex = 0;
	    ext(m, 1)->offset = 2 * MB + PG;
	    ext(m, 1)->len = PG;
	    rs_map_header(m)->file_size = 5 * PG;);
BAD_STRIPES(with_strips_that_overlap,
	    strip(m, 1)->devindex = 0;
	    strip(m, 1)->offset += 5 * PG;);
BAD_STRIPES(with_two_sets_that_overlap,
	    set(m)->nbytes = 10 * PG;
	    rs_map_header(m)->file_size = 11 * PG;
	    rs_map_stripe(m, 1, PG, PG);
	    rs_map_strip(m, 1, 2 * MB, PG););

/* coverage */
BAD_EXTENTS(shorter_than_the_file,
	    rs_map_header(m)->file_size = 8 * PG + 1;);
BAD_STRIPES(with_sets_shorter_than_the_file,
	    rs_map_header(m)->file_size = 10 * PG;);
BAD_STRIPES(with_a_first_strip_too_short,
	    strip(m, 0)->len = 5 * PG;
	    strip(m, 1)->len = 5 * PG;);
BAD_STRIPES(with_a_second_strip_too_short,
	    strip(m, 0)->len = 8 * PG;
	    strip(m, 1)->len = 2 * PG;);
BAD_STRIPES(with_room_in_the_sum_of_its_strips_only,
	    strip(m, 0)->len = 20 * PG;
	    strip(m, 1)->len = 3 * PG;);
BAD_STRIPES(with_strips_too_short_for_an_unaligned_size,
	    set(m)->nbytes = rs_map_header(m)->file_size = 10 * PG + 1;);
BAD_STRIPES(with_an_inner_set_that_is_not_whole_pages,
	    rs_map_stripe(m, 1, PG, 4 * PG);
	    rs_map_strip(m, 0, 8 * MB, 4 * PG););
BAD_EXTENTS(of_2_to_the_63_bytes, rs_map_header(m)->file_size = 1ULL << 63;);
BAD_EXTENTS(of_2_to_the_64_bytes, rs_map_header(m)->file_size = -1ULL;);

/* form */
BAD_EXTENTS(of_unknown_kind, rs_map_header(m)->kind = 2;);
BAD_EXTENTS(of_unknown_kind_beyond_the_mask, rs_map_header(m)->kind = 33;);
BAD_EXTENTS(of_unknown_version, rs_map_header(m)->version = 2;);
BAD_EXTENTS(of_version_0, rs_map_header(m)->version = 0;);
BAD_EXTENTS(with_zero_extents, rs_map_header(m)->nextents = 0;);
BAD_EXTENTS(with_zero_extents_and_nothing_else,
	    rs_map_free(m);
	    rs_map_init(m, EXTENTS, 0););
BAD_STRIPES(with_zero_stripe_sets, rs_map_header(m)->nextents = 0;);
BAD_STRIPES(with_zero_strips, set(m)->nstrips = 0;);
BAD_STRIPES(with_zero_strips_and_no_strip_after_it,
	    rs_map_free(m);
	    rs_map_init(m, STRIPED, PG);
	    rs_map_stripe(m, 0, PG, PG););
BAD_STRIPES(with_a_zero_chunk, set(m)->chunk_size = 0;);
BAD_STRIPES(with_a_set_of_zero_bytes, set(m)->nbytes = 0;);
BAD_EXTENTS(with_an_extent_of_zero_bytes, ext(m, 1)->len = 0;
	    rs_map_header(m)->file_size = PG;);
BAD_STRIPES(with_a_strip_of_zero_bytes, strip(m, 1)->len = 0;);
BAD_EXTENTS(with_the_first_reserved_byte_set,
	    rs_map_header(m)->reserved = 1;);
BAD_EXTENTS(with_the_last_reserved_field_of_the_header_set,
	    rs_map_header(m)->reserved2 = 1ULL << 63;);
BAD_EXTENTS(with_the_reserved_field_of_an_extent_set,
	    ext(m, 1)->reserved = 1;);
BAD_STRIPES(with_the_reserved_field_of_a_set_set, set(m)->reserved = 1;);
BAD_STRIPES(with_the_reserved_field_of_a_strip_set,
	    strip(m, 1)->reserved = 1U << 31;);

/* the size of the message */
BAD_EXTENTS(whose_message_is_longer_than_it_says,
	    rs_map_append(m, "12345678", 8););
BAD_EXTENTS(whose_message_is_shorter_than_it_says,
	    rs_map_header(m)->fmap_size += 24;);
BAD_EXTENTS(whose_message_says_less_than_a_header,
	    rs_map_header(m)->fmap_size = 31;);
BAD_EXTENTS(whose_message_has_4_GiB,
	    rs_map_header(m)->fmap_size = UINT32_MAX;);
BAD_EXTENTS(whose_message_is_above_the_limit,
	    rs_map_header(m)->fmap_size = FUSE_FMAP_MAX_SIZE + 1;);
BAD_EXTENTS(with_bytes_after_the_last_extent,
	    rs_map_append(m, "12345678", 8);
	    rs_map_header(m)->fmap_size = m->len;);
BAD_EXTENTS(with_garbage_after_it_and_no_size,
	    rs_map_append(m, "\0\0\0\0\0\0\0\1", 8);
	    rs_map_header(m)->fmap_size = 0;);

/* kinds that were not negotiated */
FIXTURE_VARIANT_ADD(map, of_stripes_when_only_extents_were_negotiated) {
	.build = good_stripes, .kinds = KIND_BIT(EXTENTS),
};

FIXTURE_VARIANT_ADD(map, of_extents_when_only_stripes_were_negotiated) {
	.build = good_extents, .kinds = KIND_BIT(STRIPED),
};

FIXTURE_SETUP(map)
{
	const char *why = sandbox(2);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(map)
{
	rs_free(self->s);
}

TEST_F(map, is_refused_and_the_mount_stays_usable)
{
	struct stat st;
	char path[PATH_MAX];

	add_file(self->s, "bad", variant->build);
	/* GETATTR says something harmless */
	self->s->node[1].size = PG;
	/* the places of the bad map's good parts must be free */
	add_file(self->s, "good",
		 variant->kinds == KIND_BIT(STRIPED) ? good_stripes :
						       good_extents);
	self->s->fmap_kinds = variant->kinds;
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDONLY));
	EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDWR));
	EXPECT_TRUE(works(self->s, "good"));
	EXPECT_EQ(EIO, try_open(self->s, "bad", O_RDWR));
	EXPECT_TRUE(works(self->s, "good"));
	snprintf(path, sizeof(path), "%s/bad", self->s->mnt);
	EXPECT_EQ(0, stat(path, &st));
	/* RELEASE comes a little later */
	for (int i = 0; i < 1000 && self->s->count[FUSE_OPEN] !=
				    self->s->count[FUSE_RELEASE]; i++)
		usleep(1000);
	EXPECT_EQ(self->s->count[FUSE_OPEN], self->s->count[FUSE_RELEASE]) {
		TH_LOG("a refused open was not released");
	}
	EXPECT_EQ(0, rs_unmount(self->s));
}

/* Messages that end too early, or change */

FIXTURE(message) {
	struct raw_server *s;
};

FIXTURE_VARIANT(message) {
	void (*build)(struct rs_map *m);
	bool says_size;
};

FIXTURE_VARIANT_ADD(message, of_extents) {
	.build = good_extents,
};

FIXTURE_VARIANT_ADD(message, of_extents_with_its_size) {
	.build = good_extents, .says_size = true,
};

FIXTURE_VARIANT_ADD(message, of_stripes) {
	.build = good_stripes,
};

FIXTURE_VARIANT_ADD(message, of_stripes_with_its_size) {
	.build = good_stripes, .says_size = true,
};

FIXTURE_SETUP(message)
{
	const char *why = sandbox(2);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(message)
{
	rs_free(self->s);
}

TEST_F(message, truncated_at_any_byte_is_refused)
{
	struct rs_node *n = add_file(self->s, "f", variant->build);
	uint32_t full = n->map_len;

	if (!variant->says_size)
		((struct fuse_fmap_header *)n->map)->fmap_size = 0;
	ASSERT_EQ(0, start_server(self->s));
	for (uint32_t len = 0; len < full; len++) {
		n->map_len = len;
		ASSERT_EQ(EIO, try_open(self->s, "f", O_RDWR)) {
			TH_LOG("%u of %u bytes", len, full);
		}
	}
	n->map_len = full;
	EXPECT_TRUE(works(self->s, "f"));
}

/* Several files, errors of the server, the log */

FIXTURE(mount) {
	struct raw_server *s;
};

FIXTURE_SETUP(mount)
{
	const char *why = sandbox(2);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(mount)
{
	rs_free(self->s);
}

TEST_F(mount, refuses_a_file_that_overlaps_another_until_that_one_is_gone)
{
	int fd;

	add_mapped(self->s, "a", 0, 4 * PG, 4 * PG);
	add_mapped(self->s, "b", 0, 7 * PG, 4 * PG);
	add_mapped(self->s, "beside", 0, 8 * PG, 4 * PG);
	add_mapped(self->s, "elsewhere", 1, 4 * PG, 4 * PG);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_TRUE(works(self->s, "a"));
	/* closed or not, as long as the kernel has the inode */
	EXPECT_EQ(EIO, try_open(self->s, "b", O_RDWR));
	EXPECT_TRUE(works(self->s, "elsewhere"));
	EXPECT_TRUE(works(self->s, "beside"));
	EXPECT_TRUE(forgotten(self->s, "a"));
	EXPECT_TRUE(forgotten(self->s, "beside"));
	fd = open_in(self->s, "b", O_RDWR);
	EXPECT_LE(0, fd);
	EXPECT_EQ(EIO, try_open(self->s, "a", O_RDWR));
	EXPECT_EQ(EIO, try_open(self->s, "beside", O_RDWR));
	close(fd);
}

TEST_F(mount, passes_on_the_errors_of_the_server)
{
	static const int errors[] = { EACCES, ENOMEM, EIO, EINTR, ESTALE };
	struct rs_node *n = add_file(self->s, "f", good_extents);

	ASSERT_EQ(0, start_server(self->s));
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		n->map_err = errors[i];
		EXPECT_EQ(errors[i], try_open(self->s, "f", O_RDWR));
	}
	n->map_err = 0;
	EXPECT_TRUE(works(self->s, "f"));
}

TEST_F(mount, says_why_in_the_kernel_log)
{
	struct rs_node *n = add_file(self->s, "f", good_extents);
	int log, lines;

	((struct fuse_fmap_header *)n->map)->version = 7;
	ASSERT_EQ(0, start_server(self->s));
	/* other tests may have used up what the rate limit allows */
	sleep(6);
	log = kmsg_open();
	if (log < 0)
		SKIP(return, "no /dev/kmsg");
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	lines = kmsg_count(log, "fuse:", "map refused");
	EXPECT_EQ(1, lines);
	close(log);
}

TEST_F(mount, does_not_flood_the_kernel_log)
{
	struct rs_node *n = add_file(self->s, "f", good_extents);
	int log = kmsg_open();

	if (log < 0)
		SKIP(return, "no /dev/kmsg");
	((struct fuse_fmap_header *)n->map)->version = 7;
	ASSERT_EQ(0, start_server(self->s));
	for (int i = 0; i < 1000; i++)
		ASSERT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	EXPECT_GT(100, kmsg_count(log, "fuse:", ""));
	close(log);
}

TEST_F(mount, refuses_passthrough_on_a_mapped_file)
{
	struct fuse_daxdev_map backing = {};	/* as fuse_backing_map */
	struct rs_node *n = add_file(self->s, "f", good_extents);
	int tmp;

	self->s->want |= FUSE_PASSTHROUGH;
	ASSERT_EQ(0, start_server(self->s));
	if (!(self->s->offered & FUSE_PASSTHROUGH))
		SKIP(return, "kernel without CONFIG_FUSE_PASSTHROUGH");
	tmp = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	ASSERT_LE(0, tmp);
	backing.fd = tmp;
	self->s->backing_id = ioctl(self->s->fd, FUSE_DEV_IOC_BACKING_OPEN,
				    &backing);
	ASSERT_LT(0, self->s->backing_id);
	n->open_flags = FOPEN_PASSTHROUGH;
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	n->open_flags = 0;
	EXPECT_TRUE(works(self->s, "f"));
	n->open_flags = FOPEN_PASSTHROUGH;
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	close(tmp);
}

TEST_F(mount, keeps_notifications_off_a_mapped_file)
{
	struct {
		struct fuse_notify_store_out out;
		char data[4096];
	} store = { .out = { .size = 4096 } };
	struct fuse_notify_inval_inode_out inval = {};
	struct rs_node *n = add_mapped(self->s, "f", 0, 2 * MB, 2 * MB);
	struct stat st;
	char *p;
	int fd;

	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(put(fd, 1, 0, 3 * PG));
	p = map_huge(fd, 2 * MB, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(is_pattern(p, 1, 0, PG));

	store.out.nodeid = rs_ino(self->s, n);
	memset(store.data, 'S', sizeof(store.data));
	rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store, sizeof(store));
	store.out.offset = PG;
	rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store, sizeof(store));
	/* beyond its end: the size must stay, too */
	store.out.offset = 2 * MB;
	rs_reply(self->s, 0, FUSE_NOTIFY_STORE, &store, sizeof(store));
	inval.ino = store.out.nodeid;
	rs_reply(self->s, 0, FUSE_NOTIFY_INVAL_INODE, &inval, sizeof(inval));

	EXPECT_TRUE(is_pattern(p, 1, 0, 3 * PG));
	EXPECT_TRUE(got(fd, 1, 0, 3 * PG));
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(2 * MB, st.st_size);
	munmap(p, 2 * MB);
	EXPECT_TRUE(got(fd, 1, 0, 3 * PG));
	close(fd);
}

/* Devices that can't be had */

FIXTURE(device) {
	struct raw_server *s;
	int fd;
};

FIXTURE_SETUP(device)
{
	const char *why = sandbox(2);

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(0);
	ASSERT_NE(NULL, self->s);
	add_mapped(self->s, "f", 0, 0, MB);
	add_mapped(self->s, "g", 1, 0, MB);
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(device)
{
	if (self->fd >= 0)
		close(self->fd);
	rs_free(self->s);
}

static int open_dax(int i, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/%s", dax[i]);
	return open(path, flags | O_CLOEXEC);
}

/* Nothing half-registered: the index is unknown, then takes a device */
static bool index_is_free(struct raw_server *s)
{
	int fd, ret;

	if (rs_daxdev_close(s->fd, 0) != -ENOENT ||
	    try_open(s, "f", O_RDWR) != ENODEV)
		return false;
	fd = open_dax(0, O_RDWR);
	ret = rs_daxdev_open(s->fd, fd, 0, 0);
	close(fd);
	return ret > 0 && works(s, "f");
}

TEST_F(device, that_is_a_regular_file_is_EINVAL)
{
	self->fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, 4 * MB));
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_dev_null_is_EINVAL)
{
	self->fd = open("/dev/null", O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_dev_fuse_itself_is_EINVAL)
{
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->s->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_a_pipe_or_a_directory_is_EINVAL)
{
	int fd[2];

	ASSERT_EQ(0, pipe(fd));
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, fd[0], 0, 0));
	close(fd[0]);
	close(fd[1]);
	self->fd = open("/", O_RDONLY | O_DIRECTORY);
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_a_pmem_block_device_is_EINVAL)
{
	glob_t found;

	if (glob("/dev/pmem*", 0, NULL, &found))
		SKIP(return, "no pmem block device");
	self->fd = open(found.gl_pathv[0], O_RDWR);
	globfree(&found);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_opened_with_O_PATH_is_EBADF)
{
	self->fd = open_dax(0, O_PATH);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EBADF, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_open_for_writing_only_is_EACCES)
{
	self->fd = open_dax(0, O_WRONLY);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EACCES, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_not_open_is_EBADF)
{
	EXPECT_EQ(-EBADF, rs_daxdev_open(self->s->fd, 1234, 0, 0));
	EXPECT_EQ(-EBADF, rs_daxdev_open(self->s->fd, -1, 0, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, with_flags_is_EINVAL)
{
	self->fd = open_dax(0, O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, 0, 1));
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, 0, 1U << 31));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, with_an_index_above_32_bits_is_EINVAL)
{
	self->fd = open_dax(0, O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EINVAL,
		  rs_daxdev_open(self->s->fd, self->fd, 1ULL << 32, 0));
	EXPECT_EQ(-EINVAL, rs_daxdev_open(self->s->fd, self->fd, -1ULL, 0));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, with_an_index_in_use_is_EEXIST)
{
	self->fd = open_dax(0, O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_LT(0, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	close(self->fd);
	self->fd = open_dax(1, O_RDWR);
	EXPECT_EQ(-EEXIST, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_TRUE(works(self->s, "f"));
	/* and the second device is not held by the failed call */
	EXPECT_LT(0, rs_daxdev_open(self->s->fd, self->fd, 1, 0));
	EXPECT_TRUE(works(self->s, "g"));
}

TEST_F(device, that_has_an_index_already_is_EBUSY)
{
	self->fd = open_dax(0, O_RDWR);
	ASSERT_LE(0, self->fd);
	EXPECT_LT(0, rs_daxdev_open(self->s->fd, self->fd, 7, 0));
	EXPECT_EQ(-EBUSY, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 7));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_another_connection_holds_is_EBUSY)
{
	struct raw_server *other = new_server(1);
	int ret;

	ASSERT_NE(NULL, other);
	ret = start_server(other);
	EXPECT_EQ(0, ret);
	self->fd = open_dax(0, O_RDWR);
	EXPECT_EQ(-EBUSY, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	/* by its name it is no better */
	rs_add_dev(self->s, dax[0], 0, RS_PULL);
	EXPECT_EQ(EBUSY, try_open(self->s, "f", O_RDWR));
	self->s->ndev = 0;
	EXPECT_EQ(0, rs_unmount(other));
	rs_free(other);
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, of_a_connection_without_maps_is_EPERM)
{
	struct raw_server *other = rs_new();

	ASSERT_NE(NULL, other);
	other->want = 0;
	EXPECT_EQ(0, rs_start(other, NULL));
	self->fd = open_dax(0, O_RDWR);
	EXPECT_EQ(-EPERM, rs_daxdev_open(other->fd, self->fd, 0, 0));
	EXPECT_EQ(-EPERM, rs_daxdev_close(other->fd, 0));
	rs_free(other);
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, whose_index_is_unknown_to_DAXDEV_CLOSE_is_ENOENT)
{
	EXPECT_EQ(-ENOENT, rs_daxdev_close(self->s->fd, 0));
	EXPECT_EQ(-ENOENT, rs_daxdev_close(self->s->fd, UINT32_MAX));
}

TEST_F(device, whose_ioctl_has_no_argument_is_EFAULT)
{
	EXPECT_EQ(-1, ioctl(self->s->fd, FUSE_DEV_IOC_DAXDEV_OPEN, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->s->fd, FUSE_DEV_IOC_DAXDEV_CLOSE, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, of_a_mount_that_is_gone_is_ENOTCONN)
{
	struct raw_server *other;

	self->fd = open_dax(0, O_RDWR);
	ASSERT_LE(0, self->fd);
	/* not rs_unmount(), which closes /dev/fuse */
	ASSERT_EQ(0, umount2(self->s->mnt, 0));
	EXPECT_EQ(-ENOTCONN, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	EXPECT_EQ(-ENOENT, rs_daxdev_close(self->s->fd, 0));
	/* and nobody holds it */
	other = new_server(1);
	ASSERT_NE(NULL, other);
	EXPECT_EQ(0, start_server(other));
	rs_free(other);
}

/* Both threads of a race go when both are there */
struct race {
	struct raw_server *s;
	int *there;
	int fd;
	int ret;
};

static void *race_for_the_index(void *arg)
{
	struct race *r = arg;

	__atomic_add_fetch(r->there, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(r->there, __ATOMIC_ACQUIRE) < 2)
		sched_yield();
	r->ret = rs_daxdev_open(r->s->fd, r->fd, 0, 0);
	return NULL;
}

TEST_F(device, that_loses_the_race_for_an_index_is_EEXIST)
{
	struct race r[2];
	pthread_t thread;

	r[0] = (struct race) { .s = self->s, .fd = open_dax(0, O_RDWR) };
	r[1] = (struct race) { .s = self->s, .fd = open_dax(1, O_RDWR) };
	for (int i = 0; i < 300; i++) {
		int there = 0;
		int winner;

		r[0].there = r[1].there = &there;
		ASSERT_EQ(0, pthread_create(&thread, NULL, race_for_the_index,
					    &r[0]));
		race_for_the_index(&r[1]);
		pthread_join(thread, NULL);
		winner = r[1].ret > 0;
		ASSERT_LT(0, r[winner].ret);
		ASSERT_EQ(-EEXIST, r[!winner].ret);
		/* the loser's device is free */
		ASSERT_LT(0, rs_daxdev_open(self->s->fd, r[!winner].fd, 1, 0));
		ASSERT_EQ(0, rs_daxdev_close(self->s->fd, 0));
		ASSERT_EQ(0, rs_daxdev_close(self->s->fd, 1));
	}
	close(r[0].fd);
	close(r[1].fd);
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, in_devdax_mode_is_EOPNOTSUPP)
{
	int ret;

	ret = bind_to(dax[0], "fsdev_dax", "device_dax");
	if (ret) {
		bind_to(dax[0], NULL, "fsdev_dax");
		SKIP(return, "no device_dax driver (%d)", ret);
	}
	self->fd = open_dax(0, O_RDWR);
	ret = rs_daxdev_open(self->s->fd, self->fd, 0, 0);
	EXPECT_LE(0, self->fd);
	EXPECT_EQ(-EOPNOTSUPP, ret);
	close(self->fd);
	self->fd = -1;
	/* by its name it is no better */
	rs_add_dev(self->s, dax[0], 0, RS_PULL);
	EXPECT_EQ(EOPNOTSUPP, try_open(self->s, "f", O_RDWR));
	self->s->ndev = 0;
	EXPECT_EQ(0, bind_to(dax[0], "device_dax", "fsdev_dax"));
	EXPECT_TRUE(index_is_free(self->s));
}

TEST_F(device, that_is_unbound_under_a_mapping_raises_SIGBUS_and_no_warning)
{
	int log = kmsg_open(), warnings;
	char *p;

	self->fd = open_dax(0, O_RDWR);
	ASSERT_LT(0, rs_daxdev_open(self->s->fd, self->fd, 0, 0));
	close(self->fd);
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	p[3 * PG] = 1;
	EXPECT_EQ(0, bind_to(dax[0], "fsdev_dax", NULL));

	EXPECT_EQ(SIGBUS, signal_of(p, false));
	EXPECT_EQ(SIGBUS, signal_of(p + 3 * PG, true));
	EXPECT_EQ(SIGBUS, signal_of(p + 5 * PG, false));
	EXPECT_FALSE(put(self->fd, 1, 0, 10));
	EXPECT_FALSE(got(self->fd, 1, 0, 10));
	munmap(p, MB);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, rs_unmount(self->s));

	/* it can be bound and used again */
	EXPECT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
	rs_free(self->s);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	add_mapped(self->s, "f", 0, 0, MB);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_TRUE(works(self->s, "f"));
	if (log >= 0) {
		warnings = kmsg_count(log, "------------[ cut here", "");
		EXPECT_EQ(0, warnings);
		close(log);
	}
}

TEST_F(device, that_was_unbound_and_bound_again_stays_dead_for_its_files)
{
	int fd = open_dax(0, O_RDWR);

	ASSERT_LT(0, rs_daxdev_open(self->s->fd, fd, 0, 0));
	close(fd);
	self->fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, self->fd);
	ASSERT_TRUE(put(self->fd, 1, 0, PG));
	EXPECT_EQ(0, bind_to(dax[0], "fsdev_dax", NULL));
	EXPECT_EQ(0, bind_to(dax[0], NULL, "fsdev_dax"));
	EXPECT_FALSE(got(self->fd, 1, 0, PG));
	EXPECT_FALSE(put(self->fd, 2, 0, PG));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, rs_unmount(self->s));
}

/* Names in the reply to GET_DAXDEV */

FIXTURE(name) {
	struct raw_server *s;
};

FIXTURE_VARIANT(name) {
	const char *name;
	bool no_nul;
	uint8_t spoil;		/* byte of the reply to set */
	uint32_t len;		/* of the reply, if not all of it */
	int error;		/* of the server, instead of a name */
	int expect;
};

#define NAME(_variant, _expect, ...)					\
	FIXTURE_VARIANT_ADD(name, _variant) {				\
		.expect = _expect,					\
		__VA_ARGS__						\
	}

NAME(of_no_device, ENODEV, .name = "nonsense");
NAME(of_a_device_that_does_not_exist, ENODEV, .name = "dax9.9");
NAME(of_dev_null, ENODEV, .name = "null");
NAME(of_dev_null_as_a_path, ENODEV, .name = "/dev/null");
NAME(of_dev_zero, ENODEV, .name = "zero");
NAME(of_a_pmem_device, ENODEV, .name = "pmem0");
NAME(that_is_a_path_upwards, ENODEV, .name = "../dev/null");
NAME(that_is_a_path_to_a_dax_device, ENODEV, .name = "/tmp/../dev/dax0.0");
NAME(that_is_a_sysfs_path, ENODEV, .name = "/sys/bus/dax/devices/dax0.0");
NAME(that_is_dev_only, ENODEV, .name = "/dev/");
NAME(with_dev_in_front_twice, ENODEV, .name = "/dev//dev/dax0.0");
NAME(with_a_newline_at_its_end, ENODEV, .name = "dax0.0\n");
NAME(with_format_characters, ENODEV, .name = "%s%n%p");
NAME(that_is_empty_without_a_registration, ENODEV, .name = "");
NAME(without_a_NUL, EIO, .no_nul = true);
NAME(with_a_wrong_index, EIO, .name = "", .spoil = 1);
NAME(with_the_first_reserved_field_set, EIO, .name = "", .spoil = 2);
NAME(with_the_second_reserved_field_set, EIO, .name = "", .spoil = 4);
NAME(with_the_third_reserved_field_set, EIO, .name = "", .spoil = 8);
NAME(with_the_last_reserved_field_set, EIO, .name = "", .spoil = 23);
NAME(cut_short, EIO, .name = "dax0.0", .len = 40);
NAME(that_is_no_bytes_at_all, EIO, .name = "", .len = UINT32_MAX);
NAME(refused_with_ENOENT, ENODEV, .error = ENOENT);
NAME(refused_with_ENODEV, ENODEV, .error = ENODEV);
NAME(refused_with_ENODATA, ENODEV, .error = ENODATA);
NAME(refused_with_ENOSYS, ENODEV, .error = ENOSYS);

FIXTURE_SETUP(name)
{
	const char *why = sandbox(2);
	struct fuse_daxdev_out *out;

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(0);
	ASSERT_NE(NULL, self->s);
	add_mapped(self->s, "f", 0, 0, MB);
	rs_add_file(self->s, FUSE_ROOT_ID, "plain");
	self->s->daxdev_raw = true;
	self->s->daxdev_err = variant->error;
	out = (void *)self->s->daxdev_reply;
	if (variant->no_nul)
		memset(out->name, 'd', sizeof(out->name));
	else if (variant->name)
		strcpy(out->name, variant->name);
	if (variant->spoil)
		self->s->daxdev_reply[variant->spoil] = 1;
	self->s->daxdev_reply_len = !variant->len ? sizeof(*out) :
			variant->len == UINT32_MAX ? 0 : variant->len;
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(name)
{
	rs_free(self->s);
}

TEST_F(name, fails_the_open_and_registers_nothing)
{
	int fd;

	EXPECT_EQ(variant->expect, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(variant->expect, try_open(self->s, "f", O_RDONLY));
	EXPECT_EQ(2, self->s->count[FUSE_GET_DAXDEV]);
	EXPECT_EQ(0, try_open(self->s, "plain", O_RDWR));
	EXPECT_EQ(-ENOENT, rs_daxdev_close(self->s->fd, 0));
	/* the right device under the same index */
	fd = open_dax(0, O_RDWR);
	EXPECT_LT(0, rs_daxdev_open(self->s->fd, fd, 0, 0));
	close(fd);
	EXPECT_TRUE(works(self->s, "f"));
	EXPECT_EQ(0, rs_unmount(self->s));
}

TEST_HARNESS_MAIN
