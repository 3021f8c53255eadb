"""Whatever a wildcard contains, the Snakemake on the execution point sees it unchanged."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from property.test_payload_properties import names
from snakemake_interface_executor_plugins.utils import (
    TargetSpec,
    encode_target_jobs_cli_args,
    format_cli_arg,
)

from snakemake_executor_plugin_osgpilot.staging.via_snakemake import via_entry

SNAKEFILE = """
rule one:
    output: "one/{n}/{w}"
    shell: "printf %s {wildcards.w:q} > {output:q}"

rule two:
    output: "two/{n}/{w}"
    run:
        with open(output[0], "w", newline="") as made:
            made.write(wildcards.w)
"""


def run_snakemake(folder: Path, specs: list[TargetSpec]) -> None:
    """Start the real Snakemake by the script that travels."""
    targets = format_cli_arg("--target-jobs", encode_target_jobs_cli_args(specs))
    command = f"python -m snakemake {targets} --cores 2 --nolock --quiet all --mode remote"
    workflow = SimpleNamespace(
        dag=SimpleNamespace(get_unneeded_temp_files=lambda job: ()),
        config_settings=SimpleNamespace(config_args=()),
    )
    job = SimpleNamespace(get_target_spec=lambda: specs, is_group=lambda: True, toposorted=[])
    python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}\n'
    script = python + via_entry(command, job, workflow)
    environment = {**os.environ, "HOME": str(folder)}
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment, check=True, timeout=120)


# every example starts Snakemake: few of them, with many wildcards each
@settings(max_examples=2, phases=[Phase.generate])
@given(values=st.lists(names, min_size=20, max_size=40))
def test_wildcards_arrive_unchanged_at_another_snakemake(values):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "Snakefile").write_text(SNAKEFILE)
        specs = [
            SimpleNamespace(
                rulename=("one", "two")[n % 2], wildcards_dict={"n": str(n), "w": value}
            )
            for n, value in enumerate(values)
        ]
        run_snakemake(folder, specs)
        for n, value in enumerate(values):
            made = folder / ("one", "two")[n % 2] / str(n) / value
            assert made.read_bytes().decode() == value
