"""A large conda environment: to make, to pack, to send, and to start in, beside a plain container.

Runs inside the local pool. The real files of two jobs, one in an environment and one in the
container that this is packed on, are started here by turns as HTCondor starts them: from the start
of the container to the job's first command. The jobs themselves run on the pool.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from conda_channel import JOB_IMAGE, Channel, add_programs, install_conda
from conftest import Workflow, jobs_in_queue, until

TRIES = 15
_MB = 1024 * 1024

SNAKEFILE = """
N = int(config["jobs"])

rule all:
    input: "plain.txt", expand("many/{n}.txt", n=range(N))

rule plain:
    output: "plain.txt"
    resources: container_image="/opt/sif/job.sif"
    shell: "date +%s.%N > {output}"

rule many:
    output: "many/{n}.txt"
    conda: "envs/large.yaml"
    resources: container_image="/opt/sif/job.sif"
    shell: "date +%s.%N > {output}"
"""


def say(metric: str, value: float) -> None:
    print(f"software {metric} {value:.1f}", flush=True)


def started_s(job: Path, image: str) -> float:
    """Return the time from the start of a job's container to its first command."""
    with tempfile.TemporaryDirectory(dir=job.parent) as scratch:
        shutil.copytree(job, scratch, dirs_exist_ok=True)
        command = ["apptainer", "exec", "--contain", "--cleanenv", "--no-home"]
        command += ["--bind", f"{scratch}:/srv", "--pwd", "/srv", image]
        begun_s = time.time()
        subprocess.run([*command, "/bin/bash", "osgpilot-job"], check=True, capture_output=True)
        (output,) = Path(scratch, "osgpilot-out").rglob("*.txt")
        return float(output.read_text()) - begun_s


def forms(prefix: Path, place: Path) -> None:
    """Measure other forms in which an environment could travel."""
    sizes = {}
    squashfs = place / "env.squashfs"
    level = ["-comp", "gzip", "-Xcompression-level", "1", "-no-progress"]
    for name, file, command in (
        ("squashfs", squashfs, ["mksquashfs", str(prefix), str(squashfs), *level]),
        ("tar", place / "env.tgz", ["tar", "-C", str(prefix), "-I", "gzip -1", "-cf"]),
    ):
        begun_s = time.monotonic()
        full = command if name == "squashfs" else [*command, str(file), "."]
        subprocess.run(full, check=True, capture_output=True)
        say(f"{name}_made_s", time.monotonic() - begun_s)
        sizes[name] = file.stat().st_size
        say(f"{name}_mb", sizes[name] / _MB)
    begun_s = time.monotonic()
    (place / "unpacked").mkdir()
    subprocess.run(
        ["tar", "-C", str(place / "unpacked"), "-xf", str(place / "env.tgz")], check=True
    )
    say("tar_unpacked_s", time.monotonic() - begun_s)
    overlay = ["apptainer", "exec", "--overlay", f"{squashfs}:ro", JOB_IMAGE, "true"]
    times = []
    for _ in range(TRIES):
        begun_s = time.monotonic()
        if subprocess.run(overlay, capture_output=True).returncode != 0:
            print("software squashfs overlay: not possible here", flush=True)
            break
        times.append(time.monotonic() - begun_s)
    else:
        say("squashfs_overlay_start_ms", 1000 * statistics.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(dir=Path.home()) as place:
        measure(Path(place), jobs)


def measure(place: Path, jobs: int) -> None:
    channel = Channel(place / "channel")
    add_programs(channel, place, large=True)
    os.environ["PATH"] = (
        f"{install_conda(place)}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    os.environ["OSGPILOT_CACHE"] = str(place / "cache")
    folder = place / "flow"
    (folder / "envs").mkdir(parents=True)
    needs = (
        f"channels: [file://{place}/channel, nodefaults]\ndependencies: [r, tools, python, stamp]\n"
    )
    (folder / "envs/large.yaml").write_text(needs)
    flow = Workflow(folder)
    flow.snakefile(SNAKEFILE)
    begun_s = time.monotonic()
    flow.start("--sdm", "conda", "--config", f"jobs={jobs}")
    images = place / "cache/environments"
    until(lambda: list(folder.glob(".snakemake/conda/*_.env_setup_done")), "the environment", 600)
    say("created_s", time.monotonic() - begun_s)
    begun_s = time.monotonic()
    until(lambda: list(images.glob("conda-*.sif")), "the image", 600)
    say("packed_s", time.monotonic() - begun_s)
    (image,) = images.glob("conda-*.sif")
    (prefix,) = (each for each in folder.glob(".snakemake/conda/*_") if each.is_dir())
    say("environment_mb", sum(e.lstat().st_size for e in prefix.rglob("*") if e.is_file()) / _MB)
    say("image_mb", image.stat().st_size / _MB)
    say("base_mb", Path(JOB_IMAGE).stat().st_size / _MB)

    until(lambda: len(jobs_in_queue()) > 2, "the jobs in the queue")
    inputs = [
        each.parent for each in folder.glob(".snakemake/osgpilot/*/jobs/*/osgpilot-in/osgpilot-job")
    ]
    chosen: dict[bool, Path] = {}
    for number, each in enumerate(inputs):
        is_plain = b"plain.txt" in (each / "osgpilot-job").read_bytes()
        if is_plain not in chosen:
            chosen[is_plain] = place / f"job{number}"
            shutil.copytree(each, chosen[is_plain])
    assert flow._process
    assert flow._process.wait(900) == 0, flow.said
    (log,) = folder.glob(".snakemake/osgpilot/*/jobs.log")
    sent = log.read_text().count("Started transferring common files")
    asked = ["condor_history", "-json", "-constraint"]
    asked.append(f'OSGPilotWorkflow == "{log.parent.name}"')
    ads = json.loads(subprocess.check_output(asked, text=True))
    many = [ad for ad in ads if ad["TotalSubmitProcs"] > 1]
    say("bytes_per_job", statistics.mean(ad["BytesRecvd"] for ad in many))
    say("images_sent", sent)
    say("pilots", len({ad["LastRemoteHost"].partition("@")[2] for ad in many}))

    forms(prefix, place)
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(TRIES):
        for is_plain, job in chosen.items():
            taken[is_plain].append(started_s(job, JOB_IMAGE if is_plain else str(image)))
    plain_s, there_s = (statistics.median(taken[each]) for each in (True, False))
    say("start_ms_in_container", 1000 * plain_s)
    say("start_ms_in_environment", 1000 * there_s)
    print(f"software start_ms_above_container {1000 * (there_s - plain_s):.0f}")


if __name__ == "__main__":
    main()
