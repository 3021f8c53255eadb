# shellcheck shell=bash disable=SC2154
# Read by pilot.sh in place of a pilot's work: finds out all that a pilot would find on this node, says it
# in lines `osgpilot: check NAME=VALUE`, and ends with `osgpilot: check probe=done`.

# here nothing ends at the first thing that is missing
die() { say "problem: $*"; return 1; }

check_runtime() {
    if find_runtime && [ -n "$runtime" ]; then
        check runtime "$("$runtime" --version 2>&1 | one_line)"
    else
        check runtime missing
    fi
}

# Scratch in memory would be taken from the jobs, and a shared one is slow.
check_scratch() {
    if make_scratch 2>/dev/null; then
        check scratch ok
    elif [ -d "${option[scratch]}" ]; then
        check scratch unwritable
    else
        check scratch absent
    fi
    check scratch_kind "$(df -PT "${scratch:-${option[scratch]}}" 2>/dev/null | awk 'NR == 2 { print $2 }')"
}

check_token() {
    if [ -r "${option[token]}" ]; then check token ok; else check token unreadable; fi
}

# The image in the very way a pilot starts it, and in it what the containers of its jobs need.
check_image() {
    local said status place=file seconds=60 binds=(--bind "$scratch/pilot:/pilot")
    case ${option[image]} in
        *://*) place=fetched seconds=80 ;;
        *) [ -r "${option[image]}" ] || { check image unreadable; return; } ;;
    esac
    [ -n "$runtime" ] && [ -n "$scratch" ] || return
    [ ! -e /dev/fuse ] || binds+=(--bind /dev/fuse)
    # shellcheck disable=SC2016  # for the shell in the container
    said=$(APPTAINER_CACHEDIR=$scratch/probe timeout "$seconds" \
        "$runtime" exec --contain --cleanenv "${binds[@]}" "${option[image]}" \
        sh -c 'unshare --user --map-root-user true 2>/dev/null && echo nested; echo started' 2>&1)
    status=$?
    rm -rf -- "$scratch/probe"
    # a large one from afar takes longer than a probe may
    case $place$status in fetched124) check image slow; return ;; esac
    case $said in
        *nested*started) check image ok; check nested ok ;;
        *started) check image ok; check nested missing ;;
        *) check image "fails: $(one_line <<< "$said")" ;;
    esac
}

check_ports() {
    local target
    for target in ${option[targets]:-}; do
        if reaches "${target%:*}" "${target##*:}"; then check reaches "$target"; else check misses "$target"; fi
    done
}

# What the container of a pilot fetches before any job, in the way it does: without it, each job fails.
check_fetches() {
    local url
    [ ! -d /cvmfs/singularity.opensciencegrid.org/htc ] || check cvmfs_images ok
    for url in ${option[urls]:-}; do
        url=${url//ARCH/$(uname -m)}
        if fetch "$url" 2>/dev/null; then check fetches "$url"; else check unfetched "$url"; fi
    done
}

# Fetch a URL with the container's curl, or with the node's where there is no container yet.
fetch() {
    local options=(-sS --fail --insecure --max-time 30 -o /dev/null "$1")
    if [ -n "$runtime" ] && [ -r "${option[image]}" ]; then
        timeout 60 "$runtime" exec --contain --cleanenv "${option[image]}" curl "${options[@]}"
    else
        curl "${options[@]}"
    fi
}

check_gpus() {
    [ "${option[gpus]}" = 0 ] || check gpus "$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU')"
}

trap '' TERM USR1
check clock "$(date +%s)"
check node "$NODE"
check_runtime
check_scratch
check_node
check_token
check_image
check_ports
check_fetches
check_gpus
check probe "done"
