"""Histories of invented runs, as large as a test needs."""

from __future__ import annotations

import random
from dataclasses import asdict

from snakemake_executor_plugin_osgpilot.model.resources import PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.monitoring.line_check import Line
from snakemake_executor_plugin_osgpilot.report.replay import ReplayedRun

BEGUN_S = 1_790_000_000.0
BOOT_S, RUNTIME_S = 60, 600
NASTY = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=1">'
LIFE: Line = {
    "kind": "life", "version": 1, "at_s": BEGUN_S, "run": "20260921-141320-abcdef", "owner": "me",
    "project": "TestProject", "holder": None,
    "policy": {
        "offers": [{"name": "compute/4c", "shape": {"cores": 4, "memory_mb": 4000, "disk_mb": 0,
                    "gpus": 0}, "walltimes_s": [3600]}],
        "pilots_max": 4, "cores_max": None, "core_s_max": 36000.0,
    },
}  # fmt: skip


def pilot(number: int, state: str, since_s: float, cores: int = 4, **more: object) -> Line:
    """Return the line of a pilot that reached a state."""
    return {
        "kind": "pilot", "name": f"osgpilot-r-{number}", "state": state, "since_s": since_s,
        "shape": {"cores": cores, "memory_mb": 1000 * cores, "disk_mb": 0, "gpus": 0},
        "offer": "compute/4c", "walltime_s": 3600, "allocation_id": str(100 + number),
        "asked_s": BEGUN_S, "started_s": None, "ends_s": None, "ended_s": None, "node": "",
        "pending_reason": "", "failure": "", **more,
    }  # fmt: skip


def served(number: int, until_s: float, cores: int = 4) -> list[Line]:
    """Return the lines of a pilot that served."""
    begun = {"started_s": BEGUN_S, "node": f"n{number}"}
    return [
        pilot(number, "pending", BEGUN_S, cores),
        pilot(number, "booting", BEGUN_S, cores, **begun),
        pilot(number, "ready", BEGUN_S + BOOT_S, cores, **begun),
        pilot(number, "done", until_s, cores, **begun, ended_s=until_s),
    ]


def queued(rule: str, *keys: str, cores: int = 1, at_s: float = BEGUN_S) -> Line:
    """Return the line of jobs that were handed over."""
    return {
        "kind": "queued", "at_s": at_s, "rule": rule, "cores": cores, "memory_mb": 1024,
        "disk_mb": 100, "gpus": 0, "runtime_s": 3600, "jobs": [[key, f"n={key}"] for key in keys],
    }  # fmt: skip


def ran(key: str, number: int, from_s: float, until_s: float, exit_status: int = 0) -> list[Line]:
    """Return the lines of a job that ran on a pilot; times count from the beginning of the run."""
    where = [f"osgpilot-r-{number}", "slot1_1", str(100 + number), f"n{number}"]
    begun_s, ended_s = BEGUN_S + from_s, BEGUN_S + until_s
    usage = [round((until_s - from_s) * 0.9, 1), 300, 10]
    return [
        {"kind": "sent", "jobs": [[key, BEGUN_S, f"1.{int(key)}"]]},
        {"kind": "started", "jobs": [[key, begun_s, *where]]},
        {"kind": "ended", "jobs": [[key, ended_s, exit_status, *usage]]},
    ]


