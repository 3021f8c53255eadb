#!/bin/bash
# Runs one job on the execution point. Needs bash and coreutils, nothing else (tar, if files are packed).
# The job's data follows this script in the same file, in NUL-terminated records. Returned files are moved to
# osgpilot-out/, which always exists, so that a failed job is never held because of a missing file. In a bundle, the
# records are in `record` already, and returned files are moved to the folder $1, or listed in the file $2 if the
# bundle can move them.
set -u
shopt -s globstar dotglob nullglob
top=$PWD root=$PWD/osgpilot-root
out=${1-$top/osgpilot-out} bundled=${2-} manifest=.osgpilot-manifest times=.osgpilot-times script=osgpilot-script tmp=osgpilot-tmp
here=/@osgpilot-here@ root_mark=/@osgpilot-root@
printed_max=$((2 << 20))    # bytes of the output that are returned, of its beginning and its end each
leave() { shorten_printed; exit "$1"; }
fail() { echo "osgpilot: $*" >&2; mkdir -p "$out"; status=125; blame_full_disk; leave "$status"; }
# With less than 256 MB free (as in pilot.sh), a failure is blamed on the node: status 121. The job stays until
# its pilot has noticed (it checks every 5 s); otherwise the next job would start here at once.
blame_full_disk() {
    local free=''
    { read -r _; read -r _ _ _ free _; } < <(df -Pk . 2> /dev/null)
    [ "${free:-262144}" -ge 262144 ] || { : > "$out/.osgpilot-disk-full"; status=121; sleep 10; }
}

# The output is returned whatever its size, so it is shortened in place once the job is done. A filter between
# job and file would lose its buffer, and so output of the job, when it is killed.
shorten_printed() {
    local size _
    # the size of the file, without starting a program
    { read -r _ size < /proc/self/fdinfo/1; } 2> /dev/null || return
    [ "$size" -gt $((2 * printed_max)) ] && [ -f /dev/stdout ] && [ -r /dev/stdout ] || return
    exec 3< /dev/stdout
    size=$(stat -L -c %s /dev/fd/3)
    [ "$size" -gt $((2 * printed_max)) ] && tail -c "$printed_max" <&3 > osgpilot-tail || return
    truncate -s "$printed_max" /dev/fd/3 || return
    if [ /dev/stdout -ef /dev/stderr ]; then exec >> /dev/stdout 2>&1; else exec >> /dev/stdout; fi
    printf '\nosgpilot: %s bytes of what the job printed are left out here\n' $((size - 2 * printed_max))
    cat osgpilot-tail
}

