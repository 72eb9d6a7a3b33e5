/* SPDX-License-Identifier: GPL-2.0 */
/* Helpers for tests that measure or limit memory with a cgroup. */
#ifndef FMAP_CGROUP_H
#define FMAP_CGROUP_H

#include <stddef.h>

#define CGROUP		"/sys/fs/cgroup"

/* Make a cgroup that counts memory. Returns a reason to skip, or NULL. */
const char *new_cgroup(char *path, size_t len);
/* Move the calling process into a cgroup: 0 or -errno */
int join_cgroup(const char *cgroup);
/* Remove a cgroup, if there is one; the calling process leaves it first */
void remove_cgroup(char *path);

/* The only number in one of a cgroup's files, or -1 */
long long cgroup_value(const char *cgroup, const char *file);

/*
 * Bytes of kernel memory charged to a cgroup. memory.current isn't useful for
 * this, because each CPU keeps some charged pages in stock. The kernel sums up
 * the counters of the CPUs every two seconds; kernel_memory() waits for that.
 */
long long kernel_memory_now(const char *cgroup);
long long kernel_memory(const char *cgroup);

#endif
