// SPDX-License-Identifier: GPL-2.0-only
/* The headers compile as C++, together */
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <fuse_daxdev.h>
#include "fuse_kernel.h"

int main()
{
	return sizeof(fuse_famfs_iext) != 24;
}
