// SPDX-License-Identifier: GPL-2.0
/*
 * file_ops DIR: create the directory DIR, do common file operations in it, and
 * print the result of each: the return value, and the size and hash of the file
 * after it. The output does not depend on time and place, so two file systems
 * that behave the same produce the same output.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define KB 1024L
#define MAX (4096 * KB)

static char buf[MAX];

/* Hash the contents. The system call and a mapping must read the same bytes. */
static uint64_t hash(int fd, off_t size)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	char *map;

	if (!size)
		return 0;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || pread(fd, buf, MAX, 0) != size ||
	    memcmp(map, buf, size)) {
		printf("(read and mmap differ) ");
		return 0;
	}
	munmap(map, size);
	for (off_t i = 0; i < size; i++)
		h = (h ^ (unsigned char)buf[i]) * 0x100000001b3ULL;
	return h;
}

/* Print the return value of @call and, if @fd is a file, its state */
static void show(const char *call, long ret, int fd)
{
	int err = ret < 0 ? errno : 0;
	struct stat st;

	printf("%-44s %ld%s%s", call, ret, err ? " " : "",
	       err ? strerrorname_np(err) : "");
	if (fd >= 0) {
		if (fstat(fd, &st)) {
			printf(" fstat: %s", strerrorname_np(errno));
		} else {
			printf(" | size %ld mode %o links %ld ",
			       (long)st.st_size, st.st_mode, (long)st.st_nlink);
			printf("hash %016lx",
			       S_ISREG(st.st_mode) ? hash(fd, st.st_size) : 0);
		}
	}
	putchar('\n');
}

#define STEP(fd, call) do { errno = 0; show(#call, (long)(call), fd); } while (0)

/* Write @len bytes at @pos; their values depend on @pos and @seed */
static ssize_t put(int fd, unsigned int seed, off_t pos, size_t len)
{
	char *b = malloc(len);
	ssize_t n;

	for (size_t i = 0; i < len; i++)
		b[i] = (pos + i) * 2654435761U >> 13 ^ seed;
	n = pwrite(fd, b, len, pos);
	free(b);
	return n;
}

static int by_mapping(int fd, int flags, off_t pos, const char *text)
{
	off_t page = pos & ~4095L;
	char *p = mmap(NULL, 8 * KB, PROT_READ | PROT_WRITE, flags, fd, page);
	int ret;

	if (p == MAP_FAILED)
		return -1;
	strcpy(p + (pos - page), text);
	ret = flags == MAP_SHARED ? msync(p, 8 * KB, MS_SYNC) : 0;
	munmap(p, 8 * KB);
	return ret;
}

static int entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int make(const char *name)
{
	return open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
}

static void reads_and_writes(void)
{
	int f = make("data"), g;

	STEP(f, put(f, 1, 0, 300 * KB));
	STEP(f, put(f, 2, 5000, 10000));
	STEP(f, put(f, 3, 1000 * KB, 17));
	STEP(f, pread(f, buf, 100, 1000 * KB + 10));
	STEP(f, pread(f, buf, 100, 1000 * KB + 17));
	STEP(f, by_mapping(f, MAP_SHARED, 4090, "through a mapping"));
	STEP(f, by_mapping(f, MAP_PRIVATE, 4090, "this one has no effect"));
	STEP(f, put(f, 4, 4095, 2));
	g = open("data", O_WRONLY | O_APPEND);
	STEP(f, write(g, "appended", 8));
	close(g);
	STEP(f, fsync(f));
	STEP(f, fdatasync(f));
	close(f);
	STEP(-1, (f = open("data", O_RDONLY)) < 0);
	STEP(f, put(f, 5, 0, 1));
	close(f);
}

