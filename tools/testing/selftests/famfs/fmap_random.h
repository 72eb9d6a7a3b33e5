/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests have in common that are random, timed or of any size. */
#ifndef FMAP_RANDOM_H
#define FMAP_RANDOM_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline unsigned long from_env(const char *name, unsigned long value)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : value;
}

/* Nanoseconds */
static inline uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

/* A thread's own; anything but 0 to begin with */
static __thread uint64_t random_state;

static inline uint64_t random_below(uint64_t limit)
{
	/* xorshift64: the same numbers in each run */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

#endif