def large(jobs: int, pilots: int, cores: int = 16) -> ReplayedRun:
    """Return a run of many jobs that kept its pilots busy."""
    chance = random.Random(1)
    rules = ("split", "map_reads", "sort", "call_variants", "merge", "annotate", "plot", "report")
    keys = [f"{number:06}" for number in range(jobs)]
    lines: list[Line] = [LIFE]
    for index, rule in enumerate(rules):
        lines.append(queued(rule, *keys[index :: len(rules)]))
    free_s = [float(BOOT_S)] * (pilots * cores)
    reported: dict[str, list[list[object]]] = {"sent": [], "started": [], "ended": []}
    for index, key in enumerate(keys):
        lane = index % len(free_s)
        begun_s, free_s[lane] = free_s[lane], free_s[lane] + chance.uniform(1, 60)
        for line in ran(key, lane // cores, begun_s, free_s[lane], int(chance.random() < 0.01)):
            reported[line["kind"]] += line["jobs"]
    lines += [{"kind": kind, "jobs": each} for kind, each in reported.items()]
    end_s = BEGUN_S + max(free_s)
    for number in range(pilots):
        lines += served(number, end_s, cores)
    for key in keys[:200]:
        lines.append({"kind": "failed", "at_s": end_s, "job": key, "text": "no luck\n" * 100})
    lines.append({"kind": "end", "at_s": end_s, "detached": False, "live": 0})
    return ReplayedRun().take(lines)


def nasty_lines(text: str) -> list[Line]:
    """Return a run in which every text that a user, a job or a node may give is `text`."""
    return [
        {**LIFE, "run": text, "project": text},
        {**queued(text, "000001"), "jobs": [["000001", text]]},
        *served(1, BEGUN_S + RUNTIME_S),
        pilot(2, "failed", BEGUN_S, node=text, failure=text, ended_s=BEGUN_S + 1),
        pilot(3, "pending", BEGUN_S, pending_reason=text),
        *ran("000001", 1, BOOT_S, BOOT_S + 100, exit_status=1),
        {"kind": "failed", "at_s": BEGUN_S + 200, "job": "000001", "text": text},
        {
            "kind": "plan", "at_s": BEGUN_S, "waiting": 1, "running": 0, "to_come": 0, "demand": [],
            "actions": [{"action": text, "count": 1, "reason": text}], "unfit": [],
            "refusals": [{"count": 1, "rule": text, "reason": text}], "forecast": {},
        },
        *(queued(text, key) | {"jobs": [[key, text, text]]} for key in ("000002", "000003")),
        *ran("000002", 1, BOOT_S, BOOT_S + 100)[:1],
        {"kind": "held", "jobs": [["000002", BEGUN_S + 150, text]]},
        {
            "kind": "started",
            "jobs": [["000003", BEGUN_S + BOOT_S, "osgpilot-r-1", text, text, text]],
        },
    ]  # fmt: skip


def nasty() -> ReplayedRun:
    """Return a run in which every text that a user or a node may give is an attack."""
    return ReplayedRun().take(nasty_lines(NASTY))


def small() -> ReplayedRun:
    """Return a run of eight jobs on two pilots, one of which failed and was tried again."""
    return ReplayedRun().take(small_lines())


def small_lines() -> list[Line]:
    keys = [f"{number:06}" for number in range(1, 9)]
    lines: list[Line] = [LIFE, queued("map", *keys[:6]), queued("merge", *keys[6:], cores=2)]
    for index, key in enumerate(keys):
        begun_s = BOOT_S + 100 * (index // 4)
        lines += ran(key, 1 + index % 2, begun_s, begun_s + 90, exit_status=int(key == "000002"))
    lines += [
        {"kind": "failed", "at_s": BEGUN_S + 150, "job": "000002", "text": "exit status 1"},
        queued("map", "000009", at_s=BEGUN_S + 151) | {"jobs": [["000009", "n=000002"]]},
        *ran("000009", 1, 260, 350),
        *served(1, BEGUN_S + 400),
        *served(2, BEGUN_S + 300),
        {"kind": "end", "at_s": BEGUN_S + 400, "detached": False, "live": 0},
    ]
    return lines


def of_every_kind() -> list[Line]:
    """Return a live run, with lines of every kind that a run writes."""
    *lines, end = small_lines()
    policy = asdict(Policy((PilotType("compute/4c", Shape(4, 4000), (3600,)),)))
    policy["offers"][0]["shape"] = Shape(4, 4000)._asdict()
    holder = {"host": "h", "boot": "b", "space": "s", "pid": 1, "started": "1", "since_s": 1.0}
    where, at_s = ["osgpilot-r-2", "slot1_1", "102", "n2"], BEGUN_S + 300
    return [
        {**LIFE, "holder": holder, "policy": policy},
        *lines[1:],
        queued("late", "000010", "000011", "000012", "000013") | {"names": []},
        {"kind": "needed", "needs": ["000001"], "jobs": ["000010", "000011"]},
        {"kind": "sent", "jobs": [["000010", at_s, "1.10"], ["000011", at_s, "1.11"]]},
        {"kind": "started", "jobs": [["000010", at_s, *where], ["000011", at_s, *where]]},
        {"kind": "waiting", "jobs": [["000010", at_s + 5, "preempted", 2, 512, 0, 0, 60]]},
        {"kind": "held", "jobs": [["000011", at_s + 6, "no disk"]]},
        {"kind": "removed", "jobs": [["000012", at_s + 7, "by hand"]]},
        {"kind": "inputs", "jobs": [["000010", 12.5], ["000011", 0]]},
        {"kind": "woken", "at_s": at_s + 8, "jobs": ["000010", "000013"]},
        {"kind": "spent", "jobs": [["000001", 50.0, 60.0]]},
        {
            "kind": "plan", "at_s": at_s + 9, "waiting": 1, "running": 1, "to_come": 3,
            "demand": [], "actions": [{"action": "launch", "count": 1, "reason": "work"}],
            "refusals": [{"count": 1, "rule": "budget", "reason": "spent"}], "unfit": [],
            "forecast": {"lead_s": 5, "finish_s": None}, "waits_s": {"compute/4c": 30.0},
            "eta": {"low_s": 1.0, "high_s": 2.0, "serving": True, "unknown": ["late"]},
            "critical_path_s": 90.0,
        },
        {"kind": "full"},
        {**end, "detached": True, "critical_path_s": 90.0},
        {**LIFE, "at_s": at_s + 10, "holder": None, "policy": policy},
    ]  # fmt: skip
