"""Inputs and images that HTCondor fetches over TLS: from a web server, a registry, a federation."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import xrootd
from conftest import PATIENCE_S, SITE, Workflow, tool, until
from tls import HOST, Trusted
from xrootd import Cache

from snakemake_executor_plugin_osgpilot.htcondor.local_schedd import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity

PROGRAMS = (
    *("bash", "base64", "cat", "cp", "dirname", "mkdir", "mv", "readlink", "rm", "sha256sum"),
    *("stat", "tar", "touch", "tr"),
)


@pytest.fixture
def web(tmp_path_factory, trusted: Trusted) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which it is served."""
    folder = tmp_path_factory.mktemp("www")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("", 0), handler)
    server.socket = trusted.context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"https://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry(tmp_path_factory, trusted: Trusted) -> Iterator[str]:
    """The address of an empty registry of images."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("", 0))
        address = f"{HOST}:{free.getsockname()[1]}"
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {
            "addr": address,
            "tls": {
                "certificate": str(trusted.folder / "host.crt"),
                "key": str(trusted.folder / "host.key"),
            },
        },
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("w") as log:
        command = ["docker-registry", "serve", str(folder / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    until(lambda: "listening on" in (folder / "log").read_text(), "the registry")
    yield address
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A file tree with a shell and little more."""
    root = tmp_path_factory.mktemp("tiny")
    (root / "usr/bin").mkdir(parents=True)
    for name in ("tmp", "dev", "proc", "sys", "etc", "srv", "var/tmp"):
        (root / name).mkdir(parents=True)
    for link in ("bin", "lib", "lib64"):
        (root / "usr" / link).mkdir(exist_ok=True)
        (root / link).symlink_to(f"usr/{link}")
    (root / "bin/sh").symlink_to("bash")
    needed = {f"/usr/bin/{name}" for name in PROGRAMS}
    for line in tool("ldd", *needed).splitlines():
        needed |= {word for word in line.split() if word.startswith("/") and ":" not in word}
    for path in needed:
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path[1:])
    (root / "etc/tiny").write_text("tiny\n")
    return root


def push(registry: str, trusted: Trusted, root: Path) -> str:
    """Put a file tree into the registry as a Docker image of one layer; return its name."""
    context = ssl.create_default_context(cafile=trusted.bundle)

    def send(method: str, url: str, data: bytes = b"", kind: str = "application/octet-stream"):
        request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
        return urllib.request.urlopen(request, context=context)

    def blob(content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        place = send("POST", f"https://{registry}/v2/tiny/blobs/uploads/").headers["Location"]
        send("PUT", f"{place}&digest={digest}", content)
        return digest

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root, arcname=".")
    layer, plain = gzip.compress(buffer.getvalue(), 1), hashlib.sha256(buffer.getvalue())
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]},
    }
    reported = json.dumps(config).encode()
    docker = "application/vnd.docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{docker}.distribution.manifest.v2+json",
        "config": {
            "mediaType": f"{docker}.container.image.v1+json",
            "size": len(reported),
            "digest": blob(reported),
        },
        "layers": [
            {
                "mediaType": f"{docker}.image.rootfs.diff.tar.gzip",
                "size": len(layer),
                "digest": blob(layer),
            }
        ],
    }
    url = f"https://{registry}/v2/tiny/manifests/1"
    send("PUT", url, json.dumps(manifest).encode(), manifest["mediaType"])
    return f"{registry}/tiny:1"


