// SPDX-License-Identifier: GPL-2.0
/*
 * Print each value, size and offset of the DAX file map protocol as defined in
 * <linux/fuse.h>. The output must be the same with this project's header, which
 * extends an older system header, and with the patched kernel's own header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <linux/fuse.h>
#include <linux/ioctl.h>

#define VALUE(x)	printf("%s %#llx\n", #x, (unsigned long long)(x))
#define SIZE(t)		printf("sizeof %s %zu\n", #t, sizeof(t))
#define MEMBER(t, m)	printf("%s.%s at %zu, %zu bytes%s\n", #t, #m,	\
			       offsetof(t, m), sizeof(((t *)0)->m),	\
			       (__typeof__(((t *)0)->m))-1 < 0 ?		\
					", signed" : "")
#define ARRAY(t, m)	printf("%s.%s at %zu, %zu bytes\n", #t, #m,	\
			       offsetof(t, m), sizeof(((t *)0)->m))

int main(void)
{
	VALUE(FUSE_DAX_FMAP);
	VALUE(FUSE_DAX_FAILURES);
	VALUE(FUSE_GET_FMAP);
	VALUE(FUSE_GET_DAXDEV);
	VALUE(FUSE_DAX_FAILURE);
	VALUE(FUSE_DAX_BAD_MEMORY);
	VALUE(FUSE_DAX_REMOVED);
	VALUE(FUSE_FMAP_EXTENTS);
	VALUE(FUSE_FMAP_STRIPED);
	VALUE(FUSE_FMAP_VERSION);
	VALUE(FUSE_FMAP_MAX_SIZE);
	VALUE(FUSE_DAXDEV_NAME_MAX);
	VALUE(FUSE_DEV_IOC_DAXDEV_OPEN);
	VALUE(FUSE_DEV_IOC_DAXDEV_CLOSE);

	SIZE(struct fuse_get_fmap_in);
	MEMBER(struct fuse_get_fmap_in, size);
	MEMBER(struct fuse_get_fmap_in, flags);
	MEMBER(struct fuse_get_fmap_in, offset);

	SIZE(struct fuse_fmap_header);
	MEMBER(struct fuse_fmap_header, file_type);
	MEMBER(struct fuse_fmap_header, reserved);
	MEMBER(struct fuse_fmap_header, version);
	MEMBER(struct fuse_fmap_header, kind);
	MEMBER(struct fuse_fmap_header, nextents);
	MEMBER(struct fuse_fmap_header, fmap_size);
	MEMBER(struct fuse_fmap_header, file_size);
	MEMBER(struct fuse_fmap_header, reserved2);

	SIZE(struct fuse_fmap_extent);
	MEMBER(struct fuse_fmap_extent, devindex);
	MEMBER(struct fuse_fmap_extent, reserved);
	MEMBER(struct fuse_fmap_extent, offset);
	MEMBER(struct fuse_fmap_extent, len);

	SIZE(struct fuse_fmap_stripe_set);
	MEMBER(struct fuse_fmap_stripe_set, nstrips);
	MEMBER(struct fuse_fmap_stripe_set, chunk_size);
	MEMBER(struct fuse_fmap_stripe_set, nbytes);
	MEMBER(struct fuse_fmap_stripe_set, reserved);

	SIZE(struct fuse_get_daxdev_in);
	MEMBER(struct fuse_get_daxdev_in, index);
	MEMBER(struct fuse_get_daxdev_in, reserved);

	SIZE(struct fuse_daxdev_out);
	MEMBER(struct fuse_daxdev_out, index);
	MEMBER(struct fuse_daxdev_out, reserved);
	MEMBER(struct fuse_daxdev_out, reserved2);
	MEMBER(struct fuse_daxdev_out, reserved3);
	MEMBER(struct fuse_daxdev_out, reserved4);
	ARRAY(struct fuse_daxdev_out, name);

	SIZE(struct fuse_dax_failure_in);
	MEMBER(struct fuse_dax_failure_in, index);
	MEMBER(struct fuse_dax_failure_in, event);
	MEMBER(struct fuse_dax_failure_in, offset);
	MEMBER(struct fuse_dax_failure_in, len);
	MEMBER(struct fuse_dax_failure_in, pos);

	SIZE(struct fuse_daxdev_map);
	MEMBER(struct fuse_daxdev_map, fd);
	MEMBER(struct fuse_daxdev_map, flags);
	MEMBER(struct fuse_daxdev_map, index);

	/*
	 * The kernel's structs have the member fmap_kinds. The project's header
	 * has two offsets instead.
	 */
	SIZE(struct fuse_init_in);
	SIZE(struct fuse_init_out);
#ifdef FUSE_INIT_IN_FMAP_KINDS
	printf("fmap_kinds of fuse_init_in at %zu, 4 bytes\n",
	       (size_t)FUSE_INIT_IN_FMAP_KINDS);
	printf("fmap_kinds of fuse_init_out at %zu, 4 bytes\n",
	       (size_t)FUSE_INIT_OUT_FMAP_KINDS);
#else
	printf("fmap_kinds of fuse_init_in at %zu, %zu bytes\n",
	       offsetof(struct fuse_init_in, fmap_kinds),
	       sizeof(((struct fuse_init_in *)0)->fmap_kinds));
	printf("fmap_kinds of fuse_init_out at %zu, %zu bytes\n",
	       offsetof(struct fuse_init_out, fmap_kinds),
	       sizeof(((struct fuse_init_out *)0)->fmap_kinds));
#endif
	return 0;
}
