"""A fork that becomes Snakemake is like a new process, or other tests would prove little."""

import json

import preloaded
import pytest
from conftest import PATIENCE_S, Workflow

SNAKEFILE = """
import json, os, signal, sys, threading
import __main__

state = {
    "argv": sys.argv,
    "main": __main__.__file__,
    "path": sys.path,
    "folders": [os.getcwd(), workflow.rundir],
    "environment": dict(os.environ),
    "umask": os.umask(0o022),
    "is the leader of a session": os.getsid(0) == os.getpid(),
    "handlers": {each.name: str(signal.getsignal(each)) for each in signal.Signals},
    "blocked and ignored": [
        line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn"))
    ],
    "input": os.readlink("/proc/self/fd/0"),
    "outputs": [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)],
}
with open("state.json", "w") as file:
    json.dump(state, file)

rule all:
    shell: "exit 3"
"""


def state(workflow: Workflow, *arguments: str) -> dict:
    process = preloaded.start([*arguments], workflow.folder, workflow.folder / "said")
    assert process.poll() is None
    assert process.wait(PATIENCE_S) == process.poll() == 1
    return json.loads((workflow.folder / "state.json").read_text())


@pytest.mark.parametrize(
    "changed",
    [{}, {"PATH": "/nowhere:/usr/bin:/bin", "GREETING": 'it\'s "fine"\n'}, {"PATH": None}],
    ids=["nothing", "other values", "less"],
)
def test_a_fork_is_like_a_new_process(
    changed: dict[str, str | None], workflow: Workflow, monkeypatch: pytest.MonkeyPatch
):
    workflow.snakefile(SNAKEFILE)
    for name, value in changed.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    assert preloaded.change(preloaded.environment()) == changed
    forked = state(workflow, "--cores", "1", "--nocolor")
    monkeypatch.setenv("ANOTHER", "environment")
    assert preloaded.change(preloaded.environment()) is None
    new = state(workflow, "--cores", "1", "--nocolor")
    assert new["environment"].pop("ANOTHER") == "environment"
    assert forked == new
