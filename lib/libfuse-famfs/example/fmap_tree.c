// SPDX-License-Identifier: GPL-2.0-only
/*
 * FUSE: Filesystem in Userspace
 *
 * This program can be distributed under the terms of the GNU GPLv2.
 * See the file GPL2.txt.
 */

/** @file
 *
 * A complete server for files in DAX memory, as a starting point for your own.
 *
 *     fmap_tree create DIR MANIFEST --device DEVICE... [--chunk 2M] [--stripe N]
 *     fmap_tree mount MANIFEST MOUNTPOINT [-f] [-o OPTION]...
 *
 * A manifest lists files, and where on which DAX devices their bytes are.
 * "mount" serves it. The server never accesses the data: the kernel requests the
 * map of each file once, and each device once. When memory fails, the kernel
 * notifies the server, which logs the file and what to do.
 *
 * "create" makes a manifest with room for the files of DIR. It does not copy
 * them: do this through the mount. The size of a mapped file can't change, so
 * the copy must not truncate it first, as cp does. This command does not:
 *
 *     cd DIR; find . -type f -exec dd conv=notrunc bs=2M if={} of=MOUNTPOINT/{} \;
 *
 * A manifest looks like this (libConfuse reads it):
 *
 *     # any index; fuse_daxdev_find() describes other ways to name a device
 *     device { index = 0  name = "dax0.0" }
 *     device { index = 1  name = "size=256M" }
 *     # extents that follow each other: device, offset on it, length, ...
 *     file { path = "data/log"  mode = 0600  size = 5000  ranges = {0, 0x200000, 8192} }
 *     # with a chunk size they are the strips of a stripe set
 *     file { path = "big"  size = 9000000  chunk = 0x200000
 *            ranges = {0, 0x400000, 0x600000, 1, 0, 0x400000} }
 *     file { path = "data/empty"  size = 0 }
 *
 * Compile with:
 *
 *     gcc -Wall fmap_tree.c `pkg-config fuse3 fuse-daxdev libconfuse --cflags --libs` -o fmap_tree
 *
 * ## Source code ##
 * \include fmap_tree.c
 */

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 18)
#define _GNU_SOURCE

#include <fuse_lowlevel.h>
#include <fuse_daxdev.h>

#include <confuse.h>
#include <err.h>
#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define TIMEOUT		3600.0	/* nothing changes without the kernel */
#define HUGE		(2L << 20)	/* alignment for huge pages */
#define SMALL_CHUNK	(64L << 10)	/* for files that don't fill a chunk */
#define WHY_LEN		320

struct node {
	struct node *parent;
	char *name;
	struct stat attr;
	struct fuse_fmap_builder *map;	/* NULL for directories and empty files */
};

/* A range of a device that a file has */
struct range {
	struct fuse_dax_range where;
	const char *path;
	int line;
};

static struct fuse_daxdev **devices;
static struct fuse_fmap_device *devinfo;	/* index and size of each */
static struct node **nodes;			/* by inode number */
static size_t ndevices, nnodes = FUSE_ROOT_ID;
static void *by_name, *by_place;		/* search trees: nodes, ranges */
static struct fuse_session *session;
static bool maps_offered;

static void *ok(void *memory)
{
	if (!memory)
		errx(1, "no memory");
	return memory;
}

static bool add_device(uint32_t index, const char *name, char *why)
{
	struct fuse_daxdev *dev = fuse_daxdev_find(name, why, WHY_LEN);

	if (!dev || fuse_daxdev_check_mode(dev, why, WHY_LEN))
		return false;
	devices = ok(reallocarray(devices, ndevices + 1, sizeof(*devices)));
	devinfo = ok(reallocarray(devinfo, ndevices + 1, sizeof(*devinfo)));
	devices[ndevices] = dev;
	devinfo[ndevices++] = (struct fuse_fmap_device) { .index = index, .size = fuse_daxdev_size(dev) };
	return true;
}

/* The position of a device in both arrays, or ndevices */
static size_t find_device(uint32_t index)
{
	size_t i = 0;

	while (i < ndevices && devinfo[i].index != index)
		i++;
	return i;
}

