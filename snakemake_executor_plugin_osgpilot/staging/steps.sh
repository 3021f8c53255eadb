# shellcheck shell=bash
# Runs the steps of a job: the members of a group, each when those it waits for are done and as many at a time as
# the job's cores, memory and GPUs allow, and commands that are benchmarked. wrapper.sh evaluates this text; the
# data follows in `record` from `at` on. Members that are joined by `pipe()` or `service()` are one crew and start
# together. After a failure nothing more starts.
# shellcheck disable=SC2154  # record, at, list, here, root_mark, plain, real, out, tmp, script and status are those of wrapper.sh
# As in wrapper.sh, but one by one: bash finds the next element of an array at once, a range by going through all.
next_list() {
    local count=${record[at]} i
    list=()
    for ((i = 1; i <= count; i++)); do list+=("${record[at + i]}"); done
    at=$((at + 1 + count))
}
next_list; room=("${list[@]}")       # cores, memory, GPUs of the job
next_list; passing=("${list[@]}")    # temporary files that only members use
next_list; crews=("${list[@]}")      # the numbers of the steps of each
page_kb=$(($(getconf PAGESIZE 2> /dev/null || echo 4096) / 1024))
steps=${record[at]}; at=$((at + 1))
starts=() befores=() amounts=() crew_of=() left=() state=() pids=() taken=() crew_state=() stopping='' running=0
for ((n = 0; n < ${#room[@]}; n++)); do taken[n]=0; done

# Sets the data of step $1; a step is eleven lists.
read_step() {
    at=${starts[$1]}
    next_list; label=${list[0]} shell=${list[1]} shadow=${list[2]} kind=${list[3]} measured=${list[4]}
    next_list; commands=("${list[@]}")   # several if a benchmark is repeated
    next_list; after=("${list[@]}")
    next_list; needs=("${list[@]}")
    next_list; pipes=("${list[@]}")
    next_list; uses=("${list[@]}")       # numbers in `passing`
    next_list; empty=("${list[@]}")      # to be touched
    next_list; given=("${list[@]}")
    next_list; made=("${list[@]}")
    next_list; wanted=("${list[@]}")     # what has to be there before other steps use it
    next_list; awaited=("${list[@]}")    # made by services, which start with it
}
for ((n = 0; n < steps; n++)); do
    starts[n]=$at
    read_step "$n"
    befores[n]="${after[*]}" amounts[n]="${needs[*]}" state[n]=waits
    for used in "${uses[@]}"; do left[used]=$((${left[used]-0} + 1)); done
done

for n in "${!crews[@]}"; do
    for step in ${crews[n]}; do crew_of[step]=$n; done
done

# Prints the process $1 and all below it.
tree_of() {
    local place line='' ahead=("$1") pid
    local -a fields children=()
    for place in /proc/[0-9]*; do
        { IFS= read -r -d '' line < "$place/stat"; } 2> /dev/null
        [ -n "$line" ] || continue
        # the name of a program may have blanks and brackets
        # shellcheck disable=SC2206
        fields=(${line##*) }) line=''
        children[fields[1]]+=" ${place#/proc/}"
    done
    while [ ${#ahead[@]} -gt 0 ]; do
        pid=${ahead[0]}
        echo "$pid"
        # shellcheck disable=SC2206  # numbers
        ahead=("${ahead[@]:1}" ${children[pid]-})
    done
}

# Sends signal $1 to all below process $2, which itself has to say how they ended.
kill_tree() {
    local -a all
    mapfile -t all < <(tree_of "$2")
    kill "-$1" "${all[@]:1}" 2> /dev/null
}

# Adds process $1 to rss, vms, uss, pss, in, out and cpu (in ticks). Fails if it cannot be seen.
add_process() {
    local line='' private=0 shared=0 read_b=0 written_b=0 key value size resident _
    local -a fields
    { IFS= read -r -d '' line < "/proc/$1/stat"; } 2> /dev/null
    [ -n "$line" ] || return 1
    # shellcheck disable=SC2206
    fields=(${line##*) })
    { read -r size resident _ < "/proc/$1/statm"; } 2> /dev/null || return 1
    [ "$size" -gt 0 ] || return 1
    local maps=/proc/$1/smaps_rollup
    [ -e "$maps" ] || maps=/proc/$1/smaps
    { while read -r key value _; do
        case $key in
            Private_*) private=$((private + value)) ;;
            Pss:) shared=$((shared + value)) ;;
        esac
    done < "$maps"; } 2> /dev/null || return 1
    { while read -r key value; do
        case $key in read_bytes:) read_b=$value ;; write_bytes:) written_b=$value ;; esac
    done < "/proc/$1/io"; } 2> /dev/null || io_known=''
    rss=$((rss + resident * page_kb)) vms=$((vms + size * page_kb))
    uss=$((uss + private)) pss=$((pss + shared))
    in=$((in + read_b)) out_b=$((out_b + written_b))
    cpu[$1]=$((fields[11] + fields[12]))
}

# Samples process $1 and all below it like Snakemake: now, 30 times at 0.5 s, then each 30 s, until standard input
# ends; the process starts to work after the first sample. Prints the maxima of RSS, VMS, USS and PSS in kB, bytes read and written, and CPU ticks between samples and
# in all; nothing if no sample was had.
sample() {
    local -a cpu=() before=() seen=()
    local max=(0 0 0 0) rounds=0 ticks=0 total=0 had='' pid rss vms uss pss in=0 out_b=0 io_known=1 wait_s
    while :; do
        rss=0 vms=0 uss=0 pss=0 in=0 out_b=0
        for pid in $(tree_of "$1"); do
            add_process "$pid" || continue
            had=1
            # Snakemake compares with the sample before, and not with the very first one
            [ $rounds -eq 0 ] || {
                ticks=$((ticks + cpu[pid] - ${before[pid]-${cpu[pid]}}))
                before[pid]=${cpu[pid]}
            }
        done
        ((rss <= max[0])) || max[0]=$rss
        ((vms <= max[1])) || max[1]=$vms
        ((uss <= max[2])) || max[2]=$uss
        ((pss <= max[3])) || max[3]=$pss
        [ $rss -eq 0 ] || seen=("$in" "$out_b")
        [ $rounds -gt 0 ] || echo >&"$go"
        rounds=$((rounds + 1)) wait_s=0.5
        [ $rounds -le 30 ] || wait_s=30
        read -r -t "$wait_s" _ || [ $? -gt 128 ] || break
    done
    [ -n "$had" ] || return
    for pid in "${!cpu[@]}"; do total=$((total + cpu[pid])); done
    [ -n "$io_known" ] || seen=(- -)
    echo "${max[*]} ${seen[*]} $ticks $total"
}

microseconds() {
    if [ -n "${EPOCHREALTIME-}" ]; then now=${EPOCHREALTIME/[.,]/}; else now=$(date +%s%6N); fi
}

# Runs a command and appends what it took to file $1; returns its status.
benchmarked() {
    local to=$1 pid ended began now row='' status to_sampler from_sampler go
    shift
    exec {go}<> <(:)
    (read -r -t 60 _ <&"$go"; exec {go}<&-; exec "$@" < /dev/null) &
    pid=$!
    microseconds; began=$now
    coproc SAMPLER { sample "$pid"; } 2> /dev/null
    exec {from_sampler}<&"${SAMPLER[0]}" {to_sampler}>&"${SAMPLER[1]}"
    eval "exec ${SAMPLER[0]}<&- ${SAMPLER[1]}>&-"
    wait "$pid"; status=$?
    microseconds; ended=$now
    exec {to_sampler}>&-
    IFS= read -r row <&"$from_sampler"
    exec {from_sampler}<&- {go}<&-
    echo "$((ended - began)) $row" >> "$to"
    return $status
}

# A folder of its own for a rule with `shadow:`, as Snakemake makes it.
enter_shadow() {
    local path entry
    mkdir -p -- "$place" || return
    case $shadow in
        minimal|copy-minimal)
            for path in "${given[@]}" "${made[@]}"; do
                case $path in */*) mkdir -p -- "$place/${path%/*}" || return ;; esac
            done
            for path in "${given[@]}"; do
                if [ "$shadow" = minimal ]; then ln -s -- "$PWD/$path" "$place/$path"
                else cp -- "$path" "$place/$path"; fi || return
            done ;;
        shallow)
            for entry in *; do
                case $entry in .osgpilot-*) ;; *) ln -s -- "$PWD/$entry" "$place/$entry" || return ;; esac
            done ;;
        full)
            for path in **; do
                case $path in .osgpilot-*|.snakemake|.snakemake/*) continue ;; esac
                if [ -d "$path" ] && [ ! -L "$path" ]; then mkdir -p -- "$place/$path"
                else ln -s -- "$PWD/$path" "$place/$path"; fi || return
            done ;;
    esac
}

leave_shadow() {
    local path
    for path in "${made[@]}"; do
        [ -e "$place/$path" ] || [ -L "$place/$path" ] || continue
        [ ! "$place/$path" -ef "$path" ] || continue
        case $path in */*) mkdir -p -- "${path%/*}" ;; esac
        rm -rf -- "$path"
        mv -- "$place/$path" "$path" || return
    done
    rm -rf -- "$place"
}

# Waits until a service has made file $1. A service may start slowly on a node with much to do.
await_file() {
    local begun=$SECONDS
    until [ -e "$1" ] || [ -L "$1" ]; do
        [ $((SECONDS - begun)) -lt 60 ] || { echo "osgpilot: $label: no service made $1 within 60 s" >&2; return 1; }
        sleep 0.1
    done
}

run_step() {
    local text place=$PWD file=$PWD/$script-$1 status=0
    read_step "$1"
    # a process of its own, so that it ends with the crew
    for text in "${awaited[@]}"; do (await_file "$text") || return 1; done
    command -v "$shell" > /dev/null || { echo "osgpilot: there is no $shell here" >&2; return 125; }
    [ -z "$shadow" ] || { place=$PWD/.osgpilot-shadow/$1; enter_shadow || return 125; }
    for text in "${commands[@]}"; do
        case $text in *"$here"*) text=${text//"$here"/"$plain"} ;; esac
        case $text in *"$root_mark"*) text=${text//"$root_mark"/"$real"} ;; esac
        (umask 077; printf '%s' "$text" > "$file") || return 125
        if [ -n "$measured" ]; then
            (cd -- "$place" && benchmarked "$out/.osgpilot-benchmark-$1" "$shell" "$file")
        else
            (cd -- "$place" && exec "$shell" "$file" < /dev/null)
        fi || { status=$?; break; }
    done
    [ -z "$shadow" ] || leave_shadow || return 125
    [ $status -eq 0 ] || return $status
    touch_outputs "${empty[@]}" || return
    for text in "${wanted[@]}"; do
        [ -e "$text" ] || [ -L "$text" ] || {
            echo "osgpilot: $label: the command succeeded but did not make $text" >&2
            return 1
        }
    done
}

fits() {
    local step i amount
    for ((i = 0; i < ${#room[@]}; i++)); do asked[i]=0; done
    for step in ${crews[$1]}; do
        i=0
        for amount in ${amounts[step]}; do asked[i]=$((asked[i] + amount)) i=$((i + 1)); done
    done
    for ((i = 0; i < ${#room[@]}; i++)); do
        # values that nobody knew before do not keep a step from running alone
        ((asked[i] <= room[i])) || asked[i]=${room[i]}
        ((taken[i] + asked[i] <= room[i])) || return 1
    done
}

is_ready() {
    local step before
    for step in ${crews[$1]}; do
        for before in ${befores[step]}; do
            [ "${state[before]}" = over ] || return 1
        done
    done
}

start_ready() {
    local crew step i pipe
    [ -z "$stopping" ] || return 0
    for crew in "${!crews[@]}"; do
        # each step needs a core
        [ "${taken[0]}" -lt "${room[0]}" ] || return 0
        [ -z "${crew_state[crew]-}" ] || continue
        { is_ready "$crew" && fits "$crew"; } || continue
        crew_state[crew]="${asked[*]}"
        for ((i = 0; i < ${#room[@]}; i++)); do taken[i]=$((taken[i] + asked[i])); done
        for step in ${crews[crew]}; do
            read_step "$step"
            for pipe in "${pipes[@]}"; do mkfifo -- "$pipe" || return 1; done
        done
        for step in ${crews[crew]}; do
            read_step "$step"
            (run_step "$step" {ended}>&-; echo "$step $?" >&"$ended") &
            pids[step]=$! state[step]=$kind running=$((running + 1))
        done
    done
}

# Ends the services of a crew whose other members are done, or all of it after a failure.
end_crew() {
    local step
    for step in ${crews[$1]}; do
        case ${state[step]} in
            service) state[step]=ending; kill_tree TERM "${pids[step]}" ;;
            job) [ -z "$stopping" ] || { state[step]=ending; kill_tree KILL "${pids[step]}"; } ;;
        esac
    done
}

step_ended() {
    local crew=${crew_of[$1]} step used i busy='' asked
    case ${state[$1]} in job|service|ending) running=$((running - 1)) ;; esac
    case ${state[$1]} in
        ending) state[$1]=over ;;
        service) state[$1]=over ;;
        job)
            state[$1]=over
            if [ "$2" -ne 0 ]; then
                read_step "$1"
                [ "$steps" -eq 1 ] || echo "osgpilot: $label failed with exit status $2" >&2
                [ -n "$stopping" ] || status=$2
                stopping=1 state[$1]=failed
                end_crew "$crew"
            fi ;;
        *) return 0 ;;
    esac
    if [ "${state[$1]}" = over ] && [ -z "$stopping" ]; then
        read_step "$1"
        for used in "${uses[@]}"; do
            left[used]=$((left[used] - 1))
            [ "${left[used]}" -gt 0 ] || rm -rf -- "${passing[used]}"
        done
    fi
    for step in ${crews[crew]}; do
        [ "${state[step]}" != job ] || return 0
    done
    end_crew "$crew"
    for step in ${crews[crew]}; do
        case ${state[step]} in service|ending) busy=1 ;; esac
    done
    [ -z "$busy" ] || return 0
    read -r -a asked <<< "${crew_state[crew]}"
    for ((i = 0; i < ${#room[@]}; i++)); do taken[i]=$((taken[i] - asked[i])); done
}

# One whose shell was killed cannot say so itself; a service may ignore that it is to end.
look_for_dead() {
    local step
    for step in "${!state[@]}"; do
        case ${state[step]} in job|service|ending) ;; *) continue ;; esac
        [ "${state[step]}" != ending ] || kill_tree KILL "${pids[step]}"
        kill -0 "${pids[step]}" 2> /dev/null || { wait "${pids[step]}"; step_ended "$step" $?; }
    done
}

exec {ended}<> <(:)
start_ready || fail "cannot make a pipe"
while [ $running -gt 0 ]; do
    if read -r -t 5 -u "$ended" step code; then step_ended "$step" "$code"; else look_for_dead; fi
    start_ready || fail "cannot make a pipe"
done
exec {ended}>&-
wait
