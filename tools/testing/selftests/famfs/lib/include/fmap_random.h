/* SPDX-License-Identifier: GPL-2.0 */
/* Helpers for tests that are random, measure time, or have a variable size. */
#ifndef FMAP_RANDOM_H
#define FMAP_RANDOM_H

#include <stdint.h>

/* A number from the environment; @value if the variable isn't set */
unsigned long from_env(const char *name, unsigned long value);

/* The time in nanoseconds */
uint64_t now(void);

/* State of the generator in this thread. The test sets it first, not to 0. */
extern __thread uint64_t random_state;

uint64_t random_below(uint64_t limit);

#endif
