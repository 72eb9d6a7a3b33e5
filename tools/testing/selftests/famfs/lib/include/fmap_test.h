/* SPDX-License-Identifier: GPL-2.0 */
/* For test programs of DAX file maps: the kselftest harness, main() and helpers. */
#ifndef FMAP_TEST_H
#define FMAP_TEST_H

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
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "fmap_util.h"

/*
 * Pass SIGTERM and SIGINT on to the tests. Each test has its own process group,
 * so otherwise it would continue, with its mount and the runner's pipe.
 */
static inline void handle_termination(int sig)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	for (f = __fixture_list; f && getpid() == harness_pid; f = f->next)
		for (t = f->tests; t; t = t->next)
			if (t->results && t->pid > 0)
				kill(-t->pid, SIGKILL);
	end_all_tests();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The harness exits with 0 even if all tests were skipped, so check root here */
#undef TEST_HARNESS_MAIN
#define TEST_HARNESS_MAIN						\
	int main(int argc, char **argv)					\
	{								\
		if (geteuid())						\
			ksft_exit_skip("root is needed\n");		\
		harness_pid = getpid();					\
		if (rs_note_connections())				\
			ksft_exit_fail_perror("rs_note_connections");	\
		signal(SIGTERM, handle_termination);			\
		signal(SIGINT, handle_termination);			\
		atexit(end_all_tests);					\
		return test_harness_run(argc, argv);			\
	}

#endif
