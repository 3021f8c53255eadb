#!/bin/bash
# Runs one job on the execution point. Needs bash and coreutils, nothing else (tar, if there are sources).
# All that the job is made of lies in osgpilot-job/; all that comes back is put into osgpilot-out/, which
# exists whatever happens, so that a failing job is never held for want of a file.
set -u
job=osgpilot-job out=osgpilot-out
mkdir -p "$out/files"

fail() { echo "osgpilot: $*" >&2; echo 125 > "$out/exit_status"; exit 125; }

[ ! -e "$job/sources.tar" ] || tar -xf "$job/sources.tar" || fail "cannot unpack the workflow's sources"
mapfile -d '' -t folders < "$job/folders"
[ ${#folders[@]} -eq 0 ] || mkdir -p -- "${folders[@]}" || fail "cannot make the output folders"
IFS= read -r shell < "$job/shell"
command -v "$shell" > /dev/null || fail "there is no $shell here"

status=0
for script in "$job"/script-*; do
    "$shell" "$script" < /dev/null || { status=$?; break; }
done
mapfile -d '' -t touched < "$job/touched"
[ $status -ne 0 ] || [ ${#touched[@]} -eq 0 ] || touch -- "${touched[@]}"

mapfile -d '' -t returned < "$job/returned"
for path in "${returned[@]}"; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    target=$out/files/$path
    { mkdir -p -- "${target%/*}" && mv -- "$path" "$target"; } || fail "cannot put $path aside"
done
echo "$status" > "$out/exit_status"
exit "$status"
