"""The Python environment of this process as an image, for jobs that call Python functions.

It is made by Apptainer, once for each content, and kept in the cache folder. In it are the
environment (a venv, or one of conda) at `ENVIRONMENT`, its base interpreter at `BASE`, and of this
machine's system bash, the basic programs, and the libraries that all of these load. The places
that they have here lead there, too, except those which a container hides.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from ..common import private_files as private
from ..common.cache_folder import cache, key_of, locked
from ..common.subprocesses import run
from ..errors import MissingPrerequisiteError, NoApptainerError, OutcomeUnknownError
from .build import why

ENVIRONMENT = "/osgpilot/env"
BASE = "/osgpilot/base"
_SITES = "/osgpilot/site"

PATH = f"{ENVIRONMENT}/bin:/usr/bin:/bin"
"""Where programs are in the image."""

FORMAT = 1
"""Changes when images of another content have to be made for the same environment."""

UNUSED_DAYS = 30
"""Images that no workflow used for this time are removed when another one is made."""

BUILD_S = 3600.0
_LDD_S = 300.0
_LDD_FILES = 100

_MB = 1024 * 1024

_SYSTEM = ("/", "/usr", "/usr/local")
"""Prefixes that contain more than Python."""

_HIDDEN = ("/tmp", "/var/tmp", "/dev", "/proc", "/sys", "/srv", "/run")
"""Folders that a container gets from the outside."""

_NOT_NEEDED = {"envs", "pkgs", ".git", "idlelib", "turtledemo", "pydoc_data"}
_NOT_NEEDED_BELOW_STDLIB = {"test", "site-packages", "dist-packages", "ensurepip"}

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

Entries = dict[str, Path | str | bytes]
"""Path in the image → file here that it is a copy of, target of a link, or content."""


@dataclass(frozen=True)
class Python:
    """The interpreter of a process, and where its modules are.

    `prefix` is that of a venv or of an environment of conda, `base` that of the interpreter.
    """

    prefix: Path
    base: Path
    executable: Path
    stdlib: tuple[Path, ...]
    sites: tuple[Path, ...]

    @classmethod
    def of_this_process(cls) -> Python:
        """Return the one that runs here."""
        # in a venv, "platbase" is that of the venv
        paths = sysconfig.get_paths(vars={"platbase": sys.base_exec_prefix})
        prefix, base = Path(sys.prefix), Path(sys.base_prefix)
        whole = str(prefix) not in _SYSTEM
        named = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
        sites = [each for each in named if not (whole and each.is_relative_to(prefix))]
        return cls(
            prefix,
            base,
            Path(sys.executable).resolve(),
            tuple(dict.fromkeys(Path(paths[name]) for name in ("stdlib", "platstdlib"))),
            tuple(dict.fromkeys(each for each in sites if each.is_dir())),
        )

    @property
    def is_own(self) -> bool:
        """True if all below `prefix` belongs to this environment."""
        return str(self.prefix) not in _SYSTEM

    @property
    def has_base(self) -> bool:
        """True if the interpreter is not in the environment itself."""
        return not self.is_own or self.prefix != self.base

    def key(self) -> str:
        """Return a name for the content: the interpreter, and the records of all packages."""
        status = self.executable.stat()
        records = {
            each.read_text("RECORD") or str(each.metadata["Name"]) for each in distributions()
        }
        conda = sorted(path.name for path in self.prefix.glob("conda-meta/*.json"))
        places = [str(self.prefix), str(self.base), str(self.executable), *map(str, self.sites)]
        system = [*os.uname()[:1], os.uname().machine, os.confstr("CS_GNU_LIBC_VERSION") or ""]
        content = (FORMAT, sys.version, status.st_size, status.st_mtime_ns, places, system, conda)
        return f"{key_of(*content, sorted(records))}"


def find(python: Python) -> Path | None:
    """Return the image of `python` if it has been made."""
    image = _place(python)
    return image if image.exists() else None


def _place(python: Python) -> Path:
    return cache() / "environments" / f"python-{python.key()}.sif"


def make(say: Callable[[str], None]) -> Path:
    """Return the image with the Python environment of this process, made unless it is there.

    Raises `MissingPrerequisiteError` if it cannot be made.
    """
    python = Python.of_this_process()
    image = _place(python)
    waits = "another process is packing the Python environment of Snakemake: waiting for it"
    try:
        with locked(image.parent / ".lock", before_waiting=lambda: say(waits)):
            if not image.exists():
                _clean(image.parent)
                _make(python, image, say)
            # shows when it was last used
            os.utime(image)
    except OSError as error:
        raise MissingPrerequisiteError(_trouble(error, image.parent)) from error
    return image


def _trouble(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(folder)
    return f"the Python environment of Snakemake cannot be packed in {folder}: {error}"


def _no_space(folder: Path) -> str:
    return (
        f"there is no space left in {folder} to pack the Python environment of Snakemake: free "
        "some, or set OSGPILOT_CACHE to another folder"
    )


def _clean(folder: Path) -> None:
    """Remove what a build left behind that was killed, and images that nobody uses any more."""
    for path in folder.glob(".part-*"):
        # what it had started may still be writing
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("python-*.sif"):
        if time.time() - path.stat().st_mtime > UNUSED_DAYS * 86400:
            path.unlink()


def _make(python: Python, image: Path, say: Callable[[str], None]) -> None:
    apptainer = shutil.which("apptainer") or shutil.which("singularity")
    if apptainer is None:
        raise NoApptainerError(
            "it is packed into an image by Apptainer, which is not on this machine: install it, or "
            "name an image with --osgpilot-runtime-image (see `osgpilot runtime build`)"
        )
    content = contents(python)
    size_mb = sum(each.stat().st_size for each in content.values() if isinstance(each, Path)) // _MB
    if shutil.disk_usage(image.parent).free < 2.5 * size_mb * _MB:
        raise MissingPrerequisiteError(_no_space(image.parent))
    say(
        f"packing the Python environment of Snakemake ({size_mb} MB) for rules that need it where "
        f"they run, once: {image}"
    )
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=image.parent))
    try:
        fill(part / "tree", content)
        _build(apptainer, part, python)
        # files that only their owner may read are in it, too
        (part / "image.sif").chmod(private.FILE_MODE)
        (part / "image.sif").rename(image)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _build(apptainer: str, part: Path, python: Python) -> None:
    recipe = part / "recipe.def"
    recipe.write_text(
        f"Bootstrap: localimage\nFrom: {part / 'tree'}\n%environment\n"
        f"    export LC_ALL=C.UTF-8 PATH={PATH}\n"
    )
    places = [f"{name}={part}" for name in ("APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "TMPDIR")]
    # the default takes much longer, for an image that is a tenth smaller
    quickly = ["--mksquashfs-args", "-comp gzip -Xcompression-level 1"]
    command = [apptainer, "build", "--force", *quickly, str(part / "image.sif"), str(recipe)]
    try:
        done = run(["env", *places, *command], timeout_s=BUILD_S)
    except OutcomeUnknownError as error:
        raise MissingPrerequisiteError(f"apptainer build: {error}") from error
    if done.returncode != 0:
        raise MissingPrerequisiteError(
            "the Python environment of Snakemake cannot be packed by Apptainer "
            f"({why(done.stdout + done.stderr)}): name an image with --osgpilot-runtime-image"
        )


def fill(tree: Path, content: Entries) -> None:
    """Create the files and links of an image below `tree`."""
    for folder in _FOLDERS:
        (tree / folder).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        root = Path("/", name)
        if root.is_symlink():
            (tree / name).symlink_to(os.readlink(root))  # noqa: PTH115
    for path, text in _LINES.items():
        (tree / path).parent.mkdir(exist_ok=True)
        (tree / path).write_text(text)
    for path, source in content.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, str):
            target.symlink_to(source)
        elif isinstance(source, bytes):
            target.write_bytes(source)
            target.chmod(0o755)
        else:
            _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, by a second name for the same content where that is possible."""
    readable = source.stat().st_mode & stat.S_IROTH
    if readable:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
    target.chmod(target.stat().st_mode | stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)


