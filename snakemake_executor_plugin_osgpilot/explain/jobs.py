"""Explain a job: its request against the pilots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..common.counting import count_of
from ..common.durations import duration
from ..common.failure_text import PREFIX
from ..jobs.state.job_ids import htcondor_id, is_bundled, is_lead
from ..model.memory_balance import CORES_KEPT_S, may_start_beside
from ..model.resources import lacks
from ..report.entities import Job, Pilot
from ..scaling.planner.feasibility import infeasible_classes, text
from .facts import Explanation, Facts
from .pilots import waits_for
from .reason_codes import REFUSALS, of_hold

WAITING = ("queued", "waiting")
SLOW = 2.0
"""A job is slow if it runs this many times as long as others of its rule."""

MATCH_S = 120.0
"""A free pilot gets a job within a few cycles of HTCondor's negotiator, about a minute each."""

NAMED_MAX = 5
"""Maximum number of pilots listed by name."""


def explain_job(job: Job, facts: Facts) -> Explanation:
    """Return why a job waits, is held, runs for long, or failed."""
    names = _named(job, facts)
    for_s = duration(facts.at_s - job.since_s)
    if job.state in WAITING:
        lines, step = _waiting(job, facts)
        asked = text(job.job_class, job.rule_memory_mb)
        head = f"{names}: waits for {for_s}; it asks for {asked}"
    elif job.state == "held":
        lines, step = _held(job)
        head = f"{names}: held for {for_s}"
    elif job.state == "running":
        lines, step = _running(job, facts)
        head = f"{names}: runs for {for_s} {_where(job)}"
    else:
        lines, step = _over(job)
        head = f"{names}: {job.state} {for_s} ago"
    return Explanation(job.title, (head, *lines), step)


def _lead(job: Job, facts: Facts) -> Job | None:
    """Return the first job of the bundle that a job waits in, if the bundle runs."""
    if is_lead(job.job_id):
        return None
    bundle = [each for each in facts.jobs if htcondor_id(each.job_id) == htcondor_id(job.job_id)]
    return next((each for each in bundle if is_lead(each.job_id) and each.state == "running"), None)


def _named(job: Job, facts: Facts) -> str:
    """Return a job's title with its numbers: Snakemake's and HTCondor's."""
    number = f"Snakemake job {job.names[0]}" if job.names and job.names[0].isdigit() else ""
    condor = f"HTCondor job {htcondor_id(job.job_id)}" if job.job_id else ""
    if is_bundled(job.job_id):
        bundle = htcondor_id(job.job_id)
        others = sum(htcondor_id(each.job_id) == bundle for each in facts.jobs) - 1
        condor += f" in a bundle with {others} others"
    ids = ", ".join(filter(None, (number, condor)))
    return f"{job.title} ({ids})" if ids else job.title


_Lines = tuple[list[str], str]


def _waiting(job: Job, facts: Facts) -> _Lines:
    lines = []
    if job.text:
        count = count_of(len(job.attempts), "time")
        times = f"has been started {count}" if job.attempts else "did not start"
        lines.append(f"it {times} before: {job.text}")
    if job.woken_s:
        often, ago = count_of(len(job.woken_s), "time"), duration(facts.at_s - job.woken_s[-1])
        lines.append(
            "HTCondor did not offer it to pilots: osgpilot held and released or resubmitted it "
            f"{often}, last {ago} ago"
        )
    if not facts.alive:
        how = "the run has ended" if facts.ended else "Snakemake is no longer running"
        return (
            [*lines, f"{how}: no pilot is started for it"],
            "start Snakemake again with the same command, or remove what is left: osgpilot cleanup",
        )
    if lead := _lead(job, facts):
        said = f"its bundle runs {_where(lead)}: it has its turn there after others, or had it"
        return [*lines, said], "wait: the results of a bundle come back when it ends"
    if job.state == "queued":
        lines.append(
            "it is not in HTCondor's queue yet: osgpilot sends jobs as there is room, and short "
            "ones in bundles when it knows how long those of their rule take"
        )
    never = infeasible_classes([job.job_class], facts.policy) if facts.policy else ()
    if never:
        return (
            [*lines, f"no pilot can run it: {never[0].reason}"],
            "have the rule ask for less, or make pilots larger in the site file",
        )
    serving = [pilot for pilot in facts.pilots if pilot.serves]
    lines += list(_against(job, serving, facts)) or ["no pilot is there or on its way"]
    lines += [f"no more pilots are started: {refusal.reason}" for refusal in facts.refusals]
    return lines, _step(job, serving, facts)


