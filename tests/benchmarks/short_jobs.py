"""Thousands of jobs of hardly any length: HTCondor by hand, and osgpilot, which bundles them.

Runs inside the local pool. By hand, a tenth of the jobs is run, and what they take beyond the start
of the pilots counts ten times: HTCondor starts them at a steady rate.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from contenders import BUNDLED
from end_to_end import bare, by_snakemake

NAP_S = 0.05
SHARE = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--pilots", type=int, default=2)
    arguments = parser.parse_args()
    jobs, pilots = arguments.jobs, arguments.pilots

    with tempfile.TemporaryDirectory() as place:
        one_s = bare(Path(place) / "one", pilots, pilots, nap_s=NAP_S)
        some_s = bare(Path(place) / "bare", max(1, jobs // SHARE), pilots, nap_s=NAP_S)
        bare_s = one_s + SHARE * max(0.0, some_s - one_s)
        print(f"short-jobs bare_htcondor_scaled_{jobs}_jobs_s {bare_s:.1f}", flush=True)
        ours_s = by_snakemake(BUNDLED, Path(place) / "ours", jobs, pilots, nap_s=NAP_S)
        print(f"short-jobs osgpilot_{jobs}_jobs_s {ours_s:.1f}", flush=True)
    print(f"short-jobs ratio_to_bare_htcondor {ours_s / bare_s:.2f}")


if __name__ == "__main__":
    main()