/* ----------------------------------------------------------- *
 * Reading the manifest					       *
 * ----------------------------------------------------------- */

/* Exit with a message that begins with the place: "tree.conf:12: ..." */
#define bad(cfg, ...) (cfg_error(cfg, __VA_ARGS__), exit(1))

static int compare_nodes(const void *a, const void *b)
{
	const struct node *n = a, *m = b;

	if (n->parent != m->parent)
		return n->parent < m->parent ? -1 : 1;
	return strcmp(n->name, m->name);
}

/* 0 if they overlap */
static int compare_ranges(const void *a, const void *b)
{
	const struct fuse_dax_range *r = &((const struct range *)a)->where;
	const struct fuse_dax_range *s = &((const struct range *)b)->where;

	if (r->devindex != s->devindex)
		return r->devindex < s->devindex ? -1 : 1;
	return r->offset + r->len <= s->offset ? -1 :
	       s->offset + s->len <= r->offset;
}

/* The node with this name; a new one has mode 0 */
static struct node *get_node(struct node *parent, const char *name)
{
	struct node *n = ok(calloc(1, sizeof(*n))), *old;

	n->parent = parent;
	n->name = ok(strdup(name));
	n->attr = (struct stat) { .st_ino = nnodes, .st_nlink = 1, .st_uid = getuid(), .st_gid = getgid() };
	old = *(struct node **)ok(tsearch(n, &by_name, compare_nodes));
	if (old != n) {
		free(n->name);
		free(n);
		return old;
	}
	nodes = ok(reallocarray(nodes, nnodes + 1, sizeof(*nodes)));
	return nodes[nnodes++] = n;
}

/* Add a file and its directories */
static struct node *add_file(cfg_t *cfg, const char *path)
{
	char *copy = ok(strdup(path)), *rest = copy, *name;
	struct node *n = nodes[FUSE_ROOT_ID];

	while ((name = strsep(&rest, "/"))) {
		if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
			bad(cfg, "\"%s\": a path begins below the mount point, and must not contain . or ..", path);
		n = get_node(n, name);
		if (n->attr.st_mode && (!rest || !S_ISDIR(n->attr.st_mode)))
			bad(cfg, "\"%s\": \"%s\" already exists", path, name);
		n->attr.st_mode = S_IFDIR | 0755;
	}
	free(copy);
	return n;
}

/* Read three numbers: a range. No byte may be in two places */
static struct fuse_dax_range read_range(cfg_t *cfg, const char *path, int i)
{
	struct range *r = ok(calloc(1, sizeof(*r))), *other;
	struct fuse_dax_range *s = &r->where;

	r->path = path;
	r->line = cfg->line;
	s->devindex = cfg_getnint(cfg, "ranges", i);
	s->offset = cfg_getnint(cfg, "ranges", i + 1);
	s->len = cfg_getnint(cfg, "ranges", i + 2);
	other = *(struct range **)ok(tsearch(r, &by_place, compare_ranges));
	if (other != r)
		bad(cfg, "\"%s\" and \"%s\" (line %d) both have byte %" PRIu64 " of device %" PRIu32,
			  path, other->path, other->line, s->offset > other->where.offset ?
			  s->offset : other->where.offset, s->devindex);
	return *s;
}

/* libConfuse calls this at the end of each "device" ... */
static int read_device(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *d = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	long index = cfg_getint(d, "index");
	char why[WHY_LEN];

	(void)cfg;
	if (index < 0 || index > UINT32_MAX || !cfg_getstr(d, "name"))
		bad(d, "a device needs an index and a name: device { index = 0  name = \"dax0.0\" }");
	if (find_device(index) < ndevices)
		bad(d, "device %ld already exists", index);
	if (!add_device(index, cfg_getstr(d, "name"), why))
		bad(d, "%s", why);
	return 0;
}

