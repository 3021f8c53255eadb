"""Whatever a job sends back, nothing but its own outputs and logs is touched, and none is read."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging import job_archive as stage
from snakemake_executor_plugin_osgpilot.staging.commit_outputs import commit, discard, empty
from snakemake_executor_plugin_osgpilot.staging.failure_message import output_tail
from snakemake_executor_plugin_osgpilot.staging.payload import HERE, Payload
from snakemake_executor_plugin_osgpilot.staging.returned_files import (
    MANIFEST,
    MANIFEST_MAX_BYTES,
    TAKEN,
    IncompleteOutputError,
    JobFailedError,
)
from snakemake_executor_plugin_osgpilot.staging.usage import TIMES, spent

SECRET = b"the token of a user"
PAYLOAD = Payload(
    ("true",), "bash", inputs=("in/x",), outputs=("a", "d", "s/b", "d/x"), logs=("log", "d/log"),
    folders=("d",), protected=("s/b",),
)  # fmt: skip
OWN = ("a", "d", "s", "log")
PATIENCE_S = 60

NAMES = st.sampled_from(
    [
        *b"a d x b s log .. . .snakemake_timestamp .git -rf \xff\xfe \x1b[2J".split(),
        *(b"", b"n\nl", b"l" * 255, MANIFEST.encode(), TIMES.encode()),
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
FAIR = b"in/x in ../in/x ../../in x nowhere ../token.txt user a d/x".split()
REACHING = b"""
ROOT/home/secret ../../home/secret ../home outward/secret x/../../home/secret /dev/zero fifo
/proc/self/cwd/token token ../token .. . ../.. .snakemake/osgpilot/r/jobs/keys ../.snakemake
ROOT/work/.env mixed ../mixed mixed/below HERE HERE/a HERE/../home/secret
""".replace(b"HERE", HERE.encode()).split()
TARGETS = st.sampled_from(FAIR) | st.sampled_from(REACHING) | PATHS
CONTENT = st.binary(max_size=3)
MADE = st.one_of(
    st.tuples(st.just("file"), CONTENT, st.sampled_from([0o644, 0o000, 0o4755, 0o2777, 0o444])),
    st.tuples(st.just("folder")),
    st.tuples(st.just("link"), TARGETS),
    st.tuples(st.just("hard link"), st.sampled_from([b"ROOT/home/secret", b"ROOT/work/user"])),
    st.tuples(st.just("fifo")),
    st.tuples(st.just("socket")),
)
TREES = st.lists(st.tuples(PATHS, MADE), max_size=8)
LISTED = st.lists(
    st.tuples(TARGETS, st.sampled_from([b"a", b"d/l", b"d/e/n", b"log"]) | PATHS),
    max_size=3,
    unique_by=lambda pair: pair[1],
)
FILE = ("file", b"", 0o644)
MADE_ALL = [(b"d/x", FILE), (b"d/e/y", FILE), (b"s/b", FILE), (b"a", FILE)]
WHOLE = st.lists(st.tuples(PATHS, MADE), max_size=1).map(lambda more: MADE_ALL + more)
MANIFESTS = st.integers(0, 9).flatmap(
    lambda n: st.just("true") if n > 2 else st.sampled_from(["failed", "none"]) | st.binary()
)


class World:
    """A user's files, a run, and what a job of it sent back."""

    def __init__(self, root: Path) -> None:
        self.root, self.work = root, root / "work"
        run = self.work / ".snakemake/osgpilot/r"
        self.job, self.run = run / "jobs/000001", run
        self.back = self.job / "osgpilot-out"
        for folder in (self.back, root / "home", self.work / "in", self.work / "d"):
            folder.mkdir(parents=True)
        for name in ("home/secret", "work/token.txt", "work/.env", "work/user"):
            (root / name).write_bytes(SECRET)
        (run / "jobs/keys").write_bytes(SECRET)
        (self.work / "mixed/below").mkdir(parents=True)
        (self.work / "mixed/below/.env").write_bytes(SECRET)
        (self.work / "mixed/out").symlink_to(root / "home")
        (root / "home/secret").chmod(0o600)
        (self.work / "in/x").write_text("an input")
        (self.work / "a").write_text("from before")
        (self.work / "outward").symlink_to(root / "home")
        os.mkfifo(self.work / "fifo")

    def real(self, path: bytes) -> bytes:
        return path.replace(b"ROOT", os.fsencode(self.root))

    def make(self, path: bytes, kind: str, *how: object) -> None:
        """Make one thing below the folder that came back, if it can be made."""
        place = Path(os.path.normpath(self.back / os.fsdecode(path)))
        if not place.parent.resolve().is_relative_to(self.back.resolve()):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            if not os.path.lexists(place):
                place.write_bytes(how[0])
                place.chmod(how[1])
        elif kind == "folder":
            place.mkdir()
        elif kind == "link":
            place.symlink_to(os.fsdecode(self.real(how[0])))
        elif kind == "hard link":
            os.link(self.real(how[0]), place)
        elif kind == "fifo":
            os.mkfifo(place)
        else:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.fsencode(place))

    def manifest(self, links: list[tuple[bytes, bytes]], end: str) -> bytes:
        """Return what wrapper.sh would list, and what it would not."""
        fields = []
        for place in self.back.rglob("*"):
            path, mode = os.fsencode(place.relative_to(self.back)), place.lstat().st_mode
            if stat.S_ISDIR(mode):
                fields += [b"/", path]
            elif stat.S_ISREG(mode) and place.name != MANIFEST:
                fields += [str(place.lstat().st_size).encode(), path]
        for to, path in links:
            fields += [b">" + self.real(to).replace(b"\0", b""), path]
        return b"".join(field + b"\0" for field in [*fields, end.encode()])

    def others(self) -> dict[str, object]:
        """All that is not the job's: what it is, its mode and content."""
        found: dict[str, object] = {}
        for top in (self.root / "home", self.work):
            for folder, folders, files in os.walk(top):
                if Path(folder) == self.work:
                    folders[:] = [name for name in folders if name not in (*OWN, ".snakemake")]
                for name in (*folders, *files):
                    path = Path(folder, name)
                    if Path(folder) == self.work and name in OWN:
                        continue
                    status = path.lstat()
                    plain = path.is_file() and not path.is_symlink()
                    content = path.read_bytes() if plain else path.is_symlink() and path.readlink()
                    found[str(path)] = (status.st_mode, status.st_ino, content)
        return found | {"keys": (self.run / "jobs/keys").read_bytes()}


