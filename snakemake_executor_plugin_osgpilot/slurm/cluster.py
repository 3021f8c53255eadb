"""The cluster of a run: connect, check the prerequisites, clean up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..common import private_files as private
from ..config.site import Site
from ..errors import InputError, MissingPrerequisiteError, OsgpilotError
from ..journal.run_folder import LEASE, RunFolder
from ..pilots.parameters import SCRIPT, script
from .client import SlurmClient
from .host import Here, Host
from .ssh import Logins

FOLDER = "~/.local/state/osgpilot"
LOGS = "pilots.log"
LOG_KEPT = 20_000
"""Bytes of the beginning and of the end of each pilot's log that are copied from a cluster behind
SSH."""

_ENDS_OF_LOGS = """
cd "$1" && for log in pilots/*/slurm.log; do
    printf '==> %s <==\\n' "$log"
    head -c "$2" "$log"
    tail -c "+$(($2 + 1))" "$log" | tail -c "$2"
    echo
done
"""

PROBE = """
home() { case $1 in "~/"*) printf %s "$HOME/${1#??}" ;; *) printf %s "$1" ;; esac; }
printf 'home=%s\\nuser=%s\\nuid=%s\\n' "$HOME" "$(id -un)" "$(id -u)"
for each in sbatch squeue scancel; do
    command -v "$each" > /dev/null || { printf 'missing=%s\\n' "$each"; break; }
done
token=$(home "$1") image=$(home "$2")
if why=$(LC_ALL=C head -c 1 -- "$token" 2>&1 > /dev/null); then
    stat -L --printf='mode=%a\\nowner=%u\\nsize=%s\\n' -- "$token"
    sed -e '/^[[:space:]]*\\(#.*\\)*$/d' \
        -e 's/^[[:space:]]*\\([^.]*\\.[^.]*\\)\\..*$/claims=\\1./; t' \
        -e 's/.*/claims=?/' -- "$token"
    echo
else
    printf 'unreadable=%s\\n' "${why##*: }"
fi
case $2 in *://*) exit 0 ;; esac
if [ ! -e "$image" ]; then
    echo image=absent
elif [ -d "$image" ]; then
    echo image=sif
elif why=$(LC_ALL=C head -c 1 -- "$image" 2>&1 > /dev/null); then
    # the magic of a SIF file follows a launch line, that of a squashfs image is at its beginning
    magic=$(head -c 64 -- "$image" | LC_ALL=C grep -aoE '^hsqs|SIF_MAGIC')
    [ -n "$magic" ] && echo image=sif || echo image=other
    stat -L --printf='image_made=%Y\\nimage_size=%s\\n' -- "$image"
else
    printf 'image=%s\\n' "${why##*: }"
