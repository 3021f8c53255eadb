#!/bin/bash
# The batch script of a pilot: runs the OSG pilot container for one allocation.
#   pilot.sh FOLDER     FOLDER holds `parameters` (lines `option NAME=VALUE`, `env NAME=VALUE`) and `setup`;
#                       if it also holds `probe`, that is run instead of a pilot
# Ends when idle, shortly before the time limit, on TERM to this shell as soon as HTCondor has returned its jobs,
# on USR1 to this shell when its jobs have finished. Lines `osgpilot: check NAME=VALUE` report what it found on the
# node; if it fails, the last line `osgpilot: error: …` says why.
set -u
# Slurm passes on that of the user. HTCondor starts no job if its hook is in a folder that others can write.
umask 022

NODE=${SLURMD_NODENAME:-$(hostname)}    # as Slurm's commands name it
readonly NODE
readonly LEASE_S=900           # a workflow whose lease is older has ended
readonly LOOK_S=5              # interval of a running pilot's checks of its container, all on the node's disk
readonly LEASE_EVERY=6         # each so many checks (30 s), it checks the lease (one call of stat) and the disk
readonly LEASE_LOOKS=3         # consecutive checks without a lease: the run's folder is gone
readonly IMAGE_AGE_H=72        # the OSG requires images that are no older (site documentation)
readonly SCRATCH_MIN_GB=5      # with less, the pilot fetches no image of a registry (osg-flock, advertise-base)
readonly SCRATCH_FULL_MB=256   # with less, no job is started: it could not even unpack its files
readonly SCRATCH_FULL_LOOKS=10 # consecutive checks (5 min) with a full disk: the pilot ends
readonly CLOSED_WITHIN_S=20    # the startd checks every 5 s (parameters.py) if it accepts jobs; otherwise it is not running
readonly VACATE_S=60           # asked to end, jobs have this long to end and to send outputs; then HTCondor stops them
readonly MASTER_S=15           # and HTCondor has this long for that, then the container, before it is killed
readonly LOG_KB=64             # of the container's output, this much of the beginning and of the end is kept
readonly STOPPED_ITSELF='the container takes no more jobs'

say() { printf 'osgpilot: %s\n' "$*"; }
die() { say "error: $*" >&2; exit 1; }
one_line() { tr -s '[:space:][:cntrl:]' ' ' | sed 's/ $//' | cut -c1-300; }

folder=${1:?usage: pilot.sh FOLDER}
declare -A option=()
variables=()

# Values are never evaluated: they become array entries and exported variables, whatever they contain.
read_parameters() {
    local line rest
    while IFS= read -r line; do
        rest=${line#* }
        case ${line%% *} in
            option) option[${rest%%=*}]=${rest#*=} ;;
            env) set_variable "${rest%%=*}" "${rest#*=}"; variables+=("${rest%%=*}") ;;
        esac
    done < "$folder/parameters" || die "cannot read $folder/parameters"
}

# Set a variable of the container. SingularityCE reads no other prefix than its own.
set_variable() { export "APPTAINERENV_$1=$2" "SINGULARITYENV_$1=$2"; }

# Print the age of the workflow's lease in seconds; fail if there is none.
lease_age_s() {
    local seen
    seen=$(stat -c %Y "${option[run_folder]}/lease" 2>/dev/null) || return 1
    echo $(( $(date +%s) - seen ))
}

# After a long wait in the queue, the workflow may have ended, or this type of pilot may be suspended.
leave_if_unwanted() {
    local age
    age=$(lease_age_s) || return 0
    has_lease=yes
    if (( age > LEASE_S )); then
        say "the workflow has not renewed its lease for $(( age / 60 )) min: leaving"
        exit 0
    fi
    if grep -qxF -- "${option[offer]}" "${option[run_folder]}/held-back" 2>/dev/null; then
        say "pilots of this kind are held back at the moment: leaving"
        exit 0
    fi
}

find_runtime() {
    # the site's lines may load modules, which read unset variables
    set +u
    # shellcheck disable=SC1091
    [ ! -s "$folder/setup" ] || . "$folder/setup"
    set -u
    runtime=$(command -v apptainer || command -v singularity) ||
        die "neither apptainer nor singularity on $NODE; name a module in the site file's \`setup\`"
}

# Print the time at which Slurm ends this allocation, in seconds since the epoch.
end_of_allocation() {
    local end=${SLURM_JOB_END_TIME:-}
    [[ $end =~ ^[0-9]+$ ]] || end=$(( $(date +%s) + option[walltime_s] ))
    echo "$end"
}

