"""Examples of Hypothesis that several laws share: to make one takes longer than to try all laws."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

Law = Callable[..., None]


def shared(*strategies: st.SearchStrategy[Any]) -> Callable[[Law], Callable[[], None]]:
    """Return a decorator that makes a test of a law, for examples that all its tests share.

    If the law does not hold for one of them, Hypothesis looks for a small one.
    """

    @functools.cache
    def examples() -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []

        @settings(database=None, phases=(Phase.generate,))
        @given(st.tuples(*strategies))
        def collect(example: tuple[Any, ...]) -> None:
            found.append(example)

        collect()
        return found

    def holds(law: Law) -> Callable[[], None]:
        @functools.wraps(law)
        def test() -> None:
            for example in examples():
                try:
                    law(*example)
                except Exception:
                    given(*strategies)(law)()
                    raise

        # or pytest takes the arguments of the law for fixtures
        del test.__wrapped__  # type: ignore[attr-defined]
        return test

    return holds
