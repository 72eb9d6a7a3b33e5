// SPDX-License-Identifier: GPL-2.0
/* Run the KUnit suite that is linked into this program; TAP on stdout. */
#include <kunit/test.h>
#include <stdlib.h>

void *kunit_kmalloc(struct kunit *test, size_t size, int gfp)
{
	void *p = malloc(size);

	(void)gfp;
	if (!p || test->nallocated == KUNIT_ALLOCATIONS)
		abort();
	test->allocated[test->nallocated++] = p;
	return p;
}

void *kunit_kzalloc(struct kunit *test, size_t size, int gfp)
{
	return memset(kunit_kmalloc(test, size, gfp), 0, size);
}

/* Returns whether it failed */
static bool run(const struct kunit_case *test_case, const void *param,
		const char *desc)
{
	static unsigned int count;
	struct kunit test = { .param_value = param };

	if (!setjmp(test.abort))
		test_case->run_case(&test);
	while (test.nallocated)
		free(test.allocated[--test.nallocated]);

	printf("%sok %u - %s%s%s\n", test.failed ? "not " : "", ++count,
	       test_case->name, *desc ? ": " : "", desc);
	return test.failed;
}

int main(void)
{
	const struct kunit_case *test_case;
	unsigned int tests = 0, failed = 0;

	/* no output may be lost if a sanitizer ends the program */
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n# %s\n", kunit_suite->name);
	for (test_case = kunit_suite->test_cases; test_case->run_case;
	     test_case++) {
		char desc[KUNIT_PARAM_DESC_SIZE] = "";
		const void *param = NULL;

		if (!test_case->generate_params) {
			tests++;
			failed += run(test_case, NULL, desc);
			continue;
		}
		while ((param = test_case->generate_params(NULL, param,
							   desc))) {
			tests++;
			failed += run(test_case, param, desc);
		}
	}
	printf("1..%u\n", tests);
	return failed != 0;
}
