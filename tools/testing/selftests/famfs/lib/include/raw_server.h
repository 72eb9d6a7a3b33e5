/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small FUSE server for tests of DAX file maps.
 *
 * It speaks the /dev/fuse protocol directly, so that a test controls each byte
 * of a reply. A test fills in a struct raw_server, which is in memory shared
 * with the server process, and calls rs_start(), which mounts and forks. While
 * the server runs, the test may change the struct, and finds in it what the
 * kernel requested.
 */
#ifndef RAW_SERVER_H
#define RAW_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <linux/fuse.h>

/* Definitions that older system headers lack */
#ifndef FUSE_PASSTHROUGH
#define FUSE_PASSTHROUGH		(1ULL << 37)
#define FOPEN_PASSTHROUGH		(1 << 7)
#define FUSE_DEV_IOC_BACKING_OPEN	_IOW(FUSE_DEV_IOC_MAGIC, 1, \
					     struct fuse_daxdev_map)
#define FUSE_DEV_IOC_BACKING_CLOSE	_IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t)
#endif
#ifndef FUSE_OVER_IO_URING
#define FUSE_OVER_IO_URING		(1ULL << 41)
#endif
/* The kernel's own header has this member */
#ifndef FUSE_INIT_IN_FMAP_KINDS
#define FUSE_INIT_IN_FMAP_KINDS		offsetof(struct fuse_init_in, fmap_kinds)
#define FUSE_INIT_OUT_FMAP_KINDS	offsetof(struct fuse_init_out, fmap_kinds)
#endif
#define RS_INIT_OUT_MAX_STACK_DEPTH	36
#define RS_OPEN_OUT_BACKING_ID		12

#define RS_MAX_NODES	16384
#define RS_MAX_DEVS	32
#define RS_NOPCODES	64
#define RS_ARENA	(256UL << 20)
#define RS_CAP		(4UL << 20)	/* bytes in an ordinary file */
#define RS_MAX_FAILURES	256
#define RS_NO_MAP	UINT32_MAX	/* rs_node.map_len: answer ENODATA */

/* A map message under construction */
struct rs_map {
	unsigned char *b;
	size_t len;
	size_t cap;
};

void rs_map_init(struct rs_map *m, uint32_t kind, uint64_t file_size);
void rs_map_free(struct rs_map *m);
struct fuse_fmap_header *rs_map_header(struct rs_map *m);
/* Kind 0: one more extent */
void rs_map_extent(struct rs_map *m, uint32_t dev, uint64_t off, uint64_t len);
/* Kind 1: one more stripe set; call rs_map_strip() nstrips times after it */
void rs_map_stripe(struct rs_map *m, uint32_t nstrips, uint32_t chunk,
		   uint64_t nbytes);
void rs_map_strip(struct rs_map *m, uint32_t dev, uint64_t off, uint64_t len);
/* Append any bytes; the number of extents in the header doesn't change */
void rs_map_append(struct rs_map *m, const void *bytes, size_t len);

/* A file or directory. Its inode number is its index in the table plus 1. */
struct rs_node {
	char name[256];
	uint64_t parent;
	uint64_t size;		/* as GETATTR reports it */
	uint32_t mode;
	uint32_t uid, gid;
	uint64_t atime, mtime;	/* seconds */
	uint64_t link_to;	/* if set, this is another name of that inode */
	uint32_t nlink;		/* of a regular file */
	uint32_t open_flags;	/* FOPEN_*, added to those of the server */
	unsigned char *map;	/* the message, NULL if there is none */
	uint32_t map_len;	/* may be changed to truncate the message */
	int map_err;		/* errno to answer GET_FMAP with, or 0 */
	unsigned char *data;	/* bytes of an ordinary file */
	uint32_t nopen;		/* OPEN requests for this file */
	uint32_t nfmap;		/* GET_FMAP requests with offset 0 */
};

/* A FUSE_DAX_FAILURE request */
struct rs_failure {
	uint64_t nodeid;
	struct fuse_dax_failure_in in;
	uint32_t nforgets;	/* FORGET requests received before */
};

/* How the server registers a device */
enum rs_dev_how {
	RS_PUSH_AT_INIT,	/* ioctl, after the reply to INIT */
	RS_PUSH_WHEN_ASKED,	/* ioctl, before the reply to GET_DAXDEV */
	RS_PULL,		/* by the name in the reply to GET_DAXDEV */
};

struct rs_dev {
	char name[64];		/* RS_PULL: sent unchanged; otherwise a name in /dev */
	uint32_t index;
	enum rs_dev_how how;
	int oflags;		/* for open(), O_RDWR if 0 */
	int result;		/* of the ioctl: positive or -errno */
};

struct raw_server;

/*
 * Called for each request before the server handles it, in one of the server's
 * threads and without a lock. Returns 0 to let the server handle it, 1 if it
 * needs no reply from the server, or -errno for the reply.
 */
typedef int (*rs_hook)(struct raw_server *s, const struct fuse_in_header *ih,
		       const void *arg);

