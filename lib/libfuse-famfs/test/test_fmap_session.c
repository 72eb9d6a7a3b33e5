// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the library does with maps and devices between a server and the kernel.
 * The kernel is a fake one.
 */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)
#define _GNU_SOURCE
#include "fake_kernel.h"

#include <fuse.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

#define K		1024ULL
#define M		(K * K)
#define BOTH		((1U << FUSE_FMAP_EXTENTS) | (1U << FUSE_FMAP_STRIPED))
#define ROOM		8192

static struct fake_kernel k;

/* What the server under test does, and what it has seen */
static int want;
static uint32_t clear_kinds, set_kinds;
static int seen_capable;
static uint32_t seen_kinds;
static int calls;
static size_t seen_size;
static uint64_t file_size = FUSE_FMAP_SIZE_COVERED;
static uint32_t nextents;
static char logged[1000];

static void log_to_string(enum fuse_log_level level, const char *fmt,
			  va_list ap)
{
	size_t used = strlen(logged);

	(void)level;
	vsnprintf(logged + used, sizeof(logged) - used, fmt, ap);
}

static void server_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	seen_capable = fuse_get_feature_flag(conn, FUSE_CAP_DAX_FMAP);
	seen_kinds = conn->fmap_kinds;
	EXPECT(!(conn->want_ext & FUSE_CAP_DAX_FMAP));
	if (want)
		fuse_set_feature_flag(conn, FUSE_CAP_DAX_FMAP);
	conn->fmap_kinds &= ~clear_kinds;
	conn->fmap_kinds |= set_kinds;
}

/* The map of an inode: no two inodes have the same */
static struct fuse_fmap_builder *make_map(fuse_ino_t ino, uint32_t n)
{
	struct fuse_fmap_builder *map = fuse_fmap_new(file_size);
	uint32_t i;

	for (i = 0; i < n; i++)
		EXPECT(!fuse_fmap_add_extent(map, ino, i * 2 * M, M));
	return map;
}

static fuse_req_t deferred[2];
static int defer, ndeferred;

static void server_get_fmap(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fuse_fmap_builder *map;

	calls++;
	seen_size = size;
	if (defer) {
		deferred[ndeferred++] = req;
		return;
	}
	if (!nextents) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	map = make_map(ino, nextents);
	fuse_reply_fmap(req, map);
	fuse_fmap_free(map);
}

static char long_name[FUSE_DAXDEV_NAME_MAX + 1];

static void server_get_daxdev(fuse_req_t req, int index)
{
	switch (index) {
	case 0:
		EXPECT(!fuse_reply_daxdev(req, index, "dax0.0"));
		break;
	case 1:
		/* the socket does not support the ioctls */
		EXPECT(fuse_daxdev_open(req, 0, index) == -ENOTTY);
		EXPECT(fuse_daxdev_close(req, index) == -ENOTTY);
		EXPECT(!fuse_reply_daxdev(req, index, NULL));
		break;
	case 2:
		EXPECT(fuse_reply_daxdev(req, index, long_name) == -ENAMETOOLONG);
		break;
	default:
		EXPECT(index == -2);
		EXPECT(!fuse_reply_daxdev(req, index, long_name + 1));
		break;
	}
}

static const struct fuse_lowlevel_ops server = {
	.init = server_init,
	.get_fmap = server_get_fmap,
	.get_daxdev = server_get_daxdev,
};

static void start_with(const struct fuse_lowlevel_ops *ops, size_t size)
{
	char *argv[] = { "server", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);

	fake_open(&k);
	k.se = fuse_session_new(&args, ops, size, NULL);
	EXPECT(k.se && !fuse_session_mount(k.se, k.mountpoint));
	fuse_opt_free_args(&args);
}

static void start(uint32_t kinds)
{
	start_with(&server, sizeof(server));
	fake_init(&k, kinds);
}

static void stop(void)
{
	fuse_session_destroy(k.se);
	close(k.fd);
}

static int negotiated(void)
{
	return !!(((struct fuse_init_out *)k.reply)->flags2 &
		  FUSE_DAX_FMAP >> 32);
}