# Expand variables that Slurm or the site sets for the allocation, such as $SLURM_JOB_ID; nothing else.
fill_in_scratch() {
    local left=${option[scratch]} path=''
    while [[ $left =~ ^([^$]*)[$]([A-Za-z_][A-Za-z0-9_]*)(.*)$ ]]; do
        left=${BASH_REMATCH[3]}
        path+=${BASH_REMATCH[1]}$(printenv "${BASH_REMATCH[2]}")
    done
    [[ $path$left =~ ^/[A-Za-z0-9_./+@-]*$ ]] || return 1
    option[scratch]=$path$left
}

make_scratch() {
    fill_in_scratch ||
        { die "${option[scratch]} is no folder on $NODE, by the variables there; see \`scratch\` in the site file"; return 1; }
    # the job id between dots lets a site's epilog find the remains
    scratch=$(mktemp -d "${option[scratch]}/osg-pilot.$SLURM_JOB_ID.XXXXXX") ||
        { die "cannot make a folder in ${option[scratch]} on $NODE; see \`scratch\` in the site file"; return 1; }
    scratch=$(readlink -f "$scratch")
    chmod 700 "$scratch"
    mkdir "$scratch/pilot" "$scratch/pilot/home" "$scratch/tmp" "$scratch/syslog"
}

free_mb() {
    local free_kb
    free_kb=$(timeout 10 df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ -n "$free_kb" ] && echo $(( free_kb / 1024 ))
}

# Write the script that the startd runs every few seconds (STARTD_CRON_osgpilot_…), in the container. START
# refers to OSGPILOT_CLOSED; the line with the dash makes the startd update the pool at once after a change. The
# stop files are the container's own (in LOCAL_DIR if it stops itself), but its script checks them only every
# 4 minutes. Nothing needs to be written on a full disk. The pool learns within seconds that the node has been
# tested (OSG_NODE_VALIDATED), by updates at growing intervals after the start of the startd, the script's parent.
write_gate() {
    cat > "$scratch/pilot/osgpilot-gate" <<END
closed=false changed=false
age_s=\$(ps -o etimes= -p "\$PPID" 2>/dev/null)
case \$((\${age_s:-0} / 5)) in 2 | 4 | 8 | 12 | 18 | 24 | 36 | 48) changed=true ;; esac
free_kb=\$(df -Pk /pilot 2>/dev/null | awk 'NR == 2 { print \$4 }')
[ ! -e /pilot/stop-glidein.stamp ] || closed=true
[ ! -e "\${LOCAL_DIR:-/pilot}/stop-glidein.stamp" ] || closed=true
[ "\${free_kb:-$(( SCRATCH_FULL_MB * 1024 ))}" -ge $(( SCRATCH_FULL_MB * 1024 )) ] || closed=true
if [ \$closed = true ]; then
    [ -e /pilot/osgpilot-closed ] || { touch /pilot/osgpilot-closed; changed=true; }
elif [ -e /pilot/osgpilot-closed ]; then
    rm -f /pilot/osgpilot-closed; changed=true
fi
echo "OSGPILOT_CLOSED = \$closed"
echo "- update:\$changed"
END
}

check() { say "check $1=$2"; }

# Succeed if something listens at HOST PORT.
reaches() {
    # shellcheck disable=SC2016  # expanded by the inner shell, from its arguments
    timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/$2"' - "$1" "$2" 2>/dev/null
}

