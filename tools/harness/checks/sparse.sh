#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# sparse reports nothing about the directories that the series touches that it does
# not report about the base. Releases up to 0.6.4 fail at the kernel's
# __typeof_unqual__, so sparse is built from the source that `bases` pins.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

sparse=$checks/sparse/sparse

have_sparse()
{
	local archive
	[[ ! -x $sparse ]] || return 0
	archive=$("$HARNESS/fetch" sparse) || return
	rm -rf "$checks/sparse" && mkdir -p "$checks/sparse"
	tar -C "$checks/sparse" --strip-components=1 -xf "$archive" &&
		make -s -C "$checks/sparse" -j"$JOBS" HAVE_LLVM=no HAVE_SQLITE=no HAVE_LIBXML=no HAVE_GTK=no sparse
}

understood() { [[ $("$tree/scripts/checker-valid.sh" "$sparse") == 1 ]]; }

# look COMMIT: save the output of sparse, without line numbers
look()
{
	local passed log=$checks/sparse.log
	passed=$(passed "$1" y sparse)
	[[ ! -e $passed ]] || return 0
	have_source "$1"
	configure y gcc || return
	kbuild y gcc -j"$JOBS" C=2 CHECK="$sparse" fs/fuse/ drivers/dax/ fs/dax.o >"$log" 2>&1 || { cat "$log"; return 1; }
	sed -e "s|^$source/||" -e 's/:[0-9]*:[0-9]*:/:/' "$log" | sort -u >"$passed.part"
	mv "$passed.part" "$passed"
}

compare()
{
	local new
	new=$(comm -13 "$(passed base y sparse)" "$(passed "$last" y sparse)" | grep -F "$1:" || true)
	[[ -z $new ]] || { echo "$new"; return 1; }
}

mkdir -p "$checks/passed"
check "sparse is built" have_sparse
check "sparse can parse this kernel" understood
check "sparse runs on the series" look "$last"
check "sparse runs on the base" look base
for file in $(touched '*.[ch]' ':!tools'); do
	check "$file" compare "$file"
done
plan
