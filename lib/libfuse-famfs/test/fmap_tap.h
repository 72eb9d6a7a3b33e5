/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The main() of a test program that reports its results as TAP.
 *
 * Each test runs in a child process. It fails if it crashes or exits with a
 * status other than 0, and it can't change the state that the next one sees.
 */
#ifndef TEST_FMAP_TAP_H
#define TEST_FMAP_TAP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPECT(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "%s:%d: not true: %s\n",		\
			__FILE__, __LINE__, #cond);			\
		exit(1);						\
	}								\
} while (0)

struct tap_test {
	const char *name;
	void (*run)(void);
	const char *skip;	/* why it can't run, or NULL */
};

#define TAP_TEST(name)		{ #name, name, NULL }
#define TAP_SKIP(name, why)	{ #name, name, why }

/* Does an argument select the test? Both kinds of argument are prefixes */
static inline int tap_selected(const char *name, int argc, char **argv)
{
	int any = 0, named = 0, a;

	for (a = 1; a < argc; a++) {
		const char *arg = argv[a];
		int leave_out = *arg == '-';

		any |= !leave_out;
		arg += leave_out;
		if (strncmp(name, arg, strlen(arg)))
			continue;
		if (leave_out)
			return 0;
		named = 1;
	}
	return named || !any;
}

/* Returns 0 if the test passed */
static inline int tap_run(const struct tap_test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		return 1;
	}
	if (!pid) {
		test->run();
		exit(0);
	}
	if (waitpid(pid, &status, 0) != pid) {
		perror("waitpid");
		return 1;
	}
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	return status;
}

/*
 * Run the tests whose names begin with one of the arguments, or all tests if
 * there are none. "-NAME" leaves out those that begin with NAME.
 */
static inline int tap_main(const struct tap_test *tests, size_t ntests,
			   int argc, char **argv)
{
	unsigned int count = 0, failed = 0;
	size_t i;

	for (i = 0; i < ntests; i++) {
		char name[128], *c;
		int bad;

		if (!tap_selected(tests[i].name, argc, argv))
			continue;
		snprintf(name, sizeof(name), "%s", tests[i].name);
		for (c = name; *c; c++)
			if (*c == '_')
				*c = ' ';
		count++;
		if (tests[i].skip) {
			printf("ok %u - %s # SKIP %s\n", count, name,
			       tests[i].skip);
			continue;
		}
		bad = tap_run(&tests[i]);
		printf("%sok %u - %s\n", bad ? "not " : "", count, name);
		failed += !!bad;
	}
	printf("1..%u\n", count);
	return failed || !count;
}

#endif /* TEST_FMAP_TAP_H */
