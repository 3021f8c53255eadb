"""The folder of a run, and its record, from which later runs learn what rules took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..common import private_files as private
from ..common.atomic_write import write_atomically
from ..errors import InputError
from ..jobs.state.rule_sums import RuleSums
from ..model.identity import RunIdentity
from ..model.resources import Pilot
from ..model.runtime_by_size import SAMPLES_MAX, Sample

RECORD = "record.json"
JOURNAL = "journal.sqlite"

JOB_LOG = "jobs.log"
"""The event log, written by HTCondor."""

LEASE = "lease"
"""Its age shows pilots and other sessions whether the workflow is alive (see pilot.sh)."""

RECORD_VERSION = 2

LARGEST = 1e18
"""Larger sizes and times in a record are damage."""

EARLIER_RUNS_MAX = 20
"""Maximum number of earlier runs that are read, the newest first."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, all in `.snakemake/osgpilot/RUN` of the working folder."""

    path: Path

    def job(self, key: str) -> Path:
        return self.path / "jobs" / key

    @property
    def keys(self) -> Path:
        """Folder of the keys that the access point needs for jobs; removed when the run ends."""
        return self.path / "jobs" / "keys"

    def pilot(self, name: str) -> Path:
        return self.path / "pilots" / name

    def is_bare(self) -> bool:
        """Return True if the folder has nothing but a journal: the run was never begun.

        The lease is created next, before there is a holder. Raises `OSError`.
        """
        for path in self.path.iterdir():
            if path.name in ("jobs", "pilots"):
                if any(path.iterdir()):
                    return False
            elif not path.name.startswith(JOURNAL):
                return False
        return True

    def last_number(self, kind: str) -> int:
        """Return the highest number among the folders of `jobs` or `pilots`, 0 if there is none."""
        names = (path.name.rpartition("-")[2] for path in (self.path / kind).glob("*"))
        return max((int(name) for name in names if name.isdigit()), default=0)

    @classmethod
    def create(cls, state_folder: Path, run: str) -> RunFolder:
        """Create the folder of a new run; it and its parent are private to their owner."""
        folder = cls(state_folder / "osgpilot" / run)
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        # anybody who can open the lock file in it can block the start of runs
        folder.path.parent.chmod(private.FOLDER_MODE)
        for path in (folder.path, folder.path / "jobs", folder.path / "pilots"):
            path.mkdir(private.FOLDER_MODE)
        return folder

    def make_files(self) -> None:
        """Create the files of HTCondor and pilots with private permissions before they do."""
        for name in (JOB_LOG, LEASE):
            (self.path / name).touch(private.FILE_MODE)


def runs_in(state_folder: Path) -> list[RunFolder]:
    """Return the runs with a journal in the state folder of a working folder, oldest first."""
    return [RunFolder(path.parent) for path in sorted(state_folder.glob(f"osgpilot/*/{JOURNAL}"))]


def record(
    seat: RunIdentity,
    rules: Mapping[str, RuleSums],
    pilots: Iterable[Pilot],
    now_s: float,
    samples: Mapping[str, list[Sample]] | None = None,
) -> dict[str, object]:
    """Return a run as plain data: jobs by rule, pilots, core-hours used and charged, and `samples`
    of how long jobs took with inputs of which size.
    """
    known = {name: [list(each) for each in listed] for name, listed in (samples or {}).items()}
    used_core_s = sum(sums.used_core_s(now_s) for sums in rules.values())
    listed = list(pilots)
    charged_core_s = sum(charged_s(p, now_s) * p.charged_cores for p in listed)
    return {
        "version": RECORD_VERSION,
        **asdict(seat),
        "at_s": now_s,
        "rules": {name: _rule(sums, now_s) for name, sums in rules.items()},
        "samples": known,
        "pilots": [_pilot(pilot, now_s) for pilot in listed],
        "used_core_h": used_core_s / 3600,
        "charged_core_h": charged_core_s / 3600,
    }


def charged_s(pilot: Pilot, now_s: float) -> float:
    """Return the time that the allocation has been running, in seconds."""
    if pilot.started_s is None:
        return 0.0
    return max(0.0, (pilot.ended_s or now_s) - pilot.started_s)


def _rule(sums: RuleSums, now_s: float) -> dict[str, object]:
    return {
        "jobs": sums.jobs,
        "done": sums.done,
        "failed": sums.failed,
        "core_h": sums.used_core_s(now_s) / 3600,
        "allocations": sorted(sums.allocations),
    }


def _pilot(pilot: Pilot, now_s: float) -> dict[str, object]:
    return {
        "name": pilot.name,
        "allocation": pilot.allocation_id,
        "state": pilot.state.value,
        "node": pilot.node,
        "site": pilot.site,
        "cores": pilot.shape.cores,
        "charged_cores": pilot.charged_cores,
        "memory_mb": pilot.shape.memory_mb,
        "charged_s": charged_s(pilot, now_s),
    }


def write(folder: RunFolder, content: dict[str, object]) -> None:
    """Replace the record of the run."""
    write_atomically(folder.path / RECORD, json.dumps(content, indent=1))


def core_s_seen(workdir: Path) -> dict[str, float]:
    """Return the mean core-seconds of a job of each rule, from the latest run in `workdir` in which
    one succeeded. Records that cannot be read are skipped.
    """
    seen: dict[str, float] = {}
    for path in _records(workdir)[-EARLIER_RUNS_MAX:]:
        with suppress(InputError, AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
            seen |= {
                name: 3600 * rule["core_h"] / (rule["done"] + rule["failed"])
                for name, rule in _read(path)["rules"].items()
                if rule["done"]
            }
    return seen


def samples_seen(workdir: Path) -> dict[str, list[Sample]]:
    """Return the latest sizes of inputs and runtimes of jobs of each rule, from the latest run in
    `workdir` that has some. Records that cannot be read are skipped.
    """
    seen: dict[str, list[Sample]] = {}
    for path in _records(workdir)[-EARLIER_RUNS_MAX:]:
        with suppress(InputError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
            seen |= {
                str(name): [
                    Sample(int(size), float(took_s))
                    for size, took_s in listed[-SAMPLES_MAX:]
                    if 0 <= size < LARGEST and 0 <= took_s < LARGEST
                ]
                for name, listed in _read(path).get("samples", {}).items()
                if listed
            }
    return seen


def _records(workdir: Path) -> list[Path]:
    """Return the records of runs, the latest last."""
    found = (workdir / ".snakemake" / "osgpilot").glob(f"*/{RECORD}")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("version") != RECORD_VERSION:
        raise InputError(f"{path} was written by another version of osgpilot")
    return content
