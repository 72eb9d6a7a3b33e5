// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE DAX file maps: the protocol, message by message.
 *
 * Checks the requests of the kernel and its reaction to each reply. The
 * transport is read() and write() on /dev/fuse, splice, or io_uring. Replies
 * come in slices, late or twice, have a wrong size, or are errors. Each limit
 * is tested from both sides. fmap_bad_input_test has the tests of invalid maps.
 *
 * Needs root, /dev/fuse, fusectl and two DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB each; overwrites them. The
 * tests over io_uring need CONFIG_FUSE_IO_URING.
 */
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "fmap_test.h"
#include "fmap_uring.h"

#define EXTENTS		FUSE_FMAP_EXTENTS
#define STRIPED		FUSE_FMAP_STRIPED
#define BOTH		(KIND_BIT(EXTENTS) | KIND_BIT(STRIPED))

#define FIRST_SIZE	8192U	/* of the first request for a map */
#define INIT_IN_SIZE	64	/* since 7.36 */
#define MAX_ERRNO	511	/* largest valid errno in a reply */

/* The transport of requests and replies */
enum way { BY_READ_AND_WRITE, BY_SPLICE, BY_IO_URING };

static const char *need(int ndax_needed, enum way way)
{
	const char *why = sandbox(ndax_needed);

	return !why && way == BY_IO_URING ? enable_uring() : why;
}

static int start_by(struct raw_server *s, enum way way)
{
	s->splice = way == BY_SPLICE;
	return way == BY_IO_URING ? start_ring(s) : start_server(s);
}

/* Whether all requests with this opcode used this transport */
static bool sent_by(const struct raw_server *s, enum way way, uint32_t opcode)
{
	return s->ring_count[opcode] ==
	       (way == BY_IO_URING ? s->count[opcode] : 0);
}

#define SEEN	16

/* Shared with the server process */
struct wire {
	/* Requests for maps and devices, in order of arrival */
	struct {
		struct fuse_in_header ih;
		unsigned char arg[16];
	} seen[SEEN];
	uint32_t nseen;
	/* A hook that may replace the usual reply */
	rs_hook answer;
	/* Parameters and results of these hooks */
	uint32_t opcode;	/* requests that the hook handles */
	uint64_t offset;	/* of GET_FMAP: the lowest one */
	int error;
	size_t len;
	uint32_t held;		/* number of held requests */
	uint64_t held_unique;	/* of the last held request */
	uint32_t release;	/* how many to continue */
	uint64_t interrupted;	/* request of the last INTERRUPT */
	uint32_t ninterrupts;
	int interrupt_reply;	/* errno, 0: none */
	int result[SEEN];	/* of writes to the kernel */
	uint32_t nresults;
	uint32_t init_len;
	unsigned char init_rest[INIT_IN_SIZE];
};

static struct wire *wire;

static const char *map_wire(void)
{
	wire = mmap(NULL, sizeof(*wire), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return wire == MAP_FAILED ? "no memory" : NULL;
}

static int tap(struct raw_server *s, const struct fuse_in_header *ih,
	       const void *arg)
{
	const struct fuse_interrupt_in *intr = arg;
	uint32_t n;

	switch (ih->opcode) {
	case FUSE_INIT:
		wire->init_len = ih->len - sizeof(*ih);
		memcpy(wire->init_rest, arg,
		       wire->init_len < INIT_IN_SIZE ? wire->init_len :
						       INIT_IN_SIZE);
		return 0;
	case FUSE_INTERRUPT:
		wire->interrupted = intr->unique;
		__atomic_add_fetch(&wire->ninterrupts, 1, __ATOMIC_RELEASE);
		if (wire->interrupt_reply)
			rs_reply(s, ih->unique, -wire->interrupt_reply, NULL,
				 0);
		return 1;
	case FUSE_GET_FMAP:
	case FUSE_GET_DAXDEV:
		n = __atomic_fetch_add(&wire->nseen, 1, __ATOMIC_RELAXED);
		if (n < SEEN) {
			wire->seen[n].ih = *ih;
			memcpy(wire->seen[n].arg, arg,
			       ih->len - sizeof(*ih) < 16 ?
			       ih->len - sizeof(*ih) : 16);
		}
		return wire->answer ? wire->answer(s, ih, arg) : 0;
	}
	return 0;
}

/* Whether the hook handles this request */
static bool is_target(const struct fuse_in_header *ih, const void *arg)
{
	const struct fuse_get_fmap_in *in = arg;

	return ih->opcode == wire->opcode &&
	       (ih->opcode != FUSE_GET_FMAP || in->offset >= wire->offset);
}

/* Maps */

#define SMALL_EXTENTS	4
#define SMALL_LEN	(sizeof(struct fuse_fmap_header) +		\
			 SMALL_EXTENTS * sizeof(struct fuse_fmap_extent))

/* Gaps between the pages keep the extents from being merged */
static struct rs_node *add_small(struct raw_server *s, const char *name,
				 uint64_t off)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, EXTENTS, SMALL_EXTENTS * PG);
	for (int i = 0; i < SMALL_EXTENTS; i++)
		rs_map_extent(&m, 0, off + 2 * i * PG, PG);
	rs_set_map(s, n, &m);
	return n;
}

/* Whether a small file can be opened, read and written */
static bool works(struct raw_server *s, const char *name)
{
	int fd = open_in(s, name, O_RDWR);
	bool ok;

	if (fd < 0)
		return false;
	ok = put(fd, 1, 3 * PG - 100, 200) && got(fd, 1, 3 * PG - 100, 200);
	close(fd);
	return ok && !s->count[FUSE_READ] && !s->count[FUSE_WRITE];
}

/* INIT */

FIXTURE(init) {
	struct raw_server *s;
};

FIXTURE_VARIANT(init) {
	uint64_t on;		/* flags added to the reply */
	uint64_t off;		/* flags removed from the reply */
	uint32_t minor;		/* 0: the kernel's */
	int newer;		/* added to the minor version */
	size_t len;		/* 0: the whole reply */
	uint32_t kinds;
	uid_t user_id;
	uint32_t usable;	/* kinds of map that work afterwards */
};

FIXTURE_VARIANT_ADD(init, with_everything) {
	.on = FUSE_DAX_FMAP, .kinds = BOTH, .usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, with_no_kinds) {
	.on = FUSE_DAX_FMAP, .usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, with_extents_only) {
	.on = FUSE_DAX_FMAP, .kinds = KIND_BIT(EXTENTS),
	.usable = KIND_BIT(EXTENTS),
};

FIXTURE_VARIANT_ADD(init, with_stripes_only) {
	.on = FUSE_DAX_FMAP, .kinds = KIND_BIT(STRIPED),
	.usable = KIND_BIT(STRIPED),
};

FIXTURE_VARIANT_ADD(init, with_known_and_unknown_kinds) {
	.on = FUSE_DAX_FMAP, .kinds = ~KIND_BIT(STRIPED),
	.usable = KIND_BIT(EXTENTS),
};

FIXTURE_VARIANT_ADD(init, with_unknown_kinds_only) {
	.on = FUSE_DAX_FMAP, .kinds = ~BOTH,
};

FIXTURE_VARIANT_ADD(init, with_kinds_but_not_the_flag) {
	.off = FUSE_DAX_FMAP, .kinds = BOTH,
};

FIXTURE_VARIANT_ADD(init, without_FUSE_INIT_EXT) {
	.on = FUSE_DAX_FMAP, .off = FUSE_INIT_EXT, .kinds = BOTH,
};

FIXTURE_VARIANT_ADD(init, with_a_flag_that_was_not_offered) {
	.on = FUSE_DAX_FMAP | FUSE_INIT_EXT, .kinds = BOTH, .user_id = 1000,
};

FIXTURE_VARIANT_ADD(init, that_ends_before_the_kinds) {
	.on = FUSE_DAX_FMAP, .kinds = KIND_BIT(EXTENTS),
	.len = FUSE_INIT_OUT_FMAP_KINDS, .usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, that_ends_after_the_kinds) {
	.on = FUSE_DAX_FMAP, .kinds = KIND_BIT(EXTENTS),
	.len = FUSE_INIT_OUT_FMAP_KINDS + sizeof(uint32_t),
	.usable = KIND_BIT(EXTENTS),
};

FIXTURE_VARIANT_ADD(init, that_ends_after_the_flags_of_7_36) {
	.on = FUSE_DAX_FMAP, .len = offsetof(struct fuse_init_out, flags2) + 4,
	.usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, that_ends_before_the_flags_of_7_36) {
	.on = FUSE_DAX_FMAP, .len = offsetof(struct fuse_init_out, flags2),
};

FIXTURE_VARIANT_ADD(init, as_long_as_in_7_22) {
	.on = FUSE_DAX_FMAP, .minor = 22, .len = FUSE_COMPAT_22_INIT_OUT_SIZE,
};

/* Any minor version whose reply has the flags */
FIXTURE_VARIANT_ADD(init, of_7_12) {
	.on = FUSE_DAX_FMAP, .minor = 12, .usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, of_7_35) {
	.on = FUSE_DAX_FMAP, .minor = 35, .usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, of_7_45) {
	.on = FUSE_DAX_FMAP, .minor = 45, .kinds = BOTH, .usable = BOTH,
};

FIXTURE_VARIANT_ADD(init, of_a_later_version) {
	.on = FUSE_DAX_FMAP, .newer = 1, .kinds = BOTH, .usable = BOTH,
};

static struct {
	uint64_t on, off;
	uint32_t minor, newer, kinds;
	size_t len;
} init_reply;

static void edit_init(struct raw_server *s, struct fuse_init_out *out,
		      size_t *len)
{
	uint64_t flags = out->flags | (uint64_t)out->flags2 << 32;

	(void)s;
	flags = (flags | init_reply.on) & ~init_reply.off;
	out->flags = flags;
	out->flags2 = flags >> 32;
	if (init_reply.minor)
		out->minor = init_reply.minor;
	out->minor += init_reply.newer;
	memcpy((char *)out + FUSE_INIT_OUT_FMAP_KINDS, &init_reply.kinds,
	       sizeof(init_reply.kinds));
	if (init_reply.len)
		*len = init_reply.len;
}

