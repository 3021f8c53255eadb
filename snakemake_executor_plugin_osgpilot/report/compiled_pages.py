"""Keep compiled templates in the cache folder: to compile the report's takes a tenth of its time.

They are code, so the folder must belong to the user alone: the cache may be one that others share.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from jinja2.bccache import Bucket, FileSystemBytecodeCache

from ..common.cache_folder import cache

OWNER_ONLY = 0o700


def compiled_pages(made_by: Path) -> CompiledPages | None:
    """Return the cache of templates that the module at `made_by` sets up, None if it cannot be kept
    where nobody else can write.
    """
    folder = cache() / "pages"
    try:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        seen = folder.lstat()
    except OSError:
        return None
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o777 != OWNER_ONLY:
        return None
    return CompiledPages(folder, made_by.read_bytes())


class CompiledPages(FileSystemBytecodeCache):
    """Compiled templates in `folder`, of use while neither a template nor `settings` changes."""

    def __init__(self, folder: Path, settings: bytes) -> None:
        super().__init__(str(folder))
        self._settings = settings

    def get_source_checksum(self, source: str) -> str:
        """Return a hash of what the compiled template follows from."""
        return hashlib.sha256(source.encode() + self._settings).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)