static void the_server_sees_what_the_kernel_offers(void)
{
	start(BOTH);
	EXPECT(seen_capable && seen_kinds == BOTH);
	EXPECT(!negotiated() && !fake_init_kinds(&k));
	stop();

	want = 1;
	start(BOTH);
	EXPECT(negotiated() && fake_init_kinds(&k) == BOTH);
	stop();

	start(1U << FUSE_FMAP_STRIPED);
	EXPECT(seen_kinds == 1U << FUSE_FMAP_STRIPED);
	EXPECT(negotiated() && fake_init_kinds(&k) == 1U << FUSE_FMAP_STRIPED);
	stop();
}

static void without_the_feature_it_is_plain_fuse(void)
{
	want = 1;
	start(0);
	EXPECT(!seen_capable && !seen_kinds);
	EXPECT(!negotiated() && !fake_init_kinds(&k));
	stop();
}

static void kinds_are_a_subset_of_what_is_offered(void)
{
	want = 1;
	clear_kinds = 1U << FUSE_FMAP_EXTENTS;
	start(BOTH);
	EXPECT(negotiated() && fake_init_kinds(&k) == 1U << FUSE_FMAP_STRIPED);
	stop();

	clear_kinds = 0;
	set_kinds = ~0U;
	start(BOTH);
	EXPECT(negotiated() && fake_init_kinds(&k) == BOTH);
	stop();

	set_kinds = 0;
	clear_kinds = ~0U;
	start(BOTH);
	EXPECT(!negotiated() && !fake_init_kinds(&k));
	stop();
}

static void servers_without_handlers_have_no_maps(void)
{
	struct fuse_lowlevel_ops none = { .init = server_init };

	want = 1;
	start_with(&none, sizeof(none));
	fake_init(&k, BOTH);
	EXPECT(fake_get_fmap(&k, 5, ROOM, 0) == -ENOSYS);
	EXPECT(fake_get_daxdev(&k, 5) == -ENODEV);
	stop();
}

/* Fetch a map as the kernel does, and compare */
static void fetch(uint64_t ino, uint32_t n, size_t first, size_t slice)
{
	struct fuse_fmap_builder *map = make_map(ino, n);
	char *got = NULL, *message;
	size_t len, have = 0;

	EXPECT(!fuse_fmap_message(map, (void **)&message, &len));
	got = malloc(len);
	do {
		EXPECT(!fake_get_fmap(&k, ino, have ? slice : first, have));
		EXPECT(k.len && have + k.len <= len);
		memcpy(got + have, k.reply, k.len);
		have += k.len;
	} while (have < ((struct fuse_fmap_header *)got)->fmap_size);
	EXPECT(have == len && !memcmp(got, message, len));
	free(got);
	free(message);
	fuse_fmap_free(map);
}

static void a_short_map_is_one_reply(void)
{
	want = 1;
	nextents = 3;
	start(BOTH);
	fetch(5, 3, ROOM, 0);
	EXPECT(calls == 1 && seen_size == ROOM);
	/* exactly as long as the request allows */
	fetch(6, 3, 32 + 3 * 24, 0);
	EXPECT(calls == 2);
	stop();
}

static void a_long_map_comes_in_pieces_of_any_size(void)
{
	want = 1;
	nextents = 5000;
	start(BOTH);
	fetch(5, nextents, ROOM, 65536);
	EXPECT(calls == 1);
	fetch(6, nextents, 33, 12345);
	fetch(7, nextents, ROOM, 5000 * 24 + 32 - ROOM);
	fetch(8, nextents, ROOM, 5000 * 24 + 32 - ROOM - 1);
	EXPECT(calls == 4);
	stop();
}

static void maps_of_several_files_are_fetched_at_the_same_time(void)
{
	want = 1;
	nextents = 1000;
	start(BOTH);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	EXPECT(!fake_get_fmap(&k, 6, ROOM, 0));
	EXPECT(calls == 2);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, ROOM) && k.len == ROOM);
	EXPECT(!fake_get_fmap(&k, 6, ROOM, ROOM) && k.len == ROOM);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 2 * ROOM) && k.len == 24032 - 2 * ROOM);
	/* the index of the first extent that begins in this piece */
	EXPECT(*(uint32_t *)(k.reply + (24 - (2 * ROOM - 32) % 24) % 24) == 5);
	EXPECT(!fake_get_fmap(&k, 6, ROOM, 2 * ROOM) && k.len == 24032 - 2 * ROOM);
	EXPECT(*(uint32_t *)(k.reply + (24 - (2 * ROOM - 32) % 24) % 24) == 6);
	EXPECT(calls == 2);
	stop();
}