FIXTURE_SETUP(init)
{
	const char *why = sandbox(2);

	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = rs_new();
	ASSERT_NE(NULL, self->s);
	self->s->user_id = variant->user_id;
	self->s->hook = tap;
	init_reply.on = variant->on;
	init_reply.off = variant->off;
	init_reply.minor = variant->minor;
	init_reply.newer = variant->newer;
	init_reply.kinds = variant->kinds;
	init_reply.len = variant->len;
	self->s->edit_init = edit_init;
}

FIXTURE_TEARDOWN(init)
{
	rs_free(self->s);
}

/* 0 or errno of an open, -1 if it opened without requesting a map */
static int mapped_open(struct raw_server *s, const char *name)
{
	uint32_t asked = s->count[FUSE_GET_FMAP];
	int err = try_open(s, name, O_RDWR);

	return !err && s->count[FUSE_GET_FMAP] == asked ? -1 : err;
}

TEST_F(init, decides_which_maps_work)
{
	struct raw_server *s = self->s;
	struct rs_node *n;
	struct rs_map m;
	int fd, ret;

	add_small(s, "extents", 0);
	n = rs_add_file(s, FUSE_ROOT_ID, "stripes");
	rs_map_init(&m, STRIPED, 2 * PG);
	rs_map_stripe(&m, 2, PG, 2 * PG);
	rs_map_strip(&m, 0, MB, PG);
	rs_map_strip(&m, 1, MB, PG);
	rs_set_map(s, n, &m);
	rs_add_dev(s, dax[1], 1, RS_PULL);
	ASSERT_EQ(0, rs_start(s, NULL));

	/* the kernel offers the same whatever the server replies */
	EXPECT_EQ(INIT_IN_SIZE, wire->init_len);
	EXPECT_EQ(variant->user_id == 0, !!(s->offered & FUSE_DAX_FMAP));
	EXPECT_EQ(variant->user_id ? 0 : BOTH, s->offered_kinds);
	for (int i = FUSE_INIT_IN_FMAP_KINDS + 4; i < INIT_IN_SIZE; i++)
		EXPECT_EQ(0, wire->init_rest[i]);

	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ret = rs_daxdev_open(s->fd, fd, 0, 0);
	EXPECT_EQ(variant->usable ? -EINVAL : -EPERM, ret);
	ret = rs_daxdev_close(s->fd, 0);
	EXPECT_EQ(variant->usable ? -ENOENT : -EPERM, ret);
	close(fd);

	if (!variant->usable) {
		EXPECT_EQ(-1, mapped_open(s, "extents"));
		EXPECT_EQ(-1, mapped_open(s, "stripes"));
		EXPECT_EQ(0, s->count[FUSE_GET_DAXDEV]);
		return;
	}
	rs_add_dev(s, dax[0], 0, RS_PULL);
	EXPECT_EQ(variant->usable & KIND_BIT(EXTENTS) ? 0 : EIO,
		  mapped_open(s, "extents"));
	EXPECT_EQ(variant->usable & KIND_BIT(STRIPED) ? 0 : EIO,
		  mapped_open(s, "stripes"));
}

/* Requests and replies over each transport */

FIXTURE(message) {
	struct raw_server *s;
	struct rs_node *f;
};

FIXTURE_VARIANT(message) {
	enum way way;
};

FIXTURE_VARIANT_ADD(message, by_read_and_write) {
	.way = BY_READ_AND_WRITE,
};

FIXTURE_VARIANT_ADD(message, by_splice) {
	.way = BY_SPLICE,
};

FIXTURE_VARIANT_ADD(message, by_io_uring) {
	.way = BY_IO_URING,
};

FIXTURE_SETUP(message)
{
	const char *why = need(2, variant->way);

	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->hook = tap;
	self->s->nthreads = 4;
	self->f = add_small(self->s, "f", 0);
}

FIXTURE_TEARDOWN(message)
{
	rs_free(self->s);
	restore_uring();
}

#define START()	ASSERT_EQ(0, start_by(self->s, variant->way))

TEST_F(message, requesting_a_map_has_correct_fields)
{
	const struct fuse_get_fmap_in *in = (void *)wire->seen[0].arg;
	const struct fuse_in_header *ih = &wire->seen[0].ih;

	START();
	EXPECT_TRUE(works(self->s, "f"));
	ASSERT_EQ(1, wire->nseen);
	EXPECT_EQ(FUSE_GET_FMAP, ih->opcode);
	EXPECT_EQ(sizeof(*ih) + 16, ih->len);
	EXPECT_EQ(rs_ino(self->s, self->f), ih->nodeid);
	EXPECT_EQ(0, ih->unique & 1);
	EXPECT_EQ(getpid(), ih->pid);
	EXPECT_EQ(FIRST_SIZE, in->size);
	EXPECT_EQ(0, in->flags);
	EXPECT_EQ(0, in->offset);
	EXPECT_TRUE(sent_by(self->s, variant->way, FUSE_GET_FMAP));
}

TEST_F(message, requesting_the_rest_of_a_map_has_correct_fields)
{
	uint32_t got_by_then = 0;

	self->s->first = 33;
	self->s->slice = 50;
	START();
	EXPECT_TRUE(works(self->s, "f"));
	ASSERT_EQ(3, wire->nseen);
	for (int i = 0; i < 3; i++) {
		const struct fuse_get_fmap_in *in = (void *)wire->seen[i].arg;

		EXPECT_EQ(FUSE_GET_FMAP, wire->seen[i].ih.opcode);
		EXPECT_EQ(sizeof(struct fuse_in_header) + 16,
			  wire->seen[i].ih.len);
		EXPECT_EQ(rs_ino(self->s, self->f), wire->seen[i].ih.nodeid);
		/* one byte more than the rest, to detect a map that grew */
		EXPECT_EQ(i ? SMALL_LEN - got_by_then + 1 : FIRST_SIZE,
			  in->size);
		EXPECT_EQ(0, in->flags);
		EXPECT_EQ(got_by_then, in->offset);
		got_by_then += i ? 50 : 33;
	}
}

TEST_F(message, requesting_the_rest_of_a_header_has_correct_fields)
{
	self->s->first = 31;
	START();
	EXPECT_TRUE(works(self->s, "f"));
	ASSERT_EQ(2, wire->nseen);
	EXPECT_EQ(31, self->s->fmap_last_offset);
	EXPECT_EQ(FIRST_SIZE - 31, self->s->fmap_last_size);
}

TEST_F(message, requesting_a_device_has_correct_fields)
{
	const struct fuse_get_daxdev_in *in = (void *)wire->seen[1].arg;
	const struct fuse_in_header *ih = &wire->seen[1].ih;

	self->s->dev[0].how = RS_PULL;
	START();
	EXPECT_TRUE(works(self->s, "f"));
	ASSERT_EQ(2, wire->nseen);
	EXPECT_EQ(FUSE_GET_DAXDEV, ih->opcode);
	EXPECT_EQ(sizeof(*ih) + 8, ih->len);
	EXPECT_EQ(FUSE_ROOT_ID, ih->nodeid);
	EXPECT_EQ(getpid(), ih->pid);
	EXPECT_EQ(0, in->index);
	EXPECT_EQ(0, in->reserved);
	EXPECT_TRUE(sent_by(self->s, variant->way, FUSE_GET_DAXDEV));
}

TEST_F(message, with_a_map_may_have_slices_of_any_size)
{
	static const uint32_t sizes[] = {
		1, 2, 3, 7, 31, 32, 33, 55, 56, 57, 63, 64, 65,
		SMALL_LEN / 2, SMALL_LEN - 25, SMALL_LEN - 24, SMALL_LEN - 1,
		SMALL_LEN, SMALL_LEN + 1,
	};
	uint32_t asked;

	START();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		self->s->first = self->s->slice = sizes[i];
		asked = self->s->count[FUSE_GET_FMAP];
		EXPECT_TRUE(works(self->s, "f")) {
			TH_LOG("slices of %u bytes", sizes[i]);
		}
		EXPECT_EQ((SMALL_LEN + sizes[i] - 1) / sizes[i],
			  self->s->count[FUSE_GET_FMAP] - asked);
		ASSERT_TRUE(forgotten(self->s, "f"));
	}
	EXPECT_TRUE(sent_by(self->s, variant->way, FUSE_GET_FMAP));
}

TEST_F(message, without_a_map_size_has_one_slice)
{
	struct fuse_fmap_header *h = (void *)self->f->map;
	struct rs_node *large = rs_add_file(self->s, FUSE_ROOT_ID, "large");
	int fit = (FIRST_SIZE - sizeof(*h)) / sizeof(struct fuse_fmap_extent);
	struct rs_map m;

	h->fmap_size = 0;
	rs_map_init(&m, EXTENTS, (fit + 1) * PG);
	for (int i = 0; i < fit + 1; i++)
		rs_map_extent(&m, 0, MB + 2 * i * PG, PG);
	rs_set_map(self->s, large, &m);
	h = (void *)large->map;
	h->fmap_size = 0;
	START();
	EXPECT_TRUE(works(self->s, "f"));
	EXPECT_EQ(1, self->s->count[FUSE_GET_FMAP]);
	/* cut at the size of the request; the kernel fetches no more */
	EXPECT_EQ(EIO, try_open(self->s, "large", O_RDWR));
	EXPECT_EQ(2, self->s->count[FUSE_GET_FMAP]);
	/* the same after a short first reply */
	EXPECT_TRUE(forgotten(self->s, "f"));
	self->s->first = 40;
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(3, self->s->count[FUSE_GET_FMAP]);
	h->fmap_size = large->map_len;
	self->s->first = UINT32_MAX;
	EXPECT_TRUE(works(self->s, "large"));
}

/* Change the length of the map and its header between two slices */
static int change_size(struct raw_server *s, const struct fuse_in_header *ih,
		       const void *arg)
{
	const struct fuse_get_fmap_in *in = arg;
	struct rs_node *n = &s->node[ih->nodeid - FUSE_ROOT_ID];

	if (ih->opcode == FUSE_GET_FMAP && in->offset >= wire->offset) {
		n->map_len = wire->len;
		((struct fuse_fmap_header *)n->map)->fmap_size = wire->len;
	}
	return 0;
}