check_node() {
    local free manager port
    # mapped: some systems create a namespace without any privileges
    if unshare --user --map-root-user true 2>/dev/null; then check user_namespaces ok; else check user_namespaces missing; fi
    if [ -c /dev/fuse ]; then check fuse ok; else check fuse missing; fi
    if [ -d /cvmfs/oasis.opensciencegrid.org ]; then check cvmfs ok; else check cvmfs missing; fi
    free=$(free_mb "${scratch:-${option[scratch]}}") || free=0
    check scratch_gb $(( free / 1024 ))
    (( free / 1024 >= SCRATCH_MIN_GB )) ||
        say "warning: less than $SCRATCH_MIN_GB GB free in ${option[scratch]}: pilots fetch no images of registries then"
    manager=${APPTAINERENV_POOL%%:*} port=9618
    [[ $APPTAINERENV_POOL != *:* ]] || port=${APPTAINERENV_POOL##*:}
    [ "$manager" != ospool ] || manager=cm-1.ospool.osg-htc.org
    if reaches "$manager" "$port"; then
        check pool ok
    else
        check pool unreachable
        die "cannot reach $manager port $port from $NODE: pilots need outgoing connections"
    fi
}

check_room() {
    local free
    free=$(free_mb "$scratch") || return 0
    (( free >= SCRATCH_FULL_MB )) ||
        die "only $free MB free in ${option[scratch]} on $NODE: no job could start there"
}

# Fetch an image into a cache, one pilot at a time, and renew it when it is old.
find_image() {
    local cache=~/.cache/osgpilot/pilot-images image=${option[image]} kept
    case $image in *://*) ;; *) return ;; esac
    kept=$cache/$(printf %s "$image" | sha256sum | cut -c1-16).sif
    mkdir -p "$cache" || die "cannot make the image cache $cache"
    chmod 700 "$cache"
    exec 9> "$kept.lock"
    flock 9
    if [ -z "$(find "$kept" -mmin -$((IMAGE_AGE_H * 60)) 2>/dev/null)" ]; then
        say "fetching $image"
        if "$runtime" pull --force "$kept.$SLURM_JOB_ID" "$image"; then
            mv "$kept.$SLURM_JOB_ID" "$kept"
        else
            rm -f "$kept.$SLURM_JOB_ID"
            [ -e "$kept" ] || die "cannot fetch $image"
            say "warning: cannot renew $image, using the one from $(date -r "$kept" +%F)"
        fi
    fi
    exec 9>&-
    option[image]=$kept
}

write_attributes() {
    local die_at=$(( $(end_of_allocation) - option[end_margin_s] ))
    cat > "$scratch/extra-attributes.cfg" <<END
GLIDEIN_ToDie = $die_at
GLIDEIN_ToRetire = $die_at
OSGPILOT_PILOT_ID = "${option[pilot_id]}"
OSGPILOT_RUN_ID = "${option[run_id]}"
OSGPILOT_OFFER = "${option[offer]}"
OSGPILOT_SLURM_JOB_ID = "$SLURM_JOB_ID"
OSGPILOT_NODE = "$NODE"
END
}

# If Slurm does not confine us to our GPUs, only these variables say which are ours.
use_gpus() {
    local name
    binds+=(--nv)
    for name in CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES; do
        [ -z "${!name:-}" ] || set_variable "$name" "${!name}"
    done
}

run_container() {
    local binds=(
        --home "$scratch/pilot/home:/pilot/home"    # no folder that a site may share, such as /home
        --bind "$scratch/pilot:/pilot"
        --bind "$scratch/tmp:/tmp"
        --bind "$scratch/extra-attributes.cfg:/etc/osg/extra-attributes.cfg:ro"
        --bind "${option[token]}:/etc/condor/tokens-orig.d/flock.opensciencegrid.org:ro"
    )
    local folder folders log
    IFS=: read -r -a folders <<< "${option[shared_folders]}"
    for folder in "${folders[@]}"; do
        [ -d "$folder" ] || die "$folder is not on $NODE; see --osgpilot-shared-prefixes"
        binds+=(--bind "$folder")
    done
    # without it, Apptainer starts no container whose root file system is writable
    [ -e /dev/fuse ] || unset {APPTAINER,SINGULARITY}ENV__CONDOR_SINGULARITY_EXTRA_ARGUMENTS
    [ ! -e /dev/fuse ] || binds+=(--bind /dev/fuse)
    [ ! -d /cvmfs ] || binds+=(--bind /cvmfs)
    # where the container writes the certificate with which it sends logs; its image is read-only
    [ "${APPTAINERENV_ENABLE_REMOTE_SYSLOG:-}" != true ] || binds+=(--bind "$scratch/syslog:/etc/pki/rsyslog")
    [ "${option[gpus]}" = 0 ] || use_gpus
    # otherwise a shell in there evaluates the values of variables
    export APPTAINER_NO_EVAL=1 SINGULARITY_NO_EVAL=1
    exec {log}> >(bounded_log)
    log_writer=${!:-}
    "$runtime" run --contain --cleanenv "${binds[@]}" "${option[image]}" >&"$log" 2>&1 &
    container=$!
    exec {log}>&-
}

# Copy the beginning of the input at once, and the end of the rest when it is complete: the container copies all
# of HTCondor's logs to its output, some 20 kB per job, and our log is on a shared file system.
bounded_log() {
    local rest
    trap '' TERM USR1
    head -c $((LOG_KB * 1024))
    rest=$(tail -c $((LOG_KB * 1024)) | tr -d '\0')
    [ -z "$rest" ] || printf '\nosgpilot: the container said more; at most the last %s kB of it:\n%s\n' "$LOG_KB" "$rest"
}

# shellcheck disable=SC2317  # called by traps
# Reached by `scancel --batch --signal=TERM` and by Slurm's warning before the walltime. The container itself would
# give HTCondor 10 s, too few for jobs that end or send outputs. So condor_master is asked, and ends the container.
end_gently() {
    local left_s
    [ -z "$stage" ] || return 0
    say "asked to end"
    left_s=$(( $(end_of_allocation) - $(date +%s) - 3 * MASTER_S ))
    (( left_s <= VACATE_S )) || left_s=$VACATE_S
    stage=vacate deadline=$((SECONDS + left_s))
    signal_master TERM || { kill -TERM "$container" 2>/dev/null; end_stage end; }
}

end_stage() { stage=$1 deadline=$((SECONDS + MASTER_S)); }

# Go on to the next way to end the container, if the one before had its time.
insist() {
    if [ "$stage" = vacate ] && ! runs condor_master; then end_stage stop; fi
    (( SECONDS >= deadline )) || return 0
    case $stage in
        # this stops jobs and returns them to the queue; a master that is killed says nothing to anybody
        vacate) signal_master QUIT; end_stage stop ;;
        stop) kill -TERM "$container" 2>/dev/null; end_stage end ;;
        *) kill -KILL "$container" 2>/dev/null ;;
    esac
}

