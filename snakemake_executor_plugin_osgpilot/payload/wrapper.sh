#!/bin/bash
# Runs one job on the execution point. Needs bash and coreutils, nothing else (tar, if there are sources).
# The file osgpilot-job tells all about it in NUL-ended records. What comes back is put into osgpilot-out/,
# which exists whatever happens, so that a failing job is never held for want of a file.
set -u
job=osgpilot-job out=osgpilot-out script=osgpilot-script
fail() { echo "osgpilot: $*" >&2; mkdir -p "$out"; exit 125; }

mapfile -d '' -t record < "$job" || fail "cannot read $job"
at=0
next_list() {
    local count=${record[at]}
    list=("${record[@]:at+1:count}")
    at=$((at + 1 + count))
}
next_list; shell=${list[0]}
next_list; folders=("${list[@]}")
next_list; touched=("${list[@]}")
next_list; returned=("${list[@]}")
next_list; scripts=("${list[@]}")

[ ! -e osgpilot-sources.tar ] || tar -xf osgpilot-sources.tar || fail "cannot unpack the workflow's sources"
mkdir -p -- "$out" "${folders[@]}" || fail "cannot make the output folders"
command -v "$shell" > /dev/null || fail "there is no $shell here"

status=0
for text in "${scripts[@]}"; do
    printf '%s' "$text" > "$script" || fail "cannot write the script"
    "$shell" "$script" < /dev/null || { status=$?; break; }
done
[ $status -ne 0 ] || [ ${#touched[@]} -eq 0 ] || touch -- "${touched[@]}"

for path in "${returned[@]}"; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    target=$out/$path
    case $path in */*) mkdir -p -- "${target%/*}" ;; esac
    mv -- "$path" "$target" || fail "cannot put $path aside"
done
exit "$status"
