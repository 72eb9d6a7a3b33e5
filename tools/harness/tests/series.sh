#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# kernel-tree on a toy kernel of three files: setup, copying, refusing, saving,
# mail-ready patches.
set -uo pipefail
. "$(dirname "$0")/../tap.sh"

export GIT_CONFIG_GLOBAL=$SCRATCH/gitconfig GIT_CONFIG_NOSYSTEM=1 GIT_EDITOR=true
git config --global user.name 'Toy Author'
git config --global user.email toy@example.org
git config --global init.defaultBranch main

repo=$SCRATCH/repo
export BUILD=$SCRATCH/build CACHE=$SCRATCH/cache LINUX_TREE=$SCRATCH/toy
unset LINUX_TARBALL
tree=$BUILD/linux

mkdir -p "$LINUX_TREE/fs/fuse" "$repo/tools" "$repo/patches" "$repo/fs/fuse"
printf 'kernelversion:\n\t@echo 7.3.4\n' >"$LINUX_TREE/Makefile"
seq 1 40 >"$LINUX_TREE/fs/fuse/inode.c"
seq 1 40 >"$LINUX_TREE/fs/fuse/file.c"
cp -r "$HARNESS" "$repo/tools/harness"
git -C "$repo" init -q

kt() { "$repo/tools/harness/kernel-tree" "$@"; }
tree_git() { git -C "$tree" "$@"; }

check "setup without a series" kt setup
check "... is the bare base" diff -r --exclude=.git "$LINUX_TREE" "$tree"

cat >"$repo/patches/0001-add.patch" <<'EOF'
Subject: fuse: add a map

Two lines of
text.

Suggested-by: Somebody <some@example.org>
New-file: fs/fuse/map.c
---
diff --git a/fs/fuse/inode.c b/fs/fuse/inode.c
--- a/fs/fuse/inode.c
+++ b/fs/fuse/inode.c
@@ -1,4 +1,5 @@
 1
+one and a half
 2
 3
 4
EOF
cat >"$repo/patches/0002-only-new.patch" <<'EOF'
Subject: fuse: add a header

New-file: fs/fuse/map.h
---
EOF
cat >"$repo/patches/0003-use.patch" <<'EOF'
Subject: fuse: use the map

---
diff --git a/fs/fuse/inode.c b/fs/fuse/inode.c
--- a/fs/fuse/inode.c
+++ b/fs/fuse/inode.c
@@ -38,4 +38,5 @@
 37
 38
 39
 40
+forty-one
EOF
printf '# SPDX-License-Identifier: GPL-2.0\n0001-add.patch\n0002-only-new.patch\n0003-use.patch\n' >"$repo/patches/series"
echo 'int map;' >"$repo/fs/fuse/map.c"
echo 'extern int map;' >"$repo/fs/fuse/map.h"
echo 'int extra;' >"$repo/fs/fuse/extra.c"
printf 'fuse: toy maps\n\nText of the cover.\n' >"$repo/patches/cover-letter"

file_untouched=$(stat -c %y "$tree/fs/fuse/file.c")
check "setup with a series" kt setup
check "three commits" test "$(tree_git rev-list --count base..HEAD)" = 3
check "edits are in the tree" grep -q forty-one "$tree/fs/fuse/inode.c"
check "new files are in the tree" cmp "$repo/fs/fuse/map.c" "$tree/fs/fuse/map.c"
check "a file that no patch names is copied" cmp "$repo/fs/fuse/extra.c" "$tree/fs/fuse/extra.c"
check "the tree is clean but for that file" test "$(tree_git status --porcelain)" = '?? fs/fuse/extra.c'
check "a file with the same content is not touched" test "$(stat -c %y "$tree/fs/fuse/file.c")" = "$file_untouched"

# The hunks above lack git's index lines: saving brings them into git's form.
check "save" kt series-save
cp -r "$repo/patches" "$SCRATCH/saved"
check "a second save changes nothing" kt series-save
check "... really nothing" diff -r "$SCRATCH/saved" "$repo/patches"
check "save keeps the names of the patches" grep -qx 0002-only-new.patch "$repo/patches/series"
check "save keeps the New-file lines in place" grep -q -A1 '^New-file: fs/fuse/map.c' "$repo/patches/0001-add.patch"
head=$(tree_git rev-parse 'HEAD^{tree}')
rm -rf "$tree"
check "setup from what was saved" kt setup
check "... gives the same tree" test "$(tree_git rev-parse 'HEAD^{tree}')" = "$head"
check "save after a fresh setup" kt series-save
check "... changes nothing" diff -r "$SCRATCH/saved" "$repo/patches"

