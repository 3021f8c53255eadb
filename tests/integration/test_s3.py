"""Inputs in S3: the execution point fetches them with a signed URL, the keys stay here."""

import hashlib
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from conftest import PATIENCE_S, Workflow, until
from tls import HOST, Trusted

ACCESS, SECRET = "AKIAOSGPILOTTEST0001", "never-to-be-seen-4fZq81LkT0"
CONTENT = os.urandom(300_000)
RUNTIME = "/opt/sif/runtime.sif"
WEED = Path(__file__).parents[2] / ".servers" / "bin" / "weed"
PARTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class S3:
    """A server of S3's protocol, SeaweedFS, which checks signatures."""

    url: str
    trusted: Trusted

    def client(self, secret: str = SECRET):
        return boto3.client(
            "s3", endpoint_url=self.url, verify=self.trusted.bundle, region_name="us-east-1",
            aws_access_key_id=ACCESS, aws_secret_access_key=secret,
        )  # fmt: skip

    def signed(self, secret: str) -> str:
        """Return a signed URL of the object."""
        named = {"Bucket": "data", "Key": "deep/in.bin"}
        return self.client(secret).generate_presigned_url("get_object", Params=named)

    def status(self, url: str) -> int:
        """Return the status with which the server answers."""
        try:
            with urlopen(url, context=self.trusted.context_of_clients) as answer:
                return answer.status
        except HTTPError as error:
            return error.code

    def is_up(self) -> bool:
        with suppress(BotoCoreError, ClientError):
            self.client().list_buckets()
            return True
        return False


def free_ports() -> dict[str, int]:
    """Return ports for the server's parts; each has another one, 10,000 above, for its own use."""
    for first in itertools.count(21_000, 10):
        ports = dict(zip(PARTS, range(first, first + len(PARTS)), strict=True))
        with suppress(OSError), ExitStack() as bound:
            for port in (*ports.values(), *(port + 10_000 for port in ports.values())):
                bound.enter_context(socket.socket()).bind(("", port))
            return ports
    raise AssertionError("no ports are free")


@pytest.fixture
def s3(tmp_path_factory, trusted: Trusted) -> Iterator[S3]:
    assert WEED.exists(), "tests/run fetches SeaweedFS into .servers"
    folder = tmp_path_factory.mktemp("s3")
    identity = {"accessKey": ACCESS, "secretKey": SECRET}
    may = ["Admin", "Read", "List", "Write"]
    known = {"identities": [{"name": "me", "credentials": [identity], "actions": may}]}
    (folder / "keys.json").write_text(json.dumps(known))
    (folder / "data").mkdir()
    ports = free_ports()
    command = [
        str(WEED), f"-logdir={folder}", "server", f"-dir={folder}/data", "-ip=127.0.0.1",
        "-ip.bind=0.0.0.0", "-s3", f"-s3.config={folder}/keys.json",
        f"-s3.cert.file={trusted.folder}/host.crt", f"-s3.key.file={trusted.folder}/host.key",
        "-master.volumeSizeLimitMB=64", *(f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (folder / "log").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    server = S3(f"https://{HOST}:{ports['s3']}", trusted)
    until(server.is_up, "the S3 server")
    yield server
    process.kill()
    process.wait()


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
    client = s3.client()
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

    assert s3.status(s3.signed(SECRET)) == 200
    assert s3.status(s3.signed("another")) == 403
    assert s3.status(s3.signed(SECRET).partition("?")[0]) == 403
    assert not list(workflow.folder.glob(".snakemake/storage/**/in.bin"))
    ads = workflow.past_jobs()
    assert [ad["TransferInputStats"]["HTTPSSizeBytesTotal"] for ad in ads] == [len(CONTENT)] * 3
    ads = json.dumps(ads)
    assert "EC2SecretAccessKey" in ads
    assert SECRET not in ads + workflow.said
    assert not holding_secret(workflow.folder)
