# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by every check: the harness, TAP, the commits of the series, and builds of
# the directories that the series touches.

. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"

cd "$TOP" || exit
# Python modules from Debian packages are visible only to Debian's Python.
export PATH=/usr/bin:$PATH
tree=$BUILD/linux
checks=$BUILD/check		# build directories of the checks
source=$checks/linux		# a second checkout of the tree's repository
last=series-mail		# the branch that kernel-tree series makes

our_files() { git ls-files -co --exclude-standard | while read -r f; do if [[ -f $f ]]; then echo "$f"; fi; done; }

commits() { git -C "$tree" rev-list --reverse "base..$last"; }
subject() { git -C "$tree" log -1 --format=%s "$1"; }
# touched PATTERN...: files that the series adds or edits
touched() { git -C "$tree" diff --no-renames --diff-filter=d --name-only base "$last" -- "$@"; }

# The first clang that is new enough for the kernel.
find_clang()
{
	local least name version
	least=$("$tree/scripts/min-tool-version.sh" llvm)
	for name in clang clang-{40..17}; do
		command -v "$name" >/dev/null || continue
		version=$("$name" -dumpversion)
		if [[ $(printf '%s\n' "$least" "$version" | sort -V | head -n 1) == "$least" ]]; then
			echo "$name"
			return
		fi
	done
	die "no clang $least or later"
}

# --- builds ------------------------------------------------------------------
#
# Each compiler and configuration has one object directory, which is reused. A build
# without new warnings is recorded in $checks/passed, by a hash of its inputs.

# shellcheck disable=SC2034  # for the scripts that source this file
configs=(y m off) compilers=(gcc clang)

# Files that no build reads are not checked out.
unused=('!/Documentation/*/' '!/tools/testing/' '!/tools/perf/' '!*.dts*'
	'!/arch/*/**/*.[chS]' '/arch/x86/**' '!/sound/**/*.[ch]' '!/drivers/gpu/**/*.h'
	'!/drivers/*/**/*.c' '/drivers/dax/**' '!/fs/*/*.c' '/fs/fuse/**')

# have_source COMMIT: check this commit out
have_source()
{
	mkdir -p "$checks"
	if ! git -C "$source" rev-parse -q --verify HEAD >/dev/null 2>&1; then
		rm -rf "$source"
		git -C "$tree" worktree prune
		git -C "$tree" worktree add -q --no-checkout --detach "$source" base
		git -C "$source" sparse-checkout set --no-cone '/*' "${unused[@]}"
	fi
	git -C "$source" -c core.hooksPath=/dev/null checkout -q -f --detach "$1"
}

# fragment CONFIG: the options to set in addition to allnoconfig
fragment()
{
	sed -n '/^CONFIG_/p' "$HARNESS/checks/kernel.config"
	case $1 in
	y) ;;
	# as few other options as possible
	m) printf 'CONFIG_%s\n' FUSE_FS=m CUSE=m VIRTIO_FS=m FUSE_DAX=n FUSE_PASSTHROUGH=n FUSE_IO_URING=n ;;
	off) echo CONFIG_FUSE_DAX_FMAP=n ;;
	esac
}

# targets COMMIT CONFIG: what to build. For commits before the one that adds the
# option, y would build the same fs/fuse as off.
targets()
{
	[[ $2 == y ]] && ! git -C "$tree" grep -q '^config FUSE_DAX_FMAP$' "$1" -- fs/fuse/Kconfig || echo fs/fuse/
	[[ $2 != y ]] || echo drivers/dax/ fs/dax.o
}

compiler() { if [[ $1 == clang ]]; then find_clang; else echo "$1"; fi; }

# passed COMMIT CONFIG COMPILER: the directory that records this build
passed()
{
	{
		git -C "$tree" ls-tree "$1" . tools/ | grep -v -e '\ttools$' -e '\tDocumentation$' -e '\tMAINTAINERS$' -e '\ttools/testing$'
		fragment "$2"
		targets "$1" "$2"
		"$(compiler "$3")" --version
		declare -f configure kbuild build
	} | sha256sum | sed "s|^\([0-9a-f]\{16\}\).*|$checks/passed/$3-$2-\1|"
}

# kbuild CONFIG COMPILER ARGUMENT...
# An empty LOCALVERSION keeps git's state out of the version.
kbuild()
{
	local out=$checks/$2-$1 cc
	cc=$(compiler "$2") || return
	shift 2
	make -s -C "$source" O="$out" CC="$cc" LOCALVERSION= "$@"
}

configure()
{
	local config=$1 compiler=$2 out=$checks/$2-$1 key lost
	mkdir -p "$out"
	fragment "$config" | awk -F= '{ value[$1] = $0 } END { for (s in value) print value[s] }' | sort >"$out/fragment.config"
	key=$({ cat "$out/fragment.config"; git -C "$source" diff base -- '*Kconfig*'; "$(compiler "$compiler")" --version; } | sha256sum)
	[[ ! -e $out/.config || $key != "$(cat "$out/config-key" 2>/dev/null)" ]] || return 0
	rm -f "$out/config-key"
	kbuild "$config" "$compiler" KCONFIG_ALLCONFIG="$out/fragment.config" allnoconfig || return
	# All options must take effect, except ours in commits before the one that adds it
	lost=$(grep '=[ym]$' "$out/fragment.config" | grep -vxF -f "$out/.config")
	if [[ -n $lost ]] && { [[ $lost != CONFIG_FUSE_DAX_FMAP=y ]] || grep -qx 'config FUSE_DAX_FMAP' "$source/fs/fuse/Kconfig"; }; then
		echo "the configuration lost $lost"
		return 1
	fi
	echo "$key" >"$out/config-key"
}

# build COMMIT CONFIG COMPILER: build COMMIT, which is checked out. Fails if there is
# a warning that the base's build does not have, so the base must be built first.
# After a failure the next build starts without the objects, so that it shows the
# warning again. kernel-doc, which is part of W=1, has a separate check. Keeps two
# copies of the objects: without local symbols, because their names contain numbers,
# and with them in named/.
build()
{
	local config=$2 out=$checks/$3-$2 passed part o status=0 base new
	passed=$(passed "$@")
	part=$passed.part
	[[ ! -d $passed ]] || return 0
	rm -rf "$part" && mkdir -p "$part/named"
	configure "$config" "$3" || return
	[[ ! -e $out/unproven ]] || find "$out/fs" "$out/drivers" -name '*.o' -delete
	touch "$out/unproven"
	# shellcheck disable=SC2046  # several words
	kbuild "$config" "$3" -k W=1 KERNELDOC=/dev/null $(targets "$1" "$config") >"$out/log" 2>&1 || status=$?
	sed -n -e "s|^$source/||" -e 's/:[0-9]*:[0-9]*: /: /' -e '/[Ww]arning: /p' "$out/log" | sort -u >"$part/warnings"
	base=$(passed base off "$3")/warnings
	[[ $1 != base ]] || base=$part/warnings
	new=$(comm -13 "$base" "$part/warnings") || return
	if ((status)) || [[ -n $new ]]; then
		cat "$out/log"
		return 1
	fi
	for o in "$out"/fs/fuse/*.o; do
		# not an object of another commit
		[[ -e $source/fs/fuse/$(basename "$o" .o).c ]] || continue
		cp "$o" "$part/named/" &&
			objcopy --strip-debug --discard-all --remove-section=.comment "$o" "$part/${o##*/}" || return
	done
	rm "$out/unproven"
	mv "$part" "$passed"
}
