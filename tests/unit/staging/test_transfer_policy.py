"""Choosing how each file of a rule travels."""

from types import SimpleNamespace

import pytest
from doubles import InStorage
from snakemake.io import AnnotatedString

from snakemake_executor_plugin_osgpilot.config.run_options import shared_prefixes
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import (
    TransferMethod,
    TransferPolicy,
    url_schemes,
)

AWAY = TransferPolicy(
    ("/data",), frozenset(["https", "osdf"]), fetched_here=False, stored_here=False
)


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("a/b", TransferMethod.TRAVELS),
        ("/data/a", TransferMethod.SHARED),
        ("/data", TransferMethod.SHARED),
        ("/database/a", TransferMethod.TRAVELS),
        ("/data/../etc/passwd", TransferMethod.TRAVELS),
        ("/elsewhere", TransferMethod.TRAVELS),
    ],
)
def test_absolute_paths_below_a_shared_prefix_stay(path, way):
    assert AWAY.for_input(path) is way
    assert AWAY.for_output(path) is way


@pytest.mark.parametrize(
    ("source", "way", "sent"),
    [
        ("/flow/rules/../resources/x", TransferMethod.TRAVELS, "/flow/rules/../resources/x"),
        ("/data/flow/x", TransferMethod.SHARED, "/data/flow/x"),
        ("https://h.example/x", TransferMethod.TRAVELS, "/cache/copy"),
    ],
)
def test_a_source_of_the_workflow_is_sent_from_where_it_is_and_else_as_its_copy(source, way, sent):
    copy = AnnotatedString("/cache/copy")
    copy.flags["sourcecache_entry"] = source
    assert AWAY.for_input(copy) is way
    assert AWAY.inputs([copy, "a"], way) == tuple(
        path for path in (sent, "a") if AWAY.for_input(path) is way
    )


def test_files_that_only_this_machine_has_in_storage_are_found():
    class OfFs(SimpleNamespace):
        __module__ = "snakemake_storage_plugin_fs"

    def kept(path):
        file = InStorage(path)
        file.storage_object = OfFs(**vars(file.storage_object))
        return file

    there, here = kept("/data/x"), kept("/home/u/x")
    assert AWAY.unreachable([there], [there, InStorage("s3://bucket/key"), "/home/u/x"]) == ""
    assert AWAY.unreachable([there], [here]) == "/home/u/x"
    assert AWAY.unreachable([kept("x")], []) == "x"
    assert TransferPolicy().unreachable([here], [here]) == ""


@pytest.mark.parametrize("url", ["https://h.example/a/b%20c.txt", "osdf:///ospool/x/y"])
def test_plain_urls_are_left_to_htcondor(url):
    assert AWAY.for_input(InStorage(url)) is TransferMethod.URL
    assert AWAY.for_output(InStorage(url)) is TransferMethod.STORAGE
    assert AWAY.urls([InStorage(url)]) == ((url, ".snakemake/storage/x"),)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/key",
        "https://h/a?token=x",
        "https://h/a#b",
        "https://h/a,b",
        "https://h/a b",
        'https://h/"a"',
        "https://h/'a'",
        "https://h/$(HOME)",
        "https://h/a\nb",
        "https://me:secret@h/a",
        "https://h/folder/",
        "https://h",
        "/a/path",
    ],
)
def test_other_queries_are_left_to_snakemake(url):
    assert AWAY.for_input(InStorage(url)) is TransferMethod.STORAGE


def test_urls_that_need_credentials_are_left_to_snakemake():
    assert AWAY.for_input(InStorage("https://h/a", key="secret")) is TransferMethod.STORAGE
    assert AWAY.for_input(InStorage("osdf:///a/b", token_file="token")) is TransferMethod.STORAGE
    assert AWAY.for_input(InStorage("https://h/a", endpoint="e")) is TransferMethod.URL


def test_a_local_copy_is_a_file_like_any_other():
    file = InStorage("https://h/a")
    assert TransferPolicy(url_schemes=AWAY.url_schemes).for_input(file) is TransferMethod.TRAVELS
    half = TransferPolicy(stored_here=False)
    assert (half.for_input(file), half.for_output(file)) == (
        TransferMethod.TRAVELS,
        TransferMethod.STORAGE,
    )


def test_files_not_to_be_retrieved_are_not_transferred():
    assert AWAY.for_input(InStorage("https://h/a", retrieve=False)) is TransferMethod.NONE


def test_prefixes_are_separated_by_commas_or_listed():
    assert shared_prefixes(["/data,/scratch/", "/proj/x"]) == ("/data", "/scratch", "/proj/x")
    assert shared_prefixes(None) == ()


@pytest.mark.parametrize("given", ["data", "/", "/a b", "/a:/b", '/a"', "/a/../b", "/a/$HOME"])
def test_invalid_prefixes_are_rejected(given):
    with pytest.raises(InputError, match="--osgpilot-shared-prefixes"):
        shared_prefixes([given])


@pytest.mark.parametrize("given", ["/tmp/x", "/var/tmp", "/proc"])
def test_private_folders_of_jobs_cannot_be_shared(given):
    with pytest.raises(InputError, match="private folder of that name"):
        shared_prefixes([given])


def test_schemes_are_separated_by_commas_or_listed():
    assert url_schemes(["osdf,https", "s3"]) == {"osdf", "https", "s3"}
    assert url_schemes([""]) == frozenset()
    with pytest.raises(InputError, match="'HTTPS:'"):
        url_schemes(["HTTPS:"])