def contents(python: Python) -> Entries:
    """Return all that the image of `python` contains."""
    found: Entries = {}
    if python.is_own:
        found |= _tree(python.prefix, ENVIRONMENT, _NOT_NEEDED, python)
    if python.has_base:
        found |= _base(python)
    for number, site in enumerate(python.sites):
        found |= _tree(site, f"{_SITES}/{number}", _NOT_NEEDED, python)
    found |= _programs()
    found |= _libraries([each for each in found.values() if isinstance(each, Path)], python)
    for name in _DATA:
        if Path(name).is_dir():
            found |= _tree(Path(name), name, set(), python)
        elif Path(name).is_file():
            found[name] = Path(name).resolve()
    return found | _aliases(python) | _settings(python) | _moved_scripts(found, python)


def _tree(source: Path, target: str, leave_out: set[str], python: Python) -> Entries:
    """Return the files below `source`, and links to them as links."""
    found: Entries = {}
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(set(folders) - leave_out)
        below = os.path.relpath(folder, source)
        for name in [
            *sorted(names),
            *(each for each in folders if Path(folder, each).is_symlink()),
        ]:
            path = Path(folder, name)
            if name.endswith(".a"):
                continue
            place = os.path.normpath(f"{target}/{below}/{name}")
            if entry := _entry(path, source, target, python):
                found[place] = entry
    return found