/* ... and this at the end of each "file" */
static int read_file(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *f = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	long size = cfg_getint(f, "size"), chunk = cfg_getint(f, "chunk");
	int i, n = cfg_size(f, "ranges");
	const char *path = cfg_getstr(f, "path");
	struct fuse_dax_range *strips = ok(calloc(n + 1, sizeof(*strips)));
	char why[WHY_LEN];
	struct node *node;

	(void)cfg;
	if (!path || size < 0 || !size != !n || n % 3 || chunk < 0 || chunk > UINT32_MAX)
		bad(f, "a file needs a path, a size, and ranges = {device, offset, length, ...} unless its size is 0");
	node = add_file(f, path);
	node->attr.st_mode = S_IFREG | (cfg_getint(f, "mode") & 07777);
	node->attr.st_size = size;
	node->attr.st_blocks = (size + 511) / 512;
	node->map = size ? ok(fuse_fmap_new(size)) : NULL;
	for (i = 0; i < n / 3; i++) {
		strips[i] = read_range(f, path, 3 * i);
		if (!chunk)
			fuse_fmap_add_extent(node->map, strips[i].devindex, strips[i].offset, strips[i].len);
	}
	if (chunk && size)
		fuse_fmap_add_stripe_set(node->map, chunk, size, strips, i);
	free(strips);
	if (size && fuse_fmap_check(node->map, 1 << FUSE_FMAP_EXTENTS | 1 << FUSE_FMAP_STRIPED, devinfo, ndevices, why, sizeof(why)))
		bad(f, "\"%s\": %s", path, why);
	return 0;
}

static void read_manifest(const char *name)
{
	static cfg_opt_t device[] = {
		CFG_INT("index", -1, CFGF_NONE),
		CFG_STR("name", NULL, CFGF_NONE),
		CFG_END()
	}, file[] = {
		CFG_STR("path", NULL, CFGF_NONE),
		CFG_INT("mode", 0644, CFGF_NONE),
		CFG_INT("size", -1, CFGF_NONE),
		CFG_INT("chunk", 0, CFGF_NONE),
		CFG_INT_LIST("ranges", NULL, CFGF_NONE),
		CFG_END()
	}, manifest[] = {
		CFG_SEC("device", device, CFGF_MULTI),
		CFG_SEC("file", file, CFGF_MULTI),
		CFG_END()
	};
	cfg_t *cfg = ok(cfg_init(manifest, CFGF_NONE));

	cfg_set_validate_func(cfg, "device", read_device);
	cfg_set_validate_func(cfg, "file", read_file);
	get_node(NULL, "")->attr.st_mode = S_IFDIR | 0755;
	if (access(name, R_OK))
		err(1, "%s", name);
	if (cfg_parse(cfg, name))
		exit(1);	/* cfg_parse() has printed the reason */
	/* cfg is not freed, because nodes and ranges point to its strings */
}

/* ----------------------------------------------------------- *
 * Serving the tree					       *
 * ----------------------------------------------------------- */

static void tree_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	maps_offered = fuse_set_feature_flag(conn, FUSE_CAP_DAX_FMAP);
	if (!maps_offered)
		fuse_log(FUSE_LOG_WARNING, "fmap_tree: the kernel offers no DAX file maps (it needs CONFIG_FUSE_DAX_FMAP, and a mount by root): files in DAX memory can't be opened\n");
}

static void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT };
	struct node key = { .parent = nodes[parent], .name = (char *)name };
	struct node **n = tfind(&key, &by_name, compare_nodes);

	if (n) {
		e.ino = (*n)->attr.st_ino;
		e.attr = (*n)->attr;
	}
	fuse_reply_entry(req, &e);
}

static void tree_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	fuse_reply_attr(req, &nodes[ino]->attr, TIMEOUT);
}

/* The directory offset after an entry is its inode number */
static void tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	char *buf = ok(malloc(size));
	size_t i, used = 0, len;

	(void)fi;
	for (i = off + 1; i < nnodes; i++) {
		if (nodes[i]->parent != nodes[ino])
			continue;
		len = fuse_add_direntry(req, buf + used, size - used, nodes[i]->name, &nodes[i]->attr, i);
		if (len > size - used)
			break;
		used += len;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void tree_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (nodes[ino]->map && !maps_offered)
		fuse_reply_err(req, EOPNOTSUPP);
	else
		fuse_reply_open(req, fi);
}