fi
"""
"""Prints facts about the cluster as lines NAME=VALUE; its arguments are token and image. Of
tokens, one per line in the file, it prints the claims and never the signature."""


@dataclass(frozen=True)
class Cluster:
    """Slurm on its host. `site` has the paths on that host; `user` and `home` are ours there.

    `claims` are the pilots' tokens without their signatures, one per line.
    """

    host: Host
    site: Site
    user: str
    home: Path
    claims: str = ""

    def folder(self, run: RunFolder) -> RunFolder:
        """Return the folder of `run` on the cluster."""
        if not self.site.slurm.ssh:
            return run
        folder = self.site.slurm.folder or FOLDER
        return RunFolder(_at_home(folder, self.home) / run.path.name)

    def client(self, run: RunFolder) -> SlurmClient:
        """Return the client for a run, after writing the pilots' script.

        Raises `MissingPrerequisiteError`, or `InputError` if others could replace the script.
        """
        path = self.folder(run).path / SCRIPT
        client = SlurmClient(self.host, self.user, self.site.slurm, path)
        try:
            client.write({path: script()})
        except OsgpilotError as error:
            remedy = "; see `slurm.folder` in the site file" if self.site.slurm.ssh else ""
            raise MissingPrerequisiteError(f"{error}{remedy}") from error
        if self.site.slurm.ssh:
            self._check_folder(path.parents[1])
        return client

    def _check_folder(self, folder: Path) -> None:
        """Raise `InputError` if other users can replace files in `folder`."""
        owners = ("(", "-user", self.user, "-o", "-user", "0", ")")
        modes = ("(", "-perm", "-1000", "-o", "!", "-perm", "/022", ")")
        done = self.host.run(["find", "-H", str(folder), "-maxdepth", "0", *owners, *modes])
        if done.status == 0 and not done.out.strip():
            raise InputError(
                f"the folder {folder} on {self.site.slurm.ssh} belongs to another user, or others "
                "can write to it, and so replace the script of your pilots; remove these "
                "permissions (chmod go-w), or name another folder in the site file's `slurm.folder`"
            )

    def extend_lease(self, run: RunFolder, until_s: float) -> None:
        """Extend the lease, so that pilots accept jobs until then. Raises an `OsgpilotError`."""
        lease = str(self.folder(run).path / LEASE)
        done = self.host.run(["touch", f"--date=@{until_s:.0f}", lease])
        if done.status:
            raise MissingPrerequisiteError(f"{lease} cannot be extended: {done.err.strip()}")

    def clean_up(self, run: RunFolder) -> None:
        """Copy the pilots' logs from a cluster behind SSH, then remove the run's folder there."""
        there = self.folder(run).path
        if there == run.path:
            return
        with suppress(OsgpilotError):
            logs = self.host.run(["sh", "-c", _ENDS_OF_LOGS, "-", str(there), str(LOG_KEPT)])
            # those of another cluster may be there
            private.append(run.path / LOGS, logs.out)
        self.host.run(["rm", "-rf", str(there)])


def host_of(ssh: str, cluster: str, logins: Logins) -> Host:
    """Return the host `ssh` of the user's SSH configuration, or this one if that is empty.

    Slurm's commands there work on `cluster`, or on the cluster of that host if that is empty.
    """
    return Host(logins.connection(ssh) if ssh else Here(), cluster)


def connect(ssh: str, cluster: str, logins: Logins) -> Host:
    """Return `host_of` these, connected.

    Prompts on the terminal if the login requires a password or a second factor. Raises an
    `OsgpilotError` with what to do, after cleaning up.
    """
    host = host_of(ssh, cluster, logins)
    try:
        host.log_in()
    except BaseException:
        host.close()
        raise
    return host


def checked(host: Host, site: Site) -> Cluster:
    """Return the cluster on `host`. Raises `InputError` or `MissingPrerequisiteError` if a
    prerequisite is missing.
    """
    found = look(host, site)
    for problem in (found.slurm_problem, found.token_problem, found.image_problem):
        if problem:
            raise problem
    return Cluster(host, found.site, found.facts["user"], found.home, found.claims)


@dataclass(frozen=True)
class Look:
    """The facts found on the cluster; `site` has the paths on its host."""

    site: Site
    facts: Mapping[str, str]
    claims: str

    @property
    def home(self) -> Path:
        return Path(self.facts["home"])

    @property
    def _where(self) -> str:
        ssh = self.site.slurm.ssh
        return f" on {ssh}" if ssh else ""

    @property
    def slurm_problem(self) -> OsgpilotError | None:
        """The error for a missing Slurm command, if any."""
        if "missing" not in self.facts:
            return None
        missing, ssh = self.facts["missing"], self.site.slurm.ssh
        remedy = (
            f"make `ssh {ssh} {missing} --version` work"
            if ssh
            else "run this where Slurm's commands work, or name that host in the site file's "
            "`slurm.ssh`"
        )
        return MissingPrerequisiteError(f"`{missing}` was not found{self._where}; {remedy}")

    @property
    def token_problem(self) -> OsgpilotError | None:
        """The error for a token that is not a private, readable file, if any."""
        path, facts = self.site.token, self.facts
        name = f"token file {path}{self._where}"
        if "unreadable" in facts:
            return InputError(f"{name}: {facts['unreadable']}; see `token` in the site file")
        if int(facts["mode"], 8) & 0o077:
            return InputError(f"{name} can be read by others; run: chmod 600 {path}")
        if facts["size"] == "0":
            return InputError(f"{name} is empty; ask your OSG contact for a token")
        if facts["owner"] != facts["uid"]:
            return InputError(f"{name} belongs to another user; make a copy of your own")
        return None

    @property
    def image_problem(self) -> OsgpilotError | None:
        """The error for an unusable pilot image, if any."""
        name, kind = f"pilot image {self.site.image}", self.facts.get("image")
        if kind is None or kind == "sif":
            return None
        if kind == "absent":
            why = f"does not exist{self._where}"
        elif kind == "other":
            why = f"is not an image of Apptainer (SIF){self._where}"
        else:
            why = f"cannot be read{self._where}: {kind}"
        return InputError(f"{name} {why}; see `image` in the site file")


def look(host: Host, site: Site) -> Look:
    """Return the facts found. Raises `MissingPrerequisiteError` if the query fails."""
    done = host.run(["sh", "-c", PROBE, "-", str(site.token), site.image])
    lines = [line.split("=", 1) for line in done.out.splitlines() if "=" in line]
    facts = dict(lines)
    claims = "\n".join(value for name, value in lines if name == "claims")
    if not {"home", "user", "uid"} <= facts.keys() or not facts.keys() & {"size", "unreadable"}:
        where = f" on {site.slurm.ssh}" if site.slurm.ssh else ""
        raise MissingPrerequisiteError(
            f"the check of the cluster{where} failed: {' '.join(done.err.split())}"
        )
    home = Path(facts["home"])
    image = site.image if "://" in site.image else str(_at_home(site.image, home))
    there = replace(site, token=_at_home(str(site.token), home), image=image)
    return Look(there, facts, claims)


def _at_home(path: str, home: Path) -> Path:
    return home / path[2:] if path == "~" or path.startswith("~/") else Path(path)
