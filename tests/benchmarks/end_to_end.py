"""Many short jobs from start to finish: HTCondor by hand, osgpilot, and the plugins of others.

Runs inside the local pool. Each side counts from nothing to the last result: pilots of the same
number and kind are started with it (the Slurm plugin needs none), and Snakemake's own start and end
are on top. Those that start Snakemake once per job get fewer jobs, and are compared with as many
jobs by hand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from contenders import (
    BARE_LOG,
    BUNDLED,
    CORES,
    DIRECT,
    NAP_S,
    OTHER_PLUGINS,
    PYTHON_SCRIPT,
    SAID,
    Contender,
    Count,
    pilots,
    prepare,
    submit_bare,
)

PATIENCE_S = 900
_TERMINATED, _HELD = "\n005 (", "\n012 ("


def bare(
    folder: Path, jobs: int, pilot_count: int, *, has_script: bool = False, nap_s: float = NAP_S
) -> float:
    """Return the seconds HTCondor takes for the same jobs on the same pilots."""
    seat = prepare(folder, jobs, nap_s=nap_s)
    ended, held = (Count(folder, BARE_LOG, text) for text in (_TERMINATED, _HELD))
    begun = time.monotonic()
    submit_bare(folder, seat, jobs, has_script=has_script, nap_s=nap_s)
    with pilots(folder, seat, pilot_count):
        while ended() < jobs:
            assert not held(), (folder / BARE_LOG).read_text()[-2000:]
            assert time.monotonic() - begun < PATIENCE_S
            time.sleep(0.1)
        spent_s = time.monotonic() - begun
    assert len(list((folder / "out").iterdir())) == jobs
    return spent_s


def by_snakemake(
    contender: Contender, folder: Path, jobs: int, pilot_count: int, *, nap_s: float = NAP_S
) -> float:
    """Return the seconds a whole call of Snakemake takes."""
    seat = prepare(folder, jobs, has_script=contender.has_script, nap_s=nap_s)
    begun = time.monotonic()
    with pilots(folder, seat, pilot_count) if contender.needs_pilots else nullcontext():
        status = contender.start(folder, seat, pilot_count).wait(PATIENCE_S)
        spent_s = time.monotonic() - begun
    assert status == 0, (folder / SAID).read_text()[-5000:]
    assert len(list((folder / "out").iterdir())) == jobs
    return spent_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--slow-jobs", type=int, help="for those that need it; a tenth by default")
    parser.add_argument("--pilots", type=int, default=2)
    parser.add_argument("--only-script", action="store_true", help="leave out all but scripts")
    arguments = parser.parse_args()
    slow = arguments.slow_jobs or max(1, arguments.jobs // 10)

    with tempfile.TemporaryDirectory() as place:

        def seconds(
            name: str, jobs: int, contender: Contender | None = None, *, has_script: bool = False
        ) -> float:
            folder = Path(place) / name
            if contender is None:
                spent_s = bare(folder, jobs, arguments.pilots, has_script=has_script)
            else:
                spent_s = by_snakemake(contender, folder, jobs, arguments.pilots)
            print(f"end-to-end {name}_s {spent_s:.1f}", flush=True)
            return spent_s

        def ratio_to(bare_s: float, name: str, jobs: int, contender: Contender) -> float:
            return seconds(f"{name}_{jobs}_jobs", jobs, contender) / bare_s

        bare_s = seconds(f"bare_htcondor_script_{slow}_jobs", slow, has_script=True)
        by_script = ratio_to(bare_s, "osgpilot_script", slow, PYTHON_SCRIPT)
        print(f"end-to-end script_ratio_to_bare_htcondor {by_script:.2f}", flush=True)
        if arguments.only_script:
            return
        bare_s = seconds(f"bare_htcondor_{arguments.jobs}_jobs", arguments.jobs)
        alone = ratio_to(bare_s, "osgpilot_without_bundles", arguments.jobs, DIRECT)
        ours = ratio_to(bare_s, "osgpilot", arguments.jobs, BUNDLED)
        ideal_s = NAP_S * arguments.jobs / (CORES * arguments.pilots)
        to_ideal = ours * bare_s / ideal_s
        bare_s = seconds(f"bare_htcondor_{slow}_jobs", slow)
        ratios = {each.name: ratio_to(bare_s, each.name, slow, each) for each in OTHER_PLUGINS}
    for name, ratio in ratios.items():
        print(f"end-to-end ratio_{name} {ratio:.2f}")
    print(f"end-to-end ratio_to_bare_htcondor_without_bundles {alone:.2f}")
    print(f"end-to-end ratio_to_ideal {to_ideal:.2f}")
    print(f"end-to-end ratio_to_bare_htcondor {ours:.2f}")


if __name__ == "__main__":
    main()
