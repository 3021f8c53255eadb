"""The life cycle of a pool: bring it up, find it, take it down."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from ..common.atomic_write import READABLE_MODE, write_atomically
from ..common.cache_folder import cache, locked
from ..errors import InputError, MissingPrerequisiteError
from . import namespace as space
from . import share
from .idmap import alice_outside
from .paths import KIT, PACKAGE, images, instance_folder
from .stages import Store
from .state import HOSTS, STATE, Running, alive, find, flag, require, start_ticks

logger = logging.getLogger(__name__)

READY_WITHIN_S = 90
"""A pool is up within seconds; about one start in many hundred hangs, on a busy machine."""

# the pool's system folders: a working folder may be below most of them, but not be one
SYSTEM = frozenset(
    Path(path)
    for path in (
        *("/bin", "/boot", "/dev", "/etc", "/home", "/home/alice", "/home/bob", "/lib", "/lib64"),
        *("/mnt", "/opt", "/opt/osgpilot", "/opt/venv", "/proc", "/run", "/sbin", "/sys", "/tmp"),
        *("/usr", "/usr/bin", "/usr/lib", "/var", "/var/tmp"),
    )
)
IMAGES = ("pilot", "job", "runtime")
ENVIRONMENTS = "/home/alice/.cache/osgpilot/environments"
NEVER_BELOW = tuple(Path(path) for path in ("/dev", "/proc", "/sys"))


class NotReadyError(MissingPrerequisiteError):
    """The pool's services were started, but one of them does not answer."""


def up(name: str, work: Sequence[Path]) -> tuple[Running, bool]:
    """Bring the pool `name` up and wait until it is ready; False if it was up already.

    A start that hangs is logged and retried once. Raises MissingPrerequisiteError if
    nothing is built or a service does not start, InputError if `work` cannot be shown inside.
    """
    with locked(cache() / "lock" / name):
        if running := find(name):
            return running, False
        shown = [check_work(path) for path in work]
        try:
            return _start(name, shown), True
        except NotReadyError as problem:
            logger.warning(f"{problem}; trying again")
        return _start(name, shown), True


def _lay_out(name: str, work: Sequence[Path]) -> dict[str, Path]:
    """Make the pool's folder afresh; return the images that it keeps from being removed."""
    folder = instance_folder(name)
    clear(name)
    with locked(cache() / "lock" / "images in use", shared=True):
        built = Store(images()).published()
        if built is None:
            raise MissingPrerequisiteError("no pool is built yet: osgpilot pool build")
        (folder / "ctl").mkdir(parents=True)
        (folder / "ctl").chmod(0o755)
        _save(folder, Running(name, 0, 0, {}, [str(p) for p in work], _paths(built)))
    return built


def check_work(path: Path) -> Path:
    """Return `path` made absolute; raises InputError if it cannot be a working folder."""
    real = path.resolve()
    if not real.is_dir():
        raise InputError(f"--work {path}: no such folder")
    if "\n" in str(real) or " " in str(real):
        raise InputError(f"--work {path}: a path with blanks does not work here: choose another")
    if real == Path("/") or real in SYSTEM or any(real.is_relative_to(p) for p in NEVER_BELOW):
        raise InputError(f"--work {path}: this would hide the pool's own files: name a subfolder")
    return real


def show(name: str, path: Path) -> None:
    """Show the folder `path` in the running pool `name` too, read-write, until it goes down.

    Raises InputError if it cannot be a working folder, MissingPrerequisiteError if the kernel
    refuses.
    """
    real = check_work(path)
    with locked(cache() / "lock" / name):
        running = require(name)
        try:
            _attach(running, real)
        except MissingPrerequisiteError as problem:
            raise MissingPrerequisiteError(
                f"{problem}; osgpilot pool down{flag(name)}, then up{flag(name)} --work {real}"
            ) from problem
        shown = replace(running, work=[*running.work, str(real)])
        _save(instance_folder(name), shown)


