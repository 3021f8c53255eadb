"""A compiled template is kept, where nobody else can write, until what it follows from changes."""

import marshal
from pathlib import Path

import jinja2
import pytest

from snakemake_executor_plugin_osgpilot.report.compiled_pages import compiled_pages

FORGED = compile("raise SystemExit('forged')", "forged", "exec")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "page.j2").write_text("{{ name }}")
    (tmp_path / "settings").write_text("1")
    return tmp_path / "cache" / "pages"


def rendered(folder: Path) -> str:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        bytecode_cache=compiled_pages(folder / "settings"),
        autoescape=True,
    )
    return made.get_template("page.j2").render(name="me")


def compiled(folder: Path, monkeypatch) -> bool:
    """Return True if the template had to be compiled."""
    calls = []
    compile_all = jinja2.Environment.compile
    with monkeypatch.context() as patched:
        patched.setattr(
            jinja2.Environment,
            "compile",
            lambda *given, **more: calls.append(1) or compile_all(*given, **more),
        )
        rendered(folder)
    return bool(calls)


def forge(folder: Path) -> None:
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    end = next(n for n in range(len(whole)) if _is_code(whole[n:]))
    kept.write_bytes(whole[:end] + marshal.dumps(FORGED))


def _is_code(content: bytes) -> bool:
    try:
        return type(marshal.loads(content)) is type(FORGED)
    except (ValueError, EOFError, TypeError):
        return False


def test_a_template_is_compiled_once(cached, tmp_path, monkeypatch):
    assert compiled(tmp_path, monkeypatch)
    assert not compiled(tmp_path, monkeypatch)


@pytest.mark.parametrize(("name", "text"), [("page.j2", "{{ name }}!"), ("settings", "2")])
def test_a_change_of_the_template_or_its_settings_compiles_it_again(
    name, text, cached, tmp_path, monkeypatch
):
    assert compiled(tmp_path, monkeypatch)
    (tmp_path / name).write_text(text)
    assert compiled(tmp_path, monkeypatch)


def test_code_that_others_could_have_written_is_not_run(cached, tmp_path):
    rendered(tmp_path)
    forge(cached)
    with pytest.raises(SystemExit, match="forged"):
        rendered(tmp_path)  # so the forgery works
    cached.chmod(0o770)
    assert rendered(tmp_path) == "me"


def test_a_link_to_a_folder_is_not_followed(cached, tmp_path):
    rendered(tmp_path)
    cached.rename(tmp_path / "elsewhere")
    cached.symlink_to(tmp_path / "elsewhere")
    assert compiled_pages(tmp_path / "settings") is None


def test_a_damaged_file_is_compiled_again(cached, tmp_path):
    rendered(tmp_path)
    (kept,) = cached.iterdir()
    kept.write_bytes(kept.read_bytes()[:-20])
    assert rendered(tmp_path) == "me"


def test_a_cache_that_cannot_be_written_is_done_without(cached, tmp_path, monkeypatch):
    cached.parent.write_text("a file")
    assert rendered(tmp_path) == "me"
    monkeypatch.setattr("jinja2.bccache.Bucket.write_bytecode", _full)
    cached.parent.unlink()
    assert rendered(tmp_path) == "me"


def _full(*_):
    raise OSError(28, "No space left on device")
