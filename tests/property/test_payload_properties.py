"""Whatever a command, a file name or a variable contains, it arrives without a change of a byte."""

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.staging import commit_outputs as commit
from snakemake_executor_plugin_osgpilot.staging import job_archive as stage
from snakemake_executor_plugin_osgpilot.staging.payload import Payload, exports

TRICKY = st.sampled_from([*"'\"$`\\;&|<>(){}[]*?!#~=%^ \t\n\r,:+-@é☃", "$(x)", "${x}", "--", "\\0"])
texts = st.lists(TRICKY | st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(
    "".join
)
names = texts.map(lambda text: text.replace("/", "_")[:60]).filter(
    lambda text: text not in ("", ".", "..") and not text.startswith("osgpilot-")
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def travel(payload: Payload, workdir: Path) -> None:
    """Stage, run as HTCondor would, and commit."""
    run, node = workdir / ".run", workdir / ".node"
    job = run / "jobs" / "1"
    stage.pack(payload, run, workdir).write(job)
    shutil.copytree(job / "osgpilot-in", node)
    status = subprocess.run(["/bin/bash", "osgpilot-job"], cwd=node, timeout=60, check=False)
    shutil.copytree(node / "osgpilot-out", job / "osgpilot-out")
    commit.commit(payload, job, workdir, status.returncode)


@settings(max_examples=60)
@given(path=paths, value=texts, argument=texts, packed=st.booleans())
def test_names_values_and_commands_arrive_unchanged(path, value, argument, packed):
    limit = stage.PACKED_MAX_BYTES if packed else -1
    packing = mock.patch.object(stage, "PACKED_MAX_BYTES", limit)
    with packing, tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        source = workdir / "data" / path
        source.parent.mkdir(parents=True)
        source.write_text(argument, newline="")
        target = f"out/{path}"
        command = (
            f'{{ printf "%s" "$VALUE"; printf "%s" {shlex.quote(argument)}; '
            f"cat {shlex.quote(f'data/{path}')}; }} > {shlex.quote(target)}\n"
        )
        script = f"{exports({'VALUE': value})}set -euo pipefail; {command}"
        payload = Payload((script,), "bash", (f"data/{path}",), (target,), ())
        travel(payload, workdir)
        assert (workdir / target).read_bytes().decode() == value + argument + argument
