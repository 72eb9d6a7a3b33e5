// SPDX-License-Identifier: GPL-2.0
/*
 * mmap_cmp A B: compare the bytes of A, through a shared mapping, with the bytes
 * that read(2) returns for B.
 */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	int a, b;
	char *map, *buf;
	struct stat st;

	if (argc != 3)
		errx(2, "usage: mmap_cmp A B");
	a = open(argv[1], O_RDONLY);
	b = open(argv[2], O_RDONLY);
	if (a < 0 || b < 0 || fstat(a, &st))
		err(2, "%s, %s", argv[1], argv[2]);
	buf = malloc(st.st_size + 1);
	if (!buf || read(b, buf, st.st_size + 1) != st.st_size)
		errx(1, "%s and %s differ in size", argv[1], argv[2]);
	if (!st.st_size)
		return 0;
	map = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, a, 0);
	if (map == MAP_FAILED)
		err(2, "mmap %s", argv[1]);
	if (memcmp(map, buf, st.st_size))
		errx(1, "%s and %s differ", argv[1], argv[2]);
	return 0;
}
