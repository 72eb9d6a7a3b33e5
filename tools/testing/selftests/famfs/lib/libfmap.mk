# SPDX-License-Identifier: GPL-2.0
#
# Included by ../Makefile, after lib.mk. LIBFMAP_O are the objects to link with.

LIBFMAP_C := fmap_cgroup.c
LIBFMAP_C += fmap_data.c
LIBFMAP_C += fmap_random.c
LIBFMAP_C += fmap_uring.c
LIBFMAP_C += fmap_util.c
LIBFMAP_C += raw_server.c
LIBFMAP_C += raw_server_uring.c

LIBFMAP_OUTPUT := $(OUTPUT)/libfmap
LIBFMAP_O := $(LIBFMAP_C:%.c=$(LIBFMAP_OUTPUT)/%.o)

CFLAGS += -Ilib/include

$(LIBFMAP_OUTPUT):
	mkdir -p $@

$(LIBFMAP_O): $(LIBFMAP_OUTPUT)/%.o: lib/%.c $(LOCAL_HDRS) | $(LIBFMAP_OUTPUT)
	$(CC) $(CFLAGS) $(CPPFLAGS) $(TARGET_ARCH) -c $< -o $@

EXTRA_CLEAN += $(LIBFMAP_OUTPUT)
