"""The published packages, built once: a wheel and a source distribution."""

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import copy_tracked

OURS = ("OSGPILOT", "PYTHON")
# what is not imported need not be compiled
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")


@dataclass(frozen=True)
class Environment:
    """A Python environment beside that of the tests."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    def run(self, *argv: object, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in no checkout and with no setting of ours."""
        path = f"{self.folder}/bin:/usr/bin:/bin"
        own = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        program = self.folder / "bin" / str(argv[0])
        done = subprocess.run(
            [program, *map(str, argv[1:])],
            env=own | {"PATH": path}, capture_output=True, text=True, check=False, **options,
        )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def install(self, *packages: object) -> None:
        self.run("python", *INSTALL, *packages)

    def copy_to(self, folder: Path) -> "Environment":
        """Return a copy, whose programs start the Python of their own folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        here, there = (str(each).encode() for each in (self.folder, folder))
        for program in (folder / "bin").iterdir():
            if not program.is_symlink():
                program.write_bytes(program.read_bytes().replace(here, there))
        return Environment(folder)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder with wheel and source distribution, made from what git tracks."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    copy_tracked(source)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", target, source], check=True, capture_output=True
    )
    return target


@pytest.fixture(scope="session")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Return an environment with the wheel and what that asks for, nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    environment = Environment(folder)
    environment.install(wheel)
    return environment
