"""A stand-in for Apptainer, to count what is made."""

import os

import pytest


@pytest.fixture
def apptainer(tmp_path, monkeypatch):
    """Installs a program in place of Apptainer, which counts its calls."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def install(then='for last; do image=$recipe recipe=$last; done; cp "$recipe" "$image"'):
        program = programs / "apptainer"
        program.write_text(f"#!/bin/sh\necho called >> {tmp_path}/calls\nrecipe=\n{then}\n")
        program.chmod(0o755)
        return lambda: len((tmp_path / "calls").read_text().splitlines())

    return install