def _entry(path: Path, source: Path, target: str, python: Python) -> Path | str | None:
    """Return what a path is in the image: a copy, a link, or None for what cannot be there."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    if path.is_symlink():
        if python.has_base and real == python.executable:
            return f"{BASE}/bin/{real.name}"
        to = Path(os.path.normpath(path.parent / os.readlink(path)))  # noqa: PTH115
        if to.is_relative_to(source):
            inside = f"{target}/{to.relative_to(source)}"
            return os.path.relpath(inside, f"{target}/{path.parent.relative_to(source)}")
    readable = real.is_file() and os.access(real, os.R_OK)
    return real if readable else None


def _base(python: Python) -> Entries:
    """Return the interpreter and its standard library."""
    name = python.executable.name
    found: Entries = {f"{BASE}/bin/{name}": python.executable}
    for other in {"python3", "python"} - {name}:
        found[f"{BASE}/bin/{other}"] = name
    for folder in python.stdlib:
        below = folder.relative_to(python.base)
        leave_out = _NOT_NEEDED | _NOT_NEEDED_BELOW_STDLIB
        found |= _tree(folder, f"{BASE}/{below}", leave_out, python)
    return found


def _settings(python: Python) -> Entries:
    """Return the files and links that make a venv, and the list of other folders of modules."""
    version = "{}.{}".format(*sys.version_info)
    site = f"lib/python{version}/site-packages"
    listed = "".join(f"{_SITES}/{number}\n" for number in range(len(python.sites)))
    found: Entries = {f"{ENVIRONMENT}/{site}/osgpilot.pth": listed.encode()} if listed else {}
    if python.has_base:
        text = f"home = {BASE}/bin\ninclude-system-site-packages = false\nversion = {version}\n"
        found[f"{ENVIRONMENT}/pyvenv.cfg"] = text.encode()
    if not python.is_own:
        for name in ("python", "python3"):
            found[f"{ENVIRONMENT}/bin/{name}"] = f"{BASE}/bin/{python.executable.name}"
    return found


def _moved_scripts(found: Entries, python: Python) -> Entries:
    """Return the environment's scripts with its interpreter at its place in the image."""
    old, new = f"{python.prefix}/bin/".encode(), f"{ENVIRONMENT}/bin/".encode()
    moved: Entries = {}
    for path, source in found.items():
        if isinstance(source, Path) and path.startswith(f"{ENVIRONMENT}/bin/"):
            content = source.read_bytes()
            if content.startswith(b"#!") and old in content[:_HEAD_BYTES]:
                head, rest = content[:_HEAD_BYTES], content[_HEAD_BYTES:]
                moved[path] = head.replace(old, new) + rest
    return moved


_HEAD_BYTES = 1024


def _programs() -> Entries:
    places = "/usr/bin:/bin:/usr/sbin:/sbin"
    found = {name: shutil.which(name, path=places) for name in _PROGRAMS.split()}
    return {f"/usr/bin/{name}": Path(p).resolve() for name, p in found.items() if p is not None}


def _aliases(python: Python) -> Entries:
    """Return links from the places that environment and interpreter have here."""
    places = [(python.prefix, ENVIRONMENT)] if python.is_own else []
    places += [(python.base, BASE)] if python.has_base else []
    return {
        str(place): to
        for place, to in places
        if str(place) not in _SYSTEM and not any(place.is_relative_to(top) for top in _HIDDEN)
    }


def _libraries(paths: Iterable[Path], python: Python) -> Entries:
    """Return the shared libraries that the files among `paths` load and that are not among them."""
    paths = list(paths)
    there = set(paths)
    loading = [path for path in paths if _is_elf(path)]
    needed: dict[str, None] = {}
    for first in range(0, len(loading), _LDD_FILES):
        needed |= dict.fromkeys(_needed(loading[first : first + _LDD_FILES]))
    usual = next((Path(each).parent for each in needed if Path(each).name == "libc.so.6"), None)
    if usual is None:
        raise MissingPrerequisiteError("`ldd` does not show what Python needs of this system")
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
            found[_place_of_library(path, usual, python)] = real
    return found


def _place_of_library(path: Path, usual: Path, python: Python) -> str:
    if str(python.base) not in _SYSTEM and path.is_relative_to(python.base):
        top = BASE if python.has_base else ENVIRONMENT
        return f"{top}/{path.relative_to(python.base)}"
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
