"""Choose how each file of a rule travels: with the job, by URL, by Snakemake, or not at all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from snakemake_interface_executor_plugins.settings import SharedFSUsage

from ..common.snakemake_types import StorageProvider, storage_object
from ..config.run_options import shared_prefixes
from ..config.settings import DEFAULT_URL_SCHEMES, ExecutorSettings
from ..errors import InputError
from ..htcondor.submit_description import PLAIN_URL
from . import s3_keys as s3

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


class TransferMethod(Enum):
    """The way in which a file gets to the job or back."""

    TRAVELS = "with the job"
    SHARED = "on a shared file system, at the same path"
    URL = "HTCondor fetches it on the execution point"
    STORAGE = "a storage plugin on the execution point fetches or stores it"
    NONE = "not transferred"


@dataclass(frozen=True)
class TransferPolicy:
    """The rules for all files of a run.

    `shared_prefixes` are folders that execution points see at the same path, `url_schemes` those by
    which HTCondor may fetch inputs. `fetched_here` and `stored_here` are true if the main Snakemake
    transfers inputs from storage and outputs to it; then they are files like any other. `signs` is
    true if the access point can sign URLs of S3 with keys of this machine. `named` are the files
    outside of the working folder that travel if a command or script names them (`named_files`).
    """

    shared_prefixes: tuple[str, ...] = ()
    url_schemes: frozenset[str] = frozenset()
    fetched_here: bool = True
    stored_here: bool = True
    signs: bool = False
    named: tuple[str, ...] = ()

    def for_input(self, file: str) -> TransferMethod:
        """Return how an input gets to the job."""
        method = self._method(file, storage_here=self.fetched_here)
        if method is TransferMethod.STORAGE and self._url(file):
            return TransferMethod.URL
        return method

    def for_output(self, file: str) -> TransferMethod:
        """Return how an output or a log gets back."""
        return self._method(file, storage_here=self.stored_here)

    def _method(self, file: str, *, storage_here: bool) -> TransferMethod:
        flags = getattr(file, "flags", None)
        # most files have no flag, so they are not in storage either
        if flags is None or flags:
            storage = storage_object(file)
            if storage is not None and not storage.retrieve:
                return TransferMethod.NONE
            if storage is not None and not storage_here:
                return TransferMethod.STORAGE
        path = original_of(file)
        if not path.startswith("/"):
            return TransferMethod.TRAVELS
        return (
            TransferMethod.SHARED
            if is_below(path, self.shared_prefixes)
            else TransferMethod.TRAVELS
        )

    def inputs(
        self, files: Iterable[str], method: TransferMethod = TransferMethod.TRAVELS
    ) -> tuple[str, ...]:
        """Return the paths of the inputs with this method, each once.

        A source of the workflow (`workflow.source_path`) is sent from where Snakemake copied it.
        """
        return ordered(original_of(file) for file in files if self.for_input(file) is method)

    def outputs(
        self, files: Iterable[str], method: TransferMethod = TransferMethod.TRAVELS
    ) -> tuple[str, ...]:
        """Return the paths of the outputs (or logs) with this method, each once."""
        return ordered(file for file in files if self.for_output(file) is method)

    def urls(self, files: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """Return URL and path of the inputs that HTCondor fetches."""
        chosen = (file for file in files if self.for_input(file) is TransferMethod.URL)
        return tuple(dict.fromkeys((self._url(file), str(file)) for file in chosen))

    def keys(self, files: Iterable[str]) -> set[s3.Keys]:
        """Return the keys with which URLs of these inputs are signed."""
        chosen = [file for file in files if self.for_input(file) is TransferMethod.URL]
        signed = (file for file in chosen if self._url(file).startswith(s3.SCHEME))
        stored = filter(None, map(storage_object, signed))
        return {keys for each in stored if (keys := s3.keys_of(each.provider))}

    def unreachable(self, inputs: Iterable[str], made: Iterable[str]) -> str:
        """Return a file in storage that only this machine can reach, empty if there is none.

        The storage plugin `fs` keeps files in folders: the plugin on the execution point would look
        for them there.
        """
        stored = [file for file in inputs if self.for_input(file) is TransferMethod.STORAGE]
        stored += [file for file in made if self.for_output(file) is TransferMethod.STORAGE]
        for each in filter(None, map(storage_object, stored)):
            query = str(each.query)
            is_folder = type(each).__module__.startswith("snakemake_storage_plugin_fs")
            if is_folder and not is_below(query, self.shared_prefixes):
                return query
        return ""

    def _url(self, file: str) -> str:
        """Return the URL by which HTCondor fetches a file in storage, empty if it cannot."""
        if (stored := storage_object(file)) is None:
            return ""
        url = str(stored.query)
        if url.startswith(s3.SCHEME):
            url = s3.address(stored) if self.signs and "s3" in self.url_schemes else ""
        elif _has_credentials(stored.provider):
            return ""
        if not PLAIN_URL.fullmatch(url) or PurePosixPath(str(file)).is_absolute():
            return ""
        parts = urlsplit(url)
        named = parts.path and not parts.path.endswith("/") and "@" not in parts.netloc
        return url if named and parts.scheme in self.url_schemes else ""


def _has_credentials(provider: StorageProvider) -> bool:
    """Return True if a storage provider has secrets, which HTCondor does not know.

    Plugins mark such settings with `env_var` (snakemake-interface-storage-plugins, README), or they
    are files with secrets, such as `token_file` of snakemake-storage-plugin-pelican.
    """
    settings = provider.settings
    fields = getattr(settings, "__dataclass_fields__", {})
    return any(
        (field.metadata.get("env_var") or name.endswith("_file"))
        and getattr(settings, name, None) is not None
        for name, field in fields.items()
    )


def traffic_of(
    settings: ExecutorSettings, shared: Collection[SharedFSUsage], *, signs: bool = False
) -> TransferPolicy:
    """Return the policy from the settings, `--shared-fs-usage` and the access point.

    Raises `InputError`.
    """
    fetches = SharedFSUsage.STORAGE_LOCAL_COPIES in shared
    return TransferPolicy(
        shared_prefixes(settings.shared_prefixes),
        url_schemes(settings.url_schemes or [DEFAULT_URL_SCHEMES]),
        fetched_here=fetches,
        # see Job.postprocess of Snakemake
        stored_here=fetches and SharedFSUsage.INPUT_OUTPUT in shared,
        signs=signs,
    )


def is_below(path: str, folders: Collection[str]) -> bool:
    """Return True if an absolute path is in one of `folders` and contains no `..`."""
    if not folders:
        return False
    pure = PurePosixPath(path)
    return ".." not in pure.parts and any(pure.is_relative_to(folder) for folder in folders)


def original_of(file: Any) -> str:
    """Return the path of an input; of a copy in Snakemake's cache of sources, that of the source.

    A source from the web has no other path than that of its copy.
    """
    source = str(file.flags[_COPIED]) if is_copied_source(file) else ""
    return source if source.startswith("/") else str(file)


def is_copied_source(file: object) -> bool:
    """Return True if a path is what `workflow.source_path` returned."""
    return _COPIED in (getattr(file, "flags", None) or ())


_COPIED = "sourcecache_entry"
"""Flag of Snakemake (9.27.1); its value is the path or the URL of the source."""


def ordered(files: Iterable[str]) -> tuple[str, ...]:
    """Return paths as text, each once, in order of first occurrence."""
    return tuple(dict.fromkeys(map(str, files)))


def url_schemes(given: Iterable[str] | None) -> frozenset[str]:
    """Return the schemes of `--osgpilot-url-schemes`. Raises `InputError`."""
    listed = [part.strip() for text in given or () for part in text.split(",")]
    for scheme in filter(None, listed):
        if not _SCHEME.fullmatch(scheme):
            raise InputError(
                f"--osgpilot-url-schemes {scheme!r} is no scheme of a URL, such as osdf or https"
            )
    return frozenset(filter(None, listed))
