// SPDX-License-Identifier: LGPL-2.1-only
/*
 * FUSE: Filesystem in Userspace
 *
 * DAX devices for file maps: finding and registering them.
 *
 * libdaxctl lists the devices. Only recent versions know famfs mode, so the mode
 * is read from sysfs: it is the driver that the device is bound to.
 *
 * This program can be distributed under the terms of the GNU LGPLv2.
 * See the file LGPL2.txt
 */

#define _GNU_SOURCE

#include "fuse_daxdev.h"
#include "fuse_fmap.h"

#include <daxctl/libdaxctl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define DAX_BUS		"/sys/bus/dax/devices"
#define FUSECTL		"/sys/fs/fuse/connections"
#define FAMFS_DRIVER	"fsdev_dax"
#define NAME_LEN	64
#define UUID_LEN	64
#define LIST_LEN	200

struct fuse_daxdev {
	uint64_t size;
	char name[NAME_LEN];
};

/* The criterion of fuse_daxdev_find(): one of these */
struct wanted {
	const char *name;
	const char *uuid;
	uint64_t size;
};

static int __attribute__((format(printf, 4, 5)))
say(int ret, char *why, size_t whylen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (why && whylen)
		vsnprintf(why, whylen, fmt, ap);
	va_end(ap);
	return ret;
}

static bool parse_size(const char *s, uint64_t *size)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	int shift = 0;

	errno = 0;
	*size = strtoull(s, &end, 0);
	if (errno || end == s || *s == '-')
		return false;
	if (*end && (unit = strchr(units, *end))) {
		shift = 10 * (int)(unit - units + 1);
		end++;
	}
	if (*end || *size > UINT64_MAX >> shift)
		return false;
	*size <<= shift;
	return *size != 0;
}

/*
 * Get the name of the driver, or "" if no driver is bound. Return false if the
 * device does not exist.
 */
static bool get_driver(const char *name, char *driver, size_t len)
{
	char path[PATH_MAX], link[PATH_MAX], *base;
	ssize_t n;

	driver[0] = 0;
	snprintf(path, sizeof(path), DAX_BUS "/%s/driver", name);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0) {
		snprintf(path, sizeof(path), DAX_BUS "/%s", name);
		return access(path, F_OK) == 0;
	}
	link[n] = 0;
	base = strrchr(link, '/');
	base = base ? base + 1 : link;
	snprintf(driver, len, "%.*s", (int)len - 1, base);
	return true;
}

static bool is_famfs(const char *name)
{
	char driver[NAME_LEN];

	return get_driver(name, driver, sizeof(driver)) &&
	       !strcmp(driver, FAMFS_DRIVER);
}

/*
 * Get the UUID of the namespace or region that the device is part of: an
 * ancestor in the tree of devices. libdaxctl knows it only in programs that also
 * use libndctl.
 */
static void get_uuid(const char *name, char *uuid)
{
	char path[PATH_MAX], file[PATH_MAX + 8];
	char *slash;
	FILE *f;

	uuid[0] = 0;
	snprintf(file, sizeof(file), DAX_BUS "/%s", name);
	if (!realpath(file, path))
		return;
	while (!uuid[0] && (slash = strrchr(path, '/')) && slash != path) {
		*slash = 0;
		snprintf(file, sizeof(file), "%s/uuid", path);
		f = fopen(file, "re");
		if (!f)
			continue;
		if (fscanf(f, "%63s", uuid) != 1)
			uuid[0] = 0;
		fclose(f);
	}
}

/*
 * Does a FUSE mount use the device? For each device of a mount, root can read a
 * line "INDEX NAME ...".
 */
