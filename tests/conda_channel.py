"""A channel of conda packages made of real programs, and a program `conda` for it."""

from __future__ import annotations

import hashlib
import json
import site
import struct
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

from snakemake_executor_plugin_osgpilot.local_pool.paths import KIT

PLACEHOLDER = "/opt/" + 20 * "placeholder"
"""Stands in a package's files for the folder of the environment that it is installed into."""

JOB_IMAGE = "/opt/sif/job.sif"

OF_GLIBC = ("ld-", "libc.", "libm.", "libmvec.", "libdl.", "libpthread.", "librt.", "libutil.")
OF_GLIBC += ("libresolv.", "libnss_", "libanl.", "libBrokenLocale.", "libc_malloc", "libnsl.")

_BLOCK = 128 * 1024


def stored(content: bytes) -> bytes:
    """Return a Zstandard frame that is not compressed, as packages have to be in that format."""
    parts = [struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3)]
    for first in range(0, len(content), _BLOCK):
        block = content[first : first + _BLOCK]
        last = first + _BLOCK >= len(content)
        parts += [struct.pack("<I", len(block) << 3 | last)[:3], block]
    return b"".join(parts)


Files = dict[str, str | bytes | Path]
"""Path in a package → text, content, or a file here; a text `-> x` is a link to x."""


class Channel:
    """A folder with packages, which a web server or `file://` makes a channel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "noarch"
        self.folder.mkdir(parents=True)
        self._listed: dict[str, dict] = {}

    def add(self, name: str, version: str, files: Files, needs: tuple[str, ...] = ()) -> None:
        """Add a package that any machine can use."""
        index = {"name": name, "version": version, "build": "0", "build_number": 0}
        index |= {"depends": list(needs), "subdir": "noarch", "noarch": "generic"}
        paths = []
        inner = BytesIO()
        with tarfile.open(fileobj=inner, mode="w") as archive:
            for path, what in files.items():
                paths.append({"_path": path, "path_type": "hardlink"})
                member = tarfile.TarInfo(path)
                member.mode = 0o755
                if isinstance(what, str) and what.startswith("-> "):
                    member.type, member.linkname = tarfile.SYMTYPE, what[3:]
                    paths[-1]["path_type"] = "softlink"
                    archive.addfile(member)
                    continue
                content = what.read_bytes() if isinstance(what, Path) else what
                content = content.encode() if isinstance(content, str) else content
                if PLACEHOLDER.encode() in content:
                    mode = "binary" if b"\0" in content else "text"
                    paths[-1] |= {"prefix_placeholder": PLACEHOLDER, "file_mode": mode}
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
        about = BytesIO()
        with tarfile.open(fileobj=about, mode="w") as archive:
            for path, value in (("index", index), ("paths", {"paths_version": 1, "paths": paths})):
                text = json.dumps(value).encode()
                member = tarfile.TarInfo(f"info/{path}.json")
                member.size = len(text)
                archive.addfile(member, BytesIO(text))
        stem = f"{name}-{version}-0"
        file = self.folder / f"{stem}.conda"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as package:
            package.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
            package.writestr(f"info-{stem}.tar.zst", stored(about.getvalue()))
            package.writestr(f"pkg-{stem}.tar.zst", stored(inner.getvalue()))
        content = file.read_bytes()
        sums = {"md5": hashlib.md5(content).hexdigest(), "size": len(content)}
        self._listed[file.name] = index | sums | {"sha256": hashlib.sha256(content).hexdigest()}
        reported = {"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": self._listed}
        index_file = self.folder / "repodata.json"
        index_file.write_text(json.dumps(reported | {"repodata_version": 1}))


def unpacked_image(folder: Path) -> Path:
    """Return the content of the job image, whose programs are Debian's."""
    tree = folder / "tree"
    command = ["apptainer", "build", "--force", "--sandbox", str(tree), JOB_IMAGE]
    subprocess.run(command, check=True, capture_output=True)
    return tree


def below(tree: Path, *places: str, leave_out: tuple[str, ...] = ()) -> Files:
    """Return the files of `usr/PLACE` of a tree, at PLACE of an environment."""
    found: Files = {}
    usr = tree / "usr"
    for place in places:
        top = usr / place
        for path in [top] if top.is_file() or top.is_symlink() else sorted(top.rglob("*")):
            name = str(path.relative_to(usr))
            if "__pycache__" in name or path.name.startswith(leave_out):
                continue
            if path.is_symlink():
                to = str(path.readlink())
                if not to.startswith("/"):
                    found[name] = f"-> {to}"
                elif to.startswith("/etc/R/"):
                    found[name] = f"-> ../../../etc/R/{path.name}"
            elif path.is_file():
                found[name] = path
    return found