# shellcheck disable=SC2317  # called by traps
# Reached by `scancel --batch --signal=USR1`. The stop file prevents further job starts.
drain() {
    say "asked to take no new jobs"
    [ -n "$draining" ] || draining=$SECONDS
    # renamed, as jobs can write there, and a link of theirs is not to be followed
    { : > "$scratch/stop" && mv -fT "$scratch/stop" "$scratch/pilot/stop-glidein.stamp"; } ||
        say "warning: cannot write the stop file"
}

# Succeed if the startd accepts no more jobs, or is not running.
is_closed() {
    [ -e "$scratch/pilot/osgpilot-closed" ] || (( SECONDS - draining > CLOSED_WITHIN_S )) || ! runs condor_startd
}

# Print the processes of this name in the container. HTCondor has one condor_starter per job, and one per image or
# file that jobs share (-a data1_1): it stays while such jobs are in the queue, wherever they can run.
processes() {
    ps -eo pid=,ppid=,comm=,args= | awk -v root="$container" -v name="$1" '
        { parent[$1] = $2; if ($3 == name && !/ -a data[0-9]/) found[$1] }
        END {
            for (pid in found)
                for (at = pid; at in parent; at = parent[at]) if (at == root) { print pid; break }
        }'
}

runs() { [ -n "$(processes "$1")" ]; }

# Signal condor_master; fail if there is none.
signal_master() {
    local masters
    masters=$(processes condor_master)
    # shellcheck disable=SC2086  # numbers
    [ -n "$masters" ] && kill -s "$1" $masters 2>/dev/null
}

# Make this shell drain when the workflow has ended (if there ever was a lease), or when the scratch disk stays
# full; and end when the container cannot run jobs.
watch() {
    local missed=0 full=0 looks=0 closed='' nothing
    # wait without a child process that would outlive the pilot
    exec {nothing}<> <(:)
    while ! read -r -t "$LOOK_S" -u "$nothing"; do
        look_at_daemons
        looks=$((looks + 1))
        if [ -n "$closed" ] || (( looks % LEASE_EVERY )); then continue; fi
        look_at_lease
        look_at_scratch
        if (( missed >= LEASE_LOOKS )); then
            say "the workflow has not renewed its lease: taking no new jobs"
        elif (( full >= SCRATCH_FULL_LOOKS )); then
            say "less than $SCRATCH_FULL_MB MB free in ${option[scratch]} for long: taking no new jobs"
        else
            continue
        fi
        closed=yes
        kill -USR1 $$
    done
}

# The container stays up if condor_master does not start, takes jobs without the image that each of them needs,
# and takes no more when its hook before a job failed (osgvo-docker-pilot, osg-flock: prepare-hook).
look_at_daemons() {
    local log=$scratch/pilot/log image='' stamp config
    [ ! -e "$scratch/failure" ] || return 0
    if is_own "$log/supervisord.log" && grep -q 'condor_master entered FATAL state' "$log/supervisord.log"; then
        fail TERM "condor_master does not start: $(last_words "$log"/{supervisord.log,MasterLog})"
        return
    fi
    for config in "$scratch"/pilot/osgvo-pilot-*/glidein_config; do
        ! is_own "$config" || image=$(awk '$1 == "OSG_DEFAULT_SINGULARITY_IMAGE" { print $2 }' "$config")
    done
    case $image in /cvmfs/*)
        if [ ! -e "$image" ]; then
            fail TERM "the image in which jobs start could not be fetched: nodes need HTTPS to the OSG's image server" \
                "or /cvmfs (see doctor), and $image is not here"
            return
        fi ;;
    esac
    for stamp in "$scratch"/pilot/osgvo-pilot-*/stop-glidein.stamp; do
        [ ! -e "$stamp" ] || fail USR1 "$STOPPED_ITSELF"
    done
}

