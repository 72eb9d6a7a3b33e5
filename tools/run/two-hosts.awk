# SPDX-License-Identifier: GPL-2.0
#
# Print the files of two-hosts.manifest for a comparison, one per line:
# e or s, size, chunk size or 0, INDEX:OFFSET:LENGTH,..., path

BEGIN { FS = "[ =',{}]+" }

$1 == "file" {
	value["chunk"] = 0
	for (i = 2; $i != "ranges"; i += 2)
		value[$i] = $(i + 1)
	strips = ""
	for (i++; $i != ""; i += 3)
		strips = strips (strips == "" ? "" : ",") $i ":" $(i + 1) ":" $(i + 2)
	print value["chunk"] ? "s" : "e", value["size"], value["chunk"], strips, value["path"]
}
