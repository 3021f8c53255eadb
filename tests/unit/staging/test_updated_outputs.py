"""A job that fails leaves what it was to change as it was."""

from types import SimpleNamespace

from snakemake.persistence import FileBackupMixin

from snakemake_executor_plugin_osgpilot.staging import updated_outputs as updated


class Persistence(FileBackupMixin):
    """Snakemake's own way to keep copies, in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def _get_backup_path(self, path):
        return self.folder / path


class QueueFullError(Persistence):
    """A disk that takes nothing more."""

    def backup_output(self, path):
        raise OSError("No space left on device")

    cleanup_backup = backup_output


def updating():
    output = type("File", (str,), {"flags": {"update": True}})("log.txt")
    return SimpleNamespace(output=[output, "other"], is_group=lambda: False)


def test_update_outputs_are_restored_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = updating()
    persistence = Persistence(tmp_path / "backup")
    for path in (tmp_path / "log.txt", tmp_path / "other"):
        path.write_text("old")
    updated.keep(job, persistence)
    for path in (tmp_path / "log.txt", tmp_path / "other"):
        path.unlink()
    for _ in range(2):
        updated.restore(job, persistence)
        assert (tmp_path / "log.txt").read_text() == "old"
    assert not (tmp_path / "other").exists()
    assert not list((tmp_path / "backup").iterdir())


def test_a_full_disk_is_reported_and_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text("old")
    full = QueueFullError(tmp_path / "backup")
    assert "No space left on device" in updated.keep(updating(), full)
    assert "No space left on device" in updated.restore(updating(), full)
