"""Explanations by situation: why something waits, is held, slow or refused."""

import pytest

from snakemake_executor_plugin_osgpilot.explain.explain import explain
from snakemake_executor_plugin_osgpilot.explain.facts import Facts
from snakemake_executor_plugin_osgpilot.model.plan import Refusal
from snakemake_executor_plugin_osgpilot.model.resources import (
    END_MARGIN_S,
    JobClass,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.upcoming import RuleAhead
from snakemake_executor_plugin_osgpilot.report.entities import Attempt, Job, Pilot

NOW_S = 10_000.0
ROOM = Shape(4, 3800)
POLICY = Policy((PilotType("compute/4c", ROOM, (3600,)),))
SMALL = JobClass(Shape(1, 512), 300)


def job(state="waiting", job_class=SMALL, for_s=60.0, starts=0, on="", **more):
    known = {"key": "000001", "rule": "map", "label": "n=1", "job_id": "12.3", **more}
    found = Job(state=state, job_class=job_class, since_s=NOW_S - for_s, **known)
    for _ in range(starts):
        found.attempts.append(Attempt(found, on, "1_1", NOW_S - for_s, None, state, "7", "n1"))
    return found


def ended(took_s):
    """A job of the same rule that is done."""
    found = job("done", key="000000", job_id="12.2", starts=1)
    found.attempts[0].stopped_s = found.attempts[0].started_s + took_s
    return found


def taking(*shape, on="osgpilot-r1-1"):
    """A job of another rule that takes so much of a pilot."""
    return job("running", JobClass(Shape(*shape)), rule="other", job_id="9.9", starts=1, on=on)


def pilot(state="ready", for_s=60.0, life_s=3000.0, **more):
    known = {
        "name": "osgpilot-r1-1", "shape": ROOM, "allocation": "7", "offer": "compute/4c",
        "walltime_s": life_s + POLICY.life_taken_s, "ends_s": NOW_S + life_s + END_MARGIN_S,
        "moves": {state: NOW_S - for_s}, **more,
    }  # fmt: skip
    return Pilot(state=state, **known)


def run(*known, alive=True, ended=False, **more):
    jobs = tuple(each for each in known if isinstance(each, Job))
    pilots = tuple(each for each in known if isinstance(each, Pilot))
    return Facts(NOW_S, alive, ended, POLICY, jobs, pilots, **more)


def budget(count=2):
    return Refusal(count, "budget", "the budget is 5 core-hours, 4.00 are spent or committed")


PENDING = {"state": "pending", "pending_reason": "Resources"}

JOBS = {
    "too big for every pilot there may be": (
        run(job(job_class=JobClass(Shape(16, 64_000))), pilot()),
        "no pilot can run it: it needs 16 cores, 64000 MB; the nearest pilot (compute/4c: 4 cores, "
        "3800 MB, 50 min for jobs) lacks 12 cores and 60200 MB of memory",
        "have the rule ask for less, or make pilots larger in the site file",
    ),
    "too big for the pilots there are": (
        run(job(job_class=JobClass(Shape(4, 3000))), pilot(shape=Shape(2, 1850))),
        "1 pilot ready (Slurm job 7): too small even when empty, lacks 2 cores and 1150 MB of "
        "memory",
        "wait: osgpilot plans again every 20 s and starts a pilot that suits it",
    ),
    "longer than the pilot lives": (
        run(job(job_class=JobClass(Shape(1, 512), 1800)), pilot(life_s=900.0)),
        "1 pilot ready (Slurm job 7): too small even when empty, lacks 16 min of life",
        "wait: osgpilot plans again",
    ),
    "the pilot is busy": (
        run(job(), pilot(), taking(4, 3500)),
        "1 pilot ready (Slurm job 7): busy, lacks 1 core and 212 MB of memory now",
        "wait: it starts when a pilot has come or has room",
    ),
    "a pilot waits for resources": (
        run(job(), pilot(**PENDING)),
        "1 pilot pending (Slurm job 7): can run it; Slurm says Resources: it is among the next "
        "to start, but its cores, memory or GPUs are in use by other jobs",
        "wait: it starts when Slurm has started a pilot",
    ),
    "a pilot waits for resources, and no more may be started": (
        run(job(), pilot(**PENDING), refusals=(Refusal(3, "pilots_max", "1 pilot is the limit"),)),
        "no more pilots are started: 1 pilot is the limit",
        "wait: it starts when Slurm has started a pilot",
    ),
    "a pilot that is held in Slurm": (
        run(job(), pilot(state="pending", pending_reason="JobHeldUser")),
        "somebody with your rights holds it",
        "run: scontrol release 7",
    ),
    "a pilot boots": (
        run(job(), pilot(state="booting")),
        "1 pilot booting (Slurm job 7): can run it when it is up",
        "wait: it starts when",
    ),
    "the budget is spent": (
        run(job(), refusals=(budget(),)),
        "no more pilots are started: the budget is 5 core-hours, 4.00 are spent or committed",
        "raise --osgpilot-max-core-hours",
    ),
    "there is no pilot": (
        run(job()),
        "no pilot is there or on its way",
        "wait: osgpilot plans again every 20 s",
    ),
    "room is free, and HTCondor is to match": (
        run(job(), pilot()),
        "1 pilot ready (Slurm job 7): can run it now",
        "wait: HTCondor starts it within a minute or two",
    ),
    "room is free, and HTCondor does not match": (
        run(job(for_s=900.0), pilot()),
        "can run it now",
        "see: condor_q -better-analyze 12.3. If HTCondor does not offer it, osgpilot",
    ),
    "cores are kept for jobs of less memory": (
        run(job(job_class=JobClass(Shape(1, 1600)), for_s=900.0), pilot(), taking(1, 1600)),
        "can run it, but may keep its cores for jobs of less memory, for 10 min at most",
        "wait: it starts when a pilot has come or has room",
    ),
    "HTCondor did not offer it": (
        run(job(for_s=900.0, woken_s=[NOW_S - 600.0, NOW_S - 120.0]), pilot()),
        "HTCondor did not offer it to pilots: osgpilot held and released or resubmitted it "
        "2 times, last 2 min ago",
        "see: condor_q -better-analyze 12.3",
    ),
    "it is not sent yet": (
        run(job("queued", job_id="")),
        "it is not in HTCondor's queue yet",
        "",
    ),
    "Snakemake is gone": (
        run(job(), pilot(), alive=False),
        "Snakemake is no longer running: no pilot is started for it",
        "start Snakemake again with the same command, or remove what is left: osgpilot cleanup",
    ),
    "the run has ended": (
        run(job(), alive=False, ended=True),
        "the run has ended",
        "start Snakemake again",
    ),
    "it was started before": (
        run(job(text="the pilot ended", starts=2)),
        "it has been started 2 times before: the pilot ended",
        "",
    ),
    "it was held before it started": (
        run(job(text="its image is missing")),
        "it did not start before: its image is missing",
        "",
    ),
    "held by hand": (
        run(job("held", text="via condor_hold (by user alice)", code=1)),
        "it was put on hold by hand (condor_hold)",
        "run: condor_release 12.3",
    ),
    "held for memory": (
        run(job("held", text="memory usage exceeded", code=34, subcode=102)),
        "it took more memory than it had asked for; it runs again by itself and gets more",
        "give the rule more mem_mb",
    ),
    "held, the code is unknown": (
        run(job("held", text="some reason")),
        "HTCondor says: some reason",
        "wait: osgpilot releases it",
    ),
    "slow": (
        run(job("running", for_s=900.0, starts=1), ended(60)),
        "slow: jobs of rule map took 1 min",
        "condor_tail 12.3",
    ),
    "longer than its rule says": (
        run(job("running", for_s=900.0, starts=1)),
        "it says that it takes 5 min at most",
        "give the rule a longer `runtime`",
    ),
    "failed": (
        run(job("failed", text="exit status 3\nthis went wrong", starts=1)),
        "this went wrong",
        "correct the rule",
    ),
    "failed, after much output": (
        run(job("failed", text="osgpilot: exit status 3\n" + "noise\n" * 20 + "last", starts=1)),
        "exit status 3\nnoise\nnoise\nnoise\nnoise\nlast",
        "correct the rule",
    ),
    "done": (run(job("done", starts=1)), "in Slurm job 7 on n1", ""),
}


@pytest.mark.parametrize("situation", JOBS)
def test_why_a_job_is_as_it_is(situation):
    known, words, step = JOBS[situation]
    (found,) = explain("12.3" if known.jobs[0].job_id else "000001", known)
    assert words in "\n".join(found.lines)
    assert step in found.next_step
    assert not step or found.next_step


PILOTS = {
    "waits for resources": (run(pilot(**PENDING)), "Resources: it is among", "squeue --start"),
    "at a limit of the account": (
        run(pilot(state="pending", pending_reason="AssocGrpCpuLimit")),
        "your account, QOS or user has as much running as it may",
        "--osgpilot-max-pilots",
    ),
    "core-hours used up": (
        run(pilot(state="pending", pending_reason="AssocGrpCPUMinutesLimit")),
        "the core-hours (or the like) of your account or QOS are used up",
        "ask who runs your allocation",
    ),
    "of a reason nobody knows": (
        run(pilot(state="pending", pending_reason="SomethingNew")),
        "Slurm says SomethingNew",
        "job_reason_codes",
    ),
    "without an answer": (run(pilot(state="intended", allocation="")), "sbatch is about", ""),
    "boots": (run(pilot(state="booting")), "which takes 1 to 8 min", ""),
    "boots for long": (run(pilot(state="booting", for_s=700.0)), "takes longer", "osgpilot logs 7"),
    "busy": (
        run(pilot(), *(taking(1, 1000) for _ in range(3))),
        "jobs that run there: 3; free: 1 core, 800 MB",
        "",
    ),
    "idle": (run(pilot()), "none waits", ""),
    "drains": (
        run(pilot(state="draining", failure="mute")), "ends when those in it have (mute)", "",
    ),
    "refused": (
        run(pilot(state="failed", allocation="", failure="sbatch: invalid account")),
        "Slurm refused it: sbatch: invalid account",
        "correct the site file",
    ),
    "failed": (
        run(pilot(state="failed", failure="NODE_FAIL")), "it failed: NODE_FAIL", "read its log",
    ),
    "taken back": (run(pilot(state="cancelled")), "no longer needed", ""),
    "over": (run(pilot(state="done")), "its allocation is over", ""),
}  # fmt: skip


@pytest.mark.parametrize("situation", PILOTS)
def test_why_a_pilot_is_as_it_is(situation):
    known, words, step = PILOTS[situation]
    (found,) = explain("osgpilot-r1-1", known)
    assert words in "\n".join(found.lines)
    assert step in found.next_step


def test_ids_of_two_clusters_may_coincide():
    far = {"name": "osgpilot-r1-2", "site": "Far"}
    facts = run(pilot(site="Near"), pilot(**far))
    assert [each.subject for each in explain("7", facts)] == ["pilot 7 at Near", "pilot 7 at Far"]
    (found,) = explain("Far:7", facts)
    assert found.subject == "pilot 7 at Far"
    assert explain("osgpilot-r1-2", facts) == (found,)
    assert explain("Near:8", facts) == ()


def test_an_idle_pilot_beside_waiting_jobs_refers_to_the_jobs():
    (found,) = explain("7", run(pilot(), job()))
    assert "no job runs there, although jobs wait" in found.lines
    assert found.next_step == "osgpilot explain JOB shows what the pilot lacks for it"


def test_a_rule_is_explained_once_for_each_kind_of_trouble():
    big = JobClass(Shape(16, 64_000))
    jobs = [
        *(job(key=str(n), job_id=f"1.{n}") for n in range(3)),
        job(key="4", job_class=big),
        job("held", key="5", code=1, text="by hand"),
        job("done", key="6"),
        job(key="7", rule="other"),
    ]
    head, *kinds = explain("map", run(*jobs))
    assert head.lines == ("rule map: 4 waiting, 1 held, 1 done",)
    assert len(kinds) == 3
    assert kinds[0].lines[-1] == "and 2 more alike"


def test_a_rule_without_trouble_shows_its_longest_job():
    jobs = [job("running", key=str(n), job_id=f"1.{n}", for_s=n) for n in (5, 50)]
    _, longest = explain("map", run(*jobs))
    assert longest.lines[0].startswith("rule map (n=1) (HTCondor job 1.50): runs for 50 s")


def test_without_a_name_only_what_waits_is_explained():
    known = run(
        pilot(**PENDING), pilot(name="osgpilot-r1-2", allocation="8", **PENDING),
        pilot(name="osgpilot-r1-3", allocation="9"), job(), job("running", key="2", rule="other"),
    )  # fmt: skip
    found = explain("", known)
    assert [each.subject for each in found] == ["pilot 7", "rule map", "rule map (n=1)"]
    assert found[0].lines[-1] == "and 1 more alike"
    assert explain("", run(pilot(), job("done"))) == ()


def test_without_a_name_failed_jobs_and_pilots_are_explained_with_their_reason():
    failed = [job("failed", key=str(n), for_s=n, text=f"exit status {n}") for n in range(1, 8)]
    lost = [
        pilot("failed", n, name=f"osgpilot-r1-{n}", allocation=str(n), failure="NODE_FAIL")
        for n in (60, 600)
    ]
    *jobs, more, pilots = explain("", run(*failed, *lost, job("done", key="9"), alive=False))
    assert [each.lines[-1] for each in jobs] == [f"exit status {n}" for n in (5, 4, 3, 2, 1)]
    assert more.lines == ("and 2 more failed jobs",)
    assert pilots.subject == "pilot 60"
    assert pilots.lines[-1] == "and 1 more alike, the first 10 min ago"
    assert any("NODE_FAIL" in line for line in pilots.lines)


def test_a_rule_that_is_to_come_is_not_ready():
    ahead = {"merge": RuleAhead(3, after=frozenset(("sort", "map"))), "all": RuleAhead(0)}
    (found,) = explain("merge", run(upcoming=ahead))
    assert found.lines == ("rule merge: 3 jobs, not ready: waits for jobs of map, sort",)
    (found,) = explain("merge", run(upcoming=ahead, alive=False))
    assert "not ready when the run ended" in found.lines[0]
    assert found.next_step == "start Snakemake again with the same command"
    assert "a job beside Snakemake" in explain("all", run(upcoming=ahead))[0].lines[0]
    assert explain("other", run(upcoming=ahead)) == ()


def test_a_job_has_the_ids_of_snakemake_and_htcondor_and_a_pilot_that_of_slurm():
    (found,) = explain("12.3", run(job(names=("4", "out/1")), pilot()))
    assert found.lines[0].startswith("rule map (n=1) (Snakemake job 4, HTCondor job 12.3): ")
    (found,) = explain("7", run(pilot()))
    assert found.lines[0].startswith("pilot 7: ready for ")
    assert "its name in Slurm and HTCondor is osgpilot-r1-1" in found.lines


def test_a_job_is_found_by_output_and_snakemake_number():
    known = run(job(names=("4", "out/1")))
    for name in ("4", "out/1", "12.3", "000001"):
        assert [each.subject for each in explain(name, known)] == ["rule map (n=1)"]
    assert explain("out/2", known) == ()


@pytest.mark.parametrize(
    ("rule_memory_mb", "asked"),
    [
        (500, "asks for 1 core, 512 MB (rule: 500 MB), 5 min"),
        (512, "asks for 1 core, 512 MB, 5 min"),
        (None, "asks for 1 core, 512 MB, 5 min"),
    ],
)
def test_the_memory_that_the_rule_names_is_beside_the_request(rule_memory_mb, asked):
    (found,) = explain("12.3", run(job(rule_memory_mb=rule_memory_mb)))
    assert found.lines[0].endswith(asked)


def bundle(lead_state):
    first = job(lead_state, key="000001", job_id="12.3/0", starts=lead_state == "running")
    return run(
        first, job(key="000002", job_id="12.3/1"), job(key="000003", job_id="12.3/2"), pilot()
    )


def test_a_job_that_waits_in_a_running_bundle_is_said_to():
    (found,) = explain("000002", bundle("running"))
    assert "HTCondor job 12.3 in a bundle with 2 others" in found.lines[0]
    assert "its bundle runs in Slurm job 7 on n1" in found.lines[1]
    assert "come back when it ends" in found.next_step


def test_a_bundle_that_waits_is_explained_as_a_job_of_htcondor():
    (found,) = explain("000002", bundle("waiting"))
    assert "can run it now" in found.lines[-1]
    (found,) = explain("12.3", bundle("waiting"))
    assert "HTCondor job 12.3 in a bundle" in found.lines[0]


def test_the_error_that_stopped_a_run_is_explained_first():
    error = "rule map: the container image /opt/nope.sif does not exist"
    first, *_ = explain("", run(job("failed"), alive=False, ended=True, error=error))
    assert first.lines[-1] == error
    assert "start Snakemake again" in first.next_step
