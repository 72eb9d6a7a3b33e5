/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small FUSE server for tests of DAX file maps.
 *
 * It speaks the protocol of /dev/fuse itself, so that a test controls each
 * byte of a reply. A test fills in a struct raw_server, which lies in memory
 * that is shared with the server's process, and calls rs_start(): this mounts
 * and forks. The test may go on changing the struct while the server runs and
 * finds in it what the kernel asked for.
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

/* What an older system header may lack */
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
/* A kernel's own header has the member itself */
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

/* A map message that is being built */
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
/* Any bytes; what counts extents in the header is left alone */
void rs_map_append(struct rs_map *m, const void *bytes, size_t len);

/* A file or directory. Its inode number is its place in the table, plus 1. */
struct rs_node {
	char name[256];
	uint64_t parent;
	uint64_t size;		/* as GETATTR reports it */
	uint32_t mode;
	uint32_t uid, gid;
	uint64_t atime, mtime;	/* seconds */
	uint64_t link_to;	/* another name of this inode, 0: its own */
	uint32_t nlink;		/* of a regular file */
	uint32_t open_flags;	/* FOPEN_*, added to those of the server */
	unsigned char *map;	/* the message, NULL if there is none */
	uint32_t map_len;	/* may be changed to cut the message short */
	int map_err;		/* errno to answer GET_FMAP with, or 0 */
	unsigned char *data;	/* bytes of an ordinary file */
	uint32_t nopen;		/* OPEN requests for this file */
	uint32_t nfmap;		/* GET_FMAP requests that began at offset 0 */
};

/* A FUSE_DAX_FAILURE request */
struct rs_failure {
	uint64_t nodeid;
	struct fuse_dax_failure_in in;
	uint32_t nforgets;	/* requests to forget nodes that came before */
};

/* How the server makes a device known */
enum rs_dev_how {
	RS_PUSH_AT_INIT,	/* ioctl, once INIT is answered */
	RS_PUSH_WHEN_ASKED,	/* ioctl while answering GET_DAXDEV */
	RS_PULL,		/* by the name in the reply to GET_DAXDEV */
};

struct rs_dev {
	char name[64];		/* for RS_PULL as it stands, else in /dev */
	uint32_t index;
	enum rs_dev_how how;
	int oflags;		/* for open(), O_RDWR if 0 */
	int result;		/* of the ioctl: positive or -errno */
};

struct raw_server;

/*
 * Called for each request before the server itself looks at it, in one of the
 * server's threads and without a lock. Returns 0 to go on as usual, 1 if the
 * request needs no (more) reply, or -errno for the reply.
 */
typedef int (*rs_hook)(struct raw_server *s, const struct fuse_in_header *ih,
		       const void *arg);

struct raw_server {
	/* Before rs_start() */
	uint64_t want;		/* INIT flags to switch on if offered */
	uint32_t fmap_kinds;	/* for the reply to INIT */
	uid_t user_id;		/* mount option */
	bool default_permissions;	/* mount option */
	int nthreads;
	rs_hook hook;
	int (*uring)(struct raw_server *s);	/* rs_uring: by io_uring, too */
	bool splice;		/* requests and replies go through pipes */
	/* Called before INIT is answered, to make it another answer */
	void (*edit_init)(struct raw_server *s, struct fuse_init_out *out,
			  size_t *len);
	/* May change while the server runs */
	uint32_t open_flags;	/* FOPEN_*, for every file */
	int32_t backing_id;	/* for FOPEN_PASSTHROUGH */
	uint64_t valid;		/* seconds that attributes and names are good */
	uint32_t first, slice;	/* most bytes of a map in a first, later reply */
	bool no_fmap;		/* answer ENOSYS to GET_FMAP */
	int daxdev_err;		/* errno to answer GET_DAXDEV with */
	int failure_err;	/* errno to answer DAX_FAILURE with */
	bool daxdev_raw;	/* answer GET_DAXDEV with daxdev_reply */
	uint32_t daxdev_reply_len;
	unsigned char daxdev_reply[512];
	struct rs_dev dev[RS_MAX_DEVS];
	int ndev;
	/* Results */
	bool ready;		/* INIT is answered, devices are pushed */
	uint64_t offered;	/* INIT flags of the kernel */
	uint32_t offered_kinds;
	uint32_t count[RS_NOPCODES];	/* requests by opcode; 0: others */
	uint32_t ring_count[RS_NOPCODES];	/* those over io_uring */
	int nqueues;		/* io_uring queues, or -errno */
	uint64_t fmap_last_offset;	/* of the last GET_FMAP */
	uint32_t fmap_last_size;
	uint32_t fmap_first_size;	/* room in the last one at offset 0 */
	uint32_t nfailures;
	struct rs_failure failure[RS_MAX_FAILURES];
	/* The server's own */
	int fd;
	pid_t pid;
	char mnt[256];
	bool mnt_made;
	pthread_mutex_t lock;
	size_t arena_used;
	uint32_t nnodes;
	struct rs_node node[RS_MAX_NODES];
};

/* A server with nothing but a root directory; NULL without memory */
struct raw_server *rs_new(void);
/* Mount on @mnt, or on a new directory if NULL; wait for INIT. 0 or -errno. */
int rs_start(struct raw_server *s, const char *mnt);
/* Unmount and wait until the server is gone; 0 or -errno (server goes on) */
int rs_unmount(struct raw_server *s);
/* Kill the server; the mount stays */
void rs_kill(struct raw_server *s);
/* Everything must go, whatever state it is in; @s is freed */
void rs_free(struct raw_server *s);

/*
 * The last connections that rs_start() has made, by the process group that made
 * them, in memory that processes share; NULL unless rs_note_connections() was
 * called. For whoever has to end such processes: one that is killed waits until
 * a server has heard that its files are closed. If it has /dev/fuse open itself
 * it keeps the connection alive, without anybody who would answer.
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

/* Note connections from now on, also of processes forked later. 0 or -errno. */
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

/* Register or drop a device through the calling process's own /dev/fuse fd */
int rs_daxdev_open(int fuse_fd, int fd, uint64_t index, uint32_t flags);
int rs_daxdev_close(int fuse_fd, uint32_t index);

/*
 * For raw_server.uring, from raw_server_uring.c: registers a queue for each
 * possible CPU, with a thread that serves it. Returns their number or -errno.
 * The module parameter enable_uring must have been on at the mount.
 */
int rs_uring(struct raw_server *s);

/* Where the reply goes to a request that this thread has from an io_uring */
struct rs_ring_call {
	uint64_t unique;
	void *payload;
	size_t room;
	bool replied;
	int error;
	size_t len;
};

extern __thread struct rs_ring_call *rs_ring_call;

/* Answer a request that has arrived */
void rs_handle(struct raw_server *s, const struct fuse_in_header *ih,
	       const void *arg);

/* A message to the kernel as it stands. 0 or -errno. */
int rs_write(struct raw_server *s, const struct iovec *iov, int n);
/* A reply of any kind, or a notification (unique 0, error is its code) */
int rs_reply(struct raw_server *s, uint64_t unique, int error,
	     const void *arg, size_t len);
const char *rs_opcode_name(uint32_t opcode);

#endif