def _against(job: Job, serving: list[Pilot], facts: Facts) -> Iterator[str]:
    """Return what each pilot lacks for the job, similar pilots together."""
    groups: defaultdict[tuple[str, str], list[Pilot]] = defaultdict(list)
    for pilot in serving:
        groups[pilot.state, _verdict(job, pilot, facts)].append(pilot)
    for (state, verdict), pilots in sorted(groups.items()):
        named = ", ".join(pilot.allocation or pilot.name for pilot in pilots[:NAMED_MAX])
        more = f" and {len(pilots) - NAMED_MAX} more" if len(pilots) > NAMED_MAX else ""
        count = count_of(len(pilots), "pilot")
        yield f"{count} {state} (Slurm job {named}{more}): {verdict}"


def _verdict(job: Job, pilot: Pilot, facts: Facts) -> str:
    life_s, free = facts.life_s(pilot), facts.free(pilot)
    if missing := lacks(job.job_class, pilot.shape, life_s):
        return f"too small even when empty, lacks {' and '.join(missing)}"
    if pilot.waits:
        return f"can run it; {waits_for(pilot)[0]}"
    if missing := lacks(job.job_class, free, life_s):
        return f"busy, lacks {' and '.join(missing)} now"
    if not may_start_beside(job.job_class.shape, pilot.shape, free):
        kept = duration(CORES_KEPT_S)
        return f"can run it, but may keep its cores for jobs of less memory, for {kept} at most"
    return "can run it" + (" when it is up" if pilot.state == "booting" else " now")


def _step(job: Job, serving: list[Pilot], facts: Facts) -> str:
    able = [p for p in serving if not lacks(job.job_class, p.shape, facts.life_s(p))]
    free = [
        pilot
        for pilot in able
        if pilot.state == "ready"
        and not lacks(job.job_class, facts.free(pilot), facts.life_s(pilot))
        and may_start_beside(job.job_class.shape, pilot.shape, facts.free(pilot))
    ]
    if free and facts.at_s - job.since_s > MATCH_S and job.job_id:
        return (
            "HTCondor should have started it; see: condor_q -better-analyze "
            f"{htcondor_id(job.job_id)}. If HTCondor does not offer it, osgpilot holds and "
            "releases it after some minutes"
        )
    if free:
        return "wait: HTCondor starts it within a minute or two"
    pending = [pilot for pilot in able if pilot.waits]
    if step := next(filter(None, (waits_for(pilot)[1] for pilot in pending)), ""):
        return step
    if pending:
        # a higher limit would only make more pilots wait
        return "wait: it starts when Slurm has started a pilot"
    refused = (REFUSALS.get(refusal.rule, "") for refusal in facts.refusals)
    if step := next(filter(None, refused), ""):
        return step
    if able:
        return "wait: it starts when a pilot has come or has room"
    return "wait: osgpilot plans again every 20 s and starts a pilot that suits it"


def _held(job: Job) -> _Lines:
    meaning = of_hold(job.code, job.subcode)
    code = f" (code {job.code}.{job.subcode})" if job.code else ""
    said = [f"HTCondor says: {job.text}{code}"] if job.text else []
    words = [meaning.words] if job.code else []
    step = meaning.step.format(job=htcondor_id(job.job_id) or job.key) if job.code else ""
    return [*words, *said], step or (
        "wait: osgpilot releases it, raises its request, or fails it with the reason"
    )


def _running(job: Job, facts: Facts) -> _Lines:
    lines = []
    if len(job.attempts) > 1:
        why = f"; the last time before: {job.text}" if job.text else ""
        lines.append(f"it is its start number {len(job.attempts)}{why}")
    runs_s, limit_s = facts.at_s - job.since_s, job.job_class.runtime_s
    usual_s = facts.usual_s(job.rule)
    if usual_s is not None and runs_s > SLOW * usual_s:
        lines.append(f"slow: jobs of rule {job.rule} took {duration(usual_s)}")
        return (
            lines,
            f"look at what it does: condor_tail {htcondor_id(job.job_id)}, or osgpilot status",
        )
    if limit_s and runs_s > limit_s:
        lines.append(f"it says that it takes {duration(limit_s)} at most")
        return lines, "give the rule a longer `runtime`: its pilot may end before it does"
    if usual_s is not None:
        lines.append(f"jobs of its rule took {duration(usual_s)}")
    return lines, ""


def _over(job: Job) -> _Lines:
    where = _where(job)
    if job.state == "done":
        return [where] if where else [], ""
    first, *more = [line for line in job.text.strip().splitlines() if line.strip()] or [""]
    # the end of its output says more than the beginning
    said = [line for line in (first.removeprefix(PREFIX), *more[-NAMED_MAX:]) if line]
    said += [f"the log of the rule: {', '.join(job.logs)}"] if job.logs else []
    step = "correct the rule or what it needs, and start Snakemake again"
    return [*([where] if where else []), *said], step if job.state == "failed" else ""


def _where(job: Job) -> str:
    last = job.last
    return f"in Slurm job {last.allocation} on {last.node}" if last and last.allocation else ""
