"""Files are written in one step or not at all."""

import os
import stat

import pytest

from snakemake_executor_plugin_osgpilot.common import atomic_write
from snakemake_executor_plugin_osgpilot.common.atomic_write import READABLE_MODE, write_atomically


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("mode", "seen"), [((), 0o600), ((READABLE_MODE,), 0o644)])
def test_a_file_is_replaced_with_its_mode(mode, seen, tmp_path):
    umask = os.umask(0o022)
    try:
        (tmp_path / "file").write_text("old")
        write_atomically(tmp_path / "file", "new ä", *mode)
    finally:
        os.umask(umask)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "new ä"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == seen
    assert names_in(tmp_path) == ["file"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(atomic_write.Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "old"
    assert names_in(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    (tmp_path / f".file.{os.getpid()}.part").write_text("half")
    write_atomically(tmp_path / "file", "new")
    assert names_in(tmp_path) == ["file"]
