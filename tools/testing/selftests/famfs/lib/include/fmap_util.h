/* SPDX-License-Identifier: GPL-2.0 */
/* Helpers for all tests of DAX file maps: devices, files, control files, data. */
#ifndef FMAP_UTIL_H
#define FMAP_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "raw_server.h"

#define KB		1024UL
#define MB		(1024UL * 1024)
#define PG		4096UL

#define KIND_BIT(kind)	(1U << (kind))

/* The user ID of nobody */
#define NOBODY		65534

/* The processes of tests */

/* The process that runs the tests. Each test is a child of it. */
extern pid_t harness_pid;

/*
 * End the processes that earlier tests left, except those in process group @but.
 * A test that timed out is killed but not waited for, and a crashed test may
 * leave children. The next test would find its devices in use.
 */
void end_tests(pid_t but);
/* For atexit(): does nothing in a test's process */
void end_all_tests(void);

/* A signal handler that does nothing */
void ignore(int sig);

/* Devices */

#define MAX_DAX		32

/* find_dax() finds at most this many devices; 4 unless the test changes it */
extern int max_dax;
/* The devices in famfs mode, by their names on the dax bus */
extern char dax[MAX_DAX][32];
extern uint64_t dax_size[MAX_DAX];
extern int ndax;

void find_dax(void);

/*
 * Unbind a DAX device from the driver @from and bind it to the driver @to.
 * Either may be NULL. Returns 0 or -errno.
 */
int bind_to(const char *name, const char *from, const char *to);

/*
 * Put the test into its own mount namespace, so that its mount never outlives
 * it, and find the devices. Returns a reason to skip the test, or NULL.
 */
const char *sandbox(int need_dax);

/* Servers */

/* A server that registers the first @n devices at INIT, with indexes 0 to n - 1 */
struct raw_server *new_server(int n);
/* Start, and check that maps were negotiated and all devices registered */
int start_server(struct raw_server *s);
/*
 * Whether a new server can have the first @n devices: 0, or the error that it
 * gets. The second function waits for another process to release them.
 */
int claim_devices(int n);
int claim_devices_soon(int n);

/* Files */

/* A file with one extent, which ends at a page boundary */
struct rs_node *add_mapped(struct raw_server *s, const char *name, uint32_t dev,
			   uint64_t off, uint64_t size);
/* A file of @count extents of one page on device 0; no two can be merged */
struct rs_node *add_extents(struct raw_server *s, const char *name,
			    uint64_t off, int count);
/* A file with one stripe set over devices 0 and 1, at @off on each */
struct rs_node *add_striped(struct raw_server *s, const char *name,
			    uint64_t off, uint32_t chunk, uint64_t size);

int open_in(struct raw_server *s, const char *name, int flags);
/* Open and close; returns 0, or the errno of the open */
int try_open(struct raw_server *s, const char *name, int flags);
/* The same for a name relative to the directory @dir */
int try_open_at(int dir, const char *name);
/* Close a file if it is open, and set @fd to -1 */
void close_and_clear(int *fd);
/* A process that opens a file and exits with 0, or the errno (at most 255) */
pid_t opener(struct raw_server *s, const char *name);

/*
 * Make the kernel drop a name, and evict the file if it isn't open. The second
 * function waits for the eviction: a pending request still holds the inode.
 */
int forget(struct raw_server *s, const char *name);
bool forgotten(struct raw_server *s, const char *name);

/* Wait until a counter of the server, or of a child, is at least @least */
bool wait_until(const uint32_t *count, uint32_t least);
/* The wait status of a child that ends within ten seconds, or -1 */
int wait_soon(pid_t pid);

/* The control file system */

#define CONNECTIONS	"/sys/fs/fuse/connections"

/* The connection's number, which is its name in fusectl */
unsigned int connection_of(struct raw_server *s);
/* Entries in fusectl, or -1 */
int connections(void);
int abort_connection(unsigned int conn);

/* Text files */

/* Write to an existing file: 0 or -errno */
int write_file(const char *path, const char *text);
/* The number after @name in a file with a name and a number per line, or -1 */
long long number_in(const char *path, const char *name);

/* Data */

/* A byte that depends on @seed and on its position */
unsigned char pattern_at(uint64_t seed, uint64_t pos);
void pattern(void *buf, uint64_t seed, uint64_t pos, size_t len);
bool is_pattern(const void *buf, uint64_t seed, uint64_t pos, size_t len);
/* Write a pattern to a file, or check that the file has it; true on success */
bool put(int fd, uint64_t seed, uint64_t pos, size_t len);
bool got(int fd, uint64_t seed, uint64_t pos, size_t len);

/* Mappings */

/* The signal that a read (or write) of a byte raises, 0 for none */
int signal_of(volatile char *p, bool write);
/* mmap() at a multiple of 2 MiB */
char *map_huge(int fd, size_t len, int prot, int flags, off_t off);
long minor_faults(void);

/* Simulated memory failures */

#define CORRUPT	"/sys/kernel/debug/hwpoison/corrupt-pfn"

/* The page frame of a page of a file, 0 if it is unknown */
uint64_t pfn_at(int fd, off_t pos);
int poison_pfn(uint64_t pfn);

/* The kernel log */

/* A file descriptor that reads the messages logged from now on */
int kmsg_open(void);
/* Count the lines since kmsg_open() that contain both texts */
int kmsg_count(int fd, const char *a, const char *b);

#endif
