"""Faults that others make: jobs that send back what they like, and look-alikes in the queues."""

from __future__ import annotations

import shlex

from .fault import NotStruckError, fault, pool_fault
from .pilots import allow_retries, long_jobs
from .world import Round, World

HOSTILE = r"""
out=osgpilot-out
[ -d $out ] || out=../osgpilot-out/returned/${PWD##*/}    # in a bundle
links() { printf '%s\0' "$@" > $out/osgpilot-links; }
killed() { kill -KILL $PPID; sleep 60; }
# has $1 in place of the list of what comes back, which the wrapper writes into a pipe instead; in a
# bundle another script writes it, so there the bundle is killed, and the job runs again alone
lists() {
    [ -d osgpilot-out ] || {
        rmdir @shared@/hostile-$attack
        read -r _ _ _ bundle _ < /proc/$PPID/stat
        kill -KILL $bundle
        sleep 60
    }
    printf "$1" > forged
    rm -f $out/.osgpilot-manifest
    mkfifo $out/.osgpilot-manifest
    # the pipe is full, so the wrapper, once it writes there, waits until the list is in place
    exec 9<> $out/.osgpilot-manifest
    dd if=/dev/zero of=$out/.osgpilot-manifest oflag=nonblock bs=4096 2> /dev/null || true
    setsid bash > /dev/null 2>&1 < /dev/null -c '
        until [ "/proc/$2/fd/1" -ef "$1" ]; do sleep 0.05; done
        exec 3< "$1" 9>&-; mv -f forged "$1" && mkdir "$3"; cat <&3
    ' - $out/.osgpilot-manifest $PPID @shared@/hostile-list-$attack &
}
attack=$(( ($1 + @seed@) % 30 ))
if [ $attack -lt @attacks@ ] && mkdir "@shared@/hostile-$attack" 2> /dev/null; then
    case $attack in
        0) links "$3" @canary@; exit 1 ;;
        1) links "$3" "$3"; exit 1 ;;
        2) links .osgpilot-times /dev/zero; killed ;;
        3) mkfifo @shared@/fifo; links .osgpilot-times @shared@/fifo; killed ;;
        4) links .osgpilot-manifest @canary@; killed ;;
        5) lists '12\0out/each/0\0many\0out\0end\0' ;;
        6) lists '\377\376\0out\377\0end\0' ;;
        7) links "../../../../canary" @canary@ ;;
        8) links "$(printf 'a%.0s' {1..300})" x ;;
        9) printf '\377\0\376\0odd\0' > $out/osgpilot-links ;;
        10) lists ">@canary@\0$3\0failed\0" ;;
        11) lists '>@canary@\0.osgpilot-manifest\0end\0' ;;
        12) lists '>/dev/zero\0.osgpilot-times\0failed\0' ;;
        13)
            # it is there already if the first start was in a bundle
            [ -p @shared@/fifo-13 ] || mkfifo @shared@/fifo-13
            lists '>@shared@/fifo-13\0.osgpilot-times\0end\0' ;;
    esac
fi
"""
"""The first commands of jobs of the rule `each`: $1 is their number, $2 their output, $3 their
log. Some of them return forbidden content on their first start."""

ATTACKS, LISTS = 14, 6
SECRET = "canary-3f1c"


def hostile_jobs(world: World) -> None:
    allow_retries(world)
    canary = f"{world.private}/canary"
    world.write(canary, f"{SECRET}\n")
    world.alice("chmod 600 $1", canary)
    text = HOSTILE.replace("@canary@", canary).replace("@shared@", world.shared)
    text = text.replace("@attacks@", str(ATTACKS))
    seed = str(world.random.randrange(30))
    world.write(f"{world.shared}/before-each", text.replace("@seed@", seed))
    # an endless input must not take the memory of the machine
    world.limits = ("prlimit", f"--data={2 << 30}")

    def harmed() -> list[str]:
        if not all_struck(world):
            made = sorted(path.name for path in world.seen(world.shared).glob("hostile-*"))
            world.missed = f"not all hostile jobs ran: {', '.join(made)}"
        now = world.root("stat -c %a $1; cat $1", canary).split()
        found = [] if now == ["600", SECRET] else ["the canary, a file that is no output"]
        leaks = world.root('grep -rls -D skip -e "$1" "$2" || true', SECRET, str(world.folder))
        said = ["what Snakemake said"] if SECRET in world.all_said else []
        return [*found, *(f"the canary's secret, in {at}" for at in [*leaks.splitlines(), *said])]

    world.judges.append(harmed)


