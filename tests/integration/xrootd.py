"""An origin and a cache of XRootD, of which the OSDF is made: one serves files by its own protocol,
the other fetches them from there, keeps them, and serves them by HTTPS.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from conftest import until
from tls import HOST, Trusted

SERVER = Path(__file__).parents[2] / ".servers" / "xrootd"
NAMESPACE = "/ns"

_OF_BOTH = """
xrd.port {port}
all.export {namespace}
all.adminpath {folder}/admin
all.pidpath {folder}/admin
oss.localroot {folder}/files
"""
_OF_CACHE = """
xrd.protocol http:{https_port} libXrdHttp.so
xrd.tls {tls}/host.crt {tls}/host.key
xrd.tlsca noverify
ofs.osslib libXrdPss.so
pss.cachelib libXrdFileCache.so
pss.origin 127.0.0.1:{origin_port}
pfc.ram 1g
"""
"""The memory is the least that it takes as a limit."""


@dataclass(frozen=True)
class Cache:
    """A cache that answers at `url`; `origin` and `kept` are the folders of the files in the
    namespace, at the origin and in the cache.
    """

    url: str
    origin: Path
    kept: Path


def _free_ports(number: int) -> list[int]:
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _running(folder: Path, config: str) -> Iterator[None]:
    for name in ("admin", f"files{NAMESPACE}"):
        (folder / name).mkdir(parents=True)
    (folder / "config").write_text(config)
    command = [str(SERVER / "bin/xrootd"), "-c", str(folder / "config"), "-l", f"{folder}/log"]
    # its plugins are found by name
    environment = {**os.environ, "LD_LIBRARY_PATH": str(SERVER / "lib")}
    with subprocess.Popen(command, env=environment, cwd=folder) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def running(folder: Path, trusted: Trusted) -> Iterator[Cache]:
    """Start both, with a file `ready` at the origin; the cache has the certificate that pilots
    trust.
    """
    assert SERVER.exists(), "tests/run fetches XRootD into .servers"
    origin_port, port, https_port = _free_ports(3)
    origin, cache = folder / "origin", folder / "cache"
    of_origin = _OF_BOTH.format(port=origin_port, namespace=NAMESPACE, folder=origin)
    of_cache = _OF_BOTH.format(port=port, namespace=NAMESPACE, folder=cache) + _OF_CACHE.format(
        https_port=https_port, tls=trusted.folder, origin_port=origin_port
    )
    made = Cache(
        f"https://{HOST}:{https_port}", origin / f"files{NAMESPACE}", cache / f"files{NAMESPACE}"
    )

    def serves() -> bool:
        with suppress(URLError, OSError):
            url = f"{made.url}{NAMESPACE}/ready"
            with urlopen(url, context=trusted.context_of_clients) as answer:
                return answer.read() == b"ready"
        return False

    with _running(origin, of_origin):
        (made.origin / "ready").write_text("ready")
        with _running(cache, of_cache):
            until(serves, "the cache")
            yield made
