"""Verdicts as lines of a file, for a suite that is interrupted to go on, and as a table."""

from __future__ import annotations

import json
import statistics
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .world import Verdict

UNDISTURBED = "undisturbed"


@dataclass(frozen=True)
class Trial:
    """One run of the workflow: which fault (or none), the how manieth, and how it was made."""

    fault: str
    number: int
    seed: str
    jobs: int
    short: bool


class Record:
    """The verdicts there are, in memory and, line by line, in a file if one is named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.closed = False
        self.verdicts: dict[Trial, Verdict] = {}
        if path and path.exists():
            # a last line without an end was cut off with the suite
            whole, _, _ = path.read_text().rpartition("\n")
            path.write_text(f"{whole}\n" if whole else "")
            for line in whole.splitlines():
                content = json.loads(line)
                self.verdicts[Trial(**content["trial"])] = Verdict(**content["verdict"])

    def add(self, trial: Trial, verdict: Verdict) -> None:
        """Keep a verdict; a file has it before this returns."""
        with self._lock:
            if self.closed:
                return
            self.verdicts[trial] = verdict
            if self._path:
                line = json.dumps({"trial": asdict(trial), "verdict": asdict(verdict)})
                with self._path.open("a") as file:
                    file.write(line + "\n")

    def close(self) -> None:
        """Keep no more verdicts: what comes yet is of workflows whose pools were taken away."""
        with self._lock:
            self.closed = True

    def of(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Verdict]]:
        """Return the verdicts on these trials that there are."""
        with self._lock:
            return iter([(t, self.verdicts[t]) for t in trials if t in self.verdicts])


def describe(verdict: Verdict) -> str:
    """Return a verdict in one line, and what is bad about it in some more."""
    line = (
        f"lost {len(verdict.lost)}, duplicated {len(verdict.duplicated)}, left "
        f"{len(verdict.left)}, run again {verdict.again}, {verdict.makespan_s:.0f} s, "
        f"exit status {', '.join(map(str, verdict.statuses))}"
    )
    parts = {"lost": verdict.lost, "duplicated": verdict.duplicated, "left": verdict.left}
    return "\n".join([line, *(f"  {k}: {', '.join(v[:8])}" for k, v in parts.items() if v)])


def report(found: Iterable[tuple[Trial, Verdict]]) -> bool:
    """Print the table, as Markdown, and the line of sums; return whether anything is bad."""
    by_name: dict[str, list[Verdict]] = {}
    for trial, verdict in found:
        by_name.setdefault(trial.fault, []).append(verdict)
    calm = by_name.pop(UNDISTURBED, [])
    calm_s = statistics.median(v.makespan_s for v in calm) if calm else 0.0
    print(f"{calm_s:.0f} s undisturbed")
    print("| fault | runs | lost | duplicated | left behind | run again | starts | added seconds |")
    print("| --- |" + " --- |" * 7)
    sums = [0, 0, 0]
    for name, each in by_name.items():
        counts = [sum(len(getattr(v, k)) for v in each) for k in ("lost", "duplicated", "left")]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        again = sum(v.again for v in each)
        starts = statistics.median(len(v.statuses) for v in each)
        added_s = statistics.median(v.makespan_s for v in each) - calm_s
        cells = (f"`{name}`", len(each), *counts, again, f"{starts:g}", f"{added_s:.0f}")
        print(f"| {' | '.join(map(str, cells))} |")
    runs = sum(map(len, by_name.values()))
    print(f"faults runs {runs} lost {sums[0]} duplicated {sums[1]} left {sums[2]}", flush=True)
    return any(sums) or any(verdict.bad for verdict in calm)