def _attach(running: Running, folder: Path) -> None:
    """Mount `folder` in a running pool; raises MissingPrerequisiteError if the kernel refuses."""
    numbers = [*alice_outside(), running.supervisor, *running.hosts.values()]
    asked = subprocess.run(
        [sys.executable, "-I", "-S", share.__file__, str(folder), *map(str, numbers)],
        capture_output=True,
        text=True,
    )
    if asked.returncode != 0:
        raise MissingPrerequisiteError(
            f"{folder} cannot be shown in the pool ({asked.stderr.strip()})"
        )


def down(name: str) -> bool:
    """End the pool `name` and remove all of it; False if there was nothing."""
    folder = instance_folder(name)
    with locked(cache() / "lock" / name):
        existed = folder.exists()
        clear(name)
    return existed


def clear(name: str) -> None:
    """Kill whatever runs of the pool `name`, ready or not, and remove its folder."""
    folder = instance_folder(name)
    if (folder / STATE).exists():
        state = Running(**json.loads((folder / STATE).read_text()))
        if state.supervisor and alive(state.supervisor, state.started_ticks):
            _end(psutil.Process(state.supervisor))
    space.remove(folder)


def _start(name: str, work: Sequence[Path]) -> Running:
    folder, built = instance_folder(name), _lay_out(name, work)
    environments = _environments(built["venv"])
    binds = [f"ro {PACKAGE} /opt/osgpilot/{PACKAGE.name}", f"rw {environments} {ENVIRONMENTS}"]
    env = space.environment(
        RUN=str(folder),
        LOWER=":".join(str(built[role] / "tree") for role in ("conf", "venv", "host")),
        # builds from before an image was added still work
        SIFS=" ".join(str(built[role] / f"{role}.sif") for role in IMAGES if role in built),
        BINDS="\n".join(binds),
    )
    command = ["unshare", "--net", "--uts", "--ipc", "bash", str(KIT / "init.sh"), f"pool-{name}"]
    line = space.rooted(space.contained(command), follow=False)
    log = folder / "init.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            line,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    started_ticks = start_ticks(process.pid) or 0
    partly = Running(name, process.pid, started_ticks, {}, [str(p) for p in work], _paths(built))
    _save(folder, partly)
    _wait_ready(folder, process, log)
    running = replace(partly, hosts=host_processes(process.pid))
    _save(folder, running)
    for path in work:
        _attach(running, path)
    return running


def _environments(venv: Path) -> Path:
    """Return the folder of packed environments that all pools with this Python share."""
    folder = venv / "environments"
    folder.mkdir(exist_ok=True)
    os.chown(folder, *alice_outside())
    return folder


def _wait_ready(folder: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while missing := [host for host in HOSTS if not (folder / "ctl" / f"{host}.ready").exists()]:
        if process.poll() is not None:
            last = _last_line(log) or "no output"
            raise MissingPrerequisiteError(
                f"the pool ended while starting: {last}; see {log}, then osgpilot pool up again"
            )
        if time.monotonic() > deadline_s:
            waits = "; ".join(
                f"{host} waits for {_last_line(folder / 'ctl' / f'{host}.waits')}"
                for host in missing
            )
            process.kill()
            process.wait()
            raise NotReadyError(f"the pool is not ready after {READY_WITHIN_S} s: {waits}")
        time.sleep(0.05)


def _last_line(log: Path) -> str:
    try:
        return log.read_text(errors="replace").strip().rpartition("\n")[2]
    except FileNotFoundError:
        return "its mounts"


def host_processes(supervisor: int) -> dict[str, int]:
    """Return for each host of the pool below `supervisor` the process that is PID 1 there."""
    found = {}
    for process in psutil.Process(supervisor).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # other processes of the pool come and go meanwhile
            line = process.cmdline()
            if "host.sh" in " ".join(line) and line[-1] in HOSTS and process.children():
                found[line[-1]] = process.children()[0].pid
    return found


def _end(supervisor: psutil.Process) -> None:
    """Kill the pool's first process; the kernel then kills all others and drops the mounts."""
    family = [*supervisor.children(recursive=True), supervisor]
    for process in [*family[:1], supervisor]:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=20)


def _save(folder: Path, running: Running) -> None:
    write_atomically(folder / STATE, json.dumps(asdict(running)), READABLE_MODE)


def _paths(built: dict[str, Path]) -> list[str]:
    return [str(path) for path in built.values()]