if ! (($#)); then
    mapfile -d '' -t record < "$0" || fail "cannot read $0"
    # from an access point on another host, inputs come in a folder; some of its folders may exist already
    case $0 in osgpilot-in/*)
        { cp -al osgpilot-in/. . && rm -r osgpilot-in; } || fail "cannot unpack the inputs" ;;
    esac
fi
at=1    # the first record is this script
next_list() {
    local count=${record[at]}
    list=("${record[@]:at+1:count}")
    at=$((at + 1 + count))
}
next_list; shared=("${list[@]}")     # name under which HTCondor put it, path, permissions (0 of a folder)
next_list; interpreter=${list[0]}
next_list; folders=("${list[@]}")
next_list; touched=("${list[@]}")
next_list; returned=("${list[@]}")
next_list; logs=("${list[@]}")       # returned if the job fails
next_list; scripts=("${list[@]}")
next_list; packed=("${list[@]}")
next_list; inputs=("${list[@]}")
next_list; fetched=("${list[@]}")    # name under which HTCondor put it, path
next_list; links=("${list[@]}")      # path, what it points to
next_list; workdir=${list[0]-}       # the working folder's path, if it matters (see `take_root`)
next_list; names=("${list[@]}")      # absolute paths that the scripts use
next_list; unknown=("${list[@]}")    # absolute paths that the scripts use and that do not travel
next_list; storage=("${list[@]}")    # fetches files in storage, and stores them
next_list; runner=("${list[@]}")     # steps.sh, which reads what follows, in place of `scripts`

# Start in the place of the working folder below osgpilot-root, which stands for / of the submit side: `../x` leads
# there to what it leads to on that side. What came for the working folder is moved along.
take_root() {
    local path first
    mkdir -p -- "$root$workdir" || return
    for path in osgpilot-sources.tar osgpilot-snakemake.zip "${inputs[@]}"; do
        while [[ $path == ./* ]]; do path=${path#./}; done
        first=${path%%/*}
        [ "$first" = osgpilot-root ] || [ ! -e "$first" ] || mv -- "$first" "$root$workdir/" || return
    done
    cd -- "$root$workdir" && ln -s -- "$root" osgpilot-root && ln -s -- "$PWD" "$top/osgpilot-work"
}
# Link what is in folder $1 of osgpilot-root to the same place in $2. Files of the image stay, and so do
# folders of the node that are bound into the container.
make_real() {
    local entry name
    case $2 in
        /tmp* | /var/tmp*) ;;
        *) [ "$(stat -c %d "$2/")" = "$(stat -c %d /)" ] || return 0 ;;
    esac
    for entry in "$1"/*; do
        name=$2/${entry##*/}
        case $name in
            /bin | /boot | /dev | /etc | /lib | /lib32 | /lib64 | /libx32 | /proc | /root | /run | /sbin) continue ;;
            /srv | /sys | /usr) continue ;;
        esac
        if [ -d "$name" ] && [ ! -L "$name" ] && [ -d "$entry" ]; then
            make_real "$entry" "$name"
        elif [ ! -e "$name" ]; then
            ln -sfn -- "$entry" "$name"
        fi
    done
}
if [ -n "$workdir" ]; then
    take_root || fail "cannot make the folders for $workdir"
fi

# What jobs share is one file on the pilot, whichever of them writes into it: each gets a copy. All copies have the
# time at which the first of them came to the pilot, so that none is newer than an index of it that came otherwise.
oldest=''
copy_shared() {
    local from=$top/$1 path=$2 mode=$3
    case $path in */*) mkdir -p -- "${path%/*}" || return ;; esac
    if [ -d "$from" ]; then mkdir -p -- "$path" || return; from=$from/.; fi
    cp -rpf --reflink=auto -- "$from" "$path" 2> /dev/null || cp -rpf -- "$from" "$path" || return
    if [ "$mode" = 0 ]; then chmod -R u+w -- "$path"; else chmod "$mode" -- "$path" && touch -r "$oldest" -- "$path"; fi
}
for ((i = 0; i < ${#shared[@]}; i += 3)); do
    [ -e "$top/${shared[i]}" ] || fail "the input ${shared[i + 1]} did not arrive; is it still there?"
    [ -n "$oldest" ] && [ ! "$top/${shared[i]}" -ot "$oldest" ] || oldest=$top/${shared[i]}
done
for ((i = 0; i < ${#shared[@]}; i += 3)); do
    copy_shared "${shared[@]:i:3}" || fail "cannot copy the input ${shared[i + 1]}; is there room for it?"
done
for ((i = 0; i < ${#shared[@]}; i += 3)); do rm -rf -- "${top:?}/${shared[i]}"; done
[ ${#packed[@]} -eq 0 ] || base64 -d <<< "${packed[0]}" | tar -xf - || fail "cannot unpack the job's files"
[ ! -e osgpilot-sources.tar ] || tar -xf osgpilot-sources.tar || fail "cannot unpack the workflow's sources"
for path in "${inputs[@]}"; do
    # HTCondor silently skips a link whose target is gone on the access point
    [ -e "$path" ] || fail "the input $path did not arrive; is it still there?"
done
# each program that starts takes a millisecond or two, so one makes all folders
if [ -z "$bundled" ]; then
    for path in "${returned[@]}"; do
        case $path in */*) folders+=("$out/${path%/*}") ;; esac
    done
fi
missing=()
for path in "$out" "$tmp" "${folders[@]}"; do
    [ -d "$path" ] || missing+=("$path")
