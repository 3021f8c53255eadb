"""Storage of a Pelican federation, as far as a test needs it: whether an object is there.

snakemake-storage-plugin-pelican itself wants a federation at port 443.
"""

import json
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from snakemake_interface_storage_plugins.io import IOCacheStorageInterface
from snakemake_interface_storage_plugins.storage_object import StorageObjectRead
from snakemake_interface_storage_plugins.storage_provider import (
    ExampleQuery,
    QueryType,
    StorageProviderBase,
    StorageQueryValidationResult,
)

SCHEMES = ("osdf", "pelican")


class StorageProvider(StorageProviderBase):
    def rate_limiter_key(self, query, operation):
        return "federation"

    def default_max_requests_per_second(self):
        return 10.0

    def use_rate_limiter(self):
        return False

    @classmethod
    def example_queries(cls):
        return [ExampleQuery("osdf:///a/b", QueryType.INPUT, "an object")]

    @classmethod
    def is_valid_query(cls, query):
        valid = urlsplit(query).scheme in SCHEMES
        return StorageQueryValidationResult(query, valid, "" if valid else "no osdf or pelican")


class StorageObject(StorageObjectRead):
    async def inventory(self, cache: IOCacheStorageInterface):
        """Nothing comes for free."""

    def get_inventory_parent(self):
        return None

    def local_suffix(self):
        return urlsplit(self.query).path.lstrip("/")

    def cleanup(self):
        """Nothing was opened."""

    def _ask(self):
        parts = urlsplit(self.query)
        host = parts.netloc or os.environ["FEDERATION"]
        with urllib.request.urlopen(
            f"https://{host}/.well-known/pelican-configuration"
        ) as reported:
            director = json.load(reported)["director_endpoint"]
        url = f"{director}/api/v1.0/director/object{parts.path}"
        request = urllib.request.Request(url, method="HEAD")
        return urllib.request.urlopen(request)

    def exists(self):
        try:
            return self._ask().status == 200
        except urllib.error.HTTPError:
            return False

    def mtime(self):
        return 0.0

    def size(self):
        return int(self._ask().headers["Content-Length"])

    def retrieve_object(self):
        raise AssertionError("the main Snakemake is not to fetch it")
