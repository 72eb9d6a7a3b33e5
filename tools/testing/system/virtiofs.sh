#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Virtio-fs on the kernel with the series behaves as it does without it: files
# of a virtio-fs mount do what the same files do on this machine, and no part
# of the protocol of DAX file maps is spoken. One machine with two devices: as
# virtiofsd comes, and with the writeback cache.
#
# The window that virtio-fs has for its own DAX is not in QEMU, so `-o dax` can
# only be refused, as Linux does it without the series: EINVAL, and it says why.
# shellcheck disable=SC2317  # functions are called by name
set -euo pipefail
. "$(dirname "$0")/../../harness/tap.sh"

payload=$BUILD/payload/virtiofs
results=$BUILD/results/virtiofs
dirs=$BUILD/virtiofs		# no tmpfs: it may lack some of the operations
tags=(virtiofs0 virtiofs1)

rm -rf "$dirs"
mkdir -p "$payload" "$dirs"/{virtiofs0,virtiofs1}
gcc -O2 -Wall -o "$payload/file_ops" "$(dirname "$0")/file_ops.c"

boots()
{
	"$HARNESS/vm" --name virtiofs --timeout 120 \
		--virtiofs "$dirs/virtiofs0" --virtiofs "$dirs/virtiofs1,cache=always,writeback" -- \
		/tests/guest-virtiofs "${tags[@]}"
}

# $1 tag: each step printed the same
same_steps() { diff "$dirs/ops" "$results/$1/ops"; }

# $1 tag: and this is what the server's directory holds
same_files() { [[ -e $dirs/$1/guest/data ]] && diff -r "$dirs/host" "$dirs/$1/guest"; }

# $1 tag, then opcodes that must be among the requests
sent()
{
	local opcode
	for opcode in "${@:2}"; do
		grep -q " FUSE_$opcode\$" "$results/$1/requests" || { echo "no $opcode"; return 1; }
	done
}

# $1 tag. The protocol ends at 53 without the series.
none_of_ours() { [[ -s $results/$1/requests ]] && awk '$1 > 53 { print; bad = 1 } END { exit bad }' "$results/$1/requests"; }

# $1 tag. A virtio-fs mount has never been in fusectl.
not_in_fusectl() { diff - "$results/$1/fusectl" <<</sys/fs/fuse/connections; }

# $1 tag
mounts()
{
	cat "$results/$1/log"
	# 32: mount(8) failed; what follows it is how that says EINVAL
	diff - "$results/$1/mounts" <<-END &&
		dax 32
		dax=always 32
		dax=inode 0
		dax=never 0
	END
		[[ $(grep -c 'wrong fs type, bad option' "$results/$1/log") == 2 ]] &&
		grep -q -a "virtio-fs: dax can't be enabled as filesystem device does not support it" "$results/console.log"
}

check "the same steps on this machine" "$payload/file_ops" "$dirs/host"
cp "$SCRATCH/output" "$dirs/ops"
check "a machine with two virtio-fs devices works on them, no kernel warning" boots
for tag in "${tags[@]}"; do
	check "$tag: each operation does what it does here" same_steps "$tag"
	check "$tag: the files are the same as here" same_files "$tag"
	check "$tag: operations went to the server" sent "$tag" \
		CREATE OPEN READ WRITE SETATTR FALLOCATE LSEEK COPY_FILE_RANGE RENAME2 FSYNC UNLINK
	check "$tag: no request about maps" none_of_ours "$tag"
	check "$tag: nothing in fusectl" not_in_fusectl "$tag"
	check "$tag: -o dax is refused for want of a window, the other modes work" mounts "$tag"
done
plan
