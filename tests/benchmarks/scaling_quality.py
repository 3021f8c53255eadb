"""Our planner against the peers, each tuned for the workload, on the standard workloads.

Needs no pool. Ours are run again each time, on eight seeds; what the peers came to is kept in
`tuned_peers.json`, with a digest of the code that made it (or where it is from). `--peers` makes it
again, for all peers and workloads or those that are named. CT is makespan/T* times charge/CH*, the
objective of the default cost weight; a workload is won if no peer has a smaller one. The last lines
read `scaling-quality geometric_mean_ct X` and `scaling-quality workloads_won N`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from snakemake_executor_plugin_osgpilot.scaling_study.compare import (
    Bench,
    Measured,
    Task,
)
from snakemake_executor_plugin_osgpilot.scaling_study.paired import Paired, paired
from snakemake_executor_plugin_osgpilot.scaling_study.policies.registry import OURS, RULES, Choice
from snakemake_executor_plugin_osgpilot.scaling_study.result_cache import digest
from snakemake_executor_plugin_osgpilot.scaling_study.scenarios import SCENARIOS
from snakemake_executor_plugin_osgpilot.scaling_study.tuning import (
    PURPOSES,
    TUNING_SEED,
    best,
    candidates,
)

KEPT = Path(__file__).parent / "tuned_peers.json"
SEEDS = 8


def _kept() -> dict[str, dict[str, Any]]:
    """Return the results of peers that are kept, by peer and workload."""
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


class Result(NamedTuple):
    """Logarithms of makespan/T* and charge/CH*, and the mean flow time in seconds."""

    time: float
    charge: float
    flow_s: float

    @property
    def ct(self) -> float:
        return self.time + self.charge


def results(bench: Bench, name: str, choice: Choice) -> list[Result]:
    """Return the results of a policy on a workload, by seed; infinite where jobs were left."""
    runs = bench.measured(Task(name, choice, seed) for seed in range(SEEDS))
    return [
        _result(run, ratio.makespan, ratio.charged)
        for run, ratio in zip(runs, bench.ratios(runs), strict=True)
    ]


def _result(run: Measured, makespan: float, charged: float) -> Result:
    return Result(math.log(makespan), math.log(charged), run.flow_s)


def tuned(bench: Bench, name: str, rule: str) -> Choice:
    """Return the options of a peer that are best for a workload, on one seed for tuning."""
    tasks = [Task(name, choice, TUNING_SEED) for choice in candidates(name, rule)]
    return best(bench.measured(tasks), PURPOSES["balanced"])


def make_peers(bench: Bench, rules: Iterable[str], names: Iterable[str]) -> None:
    """Tune and run the peers, and keep the results; those that are there already stay."""
    kept = _kept()
    for rule in rules:
        for name in names:
            if kept.get(rule, {}).get(name, {}).get("code") == digest(rule):
                continue
            choice = tuned(bench, name, rule)
            rows = [list(map(_finite, each)) for each in results(bench, name, choice)]
            entry = {"code": digest(rule), "choice": [choice.rule, choice.knobs], "results": rows}
            kept.setdefault(rule, {})[name] = entry
            KEPT.write_text(_written(kept), encoding="utf-8")
            print(rule, name, choice, flush=True)


def _finite(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def _written(kept: dict[str, dict[str, Any]]) -> str:
    """Return the results as JSON, a line for each peer and workload."""
    peers = (
        f' "{rule}": {{\n'
        + ",\n".join(f'  "{name}": {json.dumps(entry)}' for name, entry in by_name.items())
        + "\n }"
        for rule, by_name in kept.items()
    )
    return "{\n" + ",\n".join(peers) + "\n}\n"


def _read(entry: dict[str, Any]) -> list[Result]:
    """Return the results of a peer on a workload; what is not finite is not in the file."""
    return [Result(*(math.inf if x is None else x for x in row)) for row in entry["results"]]


class Rival(NamedTuple):
    """The peer with the least CT on a workload, and ours against it by seed."""

    rule: str
    ct: float
    ours: Paired


def rival(name: str, ours: list[Result], kept: dict[str, dict[str, Any]]) -> Rival | None:
    """Return the best peer on a workload, None if none was run on it."""
    found = []
    for rule, by_name in kept.items():
        if name not in by_name:
            continue
        theirs = _read(by_name[name])
        found.append(Rival(rule, mean_ct(theirs), _against(ours, theirs)))
    return min(found, key=lambda each: each.ct, default=None)


def _against(ours: list[Result], theirs: list[Result]) -> Paired:
    """Return our CT by theirs; a mean over other seeds has no interval."""
    if len(ours) == len(theirs):
        return paired([each.ct for each in ours], [each.ct for each in theirs])
    return Paired(mean_ct(ours) / mean_ct(theirs), 0.0, math.inf)


def mean_ct(found: Iterable[Result]) -> float:
    """Return the geometric mean of CT."""
    logs = [each.ct for each in found]
    return math.exp(sum(logs) / len(logs))


def table(bench: Bench) -> Iterator[tuple[float, Rival | None]]:
    """Print a line for each workload; yield our CT and the best peer."""
    kept = _kept()
    print("workload, our makespan/T*, charged/CH*, CT and mean flow time in minutes;")
    print("the best peer, its CT, and ours divided by it with its 95 % interval")
    for name in SCENARIOS:
        ours = results(bench, name, Choice(OURS))
        best_peer = rival(name, ours, kept)
        time, charge, flow_s = (sum(column) / len(ours) for column in zip(*ours, strict=True))
        line = f"{name:14} {math.exp(time):6.3f} {math.exp(charge):6.3f} {mean_ct(ours):6.3f}"
        line += f" {flow_s / 60:6.1f}"
        if best_peer:
            ratio, low, high = best_peer.ours
            line += f"   {best_peer.rule:12} {best_peer.ct:6.3f}  {ratio:.3f}"
            line += f" [{low:.3f}, {high:.3f}]" if low else ""
        print(line, flush=True)
        yield mean_ct(ours), best_peer


def main() -> None:
    bench = Bench(os.cpu_count() or 1)
    if "--peers" in sys.argv[1:]:
        rules = [each for each in sys.argv[1:] if each in RULES]
        names = [each for each in sys.argv[1:] if each in SCENARIOS]
        make_peers(bench, rules or RULES, names or list(SCENARIOS))
        return
    rows = list(table(bench))
    kept = _kept()
    old = [
        rule
        for rule, by in kept.items()
        if {each["code"] for each in by.values()} != {digest(rule)}
    ]
    if old:
        print(f"other code made the figures of {', '.join(old)}: see --peers")
    cts = [ct for ct, _ in rows]
    headline = math.exp(sum(map(math.log, cts)) / len(cts))
    rivals = [best_peer for _, best_peer in rows if best_peer]
    won = sum(best_peer.ours.ratio < 1 for best_peer in rivals)
    print(f"scaling-quality workloads {len(rows)}, {len(rivals)} of them with peers")
    print(f"scaling-quality geometric_mean_ct {headline:.3f}")
    print(f"scaling-quality workloads_won {won}")


if __name__ == "__main__":
    main()