TEST_F(message, with_a_map_that_changes_its_size_is_refused)
{
	static const uint64_t from[] = { 8, 20, 33, 100 };
	static const size_t sizes[] = {
		SMALL_LEN - 24, SMALL_LEN - 1, SMALL_LEN + 1, SMALL_LEN + 24,
	};
	struct raw_server *s = self->s;
	struct rs_node *g;
	struct rs_map m;

	/* one more extent than the header counts, for the longer sizes */
	g = rs_add_file(s, FUSE_ROOT_ID, "g");
	rs_map_init(&m, EXTENTS, SMALL_EXTENTS * PG);
	for (int i = 0; i < SMALL_EXTENTS + 1; i++)
		rs_map_extent(&m, 0, MB + 2 * i * PG, PG);
	rs_map_header(&m)->nextents--;
	rs_set_map(s, g, &m);
	wire->answer = change_size;
	s->slice = 45;
	START();
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			struct fuse_fmap_header *h = (void *)g->map;

			g->map_len = h->fmap_size = SMALL_LEN;
			wire->len = sizes[j];
			wire->offset = from[i];
			s->first = from[i];
			EXPECT_EQ(EIO, try_open(s, "g", O_RDWR)) {
				TH_LOG("%zu bytes from offset %zu", wire->len,
				       (size_t)wire->offset);
			}
		}
	}
	wire->answer = NULL;
	g->map_len = ((struct fuse_fmap_header *)g->map)->fmap_size = SMALL_LEN;
	EXPECT_TRUE(works(s, "g"));
}

/* Test every errno by read and write, every fourth by the other transports */
#define STEP	(variant->way == BY_READ_AND_WRITE ? 1 : 4)

TEST_F_TIMEOUT(message, with_an_error_returns_it_to_the_opener, 120)
{
	START();
	for (int err = 1; err <= MAX_ERRNO; err += STEP) {
		if (err == ENODATA || err == ENOSYS)
			continue;
		self->f->map_err = err;
		EXPECT_EQ(err, try_open(self->s, "f", O_RDWR));
	}
	self->f->map_err = 0;
	EXPECT_TRUE(works(self->s, "f"));
}

static int answer_error(struct raw_server *s, const struct fuse_in_header *ih,
			const void *arg)
{
	(void)s;
	return is_target(ih, arg) ? -wire->error : 0;
}

TEST_F(message, with_an_error_after_the_first_slice_fails_the_open)
{
	self->s->first = 40;
	wire->opcode = FUSE_GET_FMAP;
	wire->offset = 40;
	wire->answer = answer_error;
	START();
	for (int err = 1; err <= MAX_ERRNO; err += err < 70 ? 1 : 40) {
		wire->error = err;
		/* "No map" contradicts the first slice */
		EXPECT_EQ(err == ENODATA || err == ENOSYS ? EIO : err,
			  try_open(self->s, "f", O_RDWR));
	}
	/* the same when the first slice ends inside the header */
	self->s->first = wire->offset = 20;
	wire->error = ENODATA;
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	wire->error = ENOSYS;
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	wire->error = EPERM;
	EXPECT_EQ(EPERM, try_open(self->s, "f", O_RDWR));
	wire->answer = NULL;
	EXPECT_TRUE(works(self->s, "f"));
}

TEST_F(message, with_ENODATA_affects_one_file_and_ENOSYS_all)
{
	struct raw_server *s = self->s;
	struct rs_node *g = add_small(s, "g", MB);
	int fd;

	add_small(s, "h", 2 * MB);
	rs_add_file(s, FUSE_ROOT_ID, "plain");
	START();
	EXPECT_EQ(0, try_open(s, "plain", O_RDWR));
	EXPECT_EQ(0, try_open(s, "plain", O_RDWR));
	EXPECT_EQ(1, s->count[FUSE_GET_FMAP]);
	EXPECT_TRUE(works(s, "f"));
	EXPECT_EQ(2, s->count[FUSE_GET_FMAP]);
	g->map_err = ENOSYS;
	EXPECT_EQ(0, try_open(s, "g", O_RDWR));
	EXPECT_EQ(3, s->count[FUSE_GET_FMAP]);
	/* ENOSYS is final for the connection */
	g->map_err = 0;
	EXPECT_EQ(0, try_open(s, "g", O_RDWR));
	EXPECT_EQ(0, try_open(s, "h", O_RDWR));
	EXPECT_EQ(3, s->count[FUSE_GET_FMAP]);
	/* an inode that has a map keeps it */
	EXPECT_TRUE(works(s, "f"));
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, ftruncate(fd, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	close(fd);
	/* until the kernel forgets the inode */
	EXPECT_TRUE(forgotten(s, "f"));
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
	EXPECT_EQ(3, s->count[FUSE_GET_FMAP]);
}

/* The errors that GET_DAXDEV passes on; all others become ENODEV */
static int daxdev_errno(int err)
{
	switch (err) {
	case EIO:
	case EINTR:
	case ENOMEM:
	case ENOTCONN:
	case ECONNABORTED:
	case EBUSY:
	case EOPNOTSUPP:
		return err;
	}
	return ENODEV;
}

TEST_F_TIMEOUT(message, with_an_error_for_a_device_fails_the_open, 120)
{
	self->s->dev[0].how = RS_PULL;
	START();
	for (int err = 1; err <= MAX_ERRNO; err += STEP) {
		self->s->daxdev_err = err;
		EXPECT_EQ(daxdev_errno(err), try_open(self->s, "f", O_RDWR)) {
			TH_LOG("GET_DAXDEV answered %d", err);
		}
	}
	self->s->daxdev_err = 0;
	EXPECT_TRUE(works(self->s, "f"));
	EXPECT_EQ(self->s->count[FUSE_GET_FMAP],
		  self->s->count[FUSE_GET_DAXDEV]);
}

TEST_F(message, with_a_device_has_280_bytes)
{
	struct raw_server *s = self->s;
	struct fuse_daxdev_out *out = (void *)s->daxdev_reply;
	int expect = variant->way == BY_IO_URING ? ENODEV : EIO;

	s->dev[0].how = RS_PULL;
	s->daxdev_raw = true;
	strcpy(out->name, dax[0]);
	ASSERT_EQ(280, sizeof(*out));
	START();
	/* lengths that end in every field, and each length near the limit */
	for (uint32_t len = 0; len < 320; len += len < 24 || len > 270 ? 1 : 6) {
		if (len == sizeof(*out))
			continue;
		s->daxdev_reply_len = len;
		EXPECT_EQ(expect, try_open(s, "f", O_RDWR)) {
			TH_LOG("a reply of %u bytes", len);
		}
	}
	s->daxdev_reply_len = sizeof(*out);
	EXPECT_TRUE(works(s, "f"));
}

/* Store the result of a reply for the test */
static void record(int result)
{
	wire->result[wire->nresults % SEEN] = result;
	__atomic_add_fetch(&wire->nresults, 1, __ATOMIC_RELEASE);
}

/* Write a reply with the given header and size, right or wrong */
static int lie(struct raw_server *s, uint64_t unique, int32_t error,
	       uint32_t len, size_t written)
{
	char body[64] = {};
	struct fuse_out_header oh = {
		.len = len, .error = error, .unique = unique,
	};
	struct iovec iov[2] = {
		{ &oh, written < sizeof(oh) ? written : sizeof(oh) },
		{ body, written < sizeof(oh) ? 0 : written - sizeof(oh) },
	};

	return rs_write(s, iov, iov[1].iov_len ? 2 : 1);
}

/* Send a reply that matches the request but is invalid */
static int answer_wrongly(struct raw_server *s, const struct fuse_in_header *ih,
			  const void *arg)
{
	const struct fuse_get_fmap_in *in = arg;
	uint32_t room = ih->opcode == FUSE_GET_FMAP ?
			in->size : sizeof(struct fuse_daxdev_out);
	void *b;

	if (!is_target(ih, arg))
		return 0;
	if (wire->error) {
		record(lie(s, ih->unique, -wire->error, 16 + 8, 16 + 8));
		return 1;
	}
	b = calloc(1, room + wire->len);
	if (!b)
		return -ENOMEM;
	record(rs_reply(s, ih->unique, 0, b, room + wire->len));
	free(b);
	return 1;
}

TEST_F(message, longer_than_requested_fails_the_open)
{
	static const size_t more[] = { 1, 7, 8192, 100000 };
	struct raw_server *s = self->s;
	bool ring = variant->way == BY_IO_URING;

	wire->answer = answer_wrongly;
	s->first = 40;
	START();
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		wire->len = more[i];
		wire->nresults = 0;
		wire->opcode = FUSE_GET_FMAP;
		wire->offset = 0;
		EXPECT_EQ(ring ? EINVAL : EIO, try_open(s, "f", O_RDWR));
		wire->offset = 40;
		EXPECT_EQ(ring ? EINVAL : EIO, try_open(s, "f", O_RDWR));
		/* the opener may continue before the server does */
		ASSERT_TRUE(wait_until(&wire->nresults, 2));
		EXPECT_EQ(ring ? 0 : -EINVAL, wire->result[0]);
		EXPECT_EQ(ring ? 0 : -EINVAL, wire->result[1]);
	}
	wire->answer = NULL;
	EXPECT_TRUE(works(s, "f"));
}

/* Reply again after the request is complete */
static int answer_twice(struct raw_server *s, const struct fuse_in_header *ih,
			const void *arg)
{
	const struct rs_node *n = &s->node[ih->nodeid - FUSE_ROOT_ID];
	struct rs_ring_call *call = rs_ring_call;

	if (!is_target(ih, arg))
		return 0;
	record(rs_reply(s, ih->unique, 0, n->map, n->map_len));
	/* the ring entry is used up, so write the others to /dev/fuse */
	rs_ring_call = NULL;
	record(rs_reply(s, ih->unique, 0, n->map, n->map_len));
	record(rs_reply(s, ih->unique, -EPERM, NULL, 0));
	rs_ring_call = call;
	return 1;
}

TEST_F(message, that_replies_twice_returns_ENOENT)
{
	wire->answer = answer_twice;
	wire->opcode = FUSE_GET_FMAP;
	START();
	EXPECT_TRUE(works(self->s, "f"));
	/* the opener does not wait for the later replies */
	ASSERT_TRUE(wait_until(&wire->nresults, 3));
	EXPECT_EQ(0, wire->result[0]);
	EXPECT_EQ(-ENOENT, wire->result[1]);
	EXPECT_EQ(-ENOENT, wire->result[2]);
}