# Succeed if a file is what its name says. Jobs can write where the container does, and links of theirs lead anywhere.
is_own() { [ -f "$1" ] && [ "$(readlink -f "$1")" = "$1" ]; }

# Note why the pilot failed, and make this shell end or drain.
fail() {
    local signal=$1
    shift
    one_line <<< "$*" > "$scratch/failure"
    say "problem: $(cat "$scratch/failure")"
    kill -s "$signal" $$
}

# Print the end of the first log that has one, without what supervisord says of itself: errors, if there are some. The
# container opens supervisord's log twice, so that lines overwrite each other in part.
last_words() {
    local log words errors
    for log; do
        is_own "$log" || continue
        words=$(grep -Evs '^$|^[-0-9]+ [0-9:,]+ [A-Z]+ ' "$log" | awk '!seen[$0]++')
        errors=$(grep -Ei '^(error|warning)|fail|cannot|denied' <<< "$words")
        words=$(tail -n 2 <<< "${errors:-$words}" | one_line)
        [ -z "$words" ] || { echo "$words"; return; }
    done
    echo "its log says nothing"
}

# Print why the pilot failed. The hook before a job stops the container first, and reports minutes later.
failure() {
    local said
    said=$(cat "$scratch/failure")
    [ "$said" != "$STOPPED_ITSELF" ] || said+=": $(hook_failure "$scratch/pilot/log")"
    echo "$said"
}

# Print the failure of the hook before a job that HTCondor logged last.
hook_failure() {
    local log words='' logs=()
    for log in "$1"/StarterLog*; do ! is_own "$log" || logs+=("$log"); done
    [ ${#logs[@]} = 0 ] || words=$(sed -n 's/.*::hookExited: //p' "${logs[@]}" | tail -n 1 | one_line)
    echo "${words:-its hook before a job failed}"
}

look_at_lease() {
    local age
    [ -n "$has_lease" ] || return 0
    missed=$((missed + 1))
    age=$(lease_age_s) || return 0
    if (( age > LEASE_S )); then missed=$LEASE_LOOKS; else missed=0; fi
}

look_at_scratch() {
    local free
    free=$(free_mb "$scratch") || return 0
    if (( free < SCRATCH_FULL_MB )); then full=$((full + 1)); else full=0; fi
}

wait_for_container() {
    local status=0
    while kill -0 "$container" 2>/dev/null; do
        if [ -n "$stage" ]; then
            insist
            pause 1
        elif [ -z "$draining" ]; then
            wait "$container"
        elif ! is_closed || runs condor_starter; then
            pause 2
        else
            end_gently
        fi
    done
    wait "$container"
    status=$?
    for _ in {1..5}; do kill -0 "$log_writer" 2>/dev/null || break; pause 1; done
    say "container ended with status $status"
    [ -z "$stage" ] || status=0
    [ ! -e "$scratch/failure" ] || die "$(failure)"
    return "$status"
}

# Wait, but not longer than until a signal.
pause() {
    sleep "$1" &
    wait $!
}

# shellcheck disable=SC2317
clean_up() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null
    [ -z "${scratch:-}" ] || remove_scratch
}

# Daemons stopped by a plain scancel may still write into it for a moment.
# shellcheck disable=SC2317
remove_scratch() {
    for _ in {1..10}; do
        if rm -rf "$scratch" 2>/dev/null; then return; fi
        sleep 1
    done
    rm -rf "$scratch"
}

runtime='' container='' log_writer='' scratch='' stage='' deadline='' draining='' has_lease='' watcher=''
trap clean_up EXIT
trap 'exit 0' TERM USR1
read_parameters
if [ -e "$folder/probe" ]; then
    # shellcheck source=probe.sh
    . "$folder/probe"
    exit 0
fi
leave_if_unwanted
find_runtime
make_scratch
say "pilot ${option[pilot_id]} in allocation $SLURM_JOB_ID on $NODE, runtime $runtime, variables ${variables[*]}"
check_node
check_room
find_image
write_attributes
write_gate
trap end_gently TERM
trap drain USR1
run_container
watch &
watcher=$!
wait_for_container
exit $?