static bool in_use(const char *name)
{
	char path[PATH_MAX], line[256], held[NAME_LEN];
	DIR *dir = opendir(FUSECTL);
	bool found = false;
	struct dirent *d;
	FILE *f;

	while (dir && !found && (d = readdir(dir))) {
		snprintf(path, sizeof(path), FUSECTL "/%s/dax_devices",
			 d->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		while (!found && fgets(line, sizeof(line), f))
			found = sscanf(line, "%*s %63s", held) == 1 &&
				!strcmp(held, name);
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool matches(const struct wanted *w, const char *name, uint64_t size)
{
	char uuid[UUID_LEN];

	if (w->name)
		return !strcmp(name, w->name);
	if (w->uuid) {
		get_uuid(name, uuid);
		return !strcasecmp(uuid, w->uuid);
	}
	return size == w->size && is_famfs(name) && !in_use(name);
}

/* Append to a list of devices in a message */
static void list(char *to, const char *name, uint64_t size)
{
	size_t len = strlen(to);

	snprintf(to + len, LIST_LEN - len, "%s%s (%" PRIu64 "M)",
		 len ? ", " : "", name, size >> 20);
}

/* Return the device, or NULL with *err set to -errno */
static struct fuse_daxdev *search(struct daxctl_ctx *ctx, const char *spec,
				  const struct wanted *w, int *err,
				  char *why, size_t whylen)
{
	char all[LIST_LEN] = "", fits[LIST_LEN] = "";
	struct fuse_daxdev *found = NULL;
	struct daxctl_region *region;
	struct daxctl_dev *dev;
	int n = 0;

	daxctl_region_foreach(ctx, region) {
		daxctl_dev_foreach(region, dev) {
			const char *name = daxctl_dev_get_devname(dev);
			uint64_t size = daxctl_dev_get_size(dev);

			/* the seed device of a region has no memory */
			if (!size)
				continue;
			list(all, name, size);
			if (!matches(w, name, size))
				continue;
			list(fits, name, size);
			if (n++)
				continue;
			found = calloc(1, sizeof(*found));
			if (!found) {
				*err = say(-ENOMEM, why, whylen, "no memory");
				return NULL;
			}
			found->size = size;
			snprintf(found->name, sizeof(found->name), "%s", name);
		}
	}
	if (n == 1)
		return found;
	free(found);
	if (n)
		*err = say(-ENOTUNIQ, why, whylen,
			   "%s matches more than one DAX device: %s; use a name",
			   spec, fits);
	else if (!all[0])
		*err = say(-ENODEV, why, whylen,
			   "no DAX device %s; this machine has no DAX devices (see: daxctl list, cxl list, ndctl list)",
			   spec);
	else
		*err = say(-ENODEV, why, whylen,
			   "no DAX device %s%s; this machine has: %s", spec,
			   w->size ? " that is free and in famfs mode" : "",
			   all);
	return NULL;
}

struct fuse_daxdev *fuse_daxdev_find(const char *spec, char *why, size_t whylen)
{
	struct fuse_daxdev *dev = NULL;
	struct wanted w = { 0 };
	struct daxctl_ctx *ctx;
	int err;

	say(0, why, whylen, "%s", "");
	if (!strncmp(spec, "uuid=", 5))
		w.uuid = spec + 5;
	else if (strncmp(spec, "size=", 5))
		w.name = strncmp(spec, "/dev/", 5) ? spec : spec + 5;

	if ((w.uuid && !*w.uuid) || (w.name && strncmp(w.name, "dax", 3)) ||
	    (!w.name && !w.uuid && !parse_size(spec + 5, &w.size))) {
		err = say(-EINVAL, why, whylen,
			  "\"%s\" is not a DAX device; examples: dax0.0, size=256M, uuid=...",
			  spec);
		goto out;
	}

	err = daxctl_new(&ctx);
	if (err) {
		say(err, why, whylen, "libdaxctl: %s", strerror(-err));
		goto out;
	}
	/* don't log errors about files that only root can read: not needed here */
	daxctl_set_log_priority(ctx, LOG_CRIT);
	dev = search(ctx, spec, &w, &err, why, whylen);
	daxctl_unref(ctx);
out:
	if (!dev)
		errno = -err;
	return dev;
}

void fuse_daxdev_free(struct fuse_daxdev *dev)
{
	free(dev);
}

const char *fuse_daxdev_name(const struct fuse_daxdev *dev)
{
	return dev->name;
}

uint64_t fuse_daxdev_size(const struct fuse_daxdev *dev)
{
	return dev->size;
}

int fuse_daxdev_check_mode(const struct fuse_daxdev *dev,
			   char *why, size_t whylen)
{
	const char *name = dev->name;
	char driver[NAME_LEN];

	if (!get_driver(name, driver, sizeof(driver)))
		return say(-ENODEV, why, whylen, "%s was removed", name);
	if (!strcmp(driver, FAMFS_DRIVER))
		return say(0, why, whylen, "%s", "");
	if (!driver[0])
		return say(-ENODEV, why, whylen,
			   "%s is disabled; run: daxctl reconfigure-device --mode=famfs %s",
			   name, name);
	/* daxctl can't do this in one step */
	if (!strcmp(driver, "kmem"))
		return say(-EOPNOTSUPP, why, whylen,
			   "%s is in system-ram mode; run: daxctl reconfigure-device --force --mode=devdax %s && daxctl reconfigure-device --mode=famfs %s",
			   name, name, name);
	return say(-EOPNOTSUPP, why, whylen,
		   "%s is in devdax mode (driver %s); run: daxctl reconfigure-device --mode=famfs %s",
		   name, driver, name);
}

int fuse_daxdev_open_fd(const struct fuse_daxdev *dev, int flags,
			char *why, size_t whylen)
{
	char path[NAME_LEN + 8];
	int err, fd;

	err = fuse_daxdev_check_mode(dev, why, whylen);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/dev/%s", dev->name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	err = -errno;
	return say(err, why, whylen, "%s: %s", path, strerror(-err));
}

/* Describe an error of FUSE_DEV_IOC_DAXDEV_OPEN */
static const char *describe(int err)
{
	switch (err) {
	case -EBUSY:
		return "in use by another mount, or under another index of this one (see " FUSECTL "/*/dax_devices)";
	case -EEXIST:
		return "another device has this index";
	case -EPERM:
		return "DAX file maps were not negotiated; they need CONFIG_FUSE_DAX_FMAP in the kernel and a mount by root";
	case -ENOTTY:
		return "the kernel does not support DAX file maps";
	case -ENODEV:
		return "it is being removed";
	case -ENOTCONN:
		return "the file system is unmounted";
	default:
		return strerror(-err);
	}
}

int fuse_daxdev_register(struct fuse_session *se,
			 const struct fuse_daxdev *dev, uint32_t index,
			 int flags, char *why, size_t whylen)
{
	int fd, ret;

	fd = fuse_daxdev_open_fd(dev, flags, why, whylen);
	if (fd < 0)
		return fd;
	ret = fuse_session_daxdev_open(se, fd, index);
	close(fd);
	if (ret < 0)
		say(ret, why, whylen, "%s can't be registered as device %" PRIu32 ": %s",
		    dev->name, index, describe(ret));
	return ret;
}