def test_pilots_fetch_inputs_and_images_over_tls(
    workflow: Workflow, web, registry: str, trusted: Trusted, tiny: Path, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", trusted.bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted.bundle)
    folder, url = web
    (folder / "data.bin").write_bytes(os.urandom(100_000))
    docker = push(registry, trusted, tiny)
    subprocess.run(["apptainer", "build", folder / "tiny.sif", tiny], check=True)
    oras = f"oras://{registry}/sif:1"
    subprocess.run(["apptainer", "push", folder / "tiny.sif", oras], check=True)
    workflow.snakefile(f"""
IMAGES = {{"docker": "docker://{docker}", "oras": "{oras}", "https": "{url}/tiny.sif"}}

rule all:
    input: "sum.txt", expand("{{kind}}.txt", kind=IMAGES)

rule fetched:
    input: storage.http("{url}/data.bin")
    output: "sum.txt"
    shell: "sha256sum < {{input}} > {{output}}"

rule contained:
    output: "{{kind}}.txt"
    resources: container_image=lambda wildcards: IMAGES[wildcards.kind]
    shell: "cat /etc/tiny > {{output}}"
""")
    assert workflow.run() == 0, workflow.said
    expected = hashlib.sha256((folder / "data.bin").read_bytes()).hexdigest()
    assert (workflow.folder / "sum.txt").read_text() == f"{expected}  -\n"
    for kind in ("docker", "oras", "https"):
        assert (workflow.folder / f"{kind}.txt").read_text() == "tiny\n", kind


class Federation:
    """A Pelican federation with one cache. Its director is a stand-in, as Pelican's own program is
    in no package index; the cache, and the origin behind it, are servers of XRootD.
    """

    def __init__(self, cache: Cache, trusted: Trusted) -> None:
        self.cache = cache
        self.asked: list[str] = []
        noted = self

        class Director(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                objects, content = "/api/v1.0/director/object", b""
                if self.path == "/.well-known/pelican-configuration":
                    content = json.dumps({"director_endpoint": f"https://{noted.host}"}).encode()
                    self.send_response(200)
                elif self.path.startswith(objects):
                    self.send_response(307)
                    self.send_header("Location", cache.url + self.path.removeprefix(objects))
                else:
                    self.send_response(404)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_HEAD = do_GET

            def log_request(self, *args: object) -> None:
                noted.asked.append(f"{self.command} {self.path}")

        self._server = http.server.ThreadingHTTPServer(("", 0), Director)
        self._server.socket = trusted.context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def federation(tmp_path_factory, trusted: Trusted) -> Iterator[Federation]:
    with xrootd.running(tmp_path_factory.mktemp("objects"), trusted) as cache:
        made = Federation(cache, trusted)
        yield made
        made.stop()


RUNS = ".snakemake/osgpilot/2*"
PLUGIN = "/usr/local/libexec/pelican-plugin"


def test_objects_of_a_federation_go_from_its_cache_to_the_pilots_plugin(
    workflow: Workflow, federation: Federation, trusted: Trusted, shared: Path, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", trusted.bundle)
    monkeypatch.setenv("FEDERATION", federation.host)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "federation"))
    content = os.urandom(200_000)
    for name in ("one.bin", "two.bin"):
        (federation.cache.origin / name).write_bytes(content)
    workflow.snakefile(f"""
rule all:
    input:
        storage.federation("pelican://{federation.host}/ns/one.bin"),
        storage.federation("osdf:///ns/two.bin")
    output: "sums.txt"
    shell:
        "for file in {{input}}; do sha256sum < $file; done > {{output}}; "
        "until [ -e {shared}/go ]; do sleep 0.2; done"
""")
    knobs = {"FILETRANSFER_PLUGINS": f"$(LIBEXEC)/curl_plugin,{PLUGIN}"}
    knobs["PELICAN_FEDERATION"] = federation.host
    workflow.write_site({**SITE, "condor": {**SITE["condor"], **knobs}})
    process = workflow.start("--osgpilot-shared-prefixes", str(shared))
    until(lambda: list(workflow.folder.glob(RUNS)), "the run to begin")
    (folder,) = workflow.folder.glob(RUNS)
    seat = RunIdentity("alice", "TestProject", folder.name)
    with closing(LocalAccessPoint(seat, folder, SITE["central_manager"])) as there:
        there.wanted = {"osdf", "pelican", "https", "s3", "stash"}
        until(
            lambda: there.pilots() and there.unsupported_schemes, "a pilot to say what it can fetch"
        )
        assert there.unsupported_schemes == {"stash"}
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    line = f"{hashlib.sha256(content).hexdigest()}  -\n"
    assert (workflow.folder / "sums.txt").read_text() == line * 2
    for name in ("one.bin", "two.bin"):
        assert federation.asked.count(f"GET /api/v1.0/director/object/ns/{name}") == 1
        assert (federation.cache.kept / name).read_bytes() == content
    stats = workflow.past_jobs()[0]["TransferInputStats"]
    assert stats["PELICANSizeBytesTotal"] == stats["OSDFSizeBytesTotal"] == len(content)
    assert stats["CedarSizeBytesTotal"] < len(content)