/* Called once for each file. Mapped files are never read through the server */
static void tree_get_fmap(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	(void)size;
	if (nodes[ino]->map)
		fuse_reply_fmap(req, nodes[ino]->map);
	else
		fuse_reply_err(req, ENODATA);
}

/* Called once for each device, when the first map names it */
static void tree_get_daxdev(fuse_req_t req, int daxdev_index)
{
	size_t i = find_device(daxdev_index);
	char why[WHY_LEN] = "no such device";
	int ret = i < ndevices ? fuse_daxdev_register(session, devices[i], daxdev_index, O_RDWR, why, WHY_LEN) : -ENODEV;

	if (ret > 0) {
		fuse_reply_daxdev(req, daxdev_index, NULL);
	} else {
		fuse_log(FUSE_LOG_ERR, "fmap_tree: %s\n", why);
		fuse_reply_err(req, -ret);
	}
}

/*
 * Memory has failed. The kernel already makes sure that no process reads wrong
 * bytes. Log which file has lost them, and what to do.
 */
static void tree_dax_failure(fuse_req_t req, fuse_ino_t ino, const struct fuse_dax_failure *f)
{
	struct range key = { .where = { f->index, f->offset, f->len } };
	struct range **r = tfind(&key, &by_place, compare_ranges);
	const char *dev = fuse_daxdev_name(devices[find_device(f->index)]);
	char text[WHY_LEN] = "no file uses it, nothing is lost";

	if (r && ino == FUSE_ROOT_ID)
		snprintf(text, WHY_LEN, "\"%s\", which is not open, has lost bytes; write it again", (*r)->path);
	else if (r)
		snprintf(text, WHY_LEN, "\"%s\" has lost %" PRIu64 " bytes at %" PRIu64 "; write all of them again", (*r)->path, f->len, f->pos);
	if (f->event == FUSE_DAX_REMOVED)
		fuse_log(FUSE_LOG_ERR, "fmap_tree: %s was removed: files have lost their bytes on it; unmount, and mount again when \"daxctl list\" shows it\n", dev);
	else
		fuse_log(FUSE_LOG_ERR, "fmap_tree: bad memory on %s at 0x%" PRIx64 ": %s\n", dev, f->offset, text);
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops tree_ops = {
	.init = tree_init,
	.lookup = tree_lookup,
	.getattr = tree_getattr,
	.readdir = tree_readdir,
	.open = tree_open,
	.get_fmap = tree_get_fmap,
	.get_daxdev = tree_get_daxdev,
	.dax_failure = tree_dax_failure,
};

/* The arguments are MANIFEST, then those of libfuse */
static int serve(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts opts;
	int ret;

	if (fuse_parse_cmdline(&args, &opts) || !opts.mountpoint)
		return -1;
	read_manifest(argv[0]);
	session = fuse_session_new(&args, &tree_ops, sizeof(tree_ops), NULL);
	if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, opts.mountpoint))
		return 1;
	if (!opts.foreground)
		fuse_log_enable_syslog("fmap_tree", LOG_PID, LOG_DAEMON);
	fuse_daemonize(opts.foreground);
	ret = fuse_session_loop_mt(session, NULL);
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return ret != 0;
}

/* ----------------------------------------------------------- *
 * Making a manifest					       *
 * ----------------------------------------------------------- */

/*
 * A file of at least one chunk is striped over several devices. A smaller one is
 * striped with a small chunk size, or is one extent. Large files are placed from
 * the start of the devices and small ones from the end, so that small ones don't
 * affect the alignment. Each file begins on the next device.
 */