static void a_piece_can_be_requested_again(void)
{
	want = 1;
	nextents = 1000;
	start(BOTH);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	EXPECT(!fake_get_fmap(&k, 5, 100, ROOM) && k.len == 100);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, ROOM) && k.len == ROOM);
	EXPECT(calls == 1);
	stop();
}

/* The server is called again, and the bytes are still right */
static void expect_call_for_rest(void)
{
	int before = calls;

	EXPECT(!fake_get_fmap(&k, 5, ROOM, 2 * ROOM) && k.len == 24032 - 2 * ROOM);
	EXPECT(*(uint32_t *)(k.reply + (24 - (2 * ROOM - 32) % 24) % 24) == 5);
	EXPECT(calls == before + 1);
}

static void the_rest_is_dropped_after_the_last_piece(void)
{
	want = 1;
	nextents = 1000;
	start(BOTH);
	fetch(5, nextents, ROOM, ROOM);
	EXPECT(calls == 1);
	expect_call_for_rest();
	stop();
}

static void the_rest_is_dropped_with_the_inode(void)
{
	struct {
		struct fuse_batch_forget_in head;
		struct fuse_forget_one one[2];
	} batch = { { .count = 2 }, { { 9, 1 }, { 5, 1 } } };

	want = 1;
	nextents = 1000;
	start(BOTH);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	fake_forget(&k, 5);
	expect_call_for_rest();

	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	EXPECT(!fake_request(&k, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch)));
	expect_call_for_rest();

	/* the rest of another inode is kept */
	calls = 0;
	EXPECT(!fake_get_fmap(&k, 6, ROOM, 0));
	fake_forget(&k, 7);
	EXPECT(!fake_get_fmap(&k, 6, ROOM, ROOM));
	EXPECT(calls == 1);
	stop();
}

static void the_rest_is_dropped_when_the_map_is_requested_again(void)
{
	want = 1;
	nextents = 2000;
	start(BOTH);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	nextents = 1000;
	fetch(5, 1000, ROOM, ROOM);
	nextents = 2000;
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	nextents = 0;
	EXPECT(fake_get_fmap(&k, 5, ROOM, 0) == -ENODATA);
	EXPECT(fake_get_fmap(&k, 5, ROOM, ROOM) == -ENODATA);
	stop();
}

static void two_replies_for_one_file_are_kept_once(void)
{
	struct fuse_get_fmap_in arg = { .size = ROOM };
	struct fuse_fmap_builder *map = make_map(5, 1000);
	int i;

	want = 1;
	nextents = 1000;
	start(BOTH);
	defer = 1;
	for (i = 0; i < 2; i++)
		EXPECT(!fake_request(&k, FUSE_GET_FMAP, 5, &arg, sizeof(arg)));
	defer = 0;
	for (i = 0; i < 2; i++) {
		EXPECT(!fuse_reply_fmap(deferred[i], map));
		EXPECT(recv(k.fd, k.reply, sizeof(k.reply), MSG_DONTWAIT) ==
		       sizeof(struct fuse_out_header) + ROOM);
	}
	fuse_fmap_free(map);

	EXPECT(!fake_get_fmap(&k, 5, ROOM, ROOM) && calls == 2);
	fake_forget(&k, 5);
	expect_call_for_rest();
	stop();
}

static void a_position_after_the_end_gets_nothing(void)
{
	want = 1;
	nextents = 1000;
	start(BOTH);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 0));
	EXPECT(!fake_get_fmap(&k, 5, ROOM, 24032) && !k.len);
	EXPECT(!fake_get_fmap(&k, 5, ROOM, UINT64_MAX) && !k.len);
	stop();
}

static void a_wrong_map_is_not_sent(void)
{
	want = 1;
	nextents = 2;
	file_size = 3 * M;
	fuse_set_log_func(log_to_string);
	start(BOTH);
	EXPECT(fake_get_fmap(&k, 5, ROOM, 0) == -EIO && !k.len);
	EXPECT(!strcmp(logged, "fuse: map of inode 5: the segments cover 2097152 bytes, the file has 3145728\n"));
	stop();

	/* neither is one of a kind that was not negotiated */
	*logged = '\0';
	file_size = 2 * M;
	start(1U << FUSE_FMAP_STRIPED);
	EXPECT(fake_get_fmap(&k, 5, ROOM, 0) == -EIO && !k.len);
	EXPECT(!strcmp(logged, "fuse: map of inode 5: extents were not negotiated with the kernel\n"));
	stop();
}

