"""The page on a run in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from histories import NASTY, large, nasty, small

from snakemake_executor_plugin_osgpilot.report.html import page
from snakemake_executor_plugin_osgpilot.report.replay import ReplayedRun
from snakemake_executor_plugin_osgpilot.report.summary import view

BYTES_MAX, OPEN_MS_MAX, ELEMENTS_MAX = 5_000_000, 2000, 20_000
READABLE = 4.5
"""Contrast of text (WCAG 2.2, success criterion 1.4.3)."""

LUMINANCE = """
const rgb = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
  const c = part / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
});
const light = (colour) => { const [r, g, b] = rgb(colour); return 0.2126*r + 0.7152*g + 0.0722*b; };
const paper = light(getComputedStyle(document.body).backgroundColor);
const worst = [...document.querySelectorAll("p, th, td, summary, h1, h2, figcaption, span")]
  .filter((each) => each.textContent.trim() && each.children.length === 0)
  .map((each) => light(getComputedStyle(each).color))
  .map((ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
return [paper, Math.min(...worst)];
"""


class Shown:
    """A page in the browser, with what the browser says of it."""

    def __init__(self, driver: Any, path: Path, replayed: ReplayedRun) -> None:
        self.driver, self.path = driver, path
        path.write_text(
            page(replayed, view(replayed, replayed.last_s, alive=False)), encoding="utf-8"
        )
        for kind in ("browser", "performance"):
            driver.get_log(kind)
        # by the processor's clock, so that other programs do not count
        driver.execute_cdp_cmd("Performance.disable", {})
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        driver.get(path.as_uri())

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def requests(self) -> list[str]:
        """The requests besides the page and the data in it."""
        reported = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        urls = [
            each["params"]["request"]["url"]
            for each in reported
            if each["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if url != self.path.as_uri() and not url.startswith("data:")]

    def opened_ms(self) -> float:
        """The time the browser worked to show the page."""
        reported = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return 1000 * float(
            next(each["value"] for each in reported if each["name"] == "TaskDuration")
        )

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def prefer(self, scheme: str) -> None:
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def focused(self) -> str:
        """The element with the focus, as a screen reader names it."""
        return str(self.run(
            "const at = document.activeElement;"
            "return at.getAttribute('aria-label') || at.textContent.trim();"
        ))  # fmt: skip


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    logs = {"browser": "ALL", "performance": "ALL"}
    with chromium("--window-size=1200,900", logs=logs) as made:
        yield made


@pytest.fixture
def show(driver: Any, tmp_path: Path) -> Callable[[ReplayedRun], Shown]:
    return lambda replayed: Shown(driver, tmp_path / "report.html", replayed)


def test_the_page_needs_no_network_and_the_browser_has_nothing_to_complain_of(show):
    shown = show(small())
    assert shown.requests() == []
    assert shown.complaints() == []
    assert len(shown.run("return [...document.querySelectorAll('g.pilot rect.c0')]")) == 6
    assert shown.run("return document.querySelectorAll('g.pilot rect.bad').length") == 1


def test_what_a_workflow_or_a_node_says_is_shown_and_never_run(show):
    shown = show(nasty())
    assert shown.run("return window.pwned") is None
    assert shown.run("return document.querySelectorAll('img, script').length") == 1
    assert shown.run("return document.querySelector('h1').textContent") == f"Run {NASTY}"
    assert NASTY in shown.run("return document.querySelector('#failures pre').textContent")
    assert (shown.requests(), shown.complaints()) == ([], [])


def test_it_is_readable_on_a_light_and_on_a_dark_screen(show, tmp_path):
    shown = show(small())
    pictures = {}
    for scheme, is_light in (("light", True), ("dark", False)):
        shown.prefer(scheme)
        paper, contrast = shown.run(LUMINANCE)
        assert (paper > 0.5) is is_light
        assert contrast >= READABLE
        pictures[scheme] = shown.driver.get_screenshot_as_png()
    assert pictures["light"] != pictures["dark"]
    assert all(len(png) > 10_000 for png in pictures.values()), "the screen is not empty"


def test_the_keyboard_reaches_all_of_it(show):
    from selenium.webdriver.common.keys import Keys

    shown = show(small())
    shown.press(Keys.TAB)
    assert shown.focused() == "Skip to the pilots"
    seen = []
    for _ in range(20):
        shown.press(Keys.TAB)
        seen.append(shown.focused())
    assert "Slurm job 101 on n1: done, 4 cores, 5 jobs, charged 6 min 40 s" in " ".join(seen)
    assert {"Pilots", "Timeline of pilots", "The pilots as a table", "Copy"} <= set(seen)
    shown.run("document.querySelector('g.pilot').focus()")
    shown.press(Keys.ARROW_DOWN)
    assert "Slurm job 102 on n2" in shown.focused()
    assert shown.run("return document.getElementById('said').textContent") == shown.focused()
    frame = "getComputedStyle(document.activeElement.querySelector('.frame')).strokeWidth"
    assert shown.run(f"return {frame}") == "2px"
    shown.press(Keys.HOME)
    assert "Slurm job 101 on n1" in shown.focused()


def test_a_job_says_what_it_is_under_the_mouse(show):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    shown = show(small())
    job = shown.driver.find_element(By.CSS_SELECTOR, "g.pilot rect.bad")
    shown.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", job)
    ActionChains(shown.driver).move_to_element(job).perform()
    tip = shown.driver.find_element(By.ID, "tip")
    assert tip.text == "map (n=000002): failed, 90 s, job 000002"


@pytest.mark.parametrize(("pilots", "what"), [(20, "lanes"), (400, "profiles")])
def test_a_hundred_thousand_jobs_are_a_small_page_that_opens_at_once(show, pilots, what):
    shown = show(large(100_000, pilots))
    opened_ms = shown.opened_ms()
    elements = shown.run("return document.querySelectorAll('*').length")
    size = shown.path.stat().st_size
    print(f"{what}: {size} bytes, {elements} elements, open after {opened_ms:.0f} ms")
    assert size <= BYTES_MAX
    assert elements <= ELEMENTS_MAX
    assert 0 < opened_ms <= OPEN_MS_MAX
    assert shown.complaints() == []


def test_a_narrow_window_scrolls_charts_and_tables_and_keeps_texts_readable(show, driver):
    before = driver.get_window_size()
    driver.set_window_size(500, 900)
    try:
        shown = show(small())
        assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
        heights = shown.run(
            "return [...document.querySelectorAll('svg text')]"
            ".map((each) => each.getBoundingClientRect().height)"
        )
        assert min(heights) >= 9
        assert shown.run(
            "return [...document.querySelectorAll('table')].every((each) => each.closest('.wide'))"
        )
    finally:
        driver.set_window_size(before["width"], before["height"])