done
[ ${#missing[@]} -eq 0 ] || mkdir -p -- "${missing[@]}" || fail "cannot make the output folders"
# programs write settings and caches there, and a container may have none
[ -w "${HOME:-}" ] || export HOME=$PWD/$tmp
# a killed job returns them empty, and so replaces those of an earlier attempt
: > "$out/$times"
: > "$out/$manifest"
for ((i = 0; i < ${#fetched[@]}; i += 2)); do
    mv -- "$top/${fetched[i]}" "${fetched[i + 1]}" || fail "${fetched[i]} was not fetched"
done
for ((i = 0; i < ${#links[@]}; i += 2)); do
    ln -s -- "${links[i + 1]}" "${links[i]}" || fail "cannot link ${links[i]}"
done
plain=$PWD real=    # a path of this folder without odd characters; what an absolute path is put after
if [ -n "$workdir" ]; then
    plain=$top/osgpilot-work
    # there the job has a container of its own (as on the OSPool), whose file system may be writable
    case $top/ in /srv/*) [ ! -d /.singularity.d ] || make_real "$root" '' 2> /dev/null ;; esac
    for path in "${names[@]}"; do
        [ "$path" -ef "$root$path" ] || { real=$root; break; }
    done
    # for programs that ask for the name of their folder
    [ ! "$workdir" -ef . ] || cd -- "$workdir" || fail "cannot enter $workdir"
    # as programs see it, so that a path relative to it is short; unless scripts would have to quote its name
    physical=$(pwd -P)
    case $physical in *[!A-Za-z0-9_./+@,-]*) ;; *) [ ! "$physical" -ef . ] || plain=$physical ;; esac
fi
command -v "$interpreter" > /dev/null || fail "there is no $interpreter here"

# the mask of this process, without starting another
while read -r name mask; do [ "$name" != Umask: ] || break; done 2> /dev/null < /proc/self/status
# Runs the text $1 with the arguments that follow.
run_text() {
    local text=$1
    shift
    case $text in *"$here"*) text=${text//"$here"/"$plain"} ;; esac
    case $text in *"$root_mark"*) text=${text//"$root_mark"/"$real"} ;; esac
    umask 077
    printf '%s' "$text" > "$script" || fail "cannot write the script"
    umask "${mask:-0022}"
    "$interpreter" "$script" "$@" < /dev/null
}
# A folder that the command did not make is named when outputs are checked, not by `touch`.
touch_outputs() {
    local path
    for path; do
        case $path in */.snakemake_timestamp) [ -d "${path%/*}" ] || continue ;; esac
        touch -- "$path" || return
    done
}
status=0 began=${EPOCHREALTIME-}
[ ${#storage[@]} -eq 0 ] || run_text "${storage[0]}" fetch || { status=$? scripts=() runner=(); }
[ ${#runner[@]} -eq 0 ] || eval "${runner[0]}"
for text in "${scripts[@]}"; do
    run_text "$text" || { status=$?; break; }
done
{ times; echo "$began ${EPOCHREALTIME-}"; } > "$out/$times"
[ $status -eq 0 ] || blame_full_disk
[ $status -ne 0 ] || touch_outputs "${touched[@]}"
[ ${#storage[@]} -eq 0 ] || run_text "${storage[0]}" store "$status" || [ $status -ne 0 ] || status=1
[ $status -eq 0 ] || returned=("${logs[@]}")
for path in "${unknown[@]}"; do
    [ $status -eq 0 ] || [ -e "$path" ] ||
        echo "osgpilot: $path, which the command names, is not here: is it an input that the rule does not declare?" >&2
done

# In a bundle of short jobs, one program each for many of them moves and measures what they return, if it is plain files.
list_for_bundle() {
    local path files=()
    [ -n "$bundled" ] && [ -z "$workdir" ] && [ $status -eq 0 ] || return
    # steps and storage put more into the folder
    ((${#returned[@]} <= 50 && ${#runner[@]} + ${#storage[@]} == 0)) || return
    for path in "${returned[@]}"; do
        if [ ! -e "$path" ] && [ ! -L "$path" ]; then continue; fi
        case /$path/ in *//* | */./* | */../*) return 1 ;; esac
        [ -f "$path" ] && [ ! -L "$path" ] && [ -r "$path" ] || return
        files+=("$path")
    done
    ((${#files[@]})) && printf '%s\0' "${files[@]}" > "$bundled"
}
if list_for_bundle; then leave 0; fi

# HTCondor transfers no links; they are listed, and created again on the access point.
aside=() fault=
put_link_aside() {
    local to
    to=$(readlink -n -- "$1"; echo /) && to=${to%/}
    case $to in
        "$PWD"/*) to=$here/${to#"$PWD"/} ;;
        "$plain"/*) to=$here/${to#"$plain"/} ;;
        "$root"/*) to=${to#"$root"} ;;
    esac
    aside+=(">$to" "${1#"$out"/}")
    rm -- "$1"
}
for path in "${returned[@]}"; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    target=$out/$path
    case $path in */*) [ -d "${target%/*}" ] || mkdir -p -- "${target%/*}" ;; esac
    if [ -d "$path" ] && [ ! -L "$path" ] && ! { [ -r "$path" ] && [ -w "$path" ] && [ -x "$path" ]; }; then
        [ -r "$path" ] && [ -x "$path" ] || fault="the folder $path cannot be read"
        chmod -- u+rwx "$path"      # otherwise it cannot be moved
    fi
    mv -- "$path" "$target" || fail "cannot put $path aside"
    if [ -L "$target" ]; then
        put_link_aside "$target"
    elif [ -d "$target" ]; then
        for inner in "$target"/**; do
            [ ! -L "$inner" ] || put_link_aside "$inner"
        done
    fi
done

# Lists everything below osgpilot-out in NUL-terminated records, to detect an interrupted transfer: the size of a
# file, `/` for a folder, and the links. A file that HTCondor cannot transfer is a `fault`: HTCondor would retry
# or wait forever. The check uses the mode, since this script may run as root.
list_returned() {
    local paths=() some what size mode needed path first n
    for path in **; do
        [ -L "$path" ] || [ "$path" = "$manifest" ] || paths+=("$path")
    done
    for ((first = 0; first < ${#paths[@]}; first += 500)); do
        some=("${paths[@]:first:500}")
        mapfile -t what < <(stat -c '%s %f' -- "${some[@]}")
        [ ${#what[@]} -eq ${#some[@]} ] || return 1
        for n in "${!some[@]}"; do
            size=${what[n]% *} mode=$((16#${what[n]#* })) path=${some[n]}
            case $((mode & 8#170000)) in
                $((8#040000)))
                    size=/ needed=$((8#500))
                    # otherwise its content cannot be written on the access point
                    ((mode & 8#200)) || chmod -- u+w "$path" ;;
                $((8#100000))) needed=$((8#400)) ;;
                *)
                    fault="$path is neither a file nor a folder"
                    rm -f -- "$path"
                    continue ;;
            esac
            if (((mode & needed) != needed)); then
                fault="$path cannot be read (mode $(printf %03o $((mode & 8#7777))))"
            fi
            printf '%s\0%s\0' "$size" "$path"
        done
    done
    [ ${#aside[@]} -eq 0 ] || printf '%s\0' "${aside[@]}"
    if [ -n "$fault" ] || [ $status -ne 0 ]; then printf 'failed\0'; else printf 'end\0'; fi
}
cd -- "$out" || leave 125
list_returned > "$manifest" || {
    # the fault of the node, not of the job: without a list, the job runs again
    : > "$manifest"
    echo "osgpilot: cannot list the outputs" >&2
}
if [ -n "$fault" ]; then
    # unreadable folders can be listed only now
    chmod -R -- u+rwX .
    list_returned > "$manifest"
    [ $status -ne 0 ] || { echo "osgpilot: $fault, so it cannot come back" >&2; status=125; }
fi
cd ..
leave "$status"