static void devices_are_named_or_registered(void)
{
	struct fuse_daxdev_out *out = (struct fuse_daxdev_out *)k.reply;

	memset(long_name, 'x', FUSE_DAXDEV_NAME_MAX);
	want = 1;
	start(BOTH);
	EXPECT(!fake_get_daxdev(&k, 0) && k.len == sizeof(*out));
	EXPECT(out->index == 0 && !strcmp(out->name, "dax0.0"));
	EXPECT(!fake_get_daxdev(&k, 1) && k.len == sizeof(*out));
	EXPECT(out->index == 1 && !*out->name);
	EXPECT(fake_get_daxdev(&k, 2) == -ENAMETOOLONG);
	/* the longest name, the low half of the index */
	EXPECT(!fake_get_daxdev(&k, -2U) && k.len == sizeof(*out));
	EXPECT(out->index == 0xfffe && !strcmp(out->name, long_name + 1));
	EXPECT(fuse_session_daxdev_open(k.se, 0, 1) == -ENOTTY);
	EXPECT(fuse_session_daxdev_close(k.se, 1) == -ENOTTY);
	stop();
}

/* ---- several threads ---- */

static void *forget_all_the_time(void *arg)
{
	struct fuse_session *se = arg;
	int i;

	for (i = 0; i < 2000; i++) {
		struct {
			struct fuse_in_header in;
			struct fuse_forget_in arg;
		} request = {
			{ .len = sizeof(request), .opcode = FUSE_FORGET,
			  .unique = 1ULL << 40 | i, .nodeid = 5 + i % 2 },
			{ .nlookup = 1 },
		};
		struct fuse_buf buf = { .size = sizeof(request), .mem = &request };

		fuse_session_process_buf(se, &buf);
	}
	return NULL;
}

static void a_forget_may_come_at_any_time(void)
{
	pthread_t thread;
	int i;

	want = 1;
	nextents = 1000;
	start(BOTH);
	EXPECT(!pthread_create(&thread, NULL, forget_all_the_time, k.se));
	for (i = 0; i < 50; i++)
		fetch(5 + i % 2, nextents, ROOM, 1000);
	pthread_join(thread, NULL);
	stop();
}

/* ---- memory that fails ---- */

/* All members differ, and the 64-bit ones do not fit into 32 bits */
static const struct fuse_dax_failure_in bad_page = {
	.index = 0xfffffffe,
	.event = FUSE_DAX_BAD_MEMORY,
	.offset = 0x1122334455667000,
	.len = 0x200000001000,
	.pos = 0x33445566778000,
};
static const struct fuse_dax_failure_in removed = {
	.index = 3,
	.event = FUSE_DAX_REMOVED,
	.len = 256 * M,
};

static struct fuse_dax_failure seen_failure;
static fuse_ino_t seen_ino;
static int want_failures = 1;

static void failure_init(void *userdata, struct fuse_conn_info *conn)
{
	server_init(userdata, conn);
	EXPECT(!!(conn->want_ext & FUSE_CAP_DAX_FAILURES) ==
	       fuse_get_feature_flag(conn, FUSE_CAP_DAX_FAILURES));
	if (!want_failures)
		fuse_unset_feature_flag(conn, FUSE_CAP_DAX_FAILURES);
}

static void server_dax_failure(fuse_req_t req, fuse_ino_t ino,
			       const struct fuse_dax_failure *failure)
{
	calls++;
	seen_ino = ino;
	seen_failure = *failure;
	if (defer)
		deferred[ndeferred++] = req;
	else
		fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops failure_server = {
	.init = failure_init,
	.dax_failure = server_dax_failure,
};

static int failures_negotiated(void)
{
	return !!(((struct fuse_init_out *)k.reply)->flags2 &
		  FUSE_DAX_FAILURES >> 32);
}

static int seen(const struct fuse_dax_failure_in *in)
{
	return seen_failure.index == in->index &&
	       seen_failure.event == in->event &&
	       seen_failure.offset == in->offset &&
	       seen_failure.len == in->len && seen_failure.pos == in->pos;
}

static void a_server_with_the_handler_is_notified(void)
{
	want = 1;
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, BOTH);
	EXPECT(negotiated() && failures_negotiated());
	EXPECT(!fake_dax_failure(&k, 5, &bad_page, sizeof(bad_page)));
	EXPECT(calls == 1 && seen_ino == 5 && seen(&bad_page));
	EXPECT(!fake_dax_failure(&k, FUSE_ROOT_ID, &removed, sizeof(removed)));
	EXPECT(calls == 2 && seen_ino == FUSE_ROOT_ID && seen(&removed));
	stop();
}