head=$(tree_git rev-parse HEAD)
inode_untouched=$(stat -c %y "$tree/fs/fuse/inode.c")
before=$(kt state)
echo 'int map = 2;' >"$repo/fs/fuse/map.c"
check "a changed new file" kt setup
check "... is copied" cmp "$repo/fs/fuse/map.c" "$tree/fs/fuse/map.c"
check "... without new commits" test "$(tree_git rev-parse HEAD)" = "$head"
check "... without touching others" test "$(stat -c %y "$tree/fs/fuse/inode.c")" = "$inode_untouched"
check "... and changes the state" test "$(kt state)" != "$before"

inode_untouched=$(stat -c %y "$tree/fs/fuse/inode.c")
sed -i 's/^Two lines/More lines/' "$repo/patches/0001-add.patch"
check "a changed message" kt setup
check "... makes new commits" test "$(tree_git rev-parse HEAD)" != "$head"
check "... and touches no file" test "$(stat -c %y "$tree/fs/fuse/inode.c")" = "$inode_untouched"

check "series" kt series
check "... four mails" test "$(find "$BUILD/series" -name '*.patch' | wc -l)" = 4
check "... signed off" test "$(grep -lx 'Signed-off-by: Toy Author <toy@example.org>' "$BUILD"/series/000[123]-* | wc -l)" = 3
check "... From" test "$(grep -lx 'From: Toy Author <toy@example.org>' "$BUILD"/series/* | wc -l)" = 4
check "... no New-file lines" refused '' grep -r '^New-file' "$BUILD/series"
check "... with the current new file" grep -q '^+int map = 2;' "$BUILD"/series/0001-*
check "... with the cover letter" grep -q 'PATCH 0/3\] fuse: toy maps' "$BUILD"/series/0000-*

echo 'int map = 3;' >"$tree/fs/fuse/map.c"
check "an edit to a new file in the tree stays there" kt setup
check "... still" grep -q 3 "$tree/fs/fuse/map.c"
check "series refuses then" refused series-save kt series
echo ' ' >>"$repo/patches/0002-only-new.patch"
check "a changed patch refuses then" refused series-save kt setup
sed -i '$d' "$repo/patches/0002-only-new.patch"
check "save takes it back" kt series-save
check "... to the repository" grep -q 3 "$repo/fs/fuse/map.c"
echo here >"$repo/fs/fuse/map.c"
echo there >"$tree/fs/fuse/map.c"
check "edited in both places: setup refuses" refused 'both here and' kt setup
check "edited in both places: save refuses" refused 'both here and' kt series-save
echo here >"$tree/fs/fuse/map.c"
check "made equal: goes on" kt setup

sed -i 's/^20$/twenty/' "$tree/fs/fuse/inode.c"
check "an uncommitted edit to upstream's file: save refuses" refused 'git commit --fixup' kt series-save
tree_git commit -q -m "fixup! fuse: add a map" fs/fuse/inode.c
check "... and refuses a fixup that is not squashed" refused autosquash kt series-save
check "squash" tree_git rebase -q -i --autosquash --autostash base
check "save the squashed edit" kt series-save
check "... into the right patch" grep -q '^+twenty' "$repo/patches/0001-add.patch"
echo 'stray' >"$tree/stray.c"
check "save refuses a file that no commit has" refused stray.c kt series-save
rm "$tree/stray.c"

tree_git mv fs/fuse/map.h fs/fuse/table.h
echo 'int more;' >"$tree/fs/fuse/more.c"
tree_git add fs/fuse/more.c
tree_git commit -q -a -m 'fuse: one more

With a reason.'
check "save a new commit and a renamed file" kt series-save
check "... as a fourth patch" grep -q '^0004-' "$repo/patches/series"
check "... that names its file" grep -qx 'New-file: fs/fuse/more.c' "$repo"/patches/0004-*
check "... with the file itself" cmp "$tree/fs/fuse/more.c" "$repo/fs/fuse/more.c"
check "... and the old name is gone" test ! -e "$repo/fs/fuse/map.h"
tree_git diff base --stat >"$SCRATCH/stat"
rm -rf "$tree"
check "setup from that" kt setup
check "... gives the same" diff <(tree_git diff base --stat) "$SCRATCH/stat"

