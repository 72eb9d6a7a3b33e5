// SPDX-License-Identifier: GPL-2.0
/* Helpers for random tests, see fmap_random.h. */
#include <stdlib.h>
#include <time.h>

#include "fmap_random.h"

unsigned long from_env(const char *name, unsigned long value)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : value;
}

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

__thread uint64_t random_state;

uint64_t random_below(uint64_t limit)
{
	/* xorshift64, which makes a run reproducible */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}
