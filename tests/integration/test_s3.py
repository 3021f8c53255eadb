"""Inputs in S3: the execution point fetches them with a signed URL, the keys stay here."""

import hashlib
import hmac
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import boto3
import pytest
from conftest import PATIENCE_S, Workflow, past_jobs, tool, until
from tls import HOST, Trusted

ACCESS, SECRET = "AKIAOSGPILOTTEST0001", "never-to-be-seen-4fZq81LkT0"
CONTENT = os.urandom(300_000)
RUNTIME = "/opt/sif/runtime.sif"


@dataclass(frozen=True)
class S3:
    """A server of S3's protocol, and what it was asked for."""

    url: str
    log: Path

    def client(self, bundle: str):
        return boto3.client(
            "s3", endpoint_url=self.url, verify=bundle, region_name="us-east-1",
            aws_access_key_id=ACCESS, aws_secret_access_key=SECRET,
        )  # fmt: skip

    def fetched(self) -> list[str]:
        """The paths, with their queries, of objects that were sent."""
        found = re.findall(r'"GET (/data/\S+) HTTP/1.1" 20\d', self.log.read_text())
        return [path for path in found if "list-type" not in path]


@pytest.fixture
def s3(tmp_path_factory, trusted: Trusted) -> Iterator[S3]:
    folder = tmp_path_factory.mktemp("s3")
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    log = folder / "log"
    certificate = ["--ssl-cert", str(trusted.folder / "host.crt")]
    certificate += ["--ssl-key", str(trusted.folder / "host.key")]
    with log.open("w") as said:
        command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", port, *certificate]
        # of this host's name, the first part is no bucket
        named = {**os.environ, "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
        process = subprocess.Popen(command, stdout=said, stderr=said, env=named)
    until(lambda: "Running on" in log.read_text(), "the S3 server")
    yield S3(f"https://{HOST}:{port}", log)
    process.terminate()
    process.wait()


def signature(server: S3, path: str) -> str:
    """The signature that the secret makes of a URL (AWS, Signature Version 4, query string)."""
    parts = urlsplit(path)
    reported = dict(parse_qsl(parts.query))
    # the server's log has it without its percent signs
    signed = sorted((name, text) for name, text in reported.items() if name != "X-Amz-Signature")
    query = urlencode(signed, quote_via=quote, safe="")
    host = urlsplit(server.url).netloc
    canonical = f"GET\n{parts.path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    _, *scope = reported["X-Amz-Credential"].split("/")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((reported["X-Amz-Algorithm"], reported["X-Amz-Date"], "/".join(scope), digest))
    key = f"AWS4{SECRET}".encode()
    for word in (*scope, text):
        key = hmac.digest(key, word.encode(), "sha256")
    return key.hex()


def holding_secret(*folders: Path) -> list[Path]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in files if SECRET.encode() in path.read_bytes()]


SNAKEFILE = """
storage:
    provider="s3",
    endpoint_url="{url}",

rule all:
    input: expand("{{n}}.txt", n=range(2)), "held.txt"

rule fetched:
    input: storage.s3("s3://data/deep/in.bin")
    output: "{{n}}.txt"
    shell: "sha256sum < {{input}} > {{output}}"

rule held:
    input: storage.s3("s3://data/deep/in.bin")
    output: "held.txt"
    shell:
        "(env; cat .job.ad .machine.ad osgpilot-job) > {{output}}"
"""


def test_the_execution_point_fetches_from_s3_and_the_secret_stays_here(
    workflow: Workflow, s3: S3, trusted: Trusted, monkeypatch
):
    monkeypatch.setenv("AWS_CA_BUNDLE", trusted.bundle)
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", ACCESS)
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_SECRET_KEY", SECRET)
    client = s3.client(trusted.bundle)
    client.create_bucket(Bucket="data")
    client.put_object(Bucket="data", Key="deep/in.bin", Body=CONTENT)
    workflow.snakefile(SNAKEFILE.format(url=s3.url))

    process = workflow.start()
    until(lambda: list(workflow.folder.glob(".snakemake/osgpilot/*/jobs/keys/*")), "the keys")
    [keys] = workflow.folder.glob(".snakemake/osgpilot/*/jobs/keys")
    until(lambda: len(list(keys.iterdir())) == 2, "both keys")
    assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}
    assert process.wait(PATIENCE_S) == 0, workflow.said
    expected = hashlib.sha256(CONTENT).hexdigest()
    for n in range(2):
        assert (workflow.folder / f"{n}.txt").read_text() == f"{expected}  -\n"

    fetched = s3.fetched()
    assert len(fetched) == 3
    for path in fetched:
        assert dict(parse_qsl(urlsplit(path).query))["X-Amz-Signature"] == signature(s3, path)
    assert not list(workflow.folder.glob(".snakemake/storage/**/in.bin"))
    newest = past_jobs(limit=3)
    assert {ad["TransferInputStats"]["HTTPSSizeBytesTotal"] for ad in newest} == {len(CONTENT)}
    ads = tool("condor_history", "-limit", "3", "-long")
    assert "EC2SecretAccessKey" in ads
    assert SECRET not in ads + workflow.said
    assert not holding_secret(workflow.folder)
