#!/bin/bash
# Runs the jobs of a bundle one after the other, each in a folder of its own as if it ran alone. Needs bash and
# coreutils. What follows this script in the same file, each ended by NUL: the time in seconds after which no further
# job starts; the number of jobs, and their keys; then for each job the number of records in its own file, and these.
# The first record is the job's script, empty if it is that of the job before; it finds the others in `record`. What a
# job returns, its output and its exit status go to osgpilot-out/KEY. A job without a status there did not end.
set -u
exec 3< "$0"
IFS= read -r -d '' _ <&3
IFS= read -r -d '' limit_s <&3
IFS= read -r -d '' count <&3
mapfile -d '' -n "$count" -t keys <&3
top=$PWD
# from an access point on another host, inputs come in a folder
case $0 in osgpilot-in/*) { cp -al osgpilot-in/. . && rm -r osgpilot-in; } || exit 0 ;; esac
# to start a program takes longer than all else here, so few are started
mkdir -p -- "${keys[@]}" "${keys[@]/#/osgpilot-out/}"
# each job in a process group of its own: none outlives its turn
set -m
begun=${EPOCHREALTIME-$SECONDS} failed=0    # in a row
for key in "${keys[@]}"; do
    IFS= read -r -d '' count <&3 || break
    mapfile -d '' -n "$count" -t record <&3
    [ ${#record[@]} -eq "$count" ] || break
    [ -z "${record[0]}" ] || eval "run_job() { ${record[0]}
    }" || break
    out=osgpilot-out/$key
    [[ -d $key && -d $out ]] || break
    began=${EPOCHREALTIME-$SECONDS}
    (cd "$key" && export _CONDOR_SCRATCH_DIR=$PWD && set +m && run_job "$top/$out/returned") \
        > "$out/output" 2>&1 < /dev/null 3<&- &
    # it also returns when the job is stopped; `wait -f` is not in bash 4
    while wait $!; status=$?; ((status > 128)) && kill -0 $! 2> /dev/null; do sleep 1; done
    kill -KILL -- -$! 2> /dev/null
    ended=${EPOCHREALTIME-$SECONDS}
    # the disk is for the next job, and so are names that this one made real with links to its folder
    rm -rf -- "$key" || { chmod -R u+rwX -- "$key"; rm -rf -- "$key"; } || break
    printf '%s %s %s %s\n' "$status" "$begun" "$began" "$ended" > "$out/status"
    failed=$((status ? failed + 1 : 0))
    # the disk of the node is full (wrapper.sh), or the node may be one on which all jobs fail
    ((status != 121 && failed < 2 && SECONDS < limit_s)) || break
done 2> /dev/null
exit 0