@fault(prepare=hostile_jobs, from_start=True)
def hostile_returns(world: World) -> None:
    """Some jobs send back links, lists and names of files meant to do harm; they have retries."""
    world.wait_until(lambda: all_struck(world))


def all_struck(world: World) -> bool:
    return len(list(world.seen(world.shared).glob("hostile-*"))) == ATTACKS + LISTS


@pool_fault(prepare=long_jobs(12))
def hidden_partition(round_: Round) -> None:
    """The partition in which pilots run is hidden from users until the workflows have ended."""
    hide = "scontrol update PartitionName=compute Hidden=$1"
    round_.root(hide, "yes")
    round_.wait_until(lambda: not any(world.running for world in round_.worlds), 300)
    round_.root(hide, "no")


def foreign_names(run: str) -> dict[str, str]:
    """Return names of other jobs of the user, with the state that each is brought to."""
    pilot = f"osgpilot-{run}-1"
    row = "\x1f".join(("999999", pilot, "COMPLETED", "None", "N/A", "N/A", "n1"))
    return {
        pilot: "held",
        f"{pilot}x": "held",
        f"x{pilot}": "suspended",
        f"osgpilot-{run}-2 ": "suspended",
        "two\nlines": "held",
        f"job\n{row}": "running",
        f"{row}\n": "held",
        "a\x1fb|c;d,e\tf": "suspended",
    }


FOREIGN = "sbatch --parsable --hold --job-name=$1 --comment=$1 --time=60 --mem=20 --cpus-per-task=1"


@fault(prepare=long_jobs(6), leaves_traces=True)
def foreign_rows(world: World) -> None:
    """The user has other jobs in Slurm, held or suspended, with odd names or names like ours."""
    states = {}
    for name, state in foreign_names(world.runs[-1]).items():
        submit = f"{FOREIGN} --chdir=/tmp --output=/dev/null --wrap='exec sleep 3000'"
        states[world.alice(submit.replace("$1", shlex.quote(name)))] = state
    running = [number for number, state in states.items() if state != "held"]
    suspended = [number for number, state in states.items() if state == "suspended"]
    world.root("scontrol release $1", ",".join(running))
    show = "squeue --all --noheader --jobs=$1 --states=$2 --format=%A"
    ids = ",".join(states)

    def all_run() -> bool:
        return len(world.root(show, ids, "RUNNING").split()) == len(running)

    try:
        if not world.wait_until(all_run, 60):
            raise NotStruckError("the other jobs did not start")
        world.root("scontrol suspend $1", ",".join(suspended))
    finally:
        ended: list[str] = []

        def clear() -> None:
            there = world.root(show, ids, "PENDING,RUNNING,SUSPENDED").split()
            ended.extend(f"job {n} of the user's, none of ours" for n in states if n not in there)
            world.root("scancel --signal=KILL --full ${1//,/ }; scancel ${1//,/ }", ids)

        world.afterwards.append(clear)
        world.judges.append(lambda: ended)


SUBMIT = """
executable = /bin/sleep
transfer_executable = false
arguments = 2
log = /home/bob/$(Cluster).log
submit_event_user_notes = osgpilot {key}
request_cpus = 1
request_memory = 100
request_disk = 10MB
batch_name = osgpilot-{run}
hold = {held}
My.ProjectName = "TestProject"
My.OSGPilotWorkflow = "{run}"
My.OSGPilotJobKey = "{run}/{key}"
queue 1
"""


@fault()
def look_alikes(world: World) -> None:
    """Another user has jobs with the marks of ours; Snakemake is killed and started again."""
    run = world.runs[-1]
    keys = sorted(path.name for path in world.seen(f".snakemake/osgpilot/{run}/jobs").glob("0*"))
    for number, key in enumerate(world.random.sample(keys, min(4, len(keys)))):
        text = SUBMIT.format(run=run, key=key, held=str(number % 2 == 0).lower())
        done = world.pool.run("condor_submit", "-terse", "-", user="bob", stdin=text)
        assert done.returncode == 0, done.stderr
    mine = f'Owner == "bob" && OSGPilotWorkflow == "{run}"'
    submitted = len(keys[:4])
    harm: list[str] = []

    def clear() -> None:
        starts = world.root('condor_q -allusers -constraint "$1" -af NumJobStarts', mine).split()
        if len(starts) != submitted:
            harm.append(f"{submitted - len(starts)} job(s) of another user")
        if any(each not in ("0", "undefined") for each in starts):
            harm.append("a job of another user ran on our pilot")
        world.root('condor_rm -constraint "$1"', mine)

    world.afterwards.append(clear)
    world.judges.append(lambda: harm)
    world.root("kill -KILL $1", world.snakemake)
    world.await_end()
    world.start()
