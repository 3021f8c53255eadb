"""A browser without a window, for pictures and for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from shutil import which
from typing import Any


@contextmanager
def chromium(*arguments: str, logs: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Start Debian's Chromium with these arguments for as long as it is needed.

    `logs` are the kinds of logs that it is to keep, with their levels.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = which("chromium")
    # as root it has no sandbox of its own
    alone = ("--no-sandbox",) if os.geteuid() == 0 else ()
    for argument in ("--headless=new", "--disable-gpu", *alone, *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", dict(logs or {}))
    service = webdriver.ChromeService(executable_path=which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver
