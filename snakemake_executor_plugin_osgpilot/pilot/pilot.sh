#!/bin/bash
# The batch script of a pilot: runs the OSG pilot container for the life of one allocation.
#   pilot.sh FOLDER     FOLDER holds `parameters` (lines `option NAME=VALUE`, `env NAME=VALUE`) and `setup`
# Ends by itself: when idle, shortly before the walltime, or on TERM to this shell.
set -u

readonly END_MARGIN_S=240      # HTCondor looks at its end of life once per MASTER_UPDATE_INTERVAL (60 s)

say() { printf 'osgpilot: %s\n' "$*"; }
die() { say "error: $*" >&2; exit 1; }

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
            env) export "APPTAINERENV_${rest%%=*}=${rest#*=}"; variables+=("${rest%%=*}") ;;
        esac
    done < "$folder/parameters" || die "cannot read $folder/parameters"
}

find_runtime() {
    # shellcheck disable=SC1091
    [ ! -s "$folder/setup" ] || . "$folder/setup"
    runtime=$(command -v apptainer || command -v singularity) ||
        die "neither apptainer nor singularity on $(hostname); name a module in the site file's \`setup\`"
}

# Seconds since the epoch at which Slurm ends this allocation.
end_of_allocation() {
    local end=${SLURM_JOB_END_TIME:-}
    [[ $end =~ ^[0-9]+$ ]] || end=$(( $(date +%s) + option[walltime_min] * 60 ))
    echo "$end"
}

make_scratch() {
    # the job id between dots lets a site's epilog find what is left
    scratch=$(mktemp -d "${option[scratch]}/osg-pilot.$SLURM_JOB_ID.XXXXXX") ||
        die "cannot make a folder in ${option[scratch]} on $(hostname); see \`scratch\` in the site file"
    chmod 700 "$scratch"
    mkdir "$scratch/pilot" "$scratch/tmp"
}

write_attributes() {
    local die_at=$(( $(end_of_allocation) - END_MARGIN_S ))
    cat > "$scratch/extra-attributes.cfg" <<END
GLIDEIN_ToDie = $die_at
GLIDEIN_ToRetire = $die_at
OSGPILOT_PILOT_ID = "${option[pilot_id]}"
OSGPILOT_RUN_ID = "${option[run_id]}"
OSGPILOT_SLURM_JOB_ID = "$SLURM_JOB_ID"
OSGPILOT_NODE = "${SLURMD_NODENAME:-$(hostname)}"
END
}

# Where Slurm does not keep other GPUs of the node away from us, these variables alone say which are ours.
use_gpus() {
    local name
    binds+=(--nv)
    for name in CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES; do
        [ -z "${!name:-}" ] || export "APPTAINERENV_$name=${!name}"
    done
}

run_container() {
    local binds=(
        --bind "$scratch/pilot:/pilot"
        --bind "$scratch/tmp:/tmp"
        --bind "$scratch/extra-attributes.cfg:/etc/osg/extra-attributes.cfg:ro"
        --bind "${option[token]}:/etc/condor/tokens-orig.d/flock.opensciencegrid.org:ro"
    )
    local folder folders
    IFS=: read -r -a folders <<< "${option[shared_folders]}"
    for folder in "${folders[@]}"; do
        [ -d "$folder" ] || die "$folder is not on $(hostname); see --osgpilot-shared-prefixes"
        binds+=(--bind "$folder")
    done
    [ ! -e /dev/fuse ] || binds+=(--bind /dev/fuse)
    [ ! -d /cvmfs ] || binds+=(--bind /cvmfs)
    [ "${option[gpus]}" = 0 ] || use_gpus
    "$runtime" run --contain --cleanenv "${binds[@]}" "${option[image]}" &
    container=$!
}

# shellcheck disable=SC2317  # called by traps
# Reached by `scancel --batch --signal=TERM` and by Slurm's warning before the walltime.
end_gently() {
    say "asked to end"
    ended_by_us=yes
    kill -TERM "$container" 2>/dev/null
}

# shellcheck disable=SC2317
clean_up() {
    [ -z "${scratch:-}" ] || rm -rf "$scratch"
}

runtime='' container='' scratch='' ended_by_us=''
trap clean_up EXIT
trap 'exit 0' TERM
read_parameters
find_runtime
make_scratch
write_attributes
say "pilot ${option[pilot_id]} in allocation $SLURM_JOB_ID on $(hostname), runtime $runtime, variables ${variables[*]}"
trap end_gently TERM
run_container
status=0
while kill -0 "$container" 2>/dev/null; do
    wait "$container"
    status=$?
done
say "container ended with status $status"
[ -z "$ended_by_us" ] || status=0
exit "$status"
