"""Check that this machine can run a pool; every error says what to do."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from ..errors import MissingPrerequisiteError
from .idmap import id_maps
from .namespace import SBIN

FREE_GB = 5
RUN_TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "findmnt": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "bash": "bash",
}
USER_TOOLS = {"newuidmap": "uidmap", "newgidmap": "uidmap"}
BUILD_TOOLS = {"mmdebstrap": "mmdebstrap", "apt-get": "apt", "apt-config": "apt"}


def require_runnable() -> None:
    """Raise MissingPrerequisiteError unless pools can run here."""
    require_linux()
    tools = RUN_TOOLS if os.geteuid() == 0 else RUN_TOOLS | USER_TOOLS
    require_tools(tools)
    id_maps()
    require_namespaces()
    require_fuse(Path("/dev/fuse"))


def require_buildable(folder: Path) -> None:
    """Raise MissingPrerequisiteError unless a pool can be built into `folder`."""
    require_linux()
    require_tools(RUN_TOOLS | BUILD_TOOLS | ({} if os.geteuid() == 0 else USER_TOOLS))
    id_maps()
    require_namespaces()
    require_space(folder)


def require_linux(platform: str = sys.platform) -> None:
    """Raise MissingPrerequisiteError on anything but Linux."""
    if platform != "linux":
        raise MissingPrerequisiteError(
            f"the local pool needs Linux, this is {platform}: use a virtual machine"
        )


def require_tools(tools: dict[str, str]) -> None:
    """Raise MissingPrerequisiteError if a program of {program: Debian package} is missing."""
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    missing = {package for tool, package in tools.items() if shutil.which(tool, path=path) is None}
    if missing:
        raise MissingPrerequisiteError(
            f"programs are missing: sudo apt-get install {' '.join(sorted(missing))}"
        )


def require_namespaces() -> None:
    """Raise MissingPrerequisiteError if the kernel does not let this user make a user namespace."""
    asked = subprocess.run(
        ["unshare", "--user", "--net", "--pid", "--fork", "true"], capture_output=True, text=True
    )
    if asked.returncode != 0:
        raise MissingPrerequisiteError(
            "this kernel does not let you make user namespaces"
            f" ({asked.stderr.strip()}): {_namespace_remedy()}"
        )


def _namespace_remedy() -> str:
    for key, value in (
        ("kernel.apparmor_restrict_unprivileged_userns", "0"),
        ("kernel.unprivileged_userns_clone", "1"),
    ):
        file = Path("/proc/sys") / key.replace(".", "/")
        if file.exists() and file.read_text().strip() != value:
            return f"sudo sysctl {key}={value}"
    return "sudo sysctl user.max_user_namespaces=15000, or run outside of the container"


def require_fuse(device: Path) -> None:
    """Raise MissingPrerequisiteError if the users of the pool could not mount images by FUSE."""
    if not device.exists():
        raise MissingPrerequisiteError(f"{device} is missing: sudo modprobe fuse")
    if os.geteuid() != 0 and device.stat().st_mode & stat.S_IRWXO < 6:
        raise MissingPrerequisiteError(
            f"{device} is closed to ordinary users: sudo chmod 666 {device}"
        )


def require_space(folder: Path, free_gb: float = FREE_GB) -> None:
    """Raise MissingPrerequisiteError if less than `free_gb` GB are free where `folder` is or will
    be.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < free_gb:
        raise MissingPrerequisiteError(
            f"{free:.1f} GB are free in {existing}, the pool needs {free_gb:g} GB: free some, or"
            " set OSGPILOT_CACHE to a folder on another disk"
        )
