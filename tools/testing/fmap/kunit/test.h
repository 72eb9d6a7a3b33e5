/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of KUnit that fs/fuse/fmap_test.c uses; kunit.c runs the tests.
 */
#ifndef _FMAP_SHIM_TEST_H
#define _FMAP_SHIM_TEST_H

#include <linux/types.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#define KUNIT_PARAM_DESC_SIZE	128
#define KUNIT_ALLOCATIONS	8

struct kunit {
	const void *param_value;
	bool failed;
	jmp_buf abort;
	void *allocated[KUNIT_ALLOCATIONS];
	unsigned int nallocated;
};

struct kunit_case {
	const char *name;
	void (*run_case)(struct kunit *test);
	const void *(*generate_params)(struct kunit *test, const void *prev,
				       char *desc);
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
};

extern const struct kunit_suite *const kunit_suite;

void *kunit_kzalloc(struct kunit *test, size_t size, int gfp);
void *kunit_kmalloc(struct kunit *test, size_t size, int gfp);

#define kunit_test_suite(suite)	\
	const struct kunit_suite *const kunit_suite = &(suite)

#define KUNIT_CASE(test)	{ .name = #test, .run_case = test }
#define KUNIT_CASE_SLOW(test)	KUNIT_CASE(test)
#define KUNIT_CASE_PARAM(test, gen)	\
	{ .name = #test, .run_case = test, .generate_params = gen }

#define KUNIT_ARRAY_PARAM_DESC(prefix, array, member)			\
	static const void *prefix##_gen_params(struct kunit *test,	\
					       const void *prev,	\
					       char *desc)		\
	{								\
		const typeof((array)[0]) *next = prev;			\
									\
		(void)test;						\
		next = next ? next + 1 : array;				\
		if (next == (array) + ARRAY_SIZE(array))		\
			return NULL;					\
		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s", next->member); \
		return next;						\
	}

#define kunit_info(test, fmt, ...)	\
	((void)(test), printf("# " fmt "\n", ##__VA_ARGS__))

#define KUNIT_CHECK(test, good, stop, fmt, ...)				\
	do {								\
		if (good)						\
			break;						\
		printf("# %s:%d: " fmt "\n", __FILE__, __LINE__,	\
		       ##__VA_ARGS__);					\
		(test)->failed = true;					\
		if (stop)						\
			longjmp((test)->abort, 1);			\
	} while (0)

#define KUNIT_COMPARE(test, left, op, right)				\
	do {								\
		unsigned long long __left = (left), __right = (right);	\
									\
		KUNIT_CHECK(test, __left op __right, false,		\
			    "%s %s %s: %#llx, %#llx", #left, #op,	\
			    #right, __left, __right);			\
	} while (0)

#define KUNIT_SAME_TEXT(test, left, right, stop)			\
	do {								\
		const char *__left = (left), *__right = (right);	\
									\
		KUNIT_CHECK(test, !strcmp(__left, __right), stop,	\
			    "\"%s\" and not \"%s\"", __left, __right);	\
	} while (0)

#define KUNIT_EXPECT_EQ(test, left, right)	\
	KUNIT_COMPARE(test, left, ==, right)
#define KUNIT_EXPECT_GT(test, left, right)	\
	KUNIT_COMPARE(test, left, >, right)
#define KUNIT_EXPECT_LT(test, left, right)	\
	KUNIT_COMPARE(test, left, <, right)
#define KUNIT_EXPECT_PTR_EQ(test, left, right)	\
	KUNIT_CHECK(test, (left) == (right), false, "%s == %s", #left, #right)
#define KUNIT_EXPECT_NULL(test, ptr)	\
	KUNIT_CHECK(test, !(ptr), false, "%s is not NULL", #ptr)
#define KUNIT_ASSERT_NOT_NULL(test, ptr)	\
	KUNIT_CHECK(test, ptr, true, "%s is NULL", #ptr)
#define KUNIT_ASSERT_TRUE(test, condition)	\
	KUNIT_CHECK(test, condition, true, "%s", #condition)
#define KUNIT_ASSERT_TRUE_MSG(test, condition, fmt, ...)	\
	KUNIT_CHECK(test, condition, true, fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_NULL_MSG(test, ptr, fmt, ...)	\
	KUNIT_CHECK(test, !(ptr), true, fmt, ##__VA_ARGS__)
#define KUNIT_EXPECT_STREQ(test, left, right)	\
	KUNIT_SAME_TEXT(test, left, right, false)
#define KUNIT_ASSERT_STREQ(test, left, right)	\
	KUNIT_SAME_TEXT(test, left, right, true)

#endif /* _FMAP_SHIM_TEST_H */
