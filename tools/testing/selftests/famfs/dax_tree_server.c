// SPDX-License-Identifier: GPL-2.0
/*
 * Serve a tree of mapped files that a plan describes.
 *
 *	dax_tree_server [-s STATS] [-p PIDFILE] PLAN MOUNTPOINT DEVICE...
 *
 * DEVICE is a DAX device in famfs mode, such as dax0.0; the first one has index
 * 0. The command returns when the mount is in place; the server goes on in the
 * background until it is unmounted or gets SIGTERM. It writes the number of
 * requests by opcode to STATS on SIGUSR1 and when it ends.
 *
 * A line of PLAN is one file or directory, each directory before what is in it:
 *
 *	TYPE SIZE CHUNK STRIPS PATH
 *
 * TYPE is d (directory), n (ordinary file without a map, empty), e (extents
 * that follow each other) or s (one stripe set with chunks of CHUNK bytes).
 * STRIPS is "-" or INDEX:OFFSET:LENGTH, separated by commas. PATH is relative
 * and may have blanks in it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "raw_server.h"

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	fputs("dax_tree_server: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* The inode number of the directory @path, which is the last @len bytes off */
static uint64_t find_dir(struct raw_server *s, const char *path, size_t len)
{
	uint64_t ino = FUSE_ROOT_ID;

	while (len) {
		size_t part = strcspn(path, "/");
		struct rs_node *n = NULL;

		for (uint32_t i = 1; i < s->nnodes; i++) {
			n = &s->node[i];
			if (n->parent == ino && strlen(n->name) == part &&
			    !strncmp(n->name, path, part))
				break;
			n = NULL;
		}
		if (!n)
			return 0;
		ino = rs_ino(s, n);
		if (part >= len)
			break;
		path += part + 1;
		len -= part + 1;
	}
	return ino;
}

static bool build_map(struct rs_map *m, char type, uint64_t size,
		      uint32_t chunk, char *strips)
{
	unsigned int nstrips = 1;
	bool ok = true;

	for (const char *p = strips; *p; p++)
		nstrips += *p == ',';
	if (type == 's') {
		rs_map_init(m, FUSE_FMAP_STRIPED, size);
		rs_map_stripe(m, nstrips, chunk, size);
	} else {
		rs_map_init(m, FUSE_FMAP_EXTENTS, size);
	}
	for (char *p = strtok(strips, ","); p; p = strtok(NULL, ",")) {
		uint64_t off, len;
		uint32_t dev;

		if (sscanf(p, "%" SCNu32 ":%" SCNu64 ":%" SCNu64, &dev, &off,
			   &len) != 3) {
			ok = false;
			break;
		}
		if (type == 's')
			rs_map_strip(m, dev, off, len);
		else
			rs_map_extent(m, dev, off, len);
	}
	return ok;
}

static void read_plan(struct raw_server *s, const char *name)
{
	char line[8192], strips[4096];
	FILE *f = fopen(name, "r");
	int lineno = 0;

	if (!f)
		die("%s: %s", name, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		char type, *path, *base;
		struct rs_node *n;
		uint64_t size, parent;
		struct rs_map m;
		uint32_t chunk;
		int at = 0;

		lineno++;
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%c %" SCNu64 " %" SCNu32 " %4095s%n", &type,
			   &size, &chunk, strips, &at) != 4 ||
		    line[at] != ' ' || !strchr("dnes", type))
			die("%s:%d: can't read this: %s", name, lineno, line);
		path = line + at + 1;
		base = strrchr(path, '/');
		parent = find_dir(s, path, base ? base - path : 0);
		base = base ? base + 1 : path;
		if (!parent)
			die("%s:%d: no directory for %s", name, lineno, path);
		n = type == 'd' ? rs_add_dir(s, parent, base) :
				  rs_add_file(s, parent, base);
		if (!n)
			die("%s:%d: no room for %s", name, lineno, path);
		if (type != 'e' && type != 's')
			continue;
		if (!build_map(&m, type, size, chunk, strips))
			die("%s:%d: strips: %s", name, lineno, path);
		rs_set_map(s, n, &m);
	}
	fclose(f);
}