struct raw_server {
	/* Set before rs_start() */
	uint64_t want;		/* INIT flags to enable if offered */
	uint32_t fmap_kinds;	/* for the reply to INIT */
	uid_t user_id;		/* mount option */
	bool default_permissions;	/* mount option */
	int nthreads;
	rs_hook hook;
	int (*uring)(struct raw_server *s);	/* rs_uring: use io_uring */
	bool splice;		/* requests and replies go through pipes */
	/* Changes the reply to INIT */
	void (*edit_init)(struct raw_server *s, struct fuse_init_out *out,
			  size_t *len);
	/* May be changed while the server runs */
	uint32_t open_flags;	/* FOPEN_*, for every file */
	int32_t backing_id;	/* for FOPEN_PASSTHROUGH */
	uint64_t valid;		/* lifetime of attributes and names, in seconds */
	uint32_t first, slice;	/* maximum bytes of a map in the first, a later reply */
	bool no_fmap;		/* answer ENOSYS to GET_FMAP */
	int daxdev_err;		/* errno to answer GET_DAXDEV with */
	int failure_err;	/* errno to answer DAX_FAILURE with */
	bool daxdev_raw;	/* answer GET_DAXDEV with daxdev_reply */
	uint32_t daxdev_reply_len;
	unsigned char daxdev_reply[512];
	struct rs_dev dev[RS_MAX_DEVS];
	int ndev;
	/* Results */
	bool ready;		/* INIT is answered, devices are registered */
	uint64_t offered;	/* INIT flags of the kernel */
	uint32_t offered_kinds;
	uint32_t count[RS_NOPCODES];	/* requests by opcode; 0: others */
	uint32_t ring_count[RS_NOPCODES];	/* only those over io_uring */
	int nqueues;		/* io_uring queues, or -errno */
	uint64_t fmap_last_offset;	/* of the last GET_FMAP */
	uint32_t fmap_last_size;
	uint32_t fmap_first_size;	/* of the last one with offset 0 */
	uint32_t nfailures;
	struct rs_failure failure[RS_MAX_FAILURES];
	/* Private to the server */
	int fd;
	pid_t pid;
	char mnt[256];
	bool mnt_made;
	pthread_mutex_t lock;
	size_t arena_used;
	uint32_t nnodes;
	struct rs_node node[RS_MAX_NODES];
};

/* A server with an empty root directory; NULL if out of memory */
struct raw_server *rs_new(void);
/* Mount on @mnt, or on a new directory if NULL; wait for INIT. 0 or -errno. */
int rs_start(struct raw_server *s, const char *mnt);
/* Unmount and wait until the server exits. -errno if it is still mounted. */
int rs_unmount(struct raw_server *s);
/* Kill the server; the mount stays */
void rs_kill(struct raw_server *s);
/* End the server, unmount, and free @s, in whatever state it is */
void rs_free(struct raw_server *s);

/*
 * The last connections that rs_start() made, each with the process group that
 * made it, in shared memory; NULL before rs_note_connections(). To end such a
 * process, its connection must be aborted: a killed process waits for the server
 * when it closes its files. If the process itself has /dev/fuse open, the
 * connection stays alive, but has no server that would reply.
 */
#define RS_CONNECTIONS	256

struct rs_connections {
	uint32_t n;		/* made so far */
	struct {
		pid_t group;		/* 0: none */
		unsigned int number;	/* the name in fusectl */
	} of[RS_CONNECTIONS];
};

extern struct rs_connections *rs_connections;

/* Record connections from now on, also of future children. 0 or -errno. */
int rs_note_connections(void);

struct rs_dev *rs_add_dev(struct raw_server *s, const char *name,
			  uint32_t index, enum rs_dev_how how);
struct rs_node *rs_add_dir(struct raw_server *s, uint64_t parent,
			   const char *name);
/* A regular file without a map */
struct rs_node *rs_add_file(struct raw_server *s, uint64_t parent,
			    const char *name);
/* Copies the map into shared memory and frees @m */
void rs_set_map(struct raw_server *s, struct rs_node *n, struct rs_map *m);
uint64_t rs_ino(const struct raw_server *s, const struct rs_node *n);

/* Register a device, or drop its index, with the caller's /dev/fuse descriptor */
int rs_daxdev_open(int fuse_fd, int fd, uint64_t index, uint32_t flags);
int rs_daxdev_close(int fuse_fd, uint32_t index);

/*
 * A value for raw_server.uring. Registers a queue for each possible CPU, with a
 * thread that serves it. Returns their number or -errno. The module parameter
 * enable_uring must be set before the mount.
 */
int rs_uring(struct raw_server *s);

/* Where the reply to this thread's current request from an io_uring goes */
struct rs_ring_call {
	uint64_t unique;
	void *payload;
	size_t room;
	bool replied;
	int error;
	size_t len;
};

extern __thread struct rs_ring_call *rs_ring_call;

/* Handle a request */
void rs_handle(struct raw_server *s, const struct fuse_in_header *ih,
	       const void *arg);

/* Send a raw message to the kernel. 0 or -errno. */
int rs_write(struct raw_server *s, const struct iovec *iov, int n);
/* Send a reply, or a notification (@unique is 0, @error is its code) */
int rs_reply(struct raw_server *s, uint64_t unique, int error,
	     const void *arg, size_t len);
const char *rs_opcode_name(uint32_t opcode);

#endif
