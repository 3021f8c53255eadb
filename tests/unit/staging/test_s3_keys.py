"""Inputs in S3: which of them HTCondor can fetch, under what URL, and where it finds the keys."""

import pytest
from doubles import InStorage

from snakemake_executor_plugin_osgpilot.htcondor.submit_description import PLAIN_URL
from snakemake_executor_plugin_osgpilot.staging.s3_keys import KeyFiles, Keys, address
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import (
    TransferMethod,
    TransferPolicy,
)

KEYS = {"access_key": "AKIA1", "secret_key": "hush"}
HERE = TransferPolicy((), frozenset(["s3"]), fetched_here=False, stored_here=False, signs=True)
OBJECT = "s3://bucket/deep/key.txt"


def url_of(query=OBJECT, **settings):
    return address(InStorage(query, **(KEYS | settings)).storage_object)


def test_amazons_buckets_are_hosts_of_their_region():
    assert url_of() == "s3://bucket.s3.us-east-1.amazonaws.com/deep/key.txt"
    assert url_of(region="eu-west-1") == "s3://bucket.s3.eu-west-1.amazonaws.com/deep/key.txt"


def test_other_servers_have_the_bucket_in_the_path():
    there = "s3://minio.example.org:9000/bucket/deep/key.txt"
    assert url_of(endpoint_url="https://minio.example.org:9000/") == there
    assert PLAIN_URL.fullmatch(there)


@pytest.mark.parametrize(
    ("query", "settings"),
    [
        (OBJECT, {"access_key": None}),
        (OBJECT, {"secret_key": None}),
        (OBJECT, {"signature_version": "s3"}),
        (OBJECT, {"region": "eu west"}),
        (OBJECT, {"is_dir": True}),
        (OBJECT, {"endpoint_url": "http://minio.example.org"}),
        (OBJECT, {"endpoint_url": "https://localhost-minio"}),
        (OBJECT, {"endpoint_url": "https://s3.site.org"}),
        (OBJECT, {"endpoint_url": "https://minio.example.org/below"}),
        (OBJECT, {"endpoint_url": "https://me:secret@minio.example.org"}),
        (OBJECT, {"endpoint_url": "https://s3.eu-west-1.amazonaws.com"}),
        ("s3://bucket.with.dots/key", {}),
        ("s3://Bucket_1/key", {}),
        ("s3://bucket/a//b", {}),
        ("s3://bucket/../b", {}),
        ("s3://bucket/a key", {}),
        ("s3://bucket/a,b", {}),
        ("s3://bucket/", {}),
    ],
)
def test_urls_that_htcondor_cannot_sign_are_left_to_snakemake(query, settings):
    assert HERE.for_input(InStorage(query, **(KEYS | settings))) is TransferMethod.STORAGE


def test_only_a_local_access_point_can_sign():
    file = InStorage(OBJECT, **KEYS)
    assert HERE.for_input(file) is TransferMethod.URL
    assert HERE.keys([file]) == {Keys("AKIA1", "hush", "", "us-east-1")}
    away = TransferPolicy((), frozenset(["s3"]), fetched_here=False, stored_here=False)
    assert away.for_input(file) is TransferMethod.STORAGE
    assert away.keys([file]) == set()


def test_keys_are_only_in_private_files(tmp_path):
    files = KeyFiles(tmp_path / "keys")
    keys = Keys("AKIA1", "hush", "token1", "eu-west-1")
    assert "hush" not in repr(keys)
    commands = dict(files.lines([keys]))
    assert commands.pop("aws_region") == "eu-west-1"
    assert not any(value in str(commands) for value in ("AKIA1", "hush", "token1"))
    paths = {name: path.strip('"') for name, path in commands.items()}
    content = {name: (tmp_path / "keys" / path).read_text() for name, path in paths.items()}
    assert content == {
        "aws_access_key_id_file": "AKIA1",
        "aws_secret_access_key_file": "hush",
        "My.EC2SessionToken": "token1",
    }
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert files.lines([]) == ()


def test_new_keys_replace_old_ones(tmp_path):
    files = KeyFiles(tmp_path)
    old, new = (Keys("AKIA1", secret, "", "us-east-1") for secret in ("one", "two"))
    commands = files.lines([old])
    assert files.lines([new]) == commands
    assert (tmp_path / dict(commands)["aws_secret_access_key_file"]).read_text() == "two"
