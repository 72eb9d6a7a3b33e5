// SPDX-License-Identifier: GPL-2.0
/* Helpers for all tests of DAX file maps, see fmap_util.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "fmap_util.h"

/* Text files */

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	n = n < 0 ? -errno : 0;
	close(fd);
	return n;
}

long long number_in(const char *path, const char *name)
{
	char line[256];
	size_t len = strlen(name);
	long long n = -1;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && line[len] == ' ')
			n = atoll(line + len);
	if (f)
		fclose(f);
	return n;
}

/* The control file system */

int abort_connection(unsigned int conn)
{
	char path[64];

	snprintf(path, sizeof(path), CONNECTIONS "/%u/abort", conn);
	return write_file(path, "1");
}

unsigned int connection_of(struct raw_server *s)
{
	struct stat st;

	return stat(s->mnt, &st) ? 0 : minor(st.st_dev);
}

int connections(void)
{
	DIR *d = opendir(CONNECTIONS);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The processes of tests */

pid_t harness_pid;

void end_tests(pid_t but)
{
	bool found = false;

	for (int i = 0; i < RS_CONNECTIONS; i++) {
		pid_t group = rs_connections->of[i].group;

		if (!group || group == but)
			continue;
		rs_connections->of[i].group = 0;
		if (abort_connection(rs_connections->of[i].number))
			continue;	/* unmounted */
		kill(-group, SIGKILL);
		found = true;
	}
	if (found)
		usleep(500000);
}

void end_all_tests(void)
{
	if (getpid() == harness_pid)
		end_tests(0);
}

void ignore(int sig)
{
	(void)sig;
}

/* Devices */

int max_dax = 4;
char dax[MAX_DAX][32];
uint64_t dax_size[MAX_DAX];
int ndax;

void find_dax(void)
{
	char path[PATH_MAX], link[PATH_MAX];

	ndax = 0;
	for (int region = 0; region < 32 && ndax < max_dax; region++) {
		for (int i = 0; i < 4 && ndax < max_dax; i++) {
			char *name = dax[ndax];
			unsigned long long size = 0;
			ssize_t n;
			FILE *f;

			snprintf(name, sizeof(dax[0]), "dax%d.%d", region, i);
			snprintf(path, sizeof(path),
				 "/sys/bus/dax/devices/%s/driver", name);
			n = readlink(path, link, sizeof(link) - 1);
			if (n <= 0)
				continue;
			link[n] = 0;
			if (!strstr(link, "/fsdev_dax"))
				continue;
			snprintf(path, sizeof(path),
				 "/sys/bus/dax/devices/%s/size", name);
			f = fopen(path, "r");
			if (!f)
				continue;
			if (fscanf(f, "%llu", &size) == 1 && size >= 64 * MB)
				dax_size[ndax++] = size;
			fclose(f);
		}
	}
}

int bind_to(const char *name, const char *from, const char *to)
{
	char path[128];
	int ret;

	if (from) {
		snprintf(path, sizeof(path), "/sys/bus/dax/drivers/%s/unbind",
			 from);
		ret = write_file(path, name);
		if (ret)
			return ret;
		/* fails if the driver has no such ID */
		snprintf(path, sizeof(path),
			 "/sys/bus/dax/drivers/%s/remove_id", from);
		write_file(path, name);
	}
	if (!to)
		return 0;
	snprintf(path, sizeof(path), "/sys/bus/dax/drivers/%s/new_id", to);
	return write_file(path, name);
}

const char *sandbox(int need_dax)
{
	static char why[80];

	if (access("/dev/fuse", R_OK | W_OK))
		return "no /dev/fuse";
	end_tests(getpgrp());
	find_dax();
	if (ndax < need_dax) {
		snprintf(why, sizeof(why),
			 "%d DAX devices in famfs mode needed, %d found",
			 need_dax, ndax);
		return why;
	}
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return "no mount namespace";
	return NULL;
}

/* Servers */

struct raw_server *new_server(int n)
{
	struct raw_server *s = rs_new();

	for (int i = 0; s && i < n; i++)
		rs_add_dev(s, dax[i], i, RS_PUSH_AT_INIT);
	return s;
}

int start_server(struct raw_server *s)
{
	int ret = rs_start(s, NULL);

	if (ret)
		return ret;
	if (!(s->offered & s->want & FUSE_DAX_FMAP))
		return -EPROTONOSUPPORT;
	for (int i = 0; i < s->ndev; i++)
		if (s->dev[i].how == RS_PUSH_AT_INIT && s->dev[i].result <= 0)
			return s->dev[i].result ? s->dev[i].result : -EPROTO;
	return 0;
}

int claim_devices(int n)
{
	struct raw_server *s = new_server(n);
	int ret = s ? start_server(s) : -ENOMEM;

	rs_free(s);
	return ret;
}

int claim_devices_soon(int n)
{
	int ret = claim_devices(n);

	for (int i = 0; ret == -EBUSY && i < 50; i++) {
		usleep(20000);
		ret = claim_devices(n);
	}
	return ret;
}

/* Files */

struct rs_node *add_mapped(struct raw_server *s, const char *name, uint32_t dev,
			   uint64_t off, uint64_t size)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, size);
	rs_map_extent(&m, dev, off, (size + PG - 1) & ~(PG - 1));
	rs_set_map(s, n, &m);
	return n;
}

struct rs_node *add_extents(struct raw_server *s, const char *name,
			    uint64_t off, int count)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_EXTENTS, count * PG);
	while (count--)
		rs_map_extent(&m, 0, off + count * PG, PG);
	rs_set_map(s, n, &m);
	return n;
}