/* Replies that only a message can express, not an io_uring command */

FIXTURE(reply) {
	struct raw_server *s;
	struct rs_node *f;
};

FIXTURE_VARIANT(reply) {
	enum way way;
};

FIXTURE_VARIANT_ADD(reply, by_write) {
	.way = BY_READ_AND_WRITE,
};

FIXTURE_VARIANT_ADD(reply, by_splice) {
	.way = BY_SPLICE,
};

FIXTURE_SETUP(reply)
{
	const char *why = need(2, variant->way);

	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->hook = tap;
	self->s->nthreads = 2;
	self->f = add_small(self->s, "f", 0);
}

FIXTURE_TEARDOWN(reply)
{
	rs_free(self->s);
}

static const int lie_errno[] = {
	EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL,
	ENOENT, ENOENT, EINVAL,
};

static int lies_then_truth(struct raw_server *s,
			   const struct fuse_in_header *ih, const void *arg)
{
	uint64_t u = ih->unique;

	if (!is_target(ih, arg))
		return 0;
	/* wrong lengths */
	record(lie(s, u, 0, 16 + 33, 16 + 32));
	record(lie(s, u, 0, 16 + 31, 16 + 32));
	record(lie(s, u, 0, 0, 16 + 32));
	record(lie(s, u, 0, UINT32_MAX, 16 + 32));
	record(lie(s, u, 0, 15, 15));
	/* invalid errors */
	record(lie(s, u, 1, 16, 16));
	record(lie(s, u, -512, 16, 16));
	record(lie(s, u, INT32_MIN, 16, 16));
	record(lie(s, u, INT32_MAX, 16, 16));
	/* no such request */
	record(lie(s, u + 1000000, 0, 16 + 32, 16 + 32));
	record(lie(s, 1ULL << 63, -ENODATA, 16, 16));
	/* not a valid notification */
	record(lie(s, 0, 0, 16 + 32, 16 + 32));
	return 0;
}

static bool all_lies_were_rejected(void)
{
	bool ok = wire->nresults == ARRAY_SIZE(lie_errno);

	for (size_t i = 0; i < ARRAY_SIZE(lie_errno); i++)
		ok &= wire->result[i] == -lie_errno[i];
	return ok;
}

TEST_F(reply, that_is_invalid_leaves_the_request_pending)
{
	static const uint32_t opcodes[] = { FUSE_GET_FMAP, FUSE_GET_DAXDEV };

	self->s->dev[0].how = RS_PULL;
	wire->answer = lies_then_truth;
	START();
	for (int i = 0; i < 2; i++) {
		wire->opcode = opcodes[i];
		wire->nresults = 0;
		EXPECT_TRUE(works(self->s, "f"));
		EXPECT_TRUE(all_lies_were_rejected()) {
			for (uint32_t j = 0; j < wire->nresults; j++)
				TH_LOG("lie %u: %d", j, wire->result[j]);
		}
		EXPECT_TRUE(forgotten(self->s, "f"));
		EXPECT_EQ(0, rs_daxdev_close(self->s->fd, 0));
		EXPECT_EQ(i + 1, self->s->count[FUSE_GET_FMAP]);
	}
}

TEST_F(reply, with_an_error_and_data_is_invalid)
{
	struct raw_server *s = self->s;

	wire->answer = answer_wrongly;
	wire->opcode = FUSE_GET_FMAP;
	START();
	wire->error = ENODATA;
	EXPECT_EQ(EIO, try_open(s, "f", O_RDWR));
	wire->error = ENOSYS;
	EXPECT_EQ(EIO, try_open(s, "f", O_RDWR));
	ASSERT_TRUE(wait_until(&wire->nresults, 2));
	EXPECT_EQ(-EINVAL, wire->result[0]);
	EXPECT_EQ(-EINVAL, wire->result[1]);
	wire->answer = NULL;
	EXPECT_TRUE(works(s, "f"));
}

/* Keep a request; the test answers it */
static int keep(struct raw_server *s, const struct fuse_in_header *ih,
		const void *arg)
{
	(void)s;
	if (!is_target(ih, arg))
		return 0;
	wire->held_unique = ih->unique;
	__atomic_add_fetch(&wire->held, 1, __ATOMIC_RELEASE);
	return 1;
}

static int reply_map(struct raw_server *s, uint64_t unique,
		     const struct rs_node *n)
{
	return rs_reply(s, unique, 0, n->map, n->map_len);
}

#define NKEPT	4

TEST_F(reply, may_come_in_any_order)
{
	struct raw_server *s = self->s;
	struct rs_node *n[NKEPT];
	pid_t pid[NKEPT];
	char name[8];

	wire->answer = keep;
	wire->opcode = FUSE_GET_FMAP;
	for (int i = 0; i < NKEPT; i++) {
		snprintf(name, sizeof(name), "%d", i);
		n[i] = add_small(s, name, (i + 1) * MB);
	}
	START();
	for (int i = 0; i < NKEPT; i++) {
		snprintf(name, sizeof(name), "%d", i);
		pid[i] = opener(s, name);
		ASSERT_LE(0, pid[i]);
		ASSERT_TRUE(wait_until(&wire->held, i + 1));
	}
	/* no opener waits for the reply to another one */
	for (int i = NKEPT; i--;) {
		EXPECT_EQ(rs_ino(s, n[i]), wire->seen[i].ih.nodeid);
		EXPECT_EQ(0, reply_map(s, wire->seen[i].ih.unique, n[i]));
		EXPECT_EQ(0, wait_soon(pid[i]));
		snprintf(name, sizeof(name), "%d", i);
		EXPECT_TRUE(works(s, name));
	}
	EXPECT_EQ(NKEPT, s->count[FUSE_GET_FMAP]);
}

TEST_F(reply, of_the_wrong_type_fails_the_open)
{
	struct raw_server *s = self->s;
	struct fuse_daxdev_out dev = {};
	pid_t pid;

	s->dev[0].how = RS_PULL;
	wire->answer = keep;
	START();
	/* a map in reply to GET_DAXDEV */
	wire->opcode = FUSE_GET_DAXDEV;
	pid = opener(s, "f");
	ASSERT_TRUE(wait_until(&wire->held, 1));
	EXPECT_EQ(-EINVAL, reply_map(s, wire->held_unique, self->f));
	EXPECT_EQ(EIO << 8, wait_soon(pid));
	/* a device in reply to GET_FMAP: its version is invalid */
	wire->opcode = FUSE_GET_FMAP;
	pid = opener(s, "f");
	ASSERT_TRUE(wait_until(&wire->held, 2));
	strcpy(dev.name, dax[0]);
	EXPECT_EQ(0, rs_reply(s, wire->held_unique, 0, &dev, sizeof(dev)));
	EXPECT_EQ(EIO << 8, wait_soon(pid));
	wire->answer = NULL;
	EXPECT_TRUE(works(s, "f"));
}

TEST_F(reply, after_an_abort_returns_ENOENT)
{
	struct raw_server *s = self->s;
	pid_t pid;

	wire->answer = keep;
	wire->opcode = FUSE_GET_FMAP;
	START();
	pid = opener(s, "f");
	ASSERT_TRUE(wait_until(&wire->held, 1));
	ASSERT_EQ(0, abort_connection(connection_of(s)));
	EXPECT_EQ(ECONNABORTED << 8, wait_soon(pid));
	EXPECT_EQ(-ENOENT, reply_map(s, wire->held_unique, self->f));
	EXPECT_EQ(ENOTCONN, try_open(s, "f", O_RDWR));
}

TEST_F(reply, of_EAGAIN_to_an_interrupt_repeats_the_interrupt)
{
	struct raw_server *s = self->s;
	pid_t pid;

	wire->answer = keep;
	wire->opcode = FUSE_GET_FMAP;
	wire->interrupt_reply = EAGAIN;
	START();
	pid = opener(s, "f");
	ASSERT_TRUE(wait_until(&wire->held, 1));
	kill(pid, SIGUSR1);
	EXPECT_TRUE(wait_until(&wire->ninterrupts, 3));
	EXPECT_EQ(wire->held_unique, wire->interrupted);
	EXPECT_EQ(0, reply_map(s, wire->held_unique, self->f));
	EXPECT_EQ(0, wait_soon(pid));
	EXPECT_TRUE(works(s, "f"));
}

TEST_F(reply, of_ENOSYS_to_an_interrupt_disables_interrupts)
{
	struct raw_server *s = self->s;
	struct rs_node *g = add_small(s, "g", MB);
	pid_t pid;

	wire->answer = keep;
	wire->opcode = FUSE_GET_FMAP;
	wire->interrupt_reply = ENOSYS;
	START();
	pid = opener(s, "f");
	ASSERT_TRUE(wait_until(&wire->held, 1));
	kill(pid, SIGUSR1);
	EXPECT_TRUE(wait_until(&wire->ninterrupts, 1));
	/* the kernel accepts ENOSYS only while the request is pending */
	usleep(200000);
	EXPECT_EQ(0, reply_map(s, wire->held_unique, self->f));
	EXPECT_EQ(0, wait_soon(pid));
	pid = opener(s, "g");
	ASSERT_TRUE(wait_until(&wire->held, 2));
	kill(pid, SIGUSR1);
	usleep(100000);
	EXPECT_EQ(1, wire->ninterrupts);
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	EXPECT_EQ(0, reply_map(s, wire->held_unique, g));
	EXPECT_EQ(0, wait_soon(pid));
}

/* Replies that only an io_uring command can express, not a message */

FIXTURE(command) {
	struct raw_server *s;
};

FIXTURE_SETUP(command)
{
	const char *why = need(1, BY_IO_URING);

	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->hook = tap;
	add_small(self->s, "f", 0);
}

FIXTURE_TEARDOWN(command)
{
	rs_free(self->s);
	restore_uring();
}

