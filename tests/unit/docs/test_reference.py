"""The reference matches the code, and the pictures can be redrawn."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from documentation import ROOT


def script(path: str) -> ModuleType:
    """Import a script that is not part of the package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = script("docs/reference/make.py")
SCALING = script("docs/images/scaling.py")


@pytest.mark.parametrize("name", MAKE.pages())
def test_a_page_of_the_reference_is_what_the_code_says(name):
    made, kept = MAKE.pages()[name], (ROOT / "docs/reference" / name).read_text()
    assert made == kept, "out of date; run: python docs/reference/make.py"


def test_every_page_of_the_reference_is_made_or_known_as_written():
    kept = {page.name for page in (ROOT / "docs/reference").glob("*.md")}
    assert kept == {*MAKE.pages(), *MAKE.WRITTEN}
    for name in MAKE.WRITTEN:
        assert MAKE.MADE not in (ROOT / "docs/reference" / name).read_text()


def test_a_picture_of_scaling_has_three_panels_with_the_same_axes():
    panels = [SCALING.panel("bag", 40, cost_weight) for cost_weight in SCALING.COST_WEIGHTS]
    for panel in panels:
        assert max(panel.wanted) == 40
        assert all(busy <= there for busy, there in zip(panel.busy, panel.there, strict=True))
        assert panel.wanted[-1] == panel.busy[-1]
    drawn = ElementTree.fromstring(SCALING.picture(panels))
    areas = [each for each in drawn if each.get("class") == "busy" and each.tag.endswith("polygon")]
    assert len(areas) == 3


@pytest.mark.parametrize("family", SCALING.WORKFLOWS)
def test_the_pictures_are_small_and_shown(family):
    name = f"scaling-{family}.svg"
    assert (ROOT / "docs/images" / name).stat().st_size < 20_000
    assert f"](../images/{name})" in (ROOT / "docs/concepts/scaling.md").read_text()
