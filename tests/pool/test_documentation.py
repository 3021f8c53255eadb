"""The pages of the documentation, followed by somebody who types every command in them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from documentation import PAGES, ROOT, Block, blocks

from .conftest import SITE, Pool, until

PATIENCE_S = 480
PROFILE = ROOT / "example-workflow/profiles/default/profile.v9+.yaml"
FOLLOWED = [
    page
    for page in PAGES
    if any(block.language == "sh" and not block.note for block in blocks(page))
]


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_whoever_follows_the_page_gets_there(pool: Pool, page: Path):
    """Commands run in one folder in the order of the page; files it shows are written before."""
    folder = pool.work / page.stem
    (folder / "profiles/default").mkdir(parents=True)
    shutil.copy(PROFILE, folder / "profiles/default")
    (folder / "site.yaml").write_text(yaml.safe_dump(SITE))
    for block in blocks(page):
        if block.language != "sh" and block.note:
            (folder / block.note).write_text(block.text)
        elif block.language == "sh" and block.note == "killed":
            start_and_kill(pool, folder, block)
        elif block.language == "sh" and not block.note.startswith("elsewhere"):
            done = pool.run("timeout", f"{PATIENCE_S}", "bash", "-euc", block.text, folder=folder)
            status = int(block.note.removeprefix("exits ") or 0)
            assert done.returncode == status, f"{block}: {block.text}{done.stdout}{done.stderr}"


def start_and_kill(pool: Pool, folder: Path, block: Block) -> None:
    """Kill what a block has started as soon as a job of it runs."""
    line = pool.argv("bash", "-euc", block.text, folder=folder)
    with (folder / "killed.log").open("w") as log:
        process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)

    def job_runs() -> bool:
        assert process.poll() is None, f"{block}: {(folder / 'killed.log').read_text()}"
        # a schedd that is busy may not answer in time
        return "2" in pool.run("condor_q", "-af", "JobStatus").stdout.split()

    until(job_runs, 90, "a running job")
    # not every word of it: what pilots are called with has the run's folder, .snakemake/..., in it
    pool.run("pkill", "-KILL", "-u", "alice", "-f", "bin/snakemake")
    process.wait(PATIENCE_S)
