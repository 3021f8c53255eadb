"""The Debian mirror: the one that the host's apt is configured to use."""

import subprocess
import tempfile
from pathlib import Path

from ..errors import MissingPrerequisiteError

FIELDS = "$(REPO_URI)\t$(ORIGIN)\t$(LABEL)\t$(SIGNED_BY)"
# options for reaching and trusting a mirror; other settings of apt are the host's own
OPTIONS = (
    "Acquire::http",
    "Acquire::https",
    "Acquire::ftp",
    "Acquire::Retries",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
)
APT_HELPER = "/usr/lib/apt/apt-helper"


def pick_uri(index_targets: str) -> str | None:
    """Return the Debian main archive among lines of `apt-get indextargets` in the format FIELDS."""
    rows = [line.split("\t") for line in index_targets.splitlines()]
    known = [row[0] for row in rows if len(row) > 2 and row[1] == row[2] == "Debian"]
    # before the first `apt-get update` apt knows neither origin nor label
    likely = [row[0] for row in rows if row[0].rstrip("/").endswith("/debian")]
    return next(iter([*known, *likely]), None)


def pick_options(dump: str) -> list[str]:
    """Return the lines of `apt-config dump` that mmdebstrap needs to reach the mirror as the host
    does.
    """
    return [
        line
        for line in dump.splitlines()
        if any(line.startswith((f"{key} ", f"{key}::")) for key in OPTIONS)
        and not line.endswith(' "";')
    ]


def mirror_uri() -> str:
    """Return the URI of the host's Debian archive.

    Raises MissingPrerequisiteError if apt names none.
    """
    uri = pick_uri(_output(["apt-get", "indextargets", "--format", FIELDS, "Created-By: Packages"]))
    if uri is None:
        raise MissingPrerequisiteError(
            "apt of this machine has no Debian archive among its sources: name one by --mirror URI"
        )
    return uri.rstrip("/")


def apt_options() -> list[str]:
    """Return the host's Acquire options (proxies, time-outs, date checks), as apt.conf lines."""
    return pick_options(_output(["apt-config", "dump"]))


def require_reachable(uri: str, suite: str) -> None:
    """Raise MissingPrerequisiteError if the mirror does not answer."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "InRelease"
        asked = subprocess.run(
            [APT_HELPER, "download-file", f"{uri}/dists/{suite}/InRelease", str(target)],
            capture_output=True,
            text=True,
        )
    if asked.returncode != 0:
        raise MissingPrerequisiteError(
            f"the Debian mirror {uri} does not answer for {suite}: check network and apt's proxy"
            " settings, or name another by --mirror URI"
        )


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
