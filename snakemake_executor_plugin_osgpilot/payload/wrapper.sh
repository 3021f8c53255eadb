#!/bin/bash
# Runs one job on the execution point. Needs bash and coreutils, nothing else (tar, if files are packed).
# All about the job follows this script in the same file, in NUL-ended records. What comes back is put into
# osgpilot-out/, which exists whatever happens, so that a failing job is never held for want of a file.
set -u
shopt -s globstar dotglob nullglob
out=osgpilot-out manifest=.osgpilot-manifest script=osgpilot-script tmp=osgpilot-tmp here=/@osgpilot-here@
fail() { echo "osgpilot: $*" >&2; mkdir -p "$out"; status=125; blame_full_disk; exit "$status"; }
# With less than 256 MB free (as in pilot.sh), a failure is the node's: status 121. The job stays until its
# pilot has noticed (it looks every 5 s), or the next one would start here at once.
blame_full_disk() {
    local free=''
    { read -r _; read -r _ _ _ free _; } < <(df -Pk . 2> /dev/null)
    [ "${free:-262144}" -ge 262144 ] || { : > "$out/.osgpilot-disk-full"; status=121; sleep 10; }
}

mapfile -d '' -t record < "$0" || fail "cannot read $0"
# from an access point on another host, inputs come in a folder; some of its folders may be there already
case $0 in osgpilot-in/*)
    { cp -al osgpilot-in/. . && rm -r osgpilot-in; } || fail "cannot unpack the inputs" ;;
esac
at=1    # the first record is this script
next_list() {
    local count=${record[at]}
    list=("${record[@]:at+1:count}")
    at=$((at + 1 + count))
}
# Sizes of all files below the current folder in NUL-ended records, so that a transfer that was cut off shows.
list_files() {
    local files=() some sizes path first n
    for path in **; do
        [ ! -f "$path" ] || [ "$path" = "$manifest" ] || files+=("$path")
    done
    for ((first = 0; first < ${#files[@]}; first += 500)); do
        some=("${files[@]:first:500}")
        mapfile -t sizes < <(stat -L -c %s -- "${some[@]}")
        [ ${#sizes[@]} -eq ${#some[@]} ] || return 1
        for n in "${!some[@]}"; do printf '%s\0%s\0' "${sizes[n]}" "${some[n]}"; done
    done
    printf 'end\0'
}
next_list; interpreter=${list[0]}
next_list; folders=("${list[@]}")
next_list; touched=("${list[@]}")
next_list; returned=("${list[@]}")
next_list; scripts=("${list[@]}")
next_list; packed=("${list[@]}")
next_list; inputs=("${list[@]}")
next_list; fetched=("${list[@]}")    # name under which HTCondor put it, path
next_list; links=("${list[@]}")      # path, what it points to

[ ${#packed[@]} -eq 0 ] || base64 -d <<< "${packed[0]}" | tar -xf - || fail "cannot unpack the job's files"
[ ! -e osgpilot-sources.tar ] || tar -xf osgpilot-sources.tar || fail "cannot unpack the workflow's sources"
for path in "${inputs[@]}"; do
    # HTCondor leaves a link out, without a word, whose target is gone on the access point
    [ -e "$path" ] || fail "the input $path did not arrive; is it still there?"
done
mkdir -p -- "$out" "$tmp" "${folders[@]}" || fail "cannot make the output folders"
for ((i = 0; i < ${#fetched[@]}; i += 2)); do
    mv -- "${fetched[i]}" "${fetched[i + 1]}" || fail "${fetched[i]} was not fetched"
done
for ((i = 0; i < ${#links[@]}; i += 2)); do
    ln -s -- "${links[i + 1]}" "${links[i]}" || fail "cannot link ${links[i]}"
done
command -v "$interpreter" > /dev/null || fail "there is no $interpreter here"

status=0 began=${EPOCHREALTIME-}
for text in "${scripts[@]}"; do
    case $text in *"$here"*) text=${text//"$here"/"$PWD"} ;; esac
    (umask 077; printf '%s' "$text" > "$script") || fail "cannot write the script"
    "$interpreter" "$script" < /dev/null || { status=$?; break; }
done
{ times; echo "$began ${EPOCHREALTIME-}"; } > "$out/.osgpilot-times"
[ $status -eq 0 ] || blame_full_disk
[ $status -ne 0 ] || [ ${#touched[@]} -eq 0 ] || touch -- "${touched[@]}"

# HTCondor brings no links; they are listed, and made again where the files come together.
put_link_aside() {
    local to
    to=$(readlink -n -- "$1"; echo /) && to=${to%/}
    case $to in "$PWD"/*) to=$here/${to#"$PWD"/} ;; esac
    printf '%s\0' "${1#"$out"/}" "$to" >> "$out/osgpilot-links"
    rm -- "$1"
}
for path in "${returned[@]}"; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    target=$out/$path
    case $path in */*) mkdir -p -- "${target%/*}" ;; esac
    mv -- "$path" "$target" || fail "cannot put $path aside"
    if [ -L "$target" ]; then
        put_link_aside "$target"
    elif [ -d "$target" ]; then
        for inner in "$target"/**; do
            [ ! -L "$inner" ] || put_link_aside "$inner"
        done
    fi
done
if [ $status -eq 0 ]; then
    # no failure of the job, but of the node; what came back without a list makes it run again
    (cd -- "$out" && list_files) > "$out/$manifest" || echo "osgpilot: cannot list the outputs" >&2
fi
exit "$status"