# A later patch edits what an earlier one adds. The file stands here as it is
# after both.
printf '%s\n' 'int more;' '/* one */' '/* two */' '/* three */' '/* four */' 'int last;' >"$tree/fs/fuse/more.c"
tree_git commit -q -m 'fixup! fuse: one more' fs/fuse/more.c
tree_git rebase -q -i --autosquash base
sed -i 's/^int more;$/int still_more;/' "$tree/fs/fuse/more.c"
tree_git commit -q -m 'fuse: still more' fs/fuse/more.c
check "save a commit that edits a new file" kt series-save
check "... as hunks" grep -q '^+int still_more;' "$repo"/patches/0005-*
check "... without index lines" refused '' grep -r '^index ' "$repo/patches"
check "... the file is here as it is built" cmp "$repo/fs/fuse/more.c" "$tree/fs/fuse/more.c"
cp -r "$repo/patches" "$SCRATCH/again"
check "a second save" kt series-save
check "... changes nothing" diff -r "$SCRATCH/again" "$repo/patches"
check "setup after it" kt setup
check "... leaves the file" cmp "$repo/fs/fuse/more.c" "$tree/fs/fuse/more.c"
rm -rf "$tree"
check "a fresh setup" kt setup
check "... gives the file" cmp "$repo/fs/fuse/more.c" "$tree/fs/fuse/more.c"
check "... and nothing is uncommitted" test -z "$(tree_git status --porcelain --untracked-files=no)"
check "... and the patch that adds it has the earlier state" test "$(tree_git show HEAD~1:fs/fuse/more.c | head -n 1)" = 'int more;'
git -C "$repo" add -A
git -C "$repo" commit -q -m 'A state that agrees'

head=$(tree_git rev-parse HEAD)
sed -i 's/^int last;$/int the_last;/' "$repo/fs/fuse/more.c"
check "such a file is edited outside the hunk: setup" kt setup
check "... copies it" cmp "$repo/fs/fuse/more.c" "$tree/fs/fuse/more.c"
check "... without new commits" test "$(tree_git rev-parse HEAD)" = "$head"
check "save after it" kt series-save
check "... changes no patch" diff -r "$SCRATCH/again" "$repo/patches"
sed -i 's/^int still_more;$/int even_more;/' "$repo/fs/fuse/more.c"
check "it is edited inside the hunk: setup" kt setup
check "... copies it" cmp "$repo/fs/fuse/more.c" "$tree/fs/fuse/more.c"
cp -r "$tree" "$SCRATCH/tree"
rm -rf "$tree"
check "... in a fresh tree as well" kt setup
check "... with the file" cmp "$repo/fs/fuse/more.c" "$tree/fs/fuse/more.c"
check "... with the edit in the later patch" test "$(tree_git show HEAD~1:fs/fuse/more.c | head -n 1)" = 'int more;'
check "series takes it" kt series
check "... the edit is in the later mail" grep -q '^+int even_more;' "$BUILD"/series/0005-*
rm -rf "$tree"
mv "$SCRATCH/tree" "$tree"
kt series-save 2>"$SCRATCH/said"
check "save updates the later patch" grep -q '^+int even_more;' "$repo"/patches/0005-*
check "... and no other" test "$(grep -c 'saved patches/' "$SCRATCH/said")" = 1
sed -i 's/^+int even_more;$/+int odd_more;/' "$repo"/patches/0005-*
check "a hunk that was never in the file is refused by name" refused '0005-.*hunk @@ -1.*more.c does not have the lines' kt setup
check "... with the command that mends it" refused 'git checkout HEAD -- fs/fuse/more.c patches/0005-' kt setup
sed -i 's/^+int odd_more;$/+int even_more;/' "$repo"/patches/0005-*
check "corrected: goes on" kt setup

sed -i 's/^More lines/Many lines/' "$repo/patches/0001-add.patch"
check "save after a message was edited here" kt series-save
check "... keeps it" grep -q '^Many lines' "$repo/patches/0001-add.patch"

# A save rewrites only the patch that the edit belongs to.
sed -i 's/^2$/&\nand a line more/' "$tree/fs/fuse/inode.c"
tree_git commit -q -m 'fixup! fuse: add a map' fs/fuse/inode.c
tree_git rebase -q -i --autosquash --autostash base
kt series-save 2>"$SCRATCH/said"
check "lines move in an upstream file: save updates one patch" test "$(grep -c 'saved patches/' "$SCRATCH/said")" = 1
check "... the one that was edited" grep -q 'saved patches/0001' "$SCRATCH/said"
rm -rf "$tree"
check "setup from that" kt setup
check "... has the line" grep -q 'and a line more' "$tree/fs/fuse/inode.c"

sed -i 's|^New-file: fs/fuse/more.c|&\nNew-file: fs/fuse/map.c|' "$repo"/patches/0004-*
check "a file named by two patches is refused" refused 'New-file of two patches' kt setup
sed -i '/^New-file: fs.fuse.map.c/d' "$repo"/patches/0004-*
sed -i 's/^ 38$/ 39/' "$repo/patches/0003-use.patch"
check "a patch that does not apply is refused by name" refused '0003-use.patch does not apply' kt setup
sed -i '/0003/,$d' "$repo/patches/series"
rm "$repo/fs/fuse/more.c"
check "dropping patches" kt setup
check "... takes their edits out" refused '' grep forty-one "$tree/fs/fuse/inode.c"
check "... and their files" test ! -e "$tree/fs/fuse/more.c"
plan
