#!/bin/bash
# Runs the jobs of a bundle one after the other, each in a folder of its own as if it ran alone. Needs bash and
# coreutils. What follows this script in the same file, each ended by NUL: the time in seconds after which no further
# job starts; then for each job its key, the size of its own file, and that file. What a job returns, its output and
# its exit status go to osgpilot-out/KEY. A job without a status there did not end.
set -u
exec 3< "$0"
IFS= read -r -d '' _ <&3
IFS= read -r -d '' limit_s <&3
mkdir -p osgpilot-out
# each job in a process group of its own: none outlives its turn
set -m
begun=${EPOCHREALTIME-$SECONDS} failed=0    # in a row
while IFS= read -r -d '' key <&3 && IFS= read -r -d '' size <&3; do
    out=osgpilot-out/$key
    mkdir -p "$key" "$out" || break
    head -c "$size" <&3 > "$key/osgpilot-job" || break
    began=${EPOCHREALTIME-$SECONDS}
    (cd "$key" && export _CONDOR_SCRATCH_DIR=$PWD && exec /bin/bash osgpilot-job) > "$out/output" 2>&1 < /dev/null 3<&- &
    wait $!
    status=$?
    kill -KILL -- -$! 2> /dev/null
    ended=${EPOCHREALTIME-$SECONDS}
    [ ! -e "$key/osgpilot-out" ] || mv -- "$key/osgpilot-out" "$out/returned" || break
    # the disk is for the next job, and so are names that this one made real with links to its folder
    rm -rf -- "$key" || { chmod -R u+rwX -- "$key"; rm -rf -- "$key"; } || break
    printf '%s %s %s %s\n' "$status" "$begun" "$began" "$ended" > "$out/status"
    failed=$((status ? failed + 1 : 0))
    # the disk of the node is full (wrapper.sh), or the node may be one on which all jobs fail
    ((status != 121 && failed < 2 && SECONDS < limit_s)) || break
done 2> /dev/null
exit 0
