# SPDX-License-Identifier: GPL-2.0
#
# The rules are short: what is done stands in tools/harness/, one script a
# task, each with its description on top.

BUILD ?= $(CURDIR)/build
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fuse-dax-fmap
KERNEL ?= default
TESTS ?=
SHELL_MEMORY ?= cxl:4x256M
export BUILD CACHE KERNEL
export PREFIX DESTDIR CCACHE JOBS KERNEL_CONFIG TEST_MEMORY TEST_SMP TEST_LIMIT QEMU LINUX_TARBALL LINUX_TREE LIBFUSE_TARBALL DATA HOSTS MINUTES

# Both are downloads and builds of minutes on a new machine: side by side.
define kernel_and_image
	@tools/harness/guest-image >/dev/null & tools/harness/kernel && wait $$!
endef

.PHONY: help packages libfuse-packages bench-packages kernel image selftests run bench test test-long shell libfuse install series series-save check clean distclean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo 'KERNEL=debug        with KASAN, lockdep, kmemleak, gcov (a build directory of its own)'
	@echo 'KERNEL=kcsan        with KCSAN (likewise)'
	@echo 'TESTS="NAME ..."    only these test programs, or checks'
	@echo 'TEST_MEMORY=LIST, TEST_SMP=N, TEST_LIMIT=S  the machine for TESTS, seconds a program'
	@echo 'QEMU=PROGRAM        instead of qemu-system-x86_64'
	@echo 'DATA=DIR            the files that `make run` shows'
	@echo 'HOSTS=2             `make run` with two VMs that have memory in common'
	@echo 'LINUX_TREE=DIR, LINUX_TARBALL=FILE, LIBFUSE_TARBALL=FILE  your own instead of the pinned base'
	@echo 'PREFIX=DIR, DESTDIR=DIR  where `make install` puts the library'
	@echo 'BUILD=DIR, CACHE=DIR  where things are built, and where downloads are kept'

packages: ## what this machine needs: installed (root) or named
	@tools/harness/host-packages

kernel: packages ## the kernel with the series on it
	@tools/harness/kernel

image: packages ## the guest's root file system
	@tools/harness/guest-image

selftests: packages
	$(kernel_and_image)
	@tools/harness/selftests build

run: packages libfuse-packages ## the demonstration, in a VM
	$(kernel_and_image)
	@tools/run/run

bench: export KERNEL = bench
bench: packages bench-packages ## what faults and calls cost, counted in instructions; and plots
	$(kernel_and_image)
	@tools/harness/bench $(TESTS)

test: libfuse-packages selftests ## all tests; the last line sums up
	@tools/harness/test $(TESTS)

test-long: libfuse-packages selftests ## all machines, all kernels, random tests for MINUTES=240 in all
	@tools/harness/test-long

shell: packages libfuse-packages ## a prompt in a VM with CXL memory and a mounted tree
	$(kernel_and_image)
	@tools/run/run prepare
	@tools/harness/vm --name shell --memory $(SHELL_MEMORY) --interactive

libfuse-packages:
	@tools/harness/host-packages libfuse

bench-packages:
	@tools/harness/host-packages bench

libfuse: libfuse-packages ## the library for servers, in build/libfuse
	@tools/harness/libfuse build

install: libfuse-packages ## the library, into PREFIX=/usr/local
	@tools/harness/libfuse install

series: packages ## mail-ready patches in build/series, proven with git am
	@tools/harness/kernel-tree series

series-save: ## take edits made in build/linux back into this repository
	@tools/harness/kernel-tree series-save

check: ## what needs no VM: style, spelling, documents, each patch built, sparse
	@tools/harness/host-packages check
	@tools/harness/check $(TESTS)

clean: ## remove what was built
	rm -rf $(BUILD)

distclean: clean ## and what was downloaded
	rm -rf $(CACHE)