struct rs_node *add_striped(struct raw_server *s, const char *name,
			    uint64_t off, uint32_t chunk, uint64_t size)
{
	struct rs_node *n = rs_add_file(s, FUSE_ROOT_ID, name);
	struct rs_map m;

	rs_map_init(&m, FUSE_FMAP_STRIPED, size);
	rs_map_stripe(&m, 2, chunk, size);
	rs_map_strip(&m, 0, off, size / 2);
	rs_map_strip(&m, 1, off, size / 2);
	rs_set_map(s, n, &m);
	return n;
}

int open_in(struct raw_server *s, const char *name, int flags)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", s->mnt, name);
	return open(path, flags | O_CLOEXEC, 0644);
}

int try_open(struct raw_server *s, const char *name, int flags)
{
	int fd = open_in(s, name, flags);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

int try_open_at(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

void close_and_clear(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

pid_t opener(struct raw_server *s, const char *name)
{
	struct sigaction sa = { .sa_handler = ignore };
	pid_t pid = fork();

	if (pid)
		return pid;
	/* a copy of the descriptor would keep the connection alive */
	close(s->fd);
	sigaction(SIGUSR1, &sa, NULL);
	_exit(try_open(s, name, O_RDWR));
}

int forget(struct raw_server *s, const char *name)
{
	struct {
		struct fuse_notify_inval_entry_out out;
		char name[64];
	} note = {
		.out = { .parent = FUSE_ROOT_ID, .namelen = strlen(name) },
	};

	snprintf(note.name, sizeof(note.name), "%s", name);
	return rs_reply(s, 0, FUSE_NOTIFY_INVAL_ENTRY, &note,
			sizeof(note.out) + strlen(name) + 1);
}

bool forgotten(struct raw_server *s, const char *name)
{
	const volatile uint32_t *one = &s->count[FUSE_FORGET];
	const volatile uint32_t *some = &s->count[FUSE_BATCH_FORGET];
	uint32_t before = *one + *some;

	if (forget(s, name))
		return false;
	for (int i = 0; i < 40000; i++) {
		if (*one + *some != before)
			return true;
		usleep(500);
	}
	return false;
}

bool wait_until(const uint32_t *count, uint32_t least)
{
	for (int i = 0; i < 4000; i++) {
		if (__atomic_load_n(count, __ATOMIC_ACQUIRE) >= least)
			return true;
		usleep(5000);
	}
	return false;
}

int wait_soon(pid_t pid)
{
	int status;

	for (int i = 0; i < 2000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(5000);
	}
	return -1;
}

/* Data */

unsigned char pattern_at(uint64_t seed, uint64_t pos)
{
	uint64_t word = (pos / 8 + (seed << 40) + 1) * 0x9e3779b97f4a7c15ULL;

	return word >> (8 * (pos % 8));
}

void pattern(void *buf, uint64_t seed, uint64_t pos, size_t len)
{
	unsigned char *b = buf;

	for (size_t i = 0; i < len; i++)
		b[i] = pattern_at(seed, pos + i);
}

bool is_pattern(const void *buf, uint64_t seed, uint64_t pos, size_t len)
{
	const unsigned char *b = buf;

	for (size_t i = 0; i < len; i++)
		if (b[i] != pattern_at(seed, pos + i))
			return false;
	return true;
}

bool put(int fd, uint64_t seed, uint64_t pos, size_t len)
{
	char *b = malloc(len);
	bool ok;

	pattern(b, seed, pos, len);
	ok = pwrite(fd, b, len, pos) == (ssize_t)len;
	free(b);
	return ok;
}

bool got(int fd, uint64_t seed, uint64_t pos, size_t len)
{
	char *b = malloc(len);
	bool ok;

	ok = pread(fd, b, len, pos) == (ssize_t)len &&
	     is_pattern(b, seed, pos, len);
	free(b);
	return ok;
}

/* Mappings */

int signal_of(volatile char *p, bool write)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct rlimit no_core = {};

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		if (write)
			*p = 'x';
		else
			(void)*p;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

char *map_huge(int fd, size_t len, int prot, int flags, off_t off)
{
	char *area = mmap(NULL, len + 2 * MB, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t at;

	if (area == MAP_FAILED)
		return area;
	at = ((uintptr_t)area + 2 * MB - 1) & ~(2 * MB - 1);
	return mmap((char *)at, len, prot, flags | MAP_FIXED, fd, off);
}

long minor_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* Simulated memory failures */

uint64_t pfn_at(int fd, off_t pos)
{
	char *p = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, pos);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (p != MAP_FAILED) {
		*(volatile char *)p;
		if (pread(pagemap, &entry, sizeof(entry),
			  (uintptr_t)p / PG * sizeof(entry)) != sizeof(entry))
			entry = 0;
		munmap(p, PG);
	}
	close(pagemap);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

int poison_pfn(uint64_t pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", (unsigned long long)pfn);
	return write_file(CORRUPT, text);
}

/* The kernel log */

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

int kmsg_count(int fd, const char *a, const char *b)
{
	char rec[8192];
	int count = 0;
	ssize_t n;

	for (;;) {
		n = read(fd, rec, sizeof(rec) - 1);
		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue;	/* lines were overwritten */
		if (n <= 0)
			return count;
		rec[n] = 0;
		if (strstr(rec, a) && strstr(rec, b))
			count++;
	}
}
