#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The series does not change virtio-fs: operations on files of a virtio-fs mount have
# the same results as on this machine, and no request of the DAX file map protocol is
# sent. One VM has two devices: one with virtiofsd's defaults, one with the writeback
# cache.
#
# QEMU has no window for the DAX mode of virtio-fs itself, so `-o dax` must fail as it
# does without the series: with EINVAL and a message.
# shellcheck disable=SC2317  # functions are called by name
set -euo pipefail
. "$(dirname "$0")/../../harness/tap.sh"

payload=$BUILD/payload/virtiofs
results=$BUILD/results/virtiofs
dirs=$BUILD/virtiofs		# not on tmpfs, which may lack some of the operations
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

# same_steps TAG: each step printed the same as on this machine
same_steps() { diff "$dirs/ops" "$results/$1/ops"; }

# same_files TAG: the server's directory has the same files
same_files() { [[ -e $dirs/$1/guest/data ]] && diff -r "$dirs/host" "$dirs/$1/guest"; }

# sent TAG OPCODE...: these opcodes are among the requests
sent()
{
	local opcode
	for opcode in "${@:2}"; do
		grep -q " FUSE_$opcode\$" "$results/$1/requests" || { echo "no $opcode"; return 1; }
	done
}

# none_of_ours TAG: without the series the last opcode is 53
none_of_ours() { [[ -s $results/$1/requests ]] && awk '$1 > 53 { print; bad = 1 } END { exit bad }' "$results/$1/requests"; }

# not_in_fusectl TAG: a virtio-fs mount never appears in fusectl
not_in_fusectl() { diff - "$results/$1/fusectl" <<</sys/fs/fuse/connections; }

# mounts TAG: the results of mounting with each DAX mode
mounts()
{
	cat "$results/$1/log"
	# 32: the mount failed. mount(8) describes EINVAL by "wrong fs type, bad option"
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
check "a VM uses two virtio-fs devices without a kernel warning" boots
for tag in "${tags[@]}"; do
	check "$tag: each operation has the same result as on this machine" same_steps "$tag"
	check "$tag: the files are the same as on this machine" same_files "$tag"
	check "$tag: the server got the operations" sent "$tag" \
		CREATE OPEN READ WRITE SETATTR FALLOCATE LSEEK COPY_FILE_RANGE RENAME2 FSYNC UNLINK
	check "$tag: no request about maps" none_of_ours "$tag"
	check "$tag: no entry in fusectl" not_in_fusectl "$tag"
	check "$tag: -o dax fails without a window, the other modes work" mounts "$tag"
done
plan