_opened: list[str] | None = None


def _note(event: str, given: tuple[object, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(given[0], str | bytes | os.PathLike):
        place = Path(os.fsdecode(given[0]))
        followed = not int(str(given[2])) & os.O_NOFOLLOW
        _opened.append(
            os.path.realpath(place)
            if followed
            else f"{os.path.realpath(place.parent)}/{place.name}"
        )


sys.addaudithook(_note)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Tell which files are opened, and end what waits for one."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    global _opened
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE_S)
    _opened = opened = []
    try:
        yield opened
    finally:
        _opened = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def is_own(world: World, path: str) -> bool:
    own = [world.job, *(world.work / name for name in OWN)]
    return any(Path(path).is_relative_to(each) for each in own)


@settings(max_examples=150, deadline=None)
@given(TREES | WHOLE, LISTED, MANIFESTS, st.sampled_from([0, 0, 0, 1, 137]))
@example([], [(b"ROOT/home/secret", b"a")], "true", 1)
@example(MADE_ALL, [(b"ROOT/home/secret", b"a")], "true", 0)
@example(MADE_ALL, [(b"outward/secret", b"a")], "true", 0)
@example(MADE_ALL, [(b"in/x", b"a"), (b"../in", b"d/l")], "true", 0)
@example(MADE_ALL, [(b"..", b"d/up")], "true", 0)
@example(MADE_ALL, [(b"../mixed", b"d/l")], "true", 0)
@example(MADE_ALL, [(b"../.snakemake/osgpilot/r/jobs/keys", b"d/up")], "true", 0)
@example(MADE_ALL, [(b"ROOT/work/new", b"d/.snakemake_timestamp")], "true", 0)
@example([(TIMES.encode(), ("link", b"/dev/zero"))], [], "true", 137)
@example([(TIMES.encode(), ("fifo",)), (MANIFEST.encode(), ("fifo",))], [], "none", 137)
@example([(b"log", ("fifo",)), (b"d", ("link", b"ROOT/home"))], [], "true", 1)
@example([(b"log", ("link", b"ROOT/home/secret"))], [], "true", 1)
@example([(b"a", ("hard link", b"ROOT/home/secret"))], [], "true", 1)
def test_only_files_of_the_job_are_touched(tree, links, manifest, status):
    with tempfile.TemporaryDirectory() as place:
        world = World(Path(place).resolve())
        for path, made in tree:
            if path not in {link for _, link in links} or made != FILE:
                with suppress(OSError, ValueError, RuntimeError):
                    world.make(path, *made)
        # hard links share what they are links to, which no job can make
        shared = any(made[0] == "hard link" for _, made in tree)
        if manifest != "none":
            listed = {"true": "end", "failed": "failed"}.get(manifest, "")
            text = world.manifest(links, listed) if listed else manifest
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_EXCL
                with os.fdopen(os.open(world.back / MANIFEST, flags, 0o644), "wb") as file:
                    file.write(text)
        before = world.others()
        said = ""
        with watched() as opened:
            try:
                commit(PAYLOAD, world.job, world.work, status)
            except (JobFailedError, IncompleteOutputError) as error:
                said = str(error)
            spent(world.job)
            output_tail(world.job, Redactor())
        assert all(is_own(world, path) for path in opened), opened
        assert world.others() == before
        assert said.isprintable()
        assert said or not [path for path in world.back.rglob("*") if path.is_symlink()]
        if not said and not shared:
            check_taken(world)
        for path in (world.work / name for name in OWN):
            for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
                if not each.is_symlink() and each.exists():
                    assert not each.stat().st_mode & 0o7000
        empty(world.job)
        discard(world.job)
        assert world.others() == before


def check_taken(world: World) -> None:
    """Whatever is there now can be the input of the next job, and no secret travels with it."""
    with watched() as opened:
        try:
            taking = Payload(("true",), "bash", ("a", "d", "s/b"), (), ())
            archive = stage.pack(taking, world.run, world.work)
            assert archive.digest
            archive.write(world.run / "jobs/000002")
        except InputError:
            return
    travels = [Path(p) for p in (world.run / "jobs/000002").rglob("*")]
    leads = {str(path.resolve()) for path in travels}
    for path in leads | {path for path in opened if path.startswith(f"{world.root}/")}:
        inside = os.path.relpath(path, world.work)
        assert not inside.startswith(".."), path
        ours = path.startswith(f"{world.run}/jobs/000002") or Path(inside).parts[0] in OWN
        assert ours or not any(part.startswith(".") for part in Path(inside).parts), path


def big(path: Path, gigabytes: int = 20) -> None:
    path.touch()
    os.truncate(path, gigabytes << 30)


@pytest.mark.parametrize("text", [b"0\0a\0", b">x\0a\0", b"\0\0", b">\0\0"])
@pytest.mark.parametrize("status", [0, 137])
def test_a_manifest_of_any_size_takes_little_memory_and_time(tmp_path, text, status):
    world = World(tmp_path)
    (world.back / "a").touch()
    (world.back / MANIFEST).write_bytes(text * (MANIFEST_MAX_BYTES // len(text) - 2) + b"end\0")
    big(world.back / TIMES)
    big(world.job / "output")
    tracemalloc.start()
    try:
        with watched(), pytest.raises((JobFailedError, IncompleteOutputError)):
            commit(PAYLOAD, world.job, world.work, status)
        (world.job / TAKEN / MANIFEST).unlink()
        big(world.job / TAKEN / MANIFEST)
        with watched(), pytest.raises((JobFailedError, IncompleteOutputError)):
            commit(PAYLOAD, world.job, world.work, status)
        assert spent(world.job) is None
        assert len(output_tail(world.job, Redactor())) < 1 << 20
        assert tracemalloc.get_traced_memory()[1] < 4 * MANIFEST_MAX_BYTES
    finally:
        tracemalloc.stop()


def test_folders_of_any_depth_are_handled(tmp_path):
    world = World(tmp_path)
    deep = world.back
    try:
        for _ in range(1500):
            deep /= "d"
            deep.mkdir()
        (world.back / MANIFEST).write_bytes(b"/\0d\0end\0")
        with pytest.raises(JobFailedError, match="deep in one another"):
            commit(PAYLOAD, world.job, world.work, 0)
        discard(world.job)
        assert not world.job.exists()
    finally:
        subprocess.run(["rm", "-rf", world.job], check=True)
