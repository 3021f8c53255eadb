"""Pack files of this machine into an image: built by Apptainer without root, once for each content.

Images are kept in the cache folder. What is not complete is never seen under the name of an image:
it is built in a folder of its own and renamed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..common import private_files as private
from ..common.cache_folder import cache, key_of, locked
from ..common.subprocesses import run
from ..errors import MissingPrerequisiteError, NoApptainerError, OutcomeUnknownError
from .build import why

UNUSED_DAYS = 30
"""Images that no workflow used for this time are removed when another one is made."""

BUILD_S = 3600.0
_LDD_S = 300.0
_LDD_FILES = 100

_MB = 1024 * 1024

_ROOM = 2.5
"""Free space that a build needs, as a multiple of what it packs."""

HIDDEN = ("/tmp", "/var/tmp", "/dev", "/proc", "/sys", "/srv", "/run")
"""Folders that a container gets from the outside."""

_PROGRAMS = """
[ arch b2sum base32 base64 basename basenc cat chgrp chmod chown cksum comm cp csplit cut date dd df
dir dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install
join link ln logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste
pathchk pr printenv printf ptx pwd readlink realpath rm rmdir seq sha1sum sha224sum sha256sum
sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac tail tee test timeout
touch tr true truncate tsort tty uname unexpand uniq unlink users vdir wc who whoami yes
bash sh dash grep egrep fgrep sed awk find xargs tar gzip gunzip zcat bzip2 bunzip2 xz unxz zstd
cmp diff hostname ps which
"""
"""Programs of this machine for `shell()` in a body, and for the script that starts a job."""

_DATA = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"),
    *("/etc/services", "/etc/protocols", "/usr/lib/locale/C.utf8", "/usr/share/zoneinfo"),
)

_LINES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/resolv.conf": "",
}
_FOLDERS = ("dev", "home", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var/tmp", "cvmfs")

Entries = dict[str, Path | str | bytes | None]
"""Path in the image → file here that it is a copy of, target of a link, content, or None for a
folder."""


@dataclass(frozen=True)
class Recipe:
    """The content of an image: `entries`, on the content of the image `base` if there is one.

    `path` is where its programs are. `base` is a file, a folder, or an address that Apptainer
    knows.
    """

    entries: Entries
    base: str = ""
    path: str = ""


@dataclass(frozen=True)
class Wanted:
    """An image to be made: `what` it holds and for what, and what helps `instead` if it fails."""

    what: str
    purpose: str
    instead: str


def images() -> Path:
    """Return the folder of the images."""
    return cache() / "environments"


def packed(
    image: Path, wanted: Wanted, recipe: Callable[[], Recipe], say: Callable[[str], None]
) -> Path:
    """Return `image`, made by `recipe` unless it is there.

    Raises `MissingPrerequisiteError` if it cannot be made.
    """
    waits = f"another process is packing an image: waiting for it before packing {wanted.what}"
    lock = locked(image.parent / ".lock", before_waiting=lambda: say(waits))
    with explained(image.parent, wanted.what), lock:
        if not image.exists():
            _clean(image.parent)
            _make(image, wanted, recipe(), say)
        # shows when it was last used
        os.utime(image)
    return image


@contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Raise what goes wrong while `what` is written into `folder` as `MissingPrerequisiteError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MissingPrerequisiteError(_no_space(folder, what)) from error
        raise MissingPrerequisiteError(f"{what} cannot be packed in {folder}: {error}") from error


def _no_space(folder: Path, what: str) -> str:
    return (
        f"there is no space left in {folder} to pack {what}: free some, or set OSGPILOT_CACHE to "
        "another folder"
    )


def _clean(folder: Path) -> None:
    """Remove what a build left behind that was killed, and images that nobody uses any more."""
    for path in folder.glob(".part-*"):
        # what it had started may still be writing
        shutil.rmtree(path, ignore_errors=True)
    for path in (
        *folder.glob("python-*.sif"),
        *folder.glob("conda-*.sif"),
        *folder.glob("built-*"),
    ):
        if time.time() - path.stat().st_mtime > UNUSED_DAYS * 86400:
            remove(path)


def remove(image: Path) -> None:
    """Remove an image, and what is noted of it beside it; or a folder with an environment."""
    if image.is_dir():
        shutil.rmtree(image, ignore_errors=True)
    for path in image.parent.glob(f"{image.stem}.*"):
        path.unlink(missing_ok=True)


def _make(image: Path, wanted: Wanted, recipe: Recipe, say: Callable[[str], None]) -> None:
    apptainer = shutil.which("apptainer") or shutil.which("singularity")
    if apptainer is None:
        raise NoApptainerError(
            f"{wanted.what} is packed into an image by Apptainer, which is not on this machine: "
            f"install it, or {wanted.instead}"
        )
    size_mb = _size(recipe.entries) // _MB
    if shutil.disk_usage(image.parent).free < _ROOM * (size_mb * _MB + _size_of(recipe.base)):
        raise MissingPrerequisiteError(_no_space(image.parent, wanted.what))
    say(f"packing {wanted.what} ({size_mb} MB) {wanted.purpose}, once: {image}")
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=image.parent))
    try:
        if recipe.base:
            _unpack(apptainer, recipe.base, part, wanted)
        fill(part / "tree", recipe.entries, bare=not recipe.base)
        _build(apptainer, part, recipe.path, wanted)
        # files that only their owner may read are in it, too
        (part / "image.sif").chmod(private.FILE_MODE)
        with (part / "image.sif").open("rb") as file:
            os.fsync(file)
        (part / "image.sif").rename(image)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _size(entries: Entries) -> int:
    found = (each.stat() for each in entries.values() if isinstance(each, Path))
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())


_UNPACKED = 3
"""Size of the content of an image, as a multiple of its file."""


def _size_of(base: str) -> int:
    path = Path(base)
    return _UNPACKED * path.stat().st_size if base and path.is_file() else 0


def _unpack(apptainer: str, base: str, part: Path, wanted: Wanted) -> None:
    """Make the folder `tree` in `part` of the content of an image."""
    _run([apptainer, "build", "--force", "--sandbox", str(part / "tree"), base], part, wanted)
    for folder in _FOLDERS:
        (part / "tree" / folder).mkdir(parents=True, exist_ok=True)


def _build(apptainer: str, part: Path, path: str, wanted: Wanted) -> None:
    recipe = part / "recipe.def"
    places = f" PATH={path}" if path else ""
    recipe.write_text(
        f"Bootstrap: localimage\nFrom: {part / 'tree'}\n%environment\n"
        f"    export LC_ALL=C.UTF-8{places}\n"
    )
    # the default takes much longer, for an image that is a tenth smaller
    quickly = ["--mksquashfs-args", "-comp gzip -Xcompression-level 1"]
    command = [apptainer, "build", "--force", *quickly, str(part / "image.sif"), str(recipe)]
    _run(command, part, wanted)


def _run(command: list[str], part: Path, wanted: Wanted) -> None:
    places = [f"{name}={part}" for name in ("APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "TMPDIR")]
    try:
        done = run(["env", *places, *command], timeout_s=BUILD_S)
    except OutcomeUnknownError as error:
        raise MissingPrerequisiteError(f"apptainer build: {error}") from error
    if done.returncode != 0:
        said = done.stdout + done.stderr
        if "No space left on device" in said or "Disk quota exceeded" in said:
            raise MissingPrerequisiteError(_no_space(part.parent, wanted.what))
        raise MissingPrerequisiteError(
            f"{wanted.what} cannot be packed by Apptainer ({why(said)}): {wanted.instead}"
        )


def fill(tree: Path, content: Entries, *, bare: bool = True) -> None:
    """Create the files and links of an image below `tree`, with its usual folders if it is `bare`.

    Everybody can read them, whatever the umask: jobs run as other users.
    """
    if bare:
        _begin(tree)
    seen: set[Path] = set()
    for path, source in content.items():
        target = tree / path.lstrip("/") if bare else _inside(tree, path)
        folder = target if source is None else target.parent
        if folder not in seen:
            seen.add(folder)
            _make_folder(folder)
        if isinstance(source, str):
            if target.is_symlink():
                target.unlink()
            target.symlink_to(source)
        elif isinstance(source, bytes):
            target.write_bytes(source)
            target.chmod(0o755)
        elif source is not None:
            _copy(source, target)


def _begin(tree: Path) -> None:
    for folder in _FOLDERS:
        _make_folder(tree / folder)
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        root = Path("/", name)
        if root.is_symlink():
            (tree / name).symlink_to(os.readlink(root))  # noqa: PTH115
    for path, text in _LINES.items():
        _make_folder((tree / path).parent)
        (tree / path).write_text(text)
        (tree / path).chmod(0o644)


_LINKS_MAX = 40


def _inside(tree: Path, path: str) -> Path:
    """Return the place of `path` below `tree`, the links of which count from there."""
    place, links = tree, 0
    *folders, name = Path(path).parts[1:]
    for part in folders:
        place /= part
        while place.is_symlink() and links < _LINKS_MAX:
            links += 1
            to = os.path.normpath("/" / place.parent.relative_to(tree) / os.readlink(place))  # noqa: PTH115
            place = tree / to.lstrip("/")
    return place / name


def _make_folder(folder: Path) -> None:
    """Create a folder that everybody can read, and those above it."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


_FOR_ALL = stat.S_IROTH | stat.S_IRGRP | stat.S_IRUSR


def _copy(source: Path, target: Path) -> None:
    """Copy a file, by a second name for the same content where that is possible."""
    mode = source.stat().st_mode
    wanted = mode | _FOR_ALL | (0o111 if mode & stat.S_IXUSR else 0)
    if mode == wanted:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
    target.chmod(stat.S_IMODE(wanted))


_GLIBC = (
    *("c.so.6", "m.so.6", "mvec.so.1", "dl.so.2", "pthread.so.0", "rt.so.1", "util.so.1"),
    *("resolv.so.2", "anl.so.1", "nsl.so.1", "thread_db.so.1", "BrokenLocale.so.1"),
)
"""Libraries (`lib…`) that packages of conda take from the system, as they have all others."""


def minimal() -> Entries:
    """Return bash and the basic programs of this machine, with what they load, and all of glibc."""
    found = programs()
    found |= libraries([each for each in found.values() if isinstance(each, Path)])
    folder = next(Path(path).parent for path in found if path.endswith("/libc.so.6"))
    there = (folder / f"lib{name}" for name in _GLIBC)
    return found | {str(path): path.resolve() for path in there if path.exists()} | data()


def system() -> list[str]:
    """Return what the content of `minimal` depends on."""
    os_release = Path("/etc/os-release")
    release = os_release.read_text() if os_release.is_file() else ""
    return [os.uname().machine, os.confstr("CS_GNU_LIBC_VERSION") or "", key_of(release)]


def data() -> Entries:
    """Return files of this machine that programs read: certificates, locale, time zones."""
    found: Entries = {}
    for name in map(Path, _DATA):
        if name.is_dir():
            files = (path for path in name.rglob("*") if path.is_file())
            found |= {str(path): path.resolve() for path in files if os.access(path, os.R_OK)}
        elif name.is_file():
            found[str(name)] = name.resolve()
    return found


def programs() -> Entries:
    """Return the basic programs of this machine."""
    places = "/usr/bin:/bin:/usr/sbin:/sbin"
    found = {name: shutil.which(name, path=places) for name in _PROGRAMS.split()}
    return {f"/usr/bin/{name}": Path(p).resolve() for name, p in found.items() if p is not None}


def libraries(
    paths: Iterable[Path], place: Callable[[Path], str | None] = lambda path: None
) -> Entries:
    """Return the shared libraries that the files among `paths` load and that are not among them.

    `place` returns where a library belongs if that is not its usual place.
    """
    paths = list(paths)
    there = set(paths)
    loading = [path for path in paths if _is_elf(path)]
    needed: dict[str, None] = {}
    for first in range(0, len(loading), _LDD_FILES):
        needed |= dict.fromkeys(_needed(loading[first : first + _LDD_FILES]))
    usual = next((Path(each).parent for each in needed if Path(each).name == "libc.so.6"), None)
    if usual is None:
        raise MissingPrerequisiteError("`ldd` does not show what programs need of this system")
    resolvers = (str(path) for path in usual.glob("libnss_*.so.2"))
    found: Entries = {}
    for name in (*needed, *resolvers):
        path = Path(name)
        plain = path.parent.parent.parent / path.name
        if "glibc-hwcaps" in path.parts and plain.exists():
            # other nodes may have an older processor
            path = plain
        real = path.resolve()
        if real not in there:
            found[place(path) or _place_of_library(path, usual)] = real
    return found


def _place_of_library(path: Path, usual: Path) -> str:
    folder = path.parent if path.name.startswith("ld-linux") else usual
    return f"{folder.resolve()}/{path.name}"


def _is_elf(path: Path) -> bool:
    if ".so" not in path.name and not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _needed(paths: list[Path]) -> Iterator[str]:
    """Yield the paths of the libraries that these files load."""
    try:
        done = run(["ldd", *map(str, paths)], timeout_s=_LDD_S)
    except OutcomeUnknownError as error:
        raise MissingPrerequisiteError(f"ldd: {error}") from error
    for line in done.stdout.splitlines():
        if found := re.match(r"\s+(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", line):
            yield found[1]
