"""The image with Snakemake for real sites: calls of Apptainer, and caching."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError, MissingPrerequisiteError
from snakemake_executor_plugin_osgpilot.runtime_image import build
from snakemake_executor_plugin_osgpilot.runtime_image.definition import definition, pins, source

INSTALLED = {
    "snakemake": "9.27.1",
    "Snakemake_Interface.common": "1.23.0",
    "snakemake-storage-plugin-s3": "0.3.4",
    "snakemake-executor-plugin-osgpilot": "0.1.0",
    "numpy": "2.3.0",
}
FAKE = """\
#!/bin/sh
echo "INFO:    Starting build..."
{more}
/bin/cp "$4" "$3"
"""


def test_only_snakemake_its_interfaces_and_storage_plugins_are_pinned():
    assert pins(INSTALLED) == [
        "snakemake==9.27.1",
        "snakemake-interface-common==1.23.0",
        "snakemake-storage-plugin-s3==0.3.4",
    ]


@pytest.mark.parametrize("version", ["9.27.1+3.gabcdef", "9.27.1; rm -rf /", ""])
def test_what_pip_cannot_get_is_refused(version: str):
    with pytest.raises(MissingPrerequisiteError, match="not a release"):
        pins({"snakemake": version})


def test_without_snakemake_there_is_nothing_to_build():
    with pytest.raises(MissingPrerequisiteError, match="pip install snakemake"):
        pins({"numpy": "2.3.0"})


def test_the_definition_names_base_and_packages():
    text = definition(("docker", "python:3.13-slim"), ["snakemake==9.27.1", "a==1"])
    assert text.startswith("Bootstrap: docker\nFrom: python:3.13-slim\n%post\n")
    assert "    python -m pip install --no-cache-dir snakemake==9.27.1 a==1\n" in text


@pytest.mark.parametrize("scheme", ["docker", "oras", "library"])
def test_a_base_of_a_registry_is_taken_as_it_is(scheme: str):
    assert source(f"{scheme}://h.example:5000/a/b:1.2") == (scheme, "h.example:5000/a/b:1.2")


def test_a_local_base_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my base.sif").touch()
    monkeypatch.chdir(tmp_path)
    assert source("my base.sif") == ("localimage", str(tmp_path.resolve() / "my base.sif"))


@pytest.mark.parametrize("base", ["docker://a\n%post", "http://h/a.sif", "none.sif"])
def test_a_base_that_is_nowhere_is_refused(base: str):
    with pytest.raises(InputError, match="no such file"):
        source(base)


def test_a_path_that_apptainer_would_change_is_refused(tmp_path: Path):
    (tmp_path / "{{x}}").touch()
    with pytest.raises(InputError, match="rename"):
        source(str(tmp_path / "{{x}}"))


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "INFO: Starting\nCollecting snakemake\nERROR: No matching distribution\n"
            "FATAL:   While performing build: while running engine: exit status 1\n",
            "ERROR: No matching distribution",
        ),
        (
            "INFO: Starting\n.post.script: 2: python: not found\n"
            "FATAL:   While performing build: while running engine: exit status 127\n",
            ".post.script: 2: python: not found",
        ),
        (
            "FATAL:   While performing build: conveyor failed to get: no host\n",
            "FATAL: While performing build: conveyor failed to get: no host",
        ),
        ("", "no output"),
    ],
)
def test_the_most_relevant_line_of_a_log_is_shown(log: str, words: str):
    assert build.why(log) == words


@pytest.fixture
def apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of Apptainer, whose images are the definitions."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "apptainer"
    program.write_text(FAKE.format(more=""))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    return program


def test_an_image_is_built_once_for_each_base(apptainer: Path, tmp_path: Path):
    first = build.make("docker://python:3.13-slim", None)
    apptainer.unlink()
    assert build.make("docker://python:3.13-slim", None) == first
    copy = build.make("docker://python:3.13-slim", tmp_path / "runtime.sif")
    assert copy.read_text() == first.read_text()
    with pytest.raises(MissingPrerequisiteError, match="no apptainer here"):
        build.make("docker://python:3.12-slim", None)


def test_a_changed_local_base_rebuilds_the_image(apptainer: Path, tmp_path: Path):
    base = tmp_path / "base.sif"
    base.write_text("1")
    first = build.make(str(base), None)
    base.write_text("22")
    assert build.make(str(base), None) != first


def test_a_failed_build_leaves_no_image_and_names_the_log(apptainer: Path, tmp_path: Path):
    apptainer.write_text(FAKE.format(more='echo "ERROR: broken"; : > "$3"; exit 1'))
    with pytest.raises(MissingPrerequisiteError, match=r"ERROR: broken; all of it is in .*\.log"):
        build.make("docker://python:3.13-slim", None)
    left = {path.suffix for path in (tmp_path / "cache" / "runtime").iterdir()}
    assert not left & {".sif", ".part"}


def test_an_unwritable_output_fails_before_the_build(tmp_path: Path):
    with pytest.raises(InputError, match="--output"):
        build.make("docker://python:3.13-slim", tmp_path / "none" / "runtime.sif")