def add_programs(channel: Channel, folder: Path, *, large: bool) -> None:
    """Add packages with R and Python, and with samtools and much else if `large`."""
    tree = unpacked_image(folder)
    libraries = "lib/x86_64-linux-gnu"
    every = below(tree, libraries, leave_out=OF_GLIBC)
    r = below(tree, "lib/R", "share/R", "bin/R", "bin/Rscript") | every
    r |= {f"etc/R/{path.name}": path for path in (tree / "etc/R").iterdir() if path.is_file()}
    for name in ("bin/R", "lib/R/bin/R", "etc/R/ldpaths"):
        if isinstance(source := r.get(name), Path):
            text = source.read_text().replace("/usr/lib/", f"{PLACEHOLDER}/lib/")
            r[name] = text.replace("/usr/share/", f"{PLACEHOLDER}/share/")
    r["etc/conda/activate.d/r.sh"] = (
        'export RHOME="$CONDA_PREFIX/lib/R" R_HOME_SET=$undefined_as_real_scripts_have_it\n'
        f'export LD_LIBRARY_PATH="$CONDA_PREFIX/{libraries}'
        f":$CONDA_PREFIX/{libraries}/blas:$CONDA_PREFIX/{libraries}/lapack"
        '${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
    )
    channel.add("r", "4.5", r)
    python = below(tree, "bin/python3.13", "lib/python3.13") | {"bin/python": "-> python3.13"}
    wanted = ("libexpat", "libz.", "libffi", "libbz2", "liblzma", "libuuid", "libcrypto", "libssl")
    wanted += ("libstdc++", "libgcc_s")
    python |= {n: what for n, what in every.items() if Path(n).name.startswith(wanted)}
    python["etc/conda/activate.d/python.sh"] = (
        f'export LD_LIBRARY_PATH="$CONDA_PREFIX/{libraries}'
        '${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
    )
    channel.add("python", "3.13", python)
    if large:
        programs = ("bin/samtools", "bin/bcftools", "bin/bowtie2", "bin/bowtie2-align-s")
        programs += ("bin/bowtie2-align-l", "bin/bowtie2-build-s", "bin/bowtie2-build-l")
        more = below(tree, *programs, "lib/python3", "share")
        channel.add("tools", "1.0", {n: what for n, what in more.items() if n not in r})
    channel.add("papermill", "2.6", _papermill(), ("python",))
    cat = Path("/usr/bin/cat").read_bytes()
    stamp = (
        f"#!/bin/bash\nprefix={PLACEHOLDER}\n"
        'file=$(tail -c 400 "$prefix/bin/stamp.bin" | tr "\\0" "\\n" | grep share/stamp/words)\n'
        'echo "$1 $STAMP $(cat "$prefix/share/stamp/linked")"\n'
        'exec "$prefix/bin/stamp.bin" "$file"\n'
    )
    channel.add(
        "stamp",
        "1.0",
        {
            "bin/stamp": stamp,
            "bin/stamp.bin": cat + f"\0{PLACEHOLDER}/share/stamp/words\0".encode(),
            "bin/.stamp-post-link.sh": 'echo linked > "$PREFIX/share/stamp/linked"\n',
            "share/stamp/words": "words of the package\n",
            "etc/conda/activate.d/stamp.sh": 'export STAMP="activated$undefined"\n',
        },
    )


def _papermill() -> Files:
    """Return what runs notebooks, of the packages of this Python."""
    listing = [sys.executable, str(KIT / "runtime-packages.py"), "papermill", "ipykernel"]
    listed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    here = Path(site.getsitepackages()[0])
    left_out = ("debugpy", "sqlalchemy/testing")
    packages = {
        f"local/lib/python3.13/dist-packages/{name}": here / name
        for name in listed
        if not name.startswith(left_out) and "__pycache__" not in name
    }
    return {"bin/papermill": '#!/bin/sh\nexec python -m papermill "$@"\n', **packages}


EXPLICIT = """
def create(argv):
    parser = argparse.ArgumentParser(prog="conda create")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--prefix", type=Path)
    options, _ = parser.parse_known_args(argv)
    listed = [line for line in options.file.read_text().split() if "://" in line]
    named = [url.rpartition("/")[2].removesuffix(".conda").rsplit("-", 2) for url in listed]
    channels = sorted({url.rsplit("/", 2)[0] for url in listed})
    asyncio.run(_make(channels, [f"{n}=={version}" for n, version, _ in named], options.prefix))
    return 0


if __name__ == "__main__":
    status = create(sys.argv[2:]) if sys.argv[1] == "create" else main(sys.argv[1:])
"""
"""`conda create --file` for a list of packages (`@EXPLICIT`)."""


def install_conda(folder: Path) -> Path:
    """Put a program `conda` into `folder`, and `activate` next to it; return their folder."""
    programs = folder / "conda" / "bin"
    programs.mkdir(parents=True)
    for name, source in (("conda", "conda"), ("activate", "conda-activate")):
        text = (KIT / source).read_text()
        # Snakemake sets the priority of channels in a container, and rattler knows one only
        needed = 'choices=["channel_priority"], required=True'
        more = "default='channel_priority')\n    config.add_argument('--set', nargs=2"
        text = text.replace(needed, more)
        needed = 'config.add_argument("--json", action="store_true", required=True)'
        text = text.replace(needed, needed.replace(", required=True", ""))
        begin = '\nif __name__ == "__main__":\n    status = main(sys.argv[1:])\n'
        text = text.replace(begin, EXPLICIT)
        # as conda does, but rattler only if it is asked to
        text = text.replace("show_progress=False", "show_progress=False, execute_link_scripts=True")
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return programs
