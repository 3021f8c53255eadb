"""A disk that is really full: one line, and nothing half-made is left or used."""

import subprocess
import sys
import tarfile

import pytest

from snakemake_executor_plugin_osgpilot.common import private_files

TRY = """
import sys
from pathlib import Path
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.runtime_image import conda, packing

what, given, cache = sys.argv[1], Path(sys.argv[2]), packing.images()
packing._ROOM = 0  # the disk may be filled by others after that check
conda.minimal = lambda: {}
try:
    if what == "archive":
        conda.received("k", given, "envs/x.yaml")
    else:
        made = conda.seen("k", given, "envs/x.yaml")
        conda.make([made], "", lambda text: None, lambda each: each)
except OsgpilotError as error:
    print(error)
left = {path.name for path in cache.iterdir()} - {".lock"}
print(*sorted(path for path in left if not path.endswith(".json")), sep="\\n")
print(conda.find([conda.Environment("k", str(given), "")], ""))
"""


@pytest.fixture
def environment(tmp_path):
    """A folder with an environment of 12 MB."""
    folder = tmp_path / "environment"
    (folder / "conda-meta").mkdir(parents=True)
    (folder / "lib").mkdir()
    for number in range(12):
        (folder / f"lib/{number}").write_bytes(bytes([number]) * (1 << 20))
    return folder


@pytest.mark.parametrize("what", ["archive", "folder"])
def test_nothing_is_left_of_what_a_full_disk_stopped(environment, tmp_path, apptainer, what):
    apptainer()
    given, cache = environment, tmp_path / "cache"
    cache.mkdir(private_files.FOLDER_MODE)
    if what == "archive":
        given = tmp_path / "environment.tar.gz"
        with tarfile.open(given, "w:gz") as archive:
            archive.add(environment, ".")
    mounted = f'mount -t tmpfs -o size=6m none "{cache}" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "-"]
    command += ["env", f"OSGPILOT_CACHE={cache}", sys.executable, "-c", TRY, what, str(given)]
    done = subprocess.run(command, capture_output=True, text=True)
    said, *rest = done.stdout.splitlines()
    assert said == (
        f"there is no space left in {cache}/environments to pack the conda environment "
        "envs/x.yaml: free some, or set OSGPILOT_CACHE to another folder"
    ), done.stderr
    assert rest == ["", "None"]
