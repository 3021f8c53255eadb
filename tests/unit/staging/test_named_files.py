"""The files outside of the working folder that the user names."""

from pathlib import PurePath
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.staging import named_files as module
from snakemake_executor_plugin_osgpilot.staging.named_files import named_files
from snakemake_executor_plugin_osgpilot.staging.path_rewriting import rewriter_of
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import TransferPolicy


@pytest.fixture
def tree(tmp_path):
    names = (
        "work/here.txt",
        "flow/tools/count.sh",
        "data/adapters.fa",
        "data/my file",
        "data/.env",
    )
    for name in (*names, "env/bin/tool", "shared/list.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "large.fa").write_bytes(b"x" * (module.SMALL_BYTES + 1))
    return tmp_path


def found(tree, *, config=None, params=(), command="", **given):
    top = str(tree)
    flow = SimpleNamespace(basedir=f"{top}/flow/workflow", globals={"config": config or {}})
    rule = SimpleNamespace(workflow=flow, params=params, shellcmd=command, module_globals=given)
    flow.rules = (rule,)
    paths = named_files(flow, tree / "work", (f"{top}/shared",))
    return {path.removeprefix(f"{top}/") for path in paths}


def test_files_that_the_user_names_are_found(tree):
    data = f"{tree}/data"
    assert found(tree, config={"a": {"b": [f"{data}/adapters.fa"]}}) == {"data/adapters.fa"}
    assert found(tree, config={"a": f"{data}/my file"}) == {"data/my file"}
    assert found(tree, params=[f"--in={data}/adapters.fa -x"]) == {"data/adapters.fa"}
    assert found(tree, params=[PurePath(data, "adapters.fa"), len]) == {"data/adapters.fa"}
    assert found(tree, command=f"grep x '{data}/adapters.fa'") == {"data/adapters.fa"}
    count = {"flow/tools/count.sh"}
    assert found(tree, command="{workflow.basedir}/../tools/count.sh {input}") == count
    assert found(tree, command="{TOP:q}/tools/count.sh", TOP=f"{tree}/flow") == count


@pytest.mark.parametrize(
    "name", ["work/here.txt", "data/.env", "data/large.fa", "data", "env/bin/tool", "data/none"]
)
def test_what_is_large_hidden_installed_or_sent_anyway_is_not_found(tree, name):
    assert found(tree, config={"a": f"{tree}/{name}"}, command=f"cat {tree}/{name}") == set()
    assert found(tree, params=[f"{tree}/shared/list.txt", "/etc/passwd", "/cvmfs/x\0"]) == set()


def test_software_that_an_image_may_have_of_its_own_is_not_found(tree, monkeypatch):
    """The job would run the file from here in place of that in its image."""
    monkeypatch.setattr(module, "is_small_and_public", lambda path: True)
    assert found(tree, params=["/opt/caller/run.R"]) == set()
    assert found(tree, params=["/data/caller/run.R"]) != set()


@pytest.mark.parametrize(("mode", "travels"), [(0o600, False), (0o640, True), (0o700, True)])
def test_keys_that_only_their_owner_may_read_are_not_found(tree, mode, travels):
    """An executable is a script, also where the umask keeps everything private."""
    path = tree / "data" / "adapters.fa"
    path.chmod(mode)
    assert bool(found(tree, config={"a": str(path)}, command=f"cat {path}")) is travels


def test_a_link_leads_to_no_hidden_file(tree):
    for name, target in (("plain", "adapters.fa"), ("hides", ".env")):
        (tree / "data" / name).symlink_to(target)
    named = {"plain": f"{tree}/data/plain", "hides": f"{tree}/data/hides"}
    assert found(tree, config=named) == {"data/plain"}


def test_not_more_files_are_found_than_commands_can_be_searched_for(tree, monkeypatch):
    monkeypatch.setattr(module, "NAMED_MAX", 1)
    given = [f"{tree}/data/adapters.fa", f"{tree}/flow/tools/count.sh"]
    assert found(tree, params=given) == {"data/adapters.fa"}


@pytest.mark.parametrize(("wildcard", "is_sent"), [("a", True), ("../a", False)])
def test_a_file_travels_with_a_job_that_names_it_unless_a_wildcard_climbs(
    tree, monkeypatch, wildcard, is_sent
):
    monkeypatch.chdir(tree / "work")
    named = f"{tree}/data/adapters.fa"
    cache = SimpleNamespace(cache_path="/cache", runtime_cache_path="/cache/run")
    job = SimpleNamespace(
        rule=SimpleNamespace(workflow=SimpleNamespace(sourcecache=cache, included=())),
        input=(), output=(), log=(), benchmark=None, wildcards_dict={"w": wildcard},
        is_group=lambda: False,
    )  # fmt: skip
    paths = rewriter_of(job, TransferPolicy(named=(named,)))
    text, sent = paths.rewritten(f"cat {named} {named}2")
    assert sent == ((named,) if is_sent else ())
    assert text == (f"cat /@osgpilot-root@{named} {named}2" if is_sent else f"cat {named} {named}2")
    assert paths.rewritten("cat x")[1] == ()
