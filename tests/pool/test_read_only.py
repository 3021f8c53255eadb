"""A working folder whose file system is mounted so that nothing can be written."""

import yaml

from .conftest import SITE, SNAKEMAKE, Pool

READ_ONLY = """
mount --bind "$1" "$1"
flags=$(findmnt --noheadings --output OPTIONS --mountpoint "$1" | tr , '\\n' |
    grep -xE 'nodev|nosuid|noexec|[a-z]*atime' | paste -sd ,)
mount -o "remount,bind,ro${flags:+,$flags}" "$1"
"""
"""Mounts a folder read-only; flags that it has already cannot be dropped in a user namespace."""


def test_a_journal_that_cannot_be_written_is_one_clear_line_and_nothing_is_submitted(pool: Pool):
    folder = pool.work / "workflow"
    folder.mkdir()
    (folder / "site.yaml").write_text(yaml.safe_dump(SITE))
    (folder / "Snakefile").write_text('rule all:\n    output: "out"\n    shell: "touch {output}"\n')
    runs = folder / ".snakemake/osgpilot"
    pool.say("mkdir", "-p", str(runs))
    pool.say("sh", "-euc", READ_ONLY, "-", str(runs), user="root")

    done = pool.run(*SNAKEMAKE, folder=folder)
    assert done.returncode == 1
    (line,) = (each for each in done.stderr.splitlines() if "Read-only" in each)
    assert f"{runs}/starting: Read-only file system; a run keeps its journal there" in line
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()
    assert pool.say("squeue", "--noheader", "--states=all") == ""
    assert pool.say("condor_q", "-allusers", "-af", "ClusterId") == ""
