# SPDX-License-Identifier: GPL-2.0
#
# Part of tools/harness/coverage: reads coverage.explained and the output of gcov -t,
# writes the reports to the directory "out", and prints TAP.
#
# gcov writes a header once for each file that includes it, so the counts of a line
# are added up. If macros make several functions of one line, gcov prints the sum and
# then each function; this does not change which lines were executed.

function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }

# coverage.explained: FILE | FUNCTION | TEXT | REASON
FNR == NR {
	if (/^#/ || NF == 0) next
	if (split($0, part, " [|] ") != 4) {
		print "coverage.explained:" FNR ": not FILE | FUNCTION | TEXT | REASON"
		broken = 1
		exit 1
	}
	n_explained++
	for (i = 1; i <= 4; i++) explanation[n_explained, i] = trim(part[i])
	next
}

/^ *-: *0:Source:/ {
	file = $0
	sub(/^.*:Source:/, "", file)
	ours = file ~ /fs\/fuse\/(fmap|daxdev)[a-z_]*\.[ch]$/
	sub(/^.*\//, "", file)
	function_name = ""
	next
}
!ours || !/^ *[-=#0-9*]+: *[0-9]+:/ { next }
{
	count = $0; sub(/:.*/, "", count); gsub(/[ *]/, "", count)
	line = $0; sub(/^[^:]*: */, "", line); sub(/:.*/, "", line); line += 0
	text = $0; sub(/^[^:]*:[^:]*:/, "", text)
}
line == 0 { next }
text ~ /^[A-Za-z_].*\(/ {
	function_name = text
	sub(/\(.*/, "", function_name)
	# for TRACE_EVENT(name, and similar macros, the name is the first argument
	if (function_name ~ /[A-Z]$/) { function_name = text; sub(/^[^(]*\(/, "", function_name); sub(/,.*/, "", function_name) }
	sub(/^.*[ *]/, "", function_name)
}
{
	if (!(file in last)) files[++n_files] = file
	if (line > last[file]) last[file] = line
	source[file, line] = text
	in_function[file, line] = function_name
	if (count != "-") {
		can[file, line] = 1
		done[file, line] += count ~ /^[0-9]/ ? count : 0
	}
}

END {
	if (broken) exit 1
	table = out "/coverage.txt"
	annotated = out "/annotated.txt"
	printf "Executed in: %s\n\n%-18s %6s %9s %9s\n", runs, "file", "lines", "executed", "percent" >table
	for (f = 1; f <= n_files; f++) {
		file = files[f]
		print "==> " file " <==" >annotated
		for (line = 1; line <= last[file]; line++) {
			key = file SUBSEP line
			printf "%10s %5d %s\n", !(key in can) ? "" : done[key] ? done[key] : "never", line, source[key] >annotated
			if (!(key in can)) continue
			lines[file]++
			if (done[key]) { executed[file]++; continue }
			why = ""
			for (i = 1; i <= n_explained; i++)
				if (explanation[i, 1] == file && explanation[i, 2] == in_function[key] &&
				    index(source[key], explanation[i, 3])) {
					why = explanation[i, 4]
					applies[i] = 1
				}
			list = list sprintf("%s:%d: %s: %s\n\t%s\n", file, line, in_function[key], trim(source[key]), why ? why : "NOT EXPLAINED")
			if (!why) open_lines[file] = open_lines[file] sprintf("# %s:%d: %s: %s\n", file, line, in_function[key], trim(source[key]))
		}
		all += lines[file]
		all_executed += executed[file]
		if (lines[file]) printf "%-18s %6d %9d %9.1f\n", file, lines[file], executed[file], 100 * executed[file] / lines[file] >table
	}
	percent = all ? 100 * all_executed / all : 0
	printf "%-18s %6d %9d %9.1f\n", "all", all, all_executed, percent >table
	if (list) printf "\nNot executed, and why:\n\n%s", list >table
	close(table)

	while ((getline text <table) > 0 && text !~ /^Not executed/) if (text) print "# " text
	for (i = 1; i <= n_explained; i++)
		if (!applies[i]) print "# stale: " explanation[i, 1] " | " explanation[i, 2] " | " explanation[i, 3]
	bad = percent < least
	printf "%sok 1 - %d %% of the lines or more are executed\n", bad ? "not " : "", least
	results = 1
	for (f = 1; f <= n_files; f++) {
		file = files[f]
		if (!lines[file]) continue
		if (file in open_lines) printf "%s", open_lines[file]
		if (lenient) continue
		if (file in open_lines) bad = 1
		printf "%sok %d - %s: each line that is not executed is explained\n", file in open_lines ? "not " : "", ++results, file
	}
	print "1.." results
	exit bad
}