/* Invalid io_uring commands; each one ends its request */
static const struct ring_lie {
	const char *name;
	int error;
	size_t len;
	uint64_t unique;	/* added to the correct one */
	int expect;
} ring_lies[] = {
	{ "a byte more than was requested", 0, FIRST_SIZE + 1, 0, EINVAL },
	{ "more bytes than the buffer has", 0, 2 * MB, 0, EINVAL },
	{ "4 GiB minus a byte", 0, UINT32_MAX, 0, EINVAL },
	{ "error 1", 1, 0, 0, EINVAL },
	{ "error -512", -512, 0, 0, EINVAL },
	{ "the smallest error", INT_MIN, 0, 0, EINVAL },
	{ "the largest error", INT_MAX, 0, 0, EINVAL },
	{ "another request", 0, SMALL_LEN, 1000000, ENOENT },
	{ "an error and bytes", -EDOM, SMALL_LEN, 0, EDOM },
};

static int lie_by_ring(struct raw_server *s, const struct fuse_in_header *ih,
		       const void *arg)
{
	const struct ring_lie *l = &ring_lies[wire->len];

	if (!is_target(ih, arg))
		return 0;
	/* a valid map */
	rs_reply(s, ih->unique, 0,
		 s->node[ih->nodeid - FUSE_ROOT_ID].map, SMALL_LEN);
	rs_ring_call->error = l->error;
	rs_ring_call->len = l->len;
	rs_ring_call->unique += l->unique;
	return 1;
}

TEST_F(command, that_is_invalid_ends_the_request)
{
	wire->opcode = FUSE_GET_FMAP;
	wire->answer = lie_by_ring;
	ASSERT_EQ(0, start_ring(self->s));
	for (size_t i = 0; i < ARRAY_SIZE(ring_lies); i++) {
		wire->len = i;
		EXPECT_EQ(ring_lies[i].expect, try_open(self->s, "f", O_RDWR)) {
			TH_LOG("%s", ring_lies[i].name);
		}
	}
	wire->answer = NULL;
	EXPECT_TRUE(works(self->s, "f"));
}

/* Replies that come late or never */

FIXTURE(answer) {
	struct raw_server *s;
};

FIXTURE_VARIANT(answer) {
	enum way way;
	uint32_t opcode;
	uint64_t offset;
};

FIXTURE_VARIANT_ADD(answer, with_a_map) {
	.way = BY_READ_AND_WRITE, .opcode = FUSE_GET_FMAP,
};

FIXTURE_VARIANT_ADD(answer, with_the_rest_of_a_map) {
	.way = BY_READ_AND_WRITE, .opcode = FUSE_GET_FMAP, .offset = 40,
};

FIXTURE_VARIANT_ADD(answer, with_a_device) {
	.way = BY_READ_AND_WRITE, .opcode = FUSE_GET_DAXDEV,
};

FIXTURE_VARIANT_ADD(answer, with_a_map_by_io_uring) {
	.way = BY_IO_URING, .opcode = FUSE_GET_FMAP,
};

FIXTURE_VARIANT_ADD(answer, with_the_rest_of_a_map_by_io_uring) {
	.way = BY_IO_URING, .opcode = FUSE_GET_FMAP, .offset = 40,
};

FIXTURE_VARIANT_ADD(answer, with_a_device_by_io_uring) {
	.way = BY_IO_URING, .opcode = FUSE_GET_DAXDEV,
};

/* Block the server thread until the test releases the request */
static int hold(struct raw_server *s, const struct fuse_in_header *ih,
		const void *arg)
{
	uint32_t n;

	(void)s;
	if (!is_target(ih, arg))
		return 0;
	wire->held_unique = ih->unique;
	n = __atomic_add_fetch(&wire->held, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&wire->release, __ATOMIC_ACQUIRE) < n)
		usleep(1000);
	return -wire->error;
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* A held request blocks the io_uring queue of its CPU */
static pid_t opener_on(struct raw_server *s, int cpu)
{
	pid_t pid;

	run_on(cpu);
	pid = opener(s, "f");
	run_on(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	return pid;
}

FIXTURE_SETUP(answer)
{
	const char *why = need(1, variant->way);

	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->hook = tap;
	self->s->nthreads = 4;
	self->s->dev[0].how = RS_PULL;
	if (variant->offset)
		self->s->first = variant->offset;
	add_small(self->s, "f", 0);
	wire->answer = hold;
	wire->opcode = variant->opcode;
	wire->offset = variant->offset;
	START();
}

FIXTURE_TEARDOWN(answer)
{
	rs_free(self->s);
	restore_uring();
}

/* How often the map was requested from its start */
#define MAPS_REQUESTED()	(self->s->count[FUSE_GET_FMAP] /	\
				 (variant->offset ? 2 : 1))

TEST_F(answer, is_awaited_if_the_server_ignores_an_interrupt)
{
	pid_t pid = opener_on(self->s, 0);

	ASSERT_TRUE(wait_until(&wire->held, 1));
	kill(pid, SIGUSR1);
	EXPECT_TRUE(wait_until(&wire->ninterrupts, 1));
	EXPECT_EQ(wire->held_unique, wire->interrupted);
	usleep(50000);
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	wire->release = 1;
	EXPECT_EQ(0, wait_soon(pid));
	EXPECT_TRUE(works(self->s, "f"));
	EXPECT_EQ(1, MAPS_REQUESTED());
}

TEST_F(answer, of_EINTR_to_an_interrupt_ends_the_open)
{
	pid_t pid = opener_on(self->s, 0);

	ASSERT_TRUE(wait_until(&wire->held, 1));
	kill(pid, SIGUSR1);
	EXPECT_TRUE(wait_until(&wire->ninterrupts, 1));
	wire->error = EINTR;
	wire->release = 1;
	EXPECT_EQ(EINTR << 8, wait_soon(pid));
	wire->answer = NULL;
	EXPECT_TRUE(works(self->s, "f"));
	EXPECT_EQ(2, MAPS_REQUESTED());
}

/* The same applies to every request that the server has read */
TEST_F(answer, is_awaited_by_a_killed_process)
{
	pid_t pid = opener_on(self->s, 0);

	ASSERT_TRUE(wait_until(&wire->held, 1));
	kill(pid, SIGKILL);
	EXPECT_TRUE(wait_until(&wire->ninterrupts, 1));
	EXPECT_EQ(wire->held_unique, wire->interrupted);
	usleep(50000);
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	wire->release = 2;
	EXPECT_EQ(SIGKILL, wait_soon(pid));
	EXPECT_TRUE(works(self->s, "f"));
}

static void abort_unanswered(struct __test_metadata *const _metadata,
			     struct raw_server *s, bool force, int sig)
{
	int dir = open_in(s, "", O_PATH | O_DIRECTORY);
	/* this sends a request, so it comes before the queue is blocked */
	unsigned int conn = connection_of(s);
	pid_t pid = opener_on(s, 0);
	struct raw_server *next;

	ASSERT_LE(0, dir);
	ASSERT_TRUE(wait_until(&wire->held, 1));
	if (sig) {
		kill(pid, sig);
		EXPECT_TRUE(wait_until(&wire->ninterrupts, 1));
	}
	if (force) {
		/* @dir keeps the mount busy */
		EXPECT_EQ(-1, umount2(s->mnt, MNT_FORCE));
		EXPECT_EQ(EBUSY, errno);
	} else {
		EXPECT_EQ(0, abort_connection(conn));
	}
	EXPECT_EQ(sig ? sig : ECONNABORTED << 8, wait_soon(pid));
	EXPECT_EQ(-ENOENT, rs_reply(s, wire->held_unique, -EPERM, NULL, 0));
	EXPECT_EQ(ENOTCONN, try_open(s, "f", O_RDWR));
	close(dir);
	EXPECT_EQ(0, umount2(s->mnt, 0));
	/* the device is free again */
	next = new_server(1);
	EXPECT_EQ(0, start_server(next));
	rs_free(next);
}

TEST_F(answer, that_never_comes_ends_with_an_abort)
{
	abort_unanswered(_metadata, self->s, false, 0);
}

TEST_F(answer, that_never_comes_ends_with_a_forced_unmount)
{
	abort_unanswered(_metadata, self->s, true, 0);
}

TEST_F(answer, that_never_comes_to_a_killed_process_ends_with_an_abort)
{
	abort_unanswered(_metadata, self->s, false, SIGKILL);
}

/* The tests with two openers: the request of the second must arrive as well */
#define NEED_TWO_CPUS()							\
	do {								\
		if (variant->way == BY_IO_URING &&			\
		    sysconf(_SC_NPROCESSORS_ONLN) < 2)			\
			SKIP(return, "needs two CPUs");		\
	} while (0)

TEST_F(answer, serves_all_openers_that_wait)
{
	pid_t first, second;

	NEED_TWO_CPUS();
	first = opener_on(self->s, 0);
	ASSERT_TRUE(wait_until(&wire->held, 1));
	second = opener(self->s, "f");
	ASSERT_TRUE(wait_until(&self->s->count[FUSE_OPEN], 2));
	usleep(50000);
	EXPECT_EQ(0, waitpid(second, NULL, WNOHANG));
	EXPECT_EQ(1, wire->held);
	wire->release = 1;
	EXPECT_EQ(0, wait_soon(first));
	EXPECT_EQ(0, wait_soon(second));
	EXPECT_EQ(1, MAPS_REQUESTED());
	EXPECT_TRUE(works(self->s, "f"));
}

TEST_F(answer, with_an_error_fails_the_first_opener_only)
{
	pid_t first, second;

	NEED_TWO_CPUS();
	first = opener_on(self->s, 0);
	ASSERT_TRUE(wait_until(&wire->held, 1));
	second = opener(self->s, "f");
	ASSERT_TRUE(wait_until(&self->s->count[FUSE_OPEN], 2));
	wire->error = EBUSY;
	wire->release = 1;
	EXPECT_EQ(EBUSY << 8, wait_soon(first));
	/* the second opener requests the map again */
	ASSERT_TRUE(wait_until(&wire->held, 2));
	EXPECT_EQ(0, waitpid(second, NULL, WNOHANG));
	wire->error = 0;
	wire->release = 2;
	EXPECT_EQ(0, wait_soon(second));
	EXPECT_EQ(2, MAPS_REQUESTED());
	EXPECT_TRUE(works(self->s, "f"));
}

/* A map that comes in slices */

FIXTURE(slices) {
	struct raw_server *s;
};

FIXTURE_VARIANT(slices) {
	uint32_t first;
	uint32_t slice;
	int nextents;
};

