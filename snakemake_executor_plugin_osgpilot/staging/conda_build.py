"""The job that makes a conda environment in a pilot, and sends it back as an archive."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from ..htcondor.submit_description import claimed_memory_mb
from ..model.resources import JobClass, Request, Shape
from ..runtime_image.conda import Environment, activation, prefix_for
from .container_image import Image
from .payload import Payload

ARCHIVE = "environment.tar.gz"

MEMORY_MB, DISK_MB = 3000, 8000
"""The request of such a job: enough for solvers and packages of usual environments."""


@dataclass(frozen=True)
class CondaBuild:
    """An environment to be made for the first rule that needs it, in the container `image`.

    `file`, `pins` and `deploy` are the contents of its environment file, of the list of packages
    and of the script beside it, the last two empty without these.
    """

    key: str
    name: str
    rule: str
    image: str
    file: bytes
    pins: bytes = b""
    deploy: bytes = b""

    def request(self, image: Image) -> Request:
        """Return what the job asks for; `image` is its image."""
        shape = Shape(1, claimed_memory_mb(MEMORY_MB), DISK_MB + image.size_mb)
        return Request(JobClass(shape), image.name, image.transferred)

    def payload(self) -> Payload:
        """Return the job."""
        return Payload((self.script(),), "bash", (), (ARCHIVE,), ())

    def script(self) -> str:
        """Return the commands of the job: those that Snakemake itself gives to conda."""
        prefix = prefix_for(self.key)
        version = (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
        lines = [
            f"prefix={shlex.quote(prefix)} glibc={shlex.quote(version)} archive={ARCHIVE}",
            _BEGIN,
            _written("environment.yaml", self.file),
        ]
        if self.pins:
            lines += [_written("environment.pin.txt", self.pins), _PINNED]
        else:
            lines.append("create environment.yaml || exit")
        if self.deploy:
            begin = self.deploy.partition(b"\n")[0]
            shebang = os.fsdecode(begin[2:]).strip() if begin.startswith(b"#!") else ""
            active = activation(Environment("", prefix, self.name), self.rule)
            lines.append(_written("post-deploy.sh", self.deploy))
            lines.append(f"({active}{shebang or 'sh'} ./post-deploy.sh) || exit")
        return "\n".join([*lines, _END])


def _written(name: str, content: bytes) -> str:
    return f"printf %s {shlex.quote(os.fsdecode(content))} > {name} || exit"


_BEGIN = """
packages=$prefix.packages
fail() { printf 'osgpilot: %s\\n' "$*" >&2; exit 1; }
trap 'rm -rf -- "$prefix" "$packages"' EXIT
rm -rf -- "$prefix" "$packages"
[ ! -e "$prefix" ] && [ ! -L "$prefix" ] || fail "$prefix is taken by others on this node"
# beside the environment, so that files are linked and not copied
export CONDA_PKGS_DIRS=$packages MAMBA_ROOT_PREFIX=$packages/mamba
export CONDA_CHANNEL_PRIORITY=strict MAMBA_CHANNEL_PRIORITY=strict
# its programs run with the glibc of the machine on which the image is made
[ -z "$glibc" ] || export CONDA_OVERRIDE_GLIBC=$glibc
for front_end in conda micromamba mamba none; do
    ! command -v "$front_end" > /dev/null || break
done
[ "$front_end" != none ] || fail "there is no conda, micromamba or mamba in the image"
create() {
    local options=(--quiet --file "$1" --prefix "$prefix")
    case $front_end:$1 in
        conda:*.yaml) conda env create --no-default-packages "${options[@]}" ;;
        conda:*) conda create --no-default-packages --yes "${options[@]}" ;;
        *) "$front_end" create --yes "${options[@]}" ;;
    esac
}
"""

_PINNED = """
create environment.pin.txt || {
    echo "osgpilot: not by its list of packages (.pin.txt), trying the environment file" >&2
    rm -rf -- "$prefix"
    create environment.yaml || exit
}
"""

_END = """
[ -d "$prefix/conda-meta" ] || fail "$front_end made no environment at $prefix"
rm -rf -- "$packages"
set -o pipefail
tar -C "$prefix" -cf - . | gzip -1 > "$archive" || fail "the environment cannot be packed here"
"""
