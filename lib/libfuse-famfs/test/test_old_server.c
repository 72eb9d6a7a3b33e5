// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server that does not know DAX file maps. It is compiled against the
 * unmodified libfuse and runs with the new one, on a kernel that offers maps. It
 * must remain a plain FUSE server.
 */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)
#include "fake_kernel.h"

#include <errno.h>

static int lookups;

static void old_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = 5 };

	(void)parent;
	lookups += !strcmp(name, "file");
	entry.attr.st_mode = 0100644;
	fuse_reply_entry(req, &entry);
}

static void old_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	EXPECT(conn->proto_minor == 46);
}

int main(void)
{
	const struct fuse_dax_failure_in failure = { .len = 4096 };
	static const struct fuse_lowlevel_ops ops = {
		.init = old_init,
		.lookup = old_lookup,
	};
	char *argv[] = { "old", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	static struct fake_kernel k;
	struct fuse_init_out *out;

#ifdef FUSE_CAP_DAX_FMAP
#error "compile this against the unmodified libfuse"
#endif
	fake_open(&k);
	k.se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	EXPECT(k.se && !fuse_session_mount(k.se, k.mountpoint));
	fuse_opt_free_args(&args);

	out = fake_init(&k, 3);
	EXPECT(!(out->flags2 & (FUSE_DAX_FMAP | FUSE_DAX_FAILURES) >> 32));
	EXPECT(!fake_init_kinds(&k));

	EXPECT(fake_request(&k, FUSE_LOOKUP, 1, "file", 5));
	EXPECT(!k.out.error && lookups == 1);
	EXPECT(((struct fuse_entry_out *)k.reply)->nodeid == 5);

	/* No kernel sends these. The library must not read past the end of ops */
	EXPECT(fake_get_fmap(&k, 5, 8192, 0) == -ENOSYS);
	EXPECT(fake_get_daxdev(&k, 0) == -ENODEV);
	EXPECT(fake_dax_failure(&k, 5, &failure, sizeof(failure)) == -ENOSYS);

	fuse_session_destroy(k.se);
	return 0;
}
