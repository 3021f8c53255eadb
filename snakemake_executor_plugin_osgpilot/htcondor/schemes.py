"""Inputs that pilots are to fetch by URL, and pilots that cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def scheme_of(url: str) -> str:
    """Return what is before `://`, in lower case."""
    return url.partition("://")[0].lower()


def unfetched(wanted: Iterable[str], methods: Mapping[str, str]) -> frozenset[str]:
    """Return the schemes of `wanted` that none of the pilots can fetch.

    `methods` are what pilots say of themselves (HasFileTransferPluginMethods), by name; where none
    says anything, nothing is known.
    """
    said = [each for each in methods.values() if each]
    known = {method.strip().lower() for each in said for method in each.split(",")}
    return frozenset(wanted) - known if said else frozenset()
