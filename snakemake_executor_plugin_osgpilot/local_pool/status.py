"""The state of a pool's services, queried now."""

import subprocess
from typing import Required, TypedDict

from .paths import instance_folder
from .session import exec_argv
from .state import Running, find

TIMEOUT_S = 10
QUESTIONS = {
    "nodes": ("login", ["sinfo", "-h", "-N", "-p", "compute", "-o", "%N %t"]),
    "slurm_jobs": ("login", ["squeue", "-h", "-o", "%i %u %T %j"]),
    "access_points": ("ap", ["condor_status", "-schedd", "-af", "Name"]),
    "slots": ("ap", ["condor_status", "-af", "Name", "State"]),
}


class Status(TypedDict, total=False):
    """The state of a pool; only `name` and `up` if it is not up, None for no answer."""

    name: Required[str]
    up: Required[bool]
    supervisor: int
    hosts: dict[str, int]
    work: list[str]
    nodes: list[str] | None
    slurm_jobs: list[str] | None
    access_points: list[str] | None
    slots: list[str] | None


def status_of(name: str) -> Status:
    """Return the state of the pool `name`; None for an answer that did not come."""
    instance_folder(name)
    running = find(name)
    if running is None:
        return {"name": name, "up": False}
    answers = {key: _ask(running, host, argv) for key, (host, argv) in QUESTIONS.items()}
    return {
        "name": name,
        "up": True,
        "supervisor": running.supervisor,
        "hosts": running.hosts,
        "work": running.work,
        "nodes": answers["nodes"],
        "slurm_jobs": answers["slurm_jobs"],
        "access_points": answers["access_points"],
        "slots": answers["slots"],
    }


def text_of(status: Status) -> str:
    """Return `status` as text."""
    if not status["up"]:
        return f"the pool {status['name']!r} is not up"
    nodes = status["nodes"]
    points = status["access_points"]
    slurm = "Slurm does not answer"
    if nodes is not None:
        states = sorted({line.split()[1] for line in nodes})
        slurm = f"{len(nodes)} nodes ({', '.join(states)}), {len(status['slurm_jobs'] or [])} jobs"
    condor = "the collector does not answer"
    if points is not None:
        condor = f"access points {', '.join(points) or 'none'}, {len(status['slots'] or [])} slots"
    return (
        f"the pool {status['name']!r} is up\n  Slurm     {slurm}\n  HTCondor  {condor}\n"
        f"  inside    {' '.join(status['work'])}"
    )


def _ask(running: Running, host: str, argv: list[str]) -> list[str] | None:
    line = exec_argv(running.name, host, "root", "/", argv)
    try:
        asked = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return None
    return asked.stdout.splitlines() if asked.returncode == 0 else None
