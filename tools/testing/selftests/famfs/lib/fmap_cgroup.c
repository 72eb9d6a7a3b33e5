// SPDX-License-Identifier: GPL-2.0
/* Helpers for tests with a memory cgroup, see fmap_cgroup.h. */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/stat.h>

#include "fmap_cgroup.h"
#include "fmap_util.h"

const char *new_cgroup(char *path, size_t len)
{
	path[0] = 0;
	if (write_file(CGROUP "/cgroup.subtree_control", "+memory"))
		return "no cgroup2 with the memory controller";
	snprintf(path, len, CGROUP "/fmap-%d", getpid());
	if (mkdir(path, 0755)) {
		path[0] = 0;
		return "no new cgroup";
	}
	return kernel_memory_now(path) < 0 ? "no memory.stat" : NULL;
}

int join_cgroup(const char *cgroup)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	return write_file(path, "0");
}

void remove_cgroup(char *path)
{
	if (!path[0])
		return;
	join_cgroup(CGROUP);
	rmdir(path);
	path[0] = 0;
}

long long cgroup_value(const char *cgroup, const char *file)
{
	char path[PATH_MAX];
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	f = fopen(path, "r");
	if (!f)
		return -1;
	if (fscanf(f, "%lld", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

long long kernel_memory_now(const char *cgroup)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/memory.stat", cgroup);
	return number_in(path, "kernel");
}

long long kernel_memory(const char *cgroup)
{
	usleep(2500000);
	return kernel_memory_now(cgroup);
}