static void print_file(FILE *f, const char *manifest, const char *path, const struct stat *st, long chunk, long stripe)
{
	static uint64_t *start, turn;
	bool large = st->st_size >= chunk;
	long i, len, chunks, unit = large ? chunk : SMALL_CHUNK;

	start = start ? start : ok(calloc(ndevices, sizeof(*start)));
	chunks = (st->st_size + unit - 1) / unit;
	stripe = chunks < stripe ? chunks : stripe;
	path += strspn(path, "/");
	fputs("file { path = '", f);
	for (i = 0; path[i]; i++)
		fprintf(f, strchr("'\\", path[i]) ? "\\%c" : "%c", path[i]);
	fprintf(f, "'  mode = 0%03o  size = %ld", st->st_mode & 0777, (long)st->st_size);
	if (stripe > 1)
		fprintf(f, "  chunk = %ld", unit);
	else if (!large)
		unit = getpagesize();		/* one extent, as short as possible */
	chunks = (st->st_size + unit - 1) / unit;
	for (i = 0; i < stripe; i++, turn++) {
		size_t d = turn % ndevices;

		len = (chunks - i + stripe - 1) / stripe * unit;
		if (devinfo[d].size - start[d] < (uint64_t)len) {
			unlink(manifest);
			errx(1, "%s is full: no room for %ld bytes of \"%s\"; use more or larger devices", fuse_daxdev_name(devices[d]), len, path);
		}
		devinfo[d].size -= large ? 0 : len;
		fprintf(f, "%s%zu, %" PRIu64 ", %ld", i ? ",  " : "  ranges = {", d, large ? start[d] : devinfo[d].size, len);
		start[d] += large ? len : 0;
	}
	fputs(stripe ? "} }\n" : " }\n", f);
}

static int compare_entries(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int create(int argc, char **argv)
{
	char why[WHY_LEN], *dir[] = { argv[1], NULL }, *end;
	long chunk = HUGE, stripe = 0;
	FTSENT *e;
	FTS *fts;
	FILE *f;
	int i;

	for (i = 3; i < argc - 1; i += 2) {
		if (!strcmp(argv[i], "--device")) {
			if (!add_device(ndevices, argv[i + 1], why))
				errx(1, "%s", why);
		} else if (!strcmp(argv[i], "--chunk")) {
			chunk = strtol(argv[i + 1], &end, 0);
			chunk <<= *end == 'M' ? 20 : *end == 'K' ? 10 : 0;
		} else if (!strcmp(argv[i], "--stripe")) {
			stripe = strtol(argv[i + 1], NULL, 0);
		} else {
			return -1;
		}
	}
	if (i != argc || !ndevices)
		return -1;
	if (chunk <= 0 || chunk % getpagesize() || chunk > UINT32_MAX || stripe < 0)
		errx(1, "--chunk needs a multiple of %d bytes, such as 2M, and --stripe a number of devices", getpagesize());
	stripe = stripe && stripe < (long)ndevices ? stripe : (long)ndevices;
	/* Never overwrite a manifest: without it the data on the devices is lost */
	f = fopen(argv[2], "wx");
	if (!f)
		err(1, "%s", argv[2]);
	for (i = 0; i < (int)ndevices; i++)
		fprintf(f, "device { index = %d  name = '%s' }\n", i, fuse_daxdev_name(devices[i]));
	fts = ok(fts_open(dir, FTS_PHYSICAL | FTS_NOCHDIR, compare_entries));
	while ((e = fts_read(fts))) {
		if (e->fts_info == FTS_F)
			print_file(f, argv[2], e->fts_path + strlen(dir[0]), e->fts_statp, chunk, stripe);
		else if (e->fts_errno)
			errx(1, "%s: %s", e->fts_path, strerror(e->fts_errno));
		else if (e->fts_info != FTS_D && e->fts_info != FTS_DP)
			warnx("skipped, not a regular file: %s", e->fts_path);
	}
	fts_close(fts);
	if (fclose(f))
		err(1, "%s", argv[2]);
	return 0;
}

int main(int argc, char **argv)
{
	int ret = -1;

	if (argc > 3 && !strcmp(argv[1], "create"))
		ret = create(argc - 1, argv + 1);
	else if (argc > 2 && !strcmp(argv[1], "mount"))
		ret = serve(argc - 2, argv + 2);
	if (ret < 0)
		errx(1, "usage: fmap_tree create DIR MANIFEST --device DEVICE... [--chunk 2M] [--stripe N]\n"
		    "       fmap_tree mount MANIFEST MOUNTPOINT [-f] [-o OPTION]...");
	return ret;
}