static void write_stats(const struct raw_server *s, const char *name)
{
	uint32_t most = 0;
	FILE *f;

	if (!name)
		return;
	f = fopen(name, "w");
	if (!f)
		return;
	for (uint32_t i = 0; i < RS_NOPCODES; i++) {
		const char *op = rs_opcode_name(i);

		if (!s->count[i])
			continue;
		if (op)
			fprintf(f, "%s %u\n", op, s->count[i]);
		else
			fprintf(f, "opcode-%u %u\n", i, s->count[i]);
	}
	for (uint32_t i = 0; i < s->nnodes; i++)
		if (s->node[i].nfmap > most)
			most = s->node[i].nfmap;
	fprintf(f, "most-GET_FMAP-of-one-file %u\n", most);
	fclose(f);
}

/* Until the server's process ends */
static void watch(struct raw_server *s, const char *stats, const sigset_t *set)
{
	for (;;) {
		int sig = sigwaitinfo(set, NULL);

		if (sig == SIGUSR1)
			write_stats(s, stats);
		if (sig == SIGTERM || sig == SIGINT)
			umount2(s->mnt, MNT_DETACH);
		if (sig == SIGCHLD && waitpid(s->pid, NULL, WNOHANG) > 0)
			break;
	}
	s->pid = 0;
	write_stats(s, stats);
}

int main(int argc, char **argv)
{
	const char *stats = NULL, *pidfile = NULL;
	struct raw_server *s;
	int opt, err, ready[2];
	sigset_t set;
	char ok = 0;

	while ((opt = getopt(argc, argv, "s:p:")) != -1) {
		if (opt == 's')
			stats = optarg;
		else if (opt == 'p')
			pidfile = optarg;
		else
			return 2;
	}
	if (argc - optind < 3)
		die("usage: dax_tree_server [-s STATS] [-p PIDFILE] PLAN MOUNTPOINT DEVICE...");
	s = rs_new();
	if (!s)
		die("no memory");
	s->outlive = true;
	s->nthreads = 4;
	read_plan(s, argv[optind]);
	for (int i = optind + 2; i < argc; i++)
		if (!rs_add_dev(s, argv[i], i - optind - 2, RS_PUSH_AT_INIT))
			die("at most %d devices", RS_MAX_DEVS);

	/* The parent returns when the child has the mount in place */
	if (pipe(ready))
		die("pipe: %s", strerror(errno));
	switch (fork()) {
	case -1:
		die("fork: %s", strerror(errno));
	case 0:
		break;
	default:
		close(ready[1]);
		return read(ready[0], &ok, 1) == 1 ? 0 : 1;
	}
	close(ready[0]);
	setsid();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);

	err = rs_start(s, argv[optind + 1]);
	if (!err && !(s->offered & FUSE_DAX_FMAP)) {
		fputs("dax_tree_server: the kernel has no FUSE_DAX_FMAP\n",
		      stderr);
		err = -EPROTONOSUPPORT;
	}
	for (int i = 0; !err && i < s->ndev; i++) {
		if (s->dev[i].result > 0)
			continue;
		fprintf(stderr, "dax_tree_server: %s: %s\n", s->dev[i].name,
			strerror(-s->dev[i].result));
		err = -ENODEV;
	}
	if (err) {
		rs_free(s);
		die("%s: %s", argv[optind + 1], strerror(-err));
	}
	if (pidfile) {
		FILE *f = fopen(pidfile, "w");

		if (f) {
			fprintf(f, "%d\n", getpid());
			fclose(f);
		}
	}
	if (write(ready[1], "1", 1) != 1)
		return 1;
	close(ready[1]);
	if (!freopen("/dev/null", "w", stdout) ||
	    !freopen("/dev/null", "w", stderr))
		return 1;
	watch(s, stats, &set);
	return 0;
}
