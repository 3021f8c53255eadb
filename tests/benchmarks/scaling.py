"""Match of pilots and demand: four workflows of different form, each judged by its own record.

Runs inside the local pool. `bound` is the time that no number of pilots can beat: the first pilot's
way to the pool, then the longest chain of jobs or the work shared by all cores allowed. Prints a
table; the last lines read `scaling NAME_METRIC value`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from conftest import SITE
from test_scaling import ROUNDS

from snakemake_executor_plugin_osgpilot.report.locate import Watched, find
from snakemake_executor_plugin_osgpilot.report.summary import view

BAG = """
rule all:
    input: expand("out/{n}", n=range(200))
rule nap:
    output: "out/{n}"
    resources: runtime=5
    shell: "sleep 3; touch {output}"
"""
MIXED = """
rule all:
    input: expand("small/{n}", n=range(60)), expand("big/{n}", n=range(12))
rule small:
    output: "small/{n}"
    resources: runtime=5
    shell: "sleep 3; touch {output}"
rule big:
    output: "big/{n}"
    threads: 4
    resources: mem_mb=3000, runtime=5
    shell: "sleep 6; touch {output}"
"""
TAIL = """
rule all:
    input: expand("out/{n}", n=range(60))
rule nap:
    output: "out/{n}"
    resources: runtime=5
    params: seconds=lambda w: 45 if int(w.n) % 20 == 7 else 3
    shell: "sleep {params.seconds}; touch {output}"
"""
WORKFLOWS = {"bag": BAG, "rounds": ROUNDS, "mixed": MIXED, "tail": TAIL}


def measure(snakefile: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """Run a workflow and return its record."""
    (folder / "site.yaml").write_text(yaml.safe_dump(SITE))
    (folder / "Snakefile").write_text(snakefile)
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--executor", "osgpilot", "--jobs", "unlimited",
            "--osgpilot-offload", "always", "--osgpilot-project", "TestProject",
            "--osgpilot-site", "site.yaml",
            "--osgpilot-max-pilots", "4", "--shared-fs-usage", "none",
            "--max-jobs-per-timespan", "100000/1s", "--seconds-between-status-checks", "1",
            "--default-resources", "mem_mb=500", "disk_mb=100", *options,
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    return view(Watched(find(folder)).look(), time.time(), alive=False).plain()


def report(name: str, record: dict[str, Any]) -> None:
    pilots = [pilot for pilot in record["pilots"] if pilot["charged_s"] > 0]
    figures = {
        "pilots": len(pilots),
        "never_used": record["pilots_never_used"],
        "makespan_s": round(record["makespan_s"], 1),
        "bound_s": round(record["bound_s"], 1),
        "makespan_ratio": round(record["makespan_s"] / record["bound_s"], 2),
        "charged_core_h": round(record["charged_core_h"], 3),
        "useful_core_h": round(record["used_core_h"], 3),
        "charged_ratio": round(record["charged_core_h"] / record["used_core_h"], 2),
    }
    for metric, value in figures.items():
        print(f"scaling {name}_{metric} {value}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=WORKFLOWS, action="append")
    parser.add_argument("--cost-weight", default="0.5")
    arguments = parser.parse_args()
    for name in arguments.only or WORKFLOWS:
        with tempfile.TemporaryDirectory() as folder:
            options = ["--osgpilot-cost-weight", arguments.cost_weight]
            report(name, measure(WORKFLOWS[name], Path(folder), options))


if __name__ == "__main__":
    main()
