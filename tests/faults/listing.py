"""Run as root on a host of the pool: prints what belongs to workflows there, as JSON.

`python3 listing.py HOST`. Each entry is a text and what tells whose it is: the name of its run or
pilot, or the folder in which a process works. Standard library only.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ALICE = 2001
Entry = tuple[str, list[str]]


def ask(*argv: str) -> list[str] | None:
    """Return the lines that a command prints, None if it does not answer."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=60)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None


def read(path: Path) -> str:
    """Return what a file of a process has, nothing if it has just ended."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def jobs(host: str) -> list[Entry]:
    """Return the jobs in the queue of the host's access point."""
    shown = ask("condor_q", "-allusers", "-af:j", "OSGPilotWorkflow", "JobStatus", "HoldReason")
    if shown is None:
        return [(f"condor_q does not answer on {host}", [])]
    return [(f"job {line}", [line.split()[1]]) for line in shown]


def name_by_id() -> dict[str, str]:
    """Return the names of allocations, those included that have ended not long ago."""
    shown = ask("squeue", "--noheader", "--all", "--states=all", "--format=%A %j") or []
    parts = [line.partition(" ") for line in shown]
    return {number: name for number, _, name in parts if number.isdigit()}


def allocations(names: dict[str, str]) -> list[Entry]:
    """Return the allocations that have not ended."""
    shown = ask("squeue", "--noheader", "--all", "--format=%A %T")
    if shown is None:
        return [("squeue does not answer", [])]
    found = [(line, names.get(line.split()[0], "")) for line in shown]
    return [(f"allocation {line} {name}", [name]) for line, name in found]


def folders(names: dict[str, str]) -> list[Entry]:
    """Return the scratch folders of pilots."""
    here = [*Path("/var/tmp").glob("osg-pilot.*"), *Path("/scratch").glob("*/osg-pilot.*")]
    return [(f"folder {each}", [names.get(each.name.split(".")[1], "")]) for each in here]


def processes(names: dict[str, str]) -> list[Entry]:
    """Return what acts as the user, as ps counts it, and is no zombie."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        acts = re.search(rf"^Uid:\t\d+\t{ALICE}\t", read(process / "status"), re.MULTILINE)
        state = read(process / "stat").rpartition(")")[2].split()[:1]
        if not acts or not state or state[0] in "ZX":
            continue
        try:
            at = os.readlink(process / "cwd")  # noqa: PTH115
        except OSError:
            at = ""
        ids = set(re.findall(r"osg-pilot\.(\d+)\.", read(process / "mountinfo")))
        ids |= set(re.findall(r"\0SLURM_JOB_ID=(\d+)\0", f"\0{read(process / 'environ')}"))
        argv = read(process / "cmdline").replace("\0", " ").strip()
        of = [at, *(names.get(each, "") for each in sorted(ids))]
        found.append((f"process {process.name} {argv}", of))
    return found


def main(host: str) -> None:
    """Print what is there."""
    found = jobs(host)
    # Slurm is on one of the hosts only
    names = name_by_id() if host == "login" else {}
    if host == "login":
        found += allocations(names) + folders(names)
    found += processes(names)
    print(
        json.dumps([(" ".join(text.split()), [each for each in of if each]) for text, of in found])
    )


if __name__ == "__main__":
    main(sys.argv[1])
