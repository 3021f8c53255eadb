"""Resolve a name (job, rule, pilot; none: all that waits) and explain it."""

from __future__ import annotations

from collections import Counter, defaultdict

from ..common.counting import count_of
from ..common.durations import duration
from ..jobs.state.job_ids import htcondor_id
from ..report.entities import Job, Pilot
from .facts import Explanation, Facts
from .jobs import WAITING, explain_job
from .pilots import explain_pilot
from .reason_codes import REFUSALS

TROUBLE = (*WAITING, "held")
FAILURES_MAX = 5
"""Maximum number of failed jobs and pilots explained without a name."""

KINDS_MAX = 8
"""Maximum number of kinds of trouble explained for one rule."""


def explain(name: str, facts: Facts) -> tuple[Explanation, ...]:
    """Return explanations of `name`: nothing if unknown, all that waits if empty.

    Rules are looked for first, then pilots, then jobs.
    """
    if not name:
        return _everything(facts)
    of_rule = [job for job in facts.jobs if job.rule == name]
    if of_rule:
        return _rule(name, of_rule, facts)
    pilots = [p for p in facts.pilots if name in p.names]
    if pilots:
        return tuple(explain_pilot(pilot, facts) for pilot in pilots)
    jobs = [
        job
        for job in facts.jobs
        if name in (job.job_id, htcondor_id(job.job_id), job.key, *job.names)
    ]
    if jobs:
        return (explain_job(jobs[-1], facts),)
    return (_to_come(name, facts),) if name in facts.upcoming else ()


def _to_come(rule: str, facts: Facts) -> Explanation:
    """Explain a rule of which no job is ready."""
    ahead = facts.upcoming[rule]
    jobs = count_of(ahead.jobs, "job") if ahead.jobs else "a job beside Snakemake"
    after = ", ".join(sorted(ahead.after))
    waits = f"waits for jobs of {after}" if after else "Snakemake has not started it"
    step = "" if facts.alive else "start Snakemake again with the same command"
    when = "not ready" if facts.alive else "not ready when the run ended"
    return Explanation(f"rule {rule}", (f"rule {rule}: {jobs}, {when}: {waits}",), step)


def _everything(facts: Facts) -> tuple[Explanation, ...]:
    found: list[Explanation] = []
    if facts.error:
        said = ("an error stopped the run:", facts.error)
        found.append(Explanation("run", said, "correct it, and start Snakemake again"))
    by_reason: defaultdict[tuple[str, str], list[Pilot]] = defaultdict(list)
    for pilot in facts.pilots:
        if pilot.waits:
            by_reason[pilot.offer, pilot.pending_reason].append(pilot)
    for pilots in by_reason.values():
        one = explain_pilot(pilots[0], facts)
        alike = [f"and {len(pilots) - 1} more alike"] if len(pilots) > 1 else []
        found.append(Explanation(one.subject, (*one.lines, *alike), one.next_step))
    rules = dict.fromkeys(job.rule for job in facts.jobs if job.state in TROUBLE)
    for rule in rules:
        waiting = [job for job in facts.jobs if job.rule == rule and job.state in TROUBLE]
        found += _rule(rule, waiting, facts)
    found += _failures(facts)
    if not rules and facts.refusals:
        lines = tuple(f"no more pilots are started: {each.reason}" for each in facts.refusals)
        found.append(Explanation("pilots", lines, REFUSALS.get(facts.refusals[0].rule, "")))
    return tuple(found)


def _failures(facts: Facts) -> list[Explanation]:
    """Explain the latest jobs and pilots that failed."""
    jobs = sorted((j for j in facts.jobs if j.state == "failed"), key=lambda job: job.since_s)
    found = [explain_job(job, facts) for job in jobs[-FAILURES_MAX:]]
    if more := len(jobs) - len(found):
        found.append(Explanation("failed jobs", (f"and {count_of(more, 'more failed job')}",)))
    by_failure: defaultdict[str, list[Pilot]] = defaultdict(list)
    for pilot in facts.pilots:
        if pilot.state == "failed":
            by_failure[pilot.failure].append(pilot)
    for pilots in list(by_failure.values())[-FAILURES_MAX:]:
        one = explain_pilot(max(pilots, key=lambda pilot: pilot.since_s), facts)
        first_s = facts.at_s - min(pilot.since_s for pilot in pilots)
        alike = [f"and {len(pilots) - 1} more alike, the first {duration(first_s)} ago"]
        found.append(
            Explanation(one.subject, (*one.lines, *alike[: len(pilots) - 1]), one.next_step)
        )
    return found


def _rule(rule: str, jobs: list[Job], facts: Facts) -> tuple[Explanation, ...]:
    """Explain one job of each kind of trouble; a running one if there is no trouble."""
    counts = Counter("waiting" if job.state in WAITING else job.state for job in jobs)
    head = f"rule {rule}: " + ", ".join(f"{number} {state}" for state, number in counts.items())
    kinds: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        if job.state in (*TROUBLE, "failed"):
            kinds.setdefault(_kind(job), []).append(job)
    running = [job for job in jobs if job.state == "running"]
    if not kinds and running:
        slowest = min(running, key=lambda job: job.since_s)
        kinds[_kind(slowest)] = [slowest]
    found = [Explanation(f"rule {rule}", (head,))]
    for alike in list(kinds.values())[:KINDS_MAX]:
        one = explain_job(min(alike, key=lambda job: job.since_s), facts)
        more = [f"and {len(alike) - 1} more alike"] if len(alike) > 1 else []
        found.append(Explanation(one.subject, (*one.lines, *more), one.next_step))
    return tuple(found)


def _kind(job: Job) -> tuple[object, ...]:
    return job.state, job.job_class, job.code, job.subcode, bool(job.text)
