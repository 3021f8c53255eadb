#!/bin/bash
# Runs the jobs of a bundle one after the other, each in a folder of its own as if it ran alone. Needs bash and
# coreutils. What follows this script in the same file, each ended by NUL: the time in seconds after which no further
# job starts; the number of jobs, and their keys; the number of folders to make, and these; then for each job the number
# of records in its own file, and these. The first record is the job's script, empty if it is that of the job before; it
# finds the others in `record`. What a job returns goes to osgpilot-out/returned/KEY, its output and its exit status to
# osgpilot-out/KEY. A job without a status there did not end.
set -u
exec 3< "$0"
IFS= read -r -d '' _ <&3
IFS= read -r -d '' limit_s <&3
IFS= read -r -d '' count <&3
mapfile -d '' -n "$count" -t keys <&3
IFS= read -r -d '' count <&3
folders=()
((count == 0)) || mapfile -d '' -n "$count" -t folders <&3
back=$PWD/osgpilot-out/returned list=$PWD/osgpilot-list
# from an access point on another host, inputs come in a folder
case $0 in osgpilot-in/*) { cp -al osgpilot-in/. . && rm -r osgpilot-in; } || exit 0 ;; esac
# to start a program takes longer than all else here, so few are started
mkdir -p -- "${keys[@]}" "${keys[@]/#/osgpilot-out/}" "${keys[@]/#/osgpilot-out/returned/}" "${folders[@]}"

# Jobs that ended since the last call of `finish`: their keys and statuses, and the number of files that each has listed,
# empty if it has put them aside itself. The files of all are in `files`.
ended=() statuses=() counts=() files=() finished=$SECONDS
finish() {
    local n at=0 entries=() what=() own closed path
    for n in "${!ended[@]}"; do
        [ -z "${counts[n]}" ] || entries+=("${ended[n]}/.osgpilot-times" "${files[@]:at:counts[n]}")
        at=$((at + counts[n]))
    done
    if [ ${#files[@]} -gt 0 ]; then
        # there are disks without hard links
        cp -al --parents -- "${files[@]}" "$back" || cp -a --remove-destination --parents -- "${files[@]}" "$back" ||
            return
    fi
    if [ ${#entries[@]} -gt 0 ]; then
        mapfile -t what < <(cd -- "$back" && stat -c '%s %f' -- "${entries[@]}")
        [ ${#what[@]} -eq ${#entries[@]} ] || return
    fi
    # the disk is for the next job, and so are names that this one made real with links to its folder
    rm -rf -- "${ended[@]}" || { chmod -R u+rwX -- "${ended[@]}"; rm -rf -- "${ended[@]}"; } || return
    at=0
    for n in "${!ended[@]}"; do
        closed=
        if [ -n "${counts[n]}" ]; then
            # a pipe in its place would not return
            [[ -f $back/${ended[n]}/.osgpilot-manifest && ! -L $back/${ended[n]}/.osgpilot-manifest ]] || closed=yes
            own=()
            for ((; at < ${#entries[@]}; at++)); do
                path=${entries[at]}
                [[ $path == "${ended[n]}"/* ]] || break
                (((16#${what[at]#* } & 8#170400) == 8#100400)) || closed=yes
                own+=("${what[at]% *}" "${path#*/}")
            done
            # HTCondor transfers no pipe, and no file that cannot be read, which did not show to root; the job runs alone
            [ -z "$closed" ] || { rm -rf -- "${back:?}/${ended[n]}"; continue; }
            printf '%s\0' "${own[@]}" end > "$back/${ended[n]}/.osgpilot-manifest" || return
        fi
        printf '%s\n' "${statuses[n]}" > "osgpilot-out/${ended[n]}/status"
    done
    ended=() statuses=() counts=() files=() finished=$SECONDS
}

# each job in a process group of its own: none outlives its turn
set -m
begun=${EPOCHREALTIME-$SECONDS} failed=0    # in a row
for key in "${keys[@]}"; do
    IFS= read -r -d '' count <&3 || break
    mapfile -d '' -n "$count" -t record <&3
    [ ${#record[@]} -eq "$count" ] || break
    [ -z "${record[0]}" ] || eval "run_job() { ${record[0]}
    }" || break
    [[ -d $key && -d osgpilot-out/$key && -d $back/$key ]] || break
    began=${EPOCHREALTIME-$SECONDS}
    (cd "$key" && export _CONDOR_SCRATCH_DIR=$PWD && set +m && run_job "$back/$key" "$list") \
        > "osgpilot-out/$key/output" 2>&1 < /dev/null 3<&- &
    # it also returns when the job is stopped; `wait -f` is not in bash 4
    while wait $!; status=$?; ((status > 128)) && kill -0 $! 2> /dev/null; do sleep 1; done
    kill -KILL -- -$! 2> /dev/null
    ended+=("$key") statuses+=("$status $begun $began ${EPOCHREALTIME-$SECONDS}")
    listed=()
    if ((status == 0)) && [ -s "$list" ]; then
        mapfile -d '' -t listed < "$list"
        counts+=("${#listed[@]}") files+=("${listed[@]/#/$key/}")
        : > "$list"
    else
        counts+=('')
    fi
    # programs for many jobs of a second, or for one that takes longer or has put its files aside
    if [ -z "${counts[-1]}" ] || ((SECONDS > finished || ${#files[@]} > 500)); then finish || break; fi
    failed=$((status ? failed + 1 : 0))
    # the disk of the node is full (wrapper.sh), or the node may be one on which all jobs fail
    ((status != 121 && failed < 2 && SECONDS < limit_s)) || break
done 2> /dev/null
[ ${#ended[@]} -eq 0 ] || finish 2> /dev/null
exit 0