static void sizes(void)
{
	int f = make("sizes"), g;

	STEP(f, put(f, 6, 0, 100 * KB));
	STEP(f, ftruncate(f, 50 * KB + 1));
	STEP(f, ftruncate(f, 70 * KB));
	STEP(f, truncate("sizes", 60 * KB));
	STEP(f, fallocate(f, 0, 0, 80 * KB));
	STEP(f, fallocate(f, FALLOC_FL_KEEP_SIZE, 80 * KB, 20 * KB));
	STEP(f, fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  4096, 3 * 4096));
	STEP(f, fallocate(f, FALLOC_FL_ZERO_RANGE, 40 * KB - 5, 60 * KB));
	STEP(f, fallocate(f, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	STEP(f, posix_fadvise(f, 0, 0, POSIX_FADV_DONTNEED));
	STEP(f, ftruncate(f, -1));
	g = open("sizes", O_RDWR | O_TRUNC);
	STEP(f, g < 0);
	STEP(f, put(g, 7, 100, 100));
	close(g);
	close(f);
}

static void holes(void)
{
	int f = make("holes");

	STEP(f, put(f, 8, 256 * KB, 64 * KB));
	STEP(f, ftruncate(f, 1024 * KB));
	STEP(f, fsync(f));
	STEP(f, lseek(f, 0, SEEK_DATA));
	STEP(f, lseek(f, 256 * KB, SEEK_HOLE));
	STEP(f, lseek(f, 512 * KB, SEEK_DATA));
	STEP(f, lseek(f, 1024 * KB, SEEK_HOLE));
	STEP(f, lseek(f, -24, SEEK_END));
	close(f);
}

static void copies(void)
{
	int f = open("data", O_RDONLY), g = make("copy"), p[2];
	off_t in, out;

	in = 1000;
	out = 77;
	STEP(g, copy_file_range(f, &in, g, &out, 100 * KB, 0));
	in = 0;
	out = 200 * KB;
	STEP(g, copy_file_range(g, &in, g, &out, 30 * KB, 0));
	in = 0;
	out = 10;
	STEP(g, copy_file_range(g, &in, g, &out, 30 * KB, 0));
	STEP(-1, lseek(g, 0, SEEK_END));
	in = 4000;
	STEP(g, sendfile(g, f, &in, 20 * KB));
	in = 3;
	out = 9;
	STEP(-1, pipe(p));
	STEP(g, splice(f, &in, p[1], NULL, 5000, 0));
	STEP(g, splice(p[0], NULL, g, &out, 5000, 0));
	close(p[0]);
	close(p[1]);
	close(f);
	close(g);
}

static void names(void)
{
	int f = make("one"), g = make("two"), h;

	STEP(f, put(f, 9, 0, 1000));
	STEP(g, put(g, 10, 0, 2000));
	STEP(-1, make("one"));
	STEP(f, renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_NOREPLACE));
	STEP(f, renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE));
	STEP(f, link("two", "another"));
	STEP(g, rename("one", "two"));
	STEP(f, unlink("another"));
	STEP(f, put(f, 11, 500, 1000));
	STEP(f, ftruncate(f, 300));
	STEP(g, fchmod(g, 0600));
	STEP(-1, mkdir("sub", 0755));
	STEP(g, rename("two", "sub/two"));
	STEP(-1, rename("sub/two", "sub/no/two"));
	STEP(-1, rmdir("sub"));
	STEP(-1, symlink("sub/two", "link"));
	STEP(-1, readlink("link", buf, MAX));
	h = open("link", O_RDWR);
	STEP(h, put(h, 12, 100, 100));
	STEP(-1, open("nothing", O_RDWR));
	STEP(-1, open("data/nothing", O_RDWR));
	STEP(-1, entries("."));
	STEP(-1, entries("sub"));
	close(f);
	close(g);
	close(h);
}

int main(int argc, char **argv)
{
	umask(022);
	if (argc != 2 || mkdir(argv[1], 0755) || chdir(argv[1])) {
		perror("file_ops DIR");
		return 1;
	}
	reads_and_writes();
	sizes();
	holes();
	copies();
	names();
	return 0;
}