static void the_reply_to_a_failure_may_come_later(void)
{
	struct fuse_out_header out;

	want = 1;
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, BOTH);
	defer = 1;
	EXPECT(!fake_request(&k, FUSE_DAX_FAILURE, 5, &bad_page, sizeof(bad_page)));
	EXPECT(calls == 1 && seen(&bad_page));
	EXPECT(!fuse_reply_err(deferred[0], 0));
	EXPECT(recv(k.fd, &out, sizeof(out), MSG_DONTWAIT) == sizeof(out));
	EXPECT(out.unique == k.unique && !out.error);
	stop();
}

static void notifications_need_maps_and_a_handler(void)
{
	/* no handler */
	want = 1;
	start(BOTH);
	EXPECT(negotiated() && !failures_negotiated());
	EXPECT(fake_dax_failure(&k, 5, &bad_page, sizeof(bad_page)) == -ENOSYS);
	stop();

	/* not offered */
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, 0);
	EXPECT(!failures_negotiated());
	stop();

	/* the server disables the notifications */
	want_failures = 0;
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, BOTH);
	EXPECT(negotiated() && !failures_negotiated());
	stop();

	/* no maps */
	want_failures = 1;
	want = 0;
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, BOTH);
	EXPECT(!negotiated() && !failures_negotiated());
	stop();

	/* no kinds of maps */
	want = 1;
	clear_kinds = ~0U;
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, BOTH);
	EXPECT(!negotiated() && !failures_negotiated());
	stop();
}

static void a_truncated_failure_is_refused(void)
{
	struct {
		struct fuse_dax_failure_in known;
		uint64_t new;
	} longer = { bad_page, ~0ULL };

	want = 1;
	start_with(&failure_server, sizeof(failure_server));
	fake_init(&k, BOTH);
	EXPECT(fake_dax_failure(&k, 5, &bad_page, sizeof(bad_page) - 1) == -EINVAL);
	EXPECT(fake_dax_failure(&k, 5, &bad_page, 0) == -EINVAL);
	EXPECT(!calls);
	/* a later kernel may add members */
	EXPECT(!fake_dax_failure(&k, 5, &longer.known, sizeof(longer)));
	EXPECT(calls == 1 && seen(&bad_page));
	stop();
}

/* ---- the high-level API ---- */

static int device_fd = -1;

static void *high_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)cfg;
	fuse_set_feature_flag(conn, FUSE_CAP_DAX_FMAP);
	return NULL;
}

static int high_getattr(const char *path, struct stat *st,
			struct fuse_file_info *fi)
{
	(void)fi;
	st->st_mode = strcmp(path, "/") ? 0100644 : 040755;
	st->st_nlink = 1;
	return 0;
}

static int high_get_fmap(const char *path, struct fuse_fmap_builder *map)
{
	calls++;
	if (!strcmp(path, "/plain"))
		return -ENODATA;
	if (!strcmp(path, "/wrong"))
		return fuse_fmap_add_extent(map, 5, 1, M);
	if (!strcmp(path, "/empty"))
		return 0;
	EXPECT(!strcmp(path, "/mapped"));
	if (!nextents)
		fuse_fmap_set_size(map, 10);
	fuse_fmap_add_extent(map, 5, 2 * M, M);
	return 0;
}

static int high_get_daxdev(uint32_t index)
{
	if (index != UINT32_MAX)
		return -ENXIO;
	device_fd = open("/dev/null", O_RDWR);
	return device_fd;
}

static uint64_t lookup(const char *name)
{
	EXPECT(fake_request(&k, FUSE_LOOKUP, 1, name, strlen(name) + 1));
	EXPECT(!k.out.error);
	return ((struct fuse_entry_out *)k.reply)->nodeid;
}

