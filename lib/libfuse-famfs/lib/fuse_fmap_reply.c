// SPDX-License-Identifier: LGPL-2.1-only
/*
 * FUSE: Filesystem in Userspace
 *
 * DAX file maps: replies and devices.
 *
 * The kernel first requests a few KiB of a map. If the map is longer, it requests
 * the rest in pieces. The server's handler is called only once: the session
 * keeps the rest until it was sent, the inode is forgotten, or the kernel
 * requests the map from its start. If the rest is dropped too early, the handler
 * is called again.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#define _GNU_SOURCE

#include "fuse_fmap_i.h"
#include "fuse_i.h"
#include "fuse_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* The bytes of a message from `start` to its end */
struct fuse_fmap_rest {
	struct fuse_fmap_rest *next;
	fuse_ino_t ino;
	uint64_t start;
	size_t len;
	char bytes[];
};

/* Remove the rest of the map of an inode from the list */
static struct fuse_fmap_rest *unlink_rest(struct fuse_session *se,
					  fuse_ino_t ino)
{
	struct fuse_fmap_rest **p, *rest;

	for (p = &se->fmap_rests; (rest = *p); p = &rest->next) {
		if (rest->ino == ino) {
			*p = rest->next;
			return rest;
		}
	}
	return NULL;
}

void fuse_fmap_forget(struct fuse_session *se, fuse_ino_t ino)
{
	struct fuse_fmap_rest *rest;

	pthread_mutex_lock(&se->lock);
	rest = unlink_rest(se, ino);
	pthread_mutex_unlock(&se->lock);
	free(rest);
}

void fuse_fmap_forget_all(struct fuse_session *se)
{
	struct fuse_fmap_rest *rest, *next;

	pthread_mutex_lock(&se->lock);
	rest = se->fmap_rests;
	se->fmap_rests = NULL;
	pthread_mutex_unlock(&se->lock);

	for (; rest; rest = next) {
		next = rest->next;
		free(rest);
	}
}

static int keep_rest(fuse_req_t req, const char *message, size_t len,
		     uint64_t start)
{
	struct fuse_session *se = req->se;
	struct fuse_fmap_rest *rest, *old;

	rest = malloc(sizeof(*rest) + len - start);
	if (!rest)
		return -ENOMEM;
	rest->ino = req->fmap.ino;
	rest->start = start;
	rest->len = len - start;
	memcpy(rest->bytes, message + start, rest->len);

	pthread_mutex_lock(&se->lock);
	old = unlink_rest(se, rest->ino);
	rest->next = se->fmap_rests;
	se->fmap_rests = rest;
	pthread_mutex_unlock(&se->lock);

	free(old);
	return 0;
}

/* The largest reply to a request */
static size_t reply_room(fuse_req_t req)
{
	size_t room = req->fmap.size;
	size_t payload_room;
	char *payload;

	/* io_uring has buffers of a fixed size */
	if (!fuse_req_get_payload(req, &payload, &payload_room, NULL))
		room = MIN(room, payload_room);
	return room;
}

bool fuse_fmap_reply_rest(fuse_req_t req)
{
	struct fuse_session *se = req->se;
	uint64_t pos = req->fmap.offset;
	struct fuse_fmap_rest *rest, *done = NULL;
	char *bytes = NULL;
	bool found = false;
	size_t n = 0;

	pthread_mutex_lock(&se->lock);
	rest = unlink_rest(se, req->fmap.ino);
	if (rest && pos >= rest->start && pos - rest->start < rest->len) {
		found = true;
		pos -= rest->start;
		n = MIN(reply_room(req), rest->len - pos);
		/*
		 * Make a copy: once the reply is sent, another thread may
		 * handle a FORGET of the inode.
		 */
		bytes = malloc(n);
		if (bytes)
			memcpy(bytes, rest->bytes + pos, n);
	}
	if (found && pos + n < rest->len) {
		rest->next = se->fmap_rests;
		se->fmap_rests = rest;
	} else {
		done = rest;
	}
	pthread_mutex_unlock(&se->lock);

	free(done);
	if (!found)
		return false;

	if (bytes)
		fuse_reply_buf(req, bytes, n);
	else
		fuse_reply_err(req, ENOMEM);
	free(bytes);
	return true;
}

int fuse_reply_fmap(fuse_req_t req, const struct fuse_fmap_builder *map)
{
	uint64_t pos = req->fmap.offset;
	void *message = NULL;
	char why[160];
	size_t len, n;
	int err;

	err = fuse_fmap_check(map, req->se->conn.fmap_kinds, NULL, 0,
			      why, sizeof(why));
	if (err)
		fuse_log(FUSE_LOG_ERR, "fuse: map of inode %llu: %s\n",
			 (unsigned long long)req->fmap.ino, why);
	else
		err = fuse_fmap_message(map, &message, &len);
	if (err)
		goto out_err;

	pos = MIN(pos, len);
	n = MIN(reply_room(req), len - pos);
	if (pos + n < len) {
		err = keep_rest(req, message, len, pos + n);
		if (err)
			goto out_err;
	}

	err = fuse_reply_buf(req, (char *)message + pos, n);
	free(message);
	return err;

out_err:
	free(message);
	fuse_reply_err(req, err == -ENOMEM ? ENOMEM : EIO);
	return err;
}

int fuse_reply_daxdev(fuse_req_t req, uint32_t index, const char *name)
{
	struct fuse_daxdev_out arg = { .index = (uint16_t)index };

	if (name && strlen(name) >= sizeof(arg.name)) {
		fuse_reply_err(req, ENAMETOOLONG);
		return -ENAMETOOLONG;
	}
	if (name)
		strcpy(arg.name, name);
	return fuse_reply_buf(req, (char *)&arg, sizeof(arg));
}

int fuse_session_daxdev_open(struct fuse_session *se, int fd, uint32_t index)
{
	struct fuse_daxdev_map map = { .fd = fd, .index = index };
	int ret = ioctl(se->fd, FUSE_DEV_IOC_DAXDEV_OPEN, &map);

	return ret < 0 ? -errno : ret;
}

int fuse_session_daxdev_close(struct fuse_session *se, uint32_t index)
{
	return ioctl(se->fd, FUSE_DEV_IOC_DAXDEV_CLOSE, &index) ? -errno : 0;
}

int fuse_daxdev_open(fuse_req_t req, int fd, int index)
{
	return fuse_session_daxdev_open(req->se, fd, index);
}

int fuse_daxdev_close(fuse_req_t req, int index)
{
	return fuse_session_daxdev_close(req->se, index);
}