FIXTURE_VARIANT_ADD(slices, as_much_as_fits) {
	.first = UINT32_MAX, .slice = UINT32_MAX, .nextents = 1000,
};

FIXTURE_VARIANT_ADD(slices, byte_by_byte) {
	.first = 1, .slice = 1, .nextents = 4,
};

FIXTURE_VARIANT_ADD(slices, in_odd_slices) {
	.first = 4093, .slice = 777, .nextents = 500,
};

FIXTURE_VARIANT_ADD(slices, exactly_the_first_request) {
	.first = UINT32_MAX, .slice = UINT32_MAX,
	.nextents = (FIRST_SIZE - 32) / 24,
};

FIXTURE_VARIANT_ADD(slices, one_extent_more_than_the_first_request) {
	.first = UINT32_MAX, .slice = UINT32_MAX,
	.nextents = (FIRST_SIZE - 32) / 24 + 1,
};

FIXTURE_SETUP(slices)
{
	const char *why = sandbox(1);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(slices)
{
	rs_free(self->s);
}

TEST_F(slices, make_the_whole_map)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	int count = variant->nextents, fd;
	struct rs_map m;
	size_t len;

	/* reverse order keeps the extents from being merged */
	rs_map_init(&m, EXTENTS, count * PG);
	for (int i = 0; i < count; i++)
		rs_map_extent(&m, 0, (count - 1 - i) * PG, PG);
	len = m.len;
	rs_set_map(self->s, n, &m);
	self->s->first = variant->first;
	self->s->slice = variant->slice;
	ASSERT_EQ(0, start_server(self->s));
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(FIRST_SIZE, self->s->fmap_first_size);
	if (len > FIRST_SIZE && variant->slice == UINT32_MAX) {
		EXPECT_EQ(2, self->s->count[FUSE_GET_FMAP]);
		EXPECT_EQ(FIRST_SIZE, self->s->fmap_last_offset);
		/* one byte more than the rest, to detect a map that grew */
		EXPECT_EQ(len - FIRST_SIZE + 1, self->s->fmap_last_size);
	}
	EXPECT_EQ(1, n->nfmap);
	for (int i = 0; i < count; i += count < 50 ? 1 : 37)
		EXPECT_TRUE(put(fd, 1, i * PG + 10, 100));
	EXPECT_TRUE(put(fd, 1, count * PG - 100, 100));
	for (int i = 0; i < count; i += count < 50 ? 1 : 37)
		EXPECT_TRUE(got(fd, 1, i * PG + 10, 100));
	EXPECT_TRUE(got(fd, 1, count * PG - 100, 100));
	close(fd);
}

FIXTURE(broken_slices) {
	struct raw_server *s;
};

FIXTURE_SETUP(broken_slices)
{
	const char *why = sandbox(1);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->first = 40;
	self->s->slice = UINT32_MAX;
}

FIXTURE_TEARDOWN(broken_slices)
{
	rs_free(self->s);
}

TEST_F(broken_slices, that_exceed_the_size_in_the_header_are_refused)
{
	struct rs_node *n = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	struct rs_map m;

	rs_map_init(&m, EXTENTS, 8 * PG - 100);
	rs_map_extent(&m, 0, 2 * MB, 4 * PG);
	rs_map_extent(&m, 0, 4 * MB, 4 * PG);
	rs_map_append(&m, "", 1);
	rs_set_map(self->s, n, &m);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	n->map_len--;
	EXPECT_TRUE(works(self->s, "f"));
}

TEST_F(broken_slices, that_stop_coming_are_refused)
{
	add_small(self->s, "f", 2 * MB);
	self->s->slice = 0;
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(EIO, try_open(self->s, "f", O_RDWR));
	EXPECT_EQ(2, self->s->count[FUSE_GET_FMAP]);
	self->s->slice = 7;
	EXPECT_TRUE(works(self->s, "f"));
}

static int fail_second_slice(struct raw_server *s,
			     const struct fuse_in_header *ih, const void *arg)
{
	const struct fuse_get_fmap_in *in = arg;

	if (ih->opcode == FUSE_GET_FMAP && in->offset && s->backing_id)
		return -s->backing_id;
	return 0;
}

TEST_F(broken_slices, that_end_in_an_error_fail_the_open)
{
	add_small(self->s, "f", 2 * MB);
	self->s->hook = fail_second_slice;
	ASSERT_EQ(0, start_server(self->s));
	/* after the first slice ENODATA can't mean "no map" */
	self->s->backing_id = ENODATA;
	EXPECT_NE(0, try_open(self->s, "f", O_RDWR));
	self->s->backing_id = ENOSYS;
	EXPECT_NE(0, try_open(self->s, "f", O_RDWR));
	self->s->backing_id = ENOMEM;
	EXPECT_EQ(ENOMEM, try_open(self->s, "f", O_RDWR));
	self->s->backing_id = 0;
	EXPECT_TRUE(works(self->s, "f"));
}

/* How much of a map one request asks for */

FIXTURE(slice) {
	struct raw_server *s;
};

FIXTURE_VARIANT(slice) {
	uint32_t max_write;
	uint32_t expect;
};

FIXTURE_VARIANT_ADD(slice, is_8_KiB_if_max_write_is_0) {
	.max_write = 0, .expect = 8 * KB,
};

FIXTURE_VARIANT_ADD(slice, is_8_KiB_if_max_write_is_4_KiB) {
	.max_write = 4 * KB, .expect = 8 * KB,
};

FIXTURE_VARIANT_ADD(slice, is_max_write_if_that_is_8_KiB_and_a_byte) {
	.max_write = 8 * KB + 1, .expect = 8 * KB + 1,
};

FIXTURE_VARIANT_ADD(slice, is_max_write_if_that_is_1_MiB_minus_a_page) {
	.max_write = MB - PG, .expect = MB - PG,
};

FIXTURE_VARIANT_ADD(slice, is_1_MiB_if_max_write_is_2_MiB) {
	.max_write = 2 * MB, .expect = MB,
};

static uint32_t reply_max_write;

static void edit_max_write(struct raw_server *s, struct fuse_init_out *out,
			   size_t *len)
{
	(void)s;
	(void)len;
	out->max_write = reply_max_write;
}

/* A message of any length: only the first strip holds data */
static void build_long(struct rs_map *m, size_t len)
{
	uint32_t nstrips = (len - sizeof(struct fuse_fmap_header) -
			    sizeof(struct fuse_fmap_stripe_set)) /
			   sizeof(struct fuse_fmap_extent);

	rs_map_init(m, STRIPED, PG);
	rs_map_stripe(m, nstrips, PG, PG);
	while (nstrips--)
		rs_map_strip(m, 0, MB, PG);
}

#define LONG	(32 + 24 + 100000 * 24)