static struct fuse *start_high(const struct fuse_operations *ops,
			       char *option)
{
	char *argv[] = { "server", "-o", option, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(option ? 3 : 1, argv);
	struct fuse *fuse;

	fake_open(&k);
	fuse = fuse_new(&args, ops, sizeof(*ops), NULL);
	EXPECT(fuse && !fuse_mount(fuse, k.mountpoint));
	fuse_opt_free_args(&args);
	k.se = fuse_get_session(fuse);
	fake_init(&k, BOTH);
	return fuse;
}

static void stop_high(struct fuse *fuse)
{
	fuse_destroy(fuse);
	close(k.fd);
}

static const struct fuse_operations high = {
	.init = high_init,
	.getattr = high_getattr,
	.get_fmap = high_get_fmap,
	.get_daxdev = high_get_daxdev,
};

static void the_high_level_api_maps_by_path(void)
{
	struct fuse_fmap_header *header = (struct fuse_fmap_header *)k.reply;
	struct fuse_fmap_extent *ext = (struct fuse_fmap_extent *)(header + 1);
	struct fuse *fuse = start_high(&high, NULL);
	uint64_t node;

	EXPECT(negotiated() && fake_init_kinds(&k) == BOTH);
	node = lookup("mapped");
	EXPECT(!fake_get_fmap(&k, node, ROOM, 0));
	EXPECT(k.len == sizeof(*header) + sizeof(*ext));
	EXPECT(header->file_size == 10 && header->nextents == 1);
	EXPECT(ext->devindex == 5 && ext->offset == 2 * M && ext->len == M);
	/* without a size, it is the sum of the segments */
	nextents = 1;
	EXPECT(!fake_get_fmap(&k, node, ROOM, 0) && header->file_size == M);

	node = lookup("plain");
	EXPECT(fake_get_fmap(&k, node, ROOM, 0) == -ENODATA);
	fuse_set_log_func(log_to_string);
	node = lookup("wrong");
	EXPECT(fake_get_fmap(&k, node, ROOM, 0) == -EINVAL);
	node = lookup("empty");
	EXPECT(fake_get_fmap(&k, node, ROOM, 0) == -EIO);
	EXPECT(strstr(logged, "the map has no segments"));
	stop_high(fuse);
}

static void the_high_level_api_registers_devices(void)
{
	struct fuse *fuse = start_high(&high, NULL);

	fuse_set_log_func(log_to_string);
	EXPECT(fake_get_daxdev(&k, 4) == -ENXIO && device_fd == -1);
	/* the error shows that the library tried to register the device */
	EXPECT(fake_get_daxdev(&k, UINT32_MAX) == -ENOTTY);
	EXPECT(!strcmp(logged, "fuse: DAX device 4294967295: Inappropriate ioctl for device\n"));
	EXPECT(fcntl(device_fd, F_GETFD) == -1 && errno == EBADF);
	stop_high(fuse);
}

/*
 * fuse_destroy() unloads the modules for the whole process. This is another
 * reason to run each test in its own process.
 */
static void modules_forward_both(void)
{
	struct fuse *fuse = start_high(&high, "modules=subdir:iconv,subdir=/,from_code=UTF-8,to_code=UTF-8");

	EXPECT(!fake_get_fmap(&k, lookup("mapped"), ROOM, 0));
	EXPECT(calls == 1);
	EXPECT(fake_get_daxdev(&k, 4) == -ENXIO);
	stop_high(fuse);
}

static void high_level_servers_without_handlers_have_no_maps(void)
{
	struct fuse_operations none = {
		.init = high_init,
		.getattr = high_getattr,
	};
	struct fuse *fuse = start_high(&none, NULL);

	EXPECT(fake_get_fmap(&k, lookup("mapped"), ROOM, 0) == -ENOSYS);
	EXPECT(fake_get_daxdev(&k, 4) == -ENODEV);
	stop_high(fuse);
}

static char seen_path[100];

static void high_dax_failure(const char *path,
			     const struct fuse_dax_failure *failure)
{
	calls++;
	snprintf(seen_path, sizeof(seen_path), "%s", path ? path : "none");
	seen_failure = *failure;
}

static const struct fuse_operations high_failure_server = {
	.init = high_init,
	.getattr = high_getattr,
	.dax_failure = high_dax_failure,
};

static int high_failure(uint64_t node, const struct fuse_dax_failure_in *in)
{
	*seen_path = '\0';
	return fake_dax_failure(&k, node, in, sizeof(*in));
}

static void the_high_level_api_reports_failures_by_path(void)
{
	struct fuse *fuse = start_high(&high_failure_server, NULL);
	uint64_t node;

	EXPECT(negotiated() && failures_negotiated());
	node = lookup("mapped");
	EXPECT(!high_failure(node, &bad_page));
	EXPECT(!strcmp(seen_path, "/mapped") && seen(&bad_page));
	EXPECT(!high_failure(FUSE_ROOT_ID, &removed));
	EXPECT(!strcmp(seen_path, "none") && seen(&removed));
	EXPECT(calls == 2);
	stop_high(fuse);
}

static int high_unlink(const char *path)
{
	EXPECT(!strcmp(path, "/mapped"));
	return 0;
}

static void an_unlinked_file_fails_without_a_path(void)
{
	struct fuse_operations ops = high_failure_server;
	struct fuse *fuse;
	uint64_t node;

	ops.unlink = high_unlink;
	fuse = start_high(&ops, NULL);
	node = lookup("mapped");
	EXPECT(fake_request(&k, FUSE_UNLINK, FUSE_ROOT_ID, "mapped", 7));
	EXPECT(!k.out.error);
	EXPECT(!high_failure(node, &bad_page));
	EXPECT(!strcmp(seen_path, "none") && seen(&bad_page));
	stop_high(fuse);
}

static void modules_forward_failures(void)
{
	struct fuse *fuse = start_high(&high_failure_server, "modules=subdir:iconv,subdir=/sub,from_code=UTF-8,to_code=UTF-8");

	EXPECT(failures_negotiated());
	EXPECT(!high_failure(lookup("mapped"), &bad_page));
	EXPECT(!strcmp(seen_path, "/sub/mapped") && seen(&bad_page));
	EXPECT(!high_failure(FUSE_ROOT_ID, &removed));
	EXPECT(!strcmp(seen_path, "none") && seen(&removed));
	stop_high(fuse);
}

/* The modules always have the handler */
static void modules_without_the_handler_below_disable_it(void)
{
	struct fuse *fuse = start_high(&high, "modules=subdir,subdir=/");

	EXPECT(negotiated() && !failures_negotiated());
	stop_high(fuse);
}

static void high_level_servers_without_the_handler_are_not_notified(void)
{
	struct fuse *fuse = start_high(&high, NULL);

	EXPECT(negotiated() && !failures_negotiated());
	EXPECT(high_failure(lookup("mapped"), &bad_page) == -ENOSYS);
	stop_high(fuse);
}

static const struct tap_test tests[] = {
	TAP_TEST(the_server_sees_what_the_kernel_offers),
	TAP_TEST(without_the_feature_it_is_plain_fuse),
	TAP_TEST(kinds_are_a_subset_of_what_is_offered),
	TAP_TEST(servers_without_handlers_have_no_maps),
	TAP_TEST(a_short_map_is_one_reply),
	TAP_TEST(a_long_map_comes_in_pieces_of_any_size),
	TAP_TEST(maps_of_several_files_are_fetched_at_the_same_time),
	TAP_TEST(a_piece_can_be_requested_again),
	TAP_TEST(the_rest_is_dropped_after_the_last_piece),
	TAP_TEST(the_rest_is_dropped_with_the_inode),
	TAP_TEST(the_rest_is_dropped_when_the_map_is_requested_again),
	TAP_TEST(two_replies_for_one_file_are_kept_once),
	TAP_TEST(a_position_after_the_end_gets_nothing),
	TAP_TEST(a_wrong_map_is_not_sent),
	TAP_TEST(devices_are_named_or_registered),
	TAP_TEST(a_forget_may_come_at_any_time),
	TAP_TEST(a_server_with_the_handler_is_notified),
	TAP_TEST(the_reply_to_a_failure_may_come_later),
	TAP_TEST(notifications_need_maps_and_a_handler),
	TAP_TEST(a_truncated_failure_is_refused),
	TAP_TEST(modules_forward_both),
	TAP_TEST(modules_forward_failures),
	TAP_TEST(modules_without_the_handler_below_disable_it),
	TAP_TEST(the_high_level_api_maps_by_path),
	TAP_TEST(the_high_level_api_registers_devices),
	TAP_TEST(high_level_servers_without_handlers_have_no_maps),
	TAP_TEST(the_high_level_api_reports_failures_by_path),
	TAP_TEST(an_unlinked_file_fails_without_a_path),
	TAP_TEST(high_level_servers_without_the_handler_are_not_notified),
};

int main(int argc, char **argv)
{
	return tap_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
