"""Inputs in S3: their URLs for HTCondor, and the keys with which it signs these.

HTCondor's shadow makes a presigned https URL of each, valid for an hour; only that URL gets to the
execution point. The shadow reads the keys from files here that the job's ad names (HTCondor
manual, condor_submit, `aws_access_key_id_file`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from ..common import private_files as private
from ..common.atomic_write import write_atomically
from ..common.snakemake_types import StorageObject, StorageProvider

SCHEME = "s3://"

Lines = tuple[tuple[str, str], ...]

_BUCKET = re.compile(r"[a-z0-9-]{3,63}")
"""Bucket names that are valid in a host name and not mistaken for one (AWSv4-impl.cpp)."""

_HOST = re.compile(r"(?=.{14})[a-z0-9-]+(\.[a-z0-9-]+)+")
"""HTCondor treats a name with a dot as a host, and reads its last 14 characters (AWSv4-impl.cpp):
shorter names are not safe."""

_REGION = re.compile(r"[a-z0-9-]+")
_AMAZON = ".amazonaws.com"


@dataclass(frozen=True)
class Keys:
    """Keys to sign URLs with."""

    access: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    region: str


def keys_of(provider: StorageProvider) -> Keys | None:
    """Return the keys of a storage provider, None if it has none to sign with."""
    settings = provider.settings
    access, secret = getattr(settings, "access_key", None), getattr(settings, "secret_key", None)
    signature = getattr(settings, "signature_version", None) or "s3v4"
    region = str(getattr(settings, "region", None) or "us-east-1")
    if not access or not secret or signature != "s3v4" or not _REGION.fullmatch(region):
        return None
    return Keys(str(access), str(secret), str(getattr(settings, "token", None) or ""), region)


def address(stored: StorageObject) -> str:
    """Return the URL by which HTCondor fetches an object in storage, empty if it cannot."""
    keys = keys_of(stored.provider)
    parts = urlsplit(str(stored.query))
    bucket, key = parts.netloc, parts.path.removeprefix("/")
    usual = key == os.path.normpath(key) and not key.startswith(("/", "../"))
    if keys is None or not _BUCKET.fullmatch(bucket) or not usual or stored.is_dir():
        return ""
    endpoint = getattr(stored.provider.settings, "endpoint_url", None)
    if not endpoint:
        return f"{SCHEME}{bucket}.s3.{keys.region}{_AMAZON}/{key}"
    there = urlsplit(str(endpoint))
    host = there.hostname or ""
    if not _HOST.fullmatch(host) or host.endswith(_AMAZON):
        return ""
    if there.scheme != "https" or there.path.strip("/") or there.query or "@" in there.netloc:
        return ""
    return f"{SCHEME}{there.netloc}/{bucket}/{key}"


@dataclass(frozen=True)
class KeyFiles:
    """Files of a run from which the shadow reads keys; only their owner may read them."""

    folder: Path

    def lines(self, keys: Collection[Keys]) -> Lines:
        """Write these keys (one or none); return the submit commands that name the files."""
        return tuple(line for each in keys for line in self._lines(each))

    def _lines(self, keys: Keys) -> Lines:
        named = blake2b(f"{keys.access}\0{keys.region}".encode(), digest_size=6).hexdigest()
        parts = {
            "aws_access_key_id_file": ("access", keys.access),
            "aws_secret_access_key_file": ("secret", keys.secret),
        }
        if keys.token:
            parts["My.EC2SessionToken"] = ("token", keys.token)
        lines = [("aws_region", keys.region)]
        for command, (what, value) in parts.items():
            path = str(self._write(f"{named}.{what}", value))
            lines.append((command, f'"{path}"' if command.startswith("My.") else path))
        return tuple(lines)

    def _write(self, name: str, value: str) -> Path:
        path = self.folder / name
        if path.exists() and path.read_text() == value:
            return path
        self.folder.mkdir(private.FOLDER_MODE, parents=True, exist_ok=True)
        write_atomically(path, value)
        return path