FIXTURE_SETUP(slice)
{
	const char *why = need(1, BY_READ_AND_WRITE);
	struct rs_map m;

	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
	self->s->hook = tap;
	self->s->edit_init = edit_max_write;
	reply_max_write = variant->max_write;
	build_long(&m, LONG);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(slice)
{
	rs_free(self->s);
}

TEST_F(slice, of_a_long_map)
{
	uint64_t offset = FIRST_SIZE, n = 1;

	EXPECT_EQ(0, try_open(self->s, "f", O_RDWR));
	for (; offset < LONG; n++) {
		uint32_t size = LONG + 1 - offset < variant->expect ?
				LONG + 1 - offset : variant->expect;

		if (n < SEEN) {
			const struct fuse_get_fmap_in *in =
				(void *)wire->seen[n].arg;

			EXPECT_EQ(offset, in->offset);
			EXPECT_EQ(size, in->size);
		}
		offset += size;
	}
	EXPECT_EQ(n, wire->nseen);
}

/* The longest message */

FIXTURE(longest) {
	struct raw_server *s;
};

FIXTURE_VARIANT(longest) {
	enum way way;
};

FIXTURE_VARIANT_ADD(longest, by_read_and_write) {
	.way = BY_READ_AND_WRITE,
};

FIXTURE_VARIANT_ADD(longest, by_io_uring) {
	.way = BY_IO_URING,
};

FIXTURE_SETUP(longest)
{
	const char *why = need(1, variant->way);

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(1);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(longest)
{
	rs_free(self->s);
	restore_uring();
}

TEST_F_TIMEOUT(longest, message_is_accepted_and_one_strip_more_is_refused, 120)
{
	struct raw_server *s = self->s;
	struct rs_map m;
	int fd;

	build_long(&m, FUSE_FMAP_MAX_SIZE);
	ASSERT_EQ(FUSE_FMAP_MAX_SIZE, m.len);
	rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, "longest"), &m);
	build_long(&m, FUSE_FMAP_MAX_SIZE + 24);
	rs_set_map(s, rs_add_file(s, FUSE_ROOT_ID, "longer"), &m);
	START();
	/* the first slice is enough to refuse the map */
	EXPECT_EQ(EIO, try_open(s, "longer", O_RDWR));
	EXPECT_EQ(1, s->count[FUSE_GET_FMAP]);
	fd = open_in(s, "longest", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_LT(2, s->count[FUSE_GET_FMAP]);
	EXPECT_TRUE(put(fd, 1, 10, 100));
	EXPECT_TRUE(got(fd, 1, 10, 100));
	close(fd);
}

/* Every bit of a message, flipped on its own */

FIXTURE(bit) {
	struct raw_server *s;
	struct rs_node *f;
};

FIXTURE_VARIANT(bit) {
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(bit, of_an_extent) {
	.kind = EXTENTS,
};

FIXTURE_VARIANT_ADD(bit, of_a_stripe_set) {
	.kind = STRIPED,
};

FIXTURE_SETUP(bit)
{
	const char *why = sandbox(2);
	struct rs_map m;

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	self->f = rs_add_file(self->s, FUSE_ROOT_ID, "f");
	if (variant->kind == EXTENTS) {
		rs_map_init(&m, EXTENTS, 3 * PG + 100);
		rs_map_extent(&m, 0, 2 * MB, 6 * PG);
	} else {
		rs_map_init(&m, STRIPED, 9 * PG + 100);
		rs_map_stripe(&m, 2, 2 * PG, 9 * PG + 150);
		rs_map_strip(&m, 0, 2 * MB, 6 * PG);
		rs_map_strip(&m, 1, 4 * MB, 5 * PG);
	}
	rs_set_map(self->s, self->f, &m);
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(bit)
{
	rs_free(self->s);
}

/* The expected result for a strip that needs @need bytes: 0 or an errno */
static int extent_errno(const struct fuse_fmap_extent *e, uint64_t need)
{
	if (e->reserved || e->offset % PG || e->len % PG || !e->len ||
	    e->len < need)
		return EIO;
	if (e->devindex > 1)
		return ENODEV;
	return e->len > dax_size[e->devindex] ||
	       e->offset > dax_size[e->devindex] - e->len ? EIO : 0;
}

/* The expected result for a valid message with one bit flipped */
static int message_errno(const void *b, size_t len, uint32_t kind)
{
	const struct fuse_fmap_header *h = b;
	const struct fuse_fmap_stripe_set *set = (void *)(h + 1);
	const struct fuse_fmap_extent *e = (void *)(h + 1);
	uint64_t need[2] = {}, pages, chunk;
	int err;

	if (h->reserved || h->version != 1 || h->kind != kind ||
	    h->nextents != 1 || h->fmap_size != len || h->reserved2)
		return EIO;
	if (kind == EXTENTS)
		return extent_errno(e, h->file_size > INT64_MAX ? -1ULL :
				    (h->file_size + PG - 1) / PG * PG);

	chunk = set->chunk_size / PG;
	if (set->nstrips != 2 || !chunk || set->chunk_size % PG ||
	    set->reserved || !set->nbytes || set->nbytes < h->file_size ||
	    set->nbytes > INT64_MAX)
		return EIO;
	pages = (set->nbytes + PG - 1) / PG;
	need[0] = need[1] = pages / (2 * chunk) * chunk;
	pages %= 2 * chunk;
	need[0] += pages < chunk ? pages : chunk;
	need[1] += pages < chunk ? 0 : pages - chunk;
	for (int i = 0; i < 2; i++) {
		e = (void *)(set + 1);
		err = extent_errno(&e[i], need[i] * PG);
		if (err)
			return err;
	}
	return 0;
}

TEST_F_TIMEOUT(bit, that_is_wrong_is_detected, 120)
{
	struct raw_server *s = self->s;
	unsigned char *b = self->f->map;
	int taken = 0;

	ASSERT_EQ(0, message_errno(b, self->f->map_len, variant->kind));
	for (uint32_t bit = 0; bit < 8 * self->f->map_len; bit++) {
		int expect, err;

		b[bit / 8] ^= 1 << bit % 8;
		expect = message_errno(b, self->f->map_len, variant->kind);
		err = try_open(s, "f", O_RDWR);
		EXPECT_EQ(expect, err) {
			TH_LOG("bit %u of byte %u", bit % 8, bit / 8);
		}
		b[bit / 8] ^= 1 << bit % 8;
		if (err)
			continue;
		taken++;
		ASSERT_TRUE(forgotten(s, "f"));
	}
	/* each of the eight bits of file_type is valid */
	EXPECT_LT(8, taken);
	EXPECT_EQ(0, try_open(s, "f", O_RDWR));
}

/* Maps at the limits of what is valid */

FIXTURE(map) {
	struct raw_server *s;
};

FIXTURE_VARIANT(map) {
	void (*build)(struct rs_map *m);
};

#define GOOD_MAP(_name, _kind, _size, ...)				\
	static void build_##_name(struct rs_map *m)			\
	{								\
		rs_map_init(m, _kind, _size);				\
		__VA_ARGS__						\
	}								\
	FIXTURE_VARIANT_ADD(map, _name) { .build = build_##_name, }

GOOD_MAP(of_an_empty_file, EXTENTS, 0, rs_map_extent(m, 0, 0, PG););
GOOD_MAP(of_one_byte, EXTENTS, 1, rs_map_extent(m, 0, 0, PG););
GOOD_MAP(of_a_byte_less_than_a_page, EXTENTS, PG - 1,
	 rs_map_extent(m, 0, 0, PG););
GOOD_MAP(of_a_page, EXTENTS, PG, rs_map_extent(m, 0, 0, PG););
GOOD_MAP(of_a_byte_more_than_a_page, EXTENTS, PG + 1,
	 rs_map_extent(m, 0, 0, PG); rs_map_extent(m, 1, 0, PG););
GOOD_MAP(longer_than_its_file, EXTENTS, 1,
	 rs_map_extent(m, 0, 0, PG); rs_map_extent(m, 1, 0, 8 * MB););
GOOD_MAP(up_to_the_end_of_its_device, EXTENTS, PG,
	 rs_map_extent(m, 1, dax_size[1] - PG, PG););
GOOD_MAP(of_a_whole_device, EXTENTS, dax_size[0],
	 rs_map_extent(m, 0, 0, dax_size[0]););
GOOD_MAP(of_two_whole_devices, EXTENTS, dax_size[0] + dax_size[1],
	 rs_map_extent(m, 1, 0, dax_size[1]);
	 rs_map_extent(m, 0, 0, dax_size[0]););
GOOD_MAP(with_any_file_type, EXTENTS, PG,
	 rs_map_extent(m, 0, 0, PG);
	 rs_map_header(m)->file_type = 255;);
GOOD_MAP(with_a_set_of_one_byte, STRIPED, 1,
	 rs_map_stripe(m, 1, PG, 1); rs_map_strip(m, 0, 0, PG););
GOOD_MAP(with_a_set_longer_than_its_file, STRIPED, 0,
	 rs_map_stripe(m, 2, PG, 3 * PG);
	 rs_map_strip(m, 0, 0, 2 * PG); rs_map_strip(m, 1, 0, PG););
GOOD_MAP(with_strips_up_to_the_end_of_their_devices, STRIPED, 5 * PG,
	 rs_map_stripe(m, 2, PG, 5 * PG);
	 rs_map_strip(m, 0, dax_size[0] - 3 * PG, 3 * PG);
	 rs_map_strip(m, 1, dax_size[1] - 2 * PG, 2 * PG););
GOOD_MAP(with_strips_longer_than_needed, STRIPED, 5 * PG - 1,
	 rs_map_stripe(m, 2, 2 * PG, 5 * PG - 1);
	 rs_map_strip(m, 0, 0, MB); rs_map_strip(m, 1, MB, 2 * MB););
/* Unused strips may overlap */
GOOD_MAP(with_strips_that_are_not_needed, STRIPED, PG,
	 rs_map_stripe(m, 3, PG, PG);
	 rs_map_strip(m, 0, 0, PG); rs_map_strip(m, 0, 0, PG);
	 rs_map_strip(m, 0, 0, PG););
GOOD_MAP(with_the_largest_chunk, STRIPED, 3 * PG,
	 rs_map_stripe(m, 2, UINT32_MAX - (PG - 1), 3 * PG);
	 rs_map_strip(m, 0, 0, 3 * PG); rs_map_strip(m, 1, 0, PG););
GOOD_MAP(with_a_chunk_that_is_no_power_of_two, STRIPED, 7 * PG,
	 rs_map_stripe(m, 2, 3 * PG, 7 * PG);
	 rs_map_strip(m, 0, 0, 4 * PG); rs_map_strip(m, 1, 0, 3 * PG););
GOOD_MAP(with_more_than_65536_strips, STRIPED, 65537 * PG,
	 rs_map_stripe(m, 65538, MB, 3 * MB);
	 for (int i = 0; i < 65538; i++)
		rs_map_strip(m, 0, i < 3 ? i * 2 * MB : 0, MB);
	 rs_map_header(m)->file_size = 3 * MB;);
GOOD_MAP(of_sets_and_single_strips, STRIPED, 7 * PG - 5,
	 rs_map_stripe(m, 1, PG, PG); rs_map_strip(m, 0, 0, PG);
	 rs_map_stripe(m, 2, PG, 2 * PG);
	 rs_map_strip(m, 1, 0, PG); rs_map_strip(m, 0, PG, PG);
	 rs_map_stripe(m, 1, 4 * PG, 4 * PG - 5);
	 rs_map_strip(m, 1, MB, 4 * PG););

FIXTURE_SETUP(map)
{
	const char *why = sandbox(2);
	struct rs_map m;

	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(2);
	ASSERT_NE(NULL, self->s);
	variant->build(&m);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
}

FIXTURE_TEARDOWN(map)
{
	rs_free(self->s);
}

TEST_F(map, is_accepted)
{
	int fd = open_in(self->s, "f", O_RDWR);
	struct stat st;
	uint64_t len;
	char c;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(self->s->node[1].size, st.st_size);
	len = st.st_size < 2 * (off_t)PG ? st.st_size : 2 * PG;
	EXPECT_TRUE(put(fd, 1, 0, len));
	EXPECT_TRUE(put(fd, 1, st.st_size - len, len));
	EXPECT_TRUE(got(fd, 1, 0, len));
	EXPECT_TRUE(got(fd, 1, st.st_size - len, len));
	EXPECT_EQ(0, pread(fd, &c, 1, st.st_size));
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
	close(fd);
	EXPECT_EQ(0, rs_unmount(self->s));
}

/* Devices and their indexes */

FIXTURE(device) {
	struct raw_server *s;
	int fd[2];
};

static int open_dax(int i)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/dev/%s", dax[i]);
	return open(path, O_RDWR | O_CLOEXEC);
}

FIXTURE_SETUP(device)
{
	const char *why = need(2, BY_READ_AND_WRITE);

	self->fd[0] = self->fd[1] = -1;
	if (!why)
		why = map_wire();
	if (why)
		SKIP(return, "%s", why);
	self->s = new_server(0);
	ASSERT_NE(NULL, self->s);
	self->s->hook = tap;
	self->s->nthreads = 4;
	for (int i = 0; i < 2; i++) {
		self->fd[i] = open_dax(i);
		ASSERT_LE(0, self->fd[i]);
	}
}

FIXTURE_TEARDOWN(device)
{
	close(self->fd[0]);
	close(self->fd[1]);
	rs_free(self->s);
}

static const uint32_t indexes[] = {
	0, 1, 2, 255, 65535, 65536, 65537, INT32_MAX, 1U << 31, UINT32_MAX,
};

TEST_F(device, has_any_index_when_it_is_pushed)
{
	struct raw_server *s = self->s;
	char name[16];

	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		add_mapped(s, name, indexes[i], 0, MB);
	}
	ASSERT_EQ(0, start_server(s));
	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		EXPECT_LT(0, rs_daxdev_open(s->fd, self->fd[0], indexes[i], 0));
		EXPECT_TRUE(works(s, name));
		EXPECT_TRUE(forgotten(s, name));
		EXPECT_EQ(0, rs_daxdev_close(s->fd, indexes[i]));
		EXPECT_EQ(-ENOENT, rs_daxdev_close(s->fd, indexes[i]));
	}
	EXPECT_EQ(0, s->count[FUSE_GET_DAXDEV]);
}

TEST_F(device, has_any_index_when_it_is_pulled)
{
	struct raw_server *s = self->s;
	struct rs_dev *d = rs_add_dev(s, dax[0], 0, RS_PULL);
	char name[16];

	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		add_mapped(s, name, indexes[i], 0, MB);
	}
	ASSERT_EQ(0, start_server(s));
	for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
		struct fuse_get_daxdev_in *in;

		d->index = indexes[i];
		wire->nseen = 0;
		snprintf(name, sizeof(name), "%zu", i);
		EXPECT_TRUE(works(s, name));
		in = (void *)wire->seen[1].arg;
		EXPECT_EQ(indexes[i], in->index);
		EXPECT_EQ(0, in->reserved);
		EXPECT_TRUE(forgotten(s, name));
		EXPECT_EQ(0, rs_daxdev_close(s->fd, indexes[i]));
	}
}

