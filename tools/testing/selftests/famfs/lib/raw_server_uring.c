// SPDX-License-Identifier: GPL-2.0
/*
 * Requests over io_uring (FUSE_OVER_IO_URING) for the server in raw_server.c.
 *
 * The kernel has a queue for each possible CPU, and uses them only after all of
 * them are registered. Each queue has a thread with its own io_uring, because a
 * request arrives at the task that submitted the command.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "raw_server.h"

#define DEPTH		4		/* requests in flight in a queue */
#define SQE_SIZE	128
#define PAYLOAD		(1UL << 20)	/* the kernel needs max_pages pages */

/* The buffers for a request from the kernel and for its reply */
struct entry {
	struct fuse_uring_req_header head;
	struct iovec iov[2];
	char *payload;
};

struct queue {
	struct raw_server *s;
	uint16_t id;
	int result;
	sem_t registered;
	/* The io_uring */
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_mask;
	struct io_uring_cqe *cqes;
	char *sqes;
	unsigned int to_submit;
	struct entry entry[DEPTH];
	char *request;		/* header and arguments, contiguous */
};

static int open_ring(struct queue *q)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	size_t len, cq_len;
	char *ring;

	q->fd = syscall(__NR_io_uring_setup, DEPTH, &p);
	if (q->fd < 0)
		return -errno;
	len = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_len = p.cq_off.cqes + p.cq_entries * sizeof(*q->cqes);
	if (len < cq_len)
		len = cq_len;
	/* Both rings are in one mapping since 5.4; SQE128 needs 5.19 */
	ring = mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, q->fd, IORING_OFF_SQ_RING);
	q->sqes = mmap(NULL, p.sq_entries * SQE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, q->fd, IORING_OFF_SQES);
	if (ring == MAP_FAILED || q->sqes == MAP_FAILED)
		return -ENOMEM;
	q->sq_tail = (void *)(ring + p.sq_off.tail);
	q->sq_mask = (void *)(ring + p.sq_off.ring_mask);
	q->sq_array = (void *)(ring + p.sq_off.array);
	q->cq_head = (void *)(ring + p.cq_off.head);
	q->cq_tail = (void *)(ring + p.cq_off.tail);
	q->cq_mask = (void *)(ring + p.cq_off.ring_mask);
	q->cqes = (void *)(ring + p.cq_off.cqes);
	return 0;
}

/* The ring is never full, because each entry has at most one command */
static void add_command(struct queue *q, unsigned int i, uint32_t op,
			uint64_t commit_id)
{
	unsigned int tail = *q->sq_tail, at = tail & *q->sq_mask;
	struct io_uring_sqe *sqe = (void *)(q->sqes + at * SQE_SIZE);
	struct fuse_uring_cmd_req *req = (void *)sqe->cmd;

	memset(sqe, 0, SQE_SIZE);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = q->s->fd;
	sqe->cmd_op = op;
	sqe->addr = (uintptr_t)q->entry[i].iov;
	sqe->len = 2;
	sqe->user_data = i;
	req->qid = q->id;
	req->commit_id = commit_id;
	q->sq_array[at] = at;
	__atomic_store_n(q->sq_tail, tail + 1, __ATOMIC_RELEASE);
	q->to_submit++;
}

static int enter(struct queue *q, unsigned int wait_for)
{
	int n;

	do {
		n = syscall(__NR_io_uring_enter, q->fd, q->to_submit, wait_for,
			    IORING_ENTER_GETEVENTS, NULL, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	q->to_submit -= n;
	return 0;
}

static int register_entries(struct queue *q)
{
	int ret = open_ring(q);

	q->request = malloc(PAYLOAD + sizeof(struct fuse_uring_req_header));
	if (!ret && !q->request)
		ret = -ENOMEM;
	for (int i = 0; !ret && i < DEPTH; i++) {
		struct entry *e = &q->entry[i];

		e->payload = malloc(PAYLOAD);
		if (!e->payload)
			return -ENOMEM;
		e->iov[0].iov_base = &e->head;
		e->iov[0].iov_len = sizeof(e->head);
		e->iov[1].iov_base = e->payload;
		e->iov[1].iov_len = PAYLOAD;
		add_command(q, i, FUSE_IO_URING_CMD_REGISTER, 0);
	}
	if (!ret)
		ret = enter(q, 0);
	/* An entry that was accepted completes with its first request */
	if (!ret && *q->cq_head != __atomic_load_n(q->cq_tail,
						   __ATOMIC_ACQUIRE))
		ret = q->cqes[*q->cq_head & *q->cq_mask].res;
	return ret < 0 ? ret : 0;
}

static void serve_entry(struct queue *q, unsigned int i)
{
	struct entry *e = &q->entry[i];
	struct fuse_uring_ent_in_out *io = &e->head.ring_ent_in_out;
	struct fuse_in_header *ih = (void *)q->request;
	struct fuse_out_header *oh = (void *)e->head.in_out;
	struct rs_ring_call call = { .payload = e->payload, .room = PAYLOAD };
	size_t op_len;

	/* The first argument has its own field; the others are the payload */
	memcpy(ih, e->head.in_out, sizeof(*ih));
	op_len = ih->len - sizeof(*ih) - io->payload_sz;
	memcpy(ih + 1, e->head.op_in, op_len);
	memcpy((char *)(ih + 1) + op_len, e->payload, io->payload_sz);
	if (ih->opcode < RS_NOPCODES)
		__atomic_add_fetch(&q->s->ring_count[ih->opcode], 1,
				   __ATOMIC_RELAXED);

	call.unique = ih->unique;
	rs_ring_call = &call;
	rs_handle(q->s, ih, ih + 1);
	rs_ring_call = NULL;
	/* If a hook keeps a request, its entry isn't used again */
	if (!call.replied)
		return;

	oh->len = sizeof(*oh) + call.len;
	oh->error = call.error;
	oh->unique = call.unique;
	io->payload_sz = call.len;
	add_command(q, i, FUSE_IO_URING_CMD_COMMIT_AND_FETCH, io->commit_id);
}

static void *serve_queue(void *arg)
{
	struct queue *q = arg;

	q->result = register_entries(q);
	sem_post(&q->registered);
	/* The io_uring must stay open even if the registration failed */
	while (!q->result && !enter(q, 1)) {
		unsigned int head = *q->cq_head;

		while (head != __atomic_load_n(q->cq_tail, __ATOMIC_ACQUIRE)) {
			const struct io_uring_cqe *cqe =
				&q->cqes[head & *q->cq_mask];

			if (cqe->res < 0)
				return NULL;	/* unmounted */
			serve_entry(q, cqe->user_data);
			head++;
		}
		__atomic_store_n(q->cq_head, head, __ATOMIC_RELEASE);
	}
	return NULL;
}

int rs_uring(struct raw_server *s)
{
	int n = sysconf(_SC_NPROCESSORS_CONF);

	for (int i = 0; i < n; i++) {
		struct queue *q = calloc(1, sizeof(*q));
		pthread_t thread;

		if (!q)
			return -ENOMEM;
		q->s = s;
		q->id = i;
		sem_init(&q->registered, 0, 0);
		if (pthread_create(&thread, NULL, serve_queue, q))
			return -EAGAIN;
		sem_wait(&q->registered);
		if (q->result)
			return q->result;
	}
	return n;
}
