# SPDX-License-Identifier: GPL-2.0
#
# Lay files out over DAX devices: reads the manifest (sha256, bytes, path) and
# writes a plan for dax_tree_server.
#
#	awk -v sizes="268435456 268435456 ..." -f plan.awk MANIFEST
#
# Files of 2 MiB and more are striped over all devices with 2 MiB chunks, and
# begin at a multiple of 2 MiB on each, so that 2 MiB mappings are possible;
# those of 64 KiB and more with 64 KiB chunks; smaller ones are one extent each,
# the devices in turn. An empty file has no bytes to map.

function up(x, unit) { return int((x + unit - 1) / unit) * unit }

# Room for len bytes on a device; sets at
function take(dev, len, align)
{
	at = up(next_free[dev], align)
	next_free[dev] = at + len
	if (at + len > room[dev]) {
		print "plan: device " dev " is full at " $3 > "/dev/stderr"
		failed = 1
		exit 1
	}
	return at
}

function striped(size, path, chunk, align,    i, len, dev, strips)
{
	len = up(size, chunk * ndev) / ndev
	for (i = 0; i < ndev; i++) {
		dev = (turn + i) % ndev
		strips = strips sprintf("%s%d:%.0f:%.0f", i ? "," : "", dev, take(dev, len, align), len)
	}
	turn++
	printf "s %.0f %.0f %s %s\n", size, chunk, strips, path
}

function directories_of(path,    n, i, part, dir)
{
	n = split(path, part, "/")
	for (i = 1; i < n; i++) {
		dir = dir (i > 1 ? "/" : "") part[i]
		if (!(dir in seen)) {
			seen[dir] = 1
			print "d 0 0 - " dir
		}
	}
}

BEGIN { ndev = split(sizes, s, " "); for (i = 1; i <= ndev; i++) { room[i - 1] = s[i]; next_free[i - 1] = 0 } }

{
	size = $2
	path = $0
	sub(/^[^ ]+ +[^ ]+ /, "", path)
	directories_of(path)
	if (size == 0) {
		print "n 0 0 - " path
	} else if (size >= 2097152) {
		striped(size, path, 2097152, 2097152)
	} else if (size >= 65536) {
		striped(size, path, 65536, 4096)
	} else {
		len = up(size, 4096)
		dev = turn++ % ndev
		printf "e %.0f 0 %d:%.0f:%.0f %s\n", size, dev, take(dev, len, 4096), len, path
	}
}