TEST_F(device, with_an_index_that_shares_low_bits_is_distinct)
{
	struct raw_server *s = self->s;
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, "f");
	struct rs_map m;
	int fd;

	rs_map_init(&m, EXTENTS, 2 * PG);
	rs_map_extent(&m, 65537, 0, PG);
	rs_map_extent(&m, 1, 0, PG);
	rs_set_map(s, n, &m);
	add_mapped(s, "first", 1, PG, MB);
	rs_add_dev(s, dax[0], 1, RS_PULL);
	rs_add_dev(s, dax[1], 65537, RS_PULL);
	ASSERT_EQ(0, start_server(s));
	fd = open_in(s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, s->count[FUSE_GET_DAXDEV]);
	EXPECT_TRUE(put(fd, 1, 0, 2 * PG));
	EXPECT_TRUE(got(fd, 1, 0, 2 * PG));
	close(fd);
	EXPECT_TRUE(works(s, "first"));
	EXPECT_EQ(2, s->count[FUSE_GET_DAXDEV]);
}

static void name_device(struct raw_server *s, uint16_t index, const char *name)
{
	struct fuse_daxdev_out *out = (void *)s->daxdev_reply;

	memset(out, 0, sizeof(*out));
	out->index = index;
	snprintf(out->name, sizeof(out->name), "%s", name);
	s->daxdev_reply_len = sizeof(*out);
	s->daxdev_raw = true;
}

TEST_F(device, with_the_longest_name_is_not_found)
{
	struct fuse_daxdev_out *out = (void *)self->s->daxdev_reply;

	add_mapped(self->s, "f", 0, 0, MB);
	name_device(self->s, 0, "");
	memset(out->name, 'd', sizeof(out->name) - 1);
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(ENODEV, try_open(self->s, "f", O_RDWR));
	name_device(self->s, 0, dax[0]);
	/* the bytes after the NUL are ignored */
	memset(out->name + strlen(dax[0]) + 1, 'd',
	       sizeof(out->name) - strlen(dax[0]) - 1);
	EXPECT_TRUE(works(self->s, "f"));
}

/* A server may register the device before it replies */
static int register_meanwhile(struct raw_server *s,
			      const struct fuse_in_header *ih, const void *arg)
{
	const struct fuse_get_daxdev_in *in = arg;
	int fd;

	if (ih->opcode != FUSE_GET_DAXDEV)
		return 0;
	fd = open_dax(0);
	record(rs_daxdev_open(s->fd, fd, in->index, 0));
	close(fd);
	return wire->error ? -wire->error : 0;
}

TEST_F(device, is_the_registered_one_whatever_the_reply_says)
{
	struct raw_server *s = self->s;
	const char *answers[] = { "", dax[0], dax[1], "nonsense" };

	add_mapped(s, "f", 5, 0, MB);
	wire->answer = register_meanwhile;
	ASSERT_EQ(0, start_server(s));
	for (size_t i = 0; i <= ARRAY_SIZE(answers); i++) {
		if (i < ARRAY_SIZE(answers))
			name_device(s, 5, answers[i]);
		else
			wire->error = EPERM;
		wire->nresults = 0;
		EXPECT_TRUE(works(s, "f"));
		EXPECT_EQ(1, wire->nresults);
		EXPECT_LT(0, wire->result[0]);
		/* only the registered device is reserved */
		EXPECT_EQ(-EBUSY, rs_daxdev_open(s->fd, self->fd[0], 6, 0));
		EXPECT_LT(0, rs_daxdev_open(s->fd, self->fd[1], 6, 0));
		EXPECT_EQ(0, rs_daxdev_close(s->fd, 6));
		EXPECT_TRUE(forgotten(s, "f"));
		EXPECT_EQ(0, rs_daxdev_close(s->fd, 5));
	}
}

TEST_F(device, with_an_index_is_EBUSY_under_another)
{
	struct raw_server *s = self->s;

	add_mapped(s, "f", 0, 0, MB);
	add_mapped(s, "g", 1, MB, MB);
	name_device(s, 0, dax[0]);
	ASSERT_EQ(0, start_server(s));
	EXPECT_TRUE(works(s, "f"));
	name_device(s, 1, dax[0]);
	EXPECT_EQ(EBUSY, try_open(s, "g", O_RDWR));
	name_device(s, 1, dax[1]);
	EXPECT_TRUE(works(s, "g"));
}

TEST_F(device, that_two_files_need_is_requested_once)
{
	struct raw_server *s = self->s;
	pid_t first, second;

	add_mapped(s, "f", 0, 0, MB);
	add_mapped(s, "g", 0, MB, MB);
	rs_add_dev(s, dax[0], 0, RS_PULL);
	wire->answer = hold;
	wire->opcode = FUSE_GET_DAXDEV;
	ASSERT_EQ(0, start_server(s));
	first = opener(s, "f");
	ASSERT_TRUE(wait_until(&wire->held, 1));
	second = opener(s, "g");
	ASSERT_TRUE(wait_until(&s->count[FUSE_GET_FMAP], 2));
	usleep(50000);
	EXPECT_EQ(0, waitpid(second, NULL, WNOHANG));
	wire->release = 1;
	EXPECT_EQ(0, wait_soon(first));
	EXPECT_EQ(0, wait_soon(second));
	EXPECT_EQ(1, s->count[FUSE_GET_DAXDEV]);
}

TEST_F(device, with_any_flag_or_an_index_above_32_bits_is_EINVAL)
{
	struct raw_server *s = self->s;

	ASSERT_EQ(0, start_server(s));
	for (int bit = 0; bit < 32; bit++)
		EXPECT_EQ(-EINVAL, rs_daxdev_open(s->fd, self->fd[0], 0,
						  1U << bit));
	for (int bit = 32; bit < 64; bit++)
		EXPECT_EQ(-EINVAL, rs_daxdev_open(s->fd, self->fd[0],
						  1ULL << bit, 0));
	EXPECT_EQ(-ENOENT, rs_daxdev_close(s->fd, 0));
	EXPECT_LT(0, rs_daxdev_open(s->fd, self->fd[0], 0, 0));
}

TEST_F(device, at_a_bad_address_is_EFAULT)
{
	struct raw_server *s = self->s;
	void *nowhere = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);

	ASSERT_NE(MAP_FAILED, nowhere);
	ASSERT_EQ(0, start_server(s));
	EXPECT_EQ(-1, ioctl(s->fd, FUSE_DEV_IOC_DAXDEV_OPEN, nowhere));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(s->fd, FUSE_DEV_IOC_DAXDEV_OPEN, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(s->fd, FUSE_DEV_IOC_DAXDEV_CLOSE, nowhere));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(device, without_a_connection_is_EPERM)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EPERM, rs_daxdev_open(fd, self->fd[0], 0, 0));
	EXPECT_EQ(-EPERM, rs_daxdev_close(fd, 0));
	close(fd);
}

static int register_too_early(struct raw_server *s,
			      const struct fuse_in_header *ih, const void *arg)
{
	int fd;

	(void)arg;
	if (ih->opcode == FUSE_INIT) {
		fd = open_dax(0);
		record(rs_daxdev_open(s->fd, fd, 0, 0));
		record(rs_daxdev_close(s->fd, 0));
		close(fd);
	}
	return 0;
}

TEST_F(device, before_INIT_is_answered_is_EPERM)
{
	self->s->hook = register_too_early;
	ASSERT_EQ(0, start_server(self->s));
	EXPECT_EQ(2, wire->nresults);
	EXPECT_EQ(-EPERM, wire->result[0]);
	EXPECT_EQ(-EPERM, wire->result[1]);
	EXPECT_LT(0, rs_daxdev_open(self->s->fd, self->fd[0], 0, 0));
}

TEST_F(device, after_the_unmount_is_ENOTCONN)
{
	struct raw_server *s = self->s;

	ASSERT_EQ(0, start_server(s));
	EXPECT_LT(0, rs_daxdev_open(s->fd, self->fd[0], 0, 0));
	ASSERT_EQ(0, umount2(s->mnt, 0));
	EXPECT_EQ(-ENOTCONN, rs_daxdev_open(s->fd, self->fd[1], 1, 0));
	EXPECT_EQ(-ENOENT, rs_daxdev_close(s->fd, 0));
}

TEST_F(device, is_registered_through_a_cloned_fd)
{
	struct raw_server *s = self->s;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	add_mapped(s, "f", 0, 0, MB);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, start_server(s));
	ASSERT_EQ(0, ioctl(fd, FUSE_DEV_IOC_CLONE, &s->fd));
	EXPECT_LT(0, rs_daxdev_open(fd, self->fd[0], 0, 0));
	EXPECT_TRUE(works(s, "f"));
	EXPECT_EQ(0, rs_daxdev_close(fd, 0));
	EXPECT_TRUE(works(s, "f"));
	close(fd);
}

TEST_HARNESS_MAIN
