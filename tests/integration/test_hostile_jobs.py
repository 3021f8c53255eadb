"""Jobs that fail and print secrets and what drives a terminal, with all who show it."""

import base64
import json
import os
import shutil
import subprocess

from conftest import PATIENCE_S

SECRET = "pr1vate-en0ugh-for-a-pool"
LINES = "first-line-of-it\nsecond-line-of-it"
CLIPBOARD = r"\033]52;c;cHduZWQ=\007\033[2J\033]0;title\007\302\233\342\200\256[red]x[/red]"
TROUBLE = f"""
envvars: "PRIVATE", "PRIVATE_LINES", "SHORT"

rule all:
    input: "tells.txt", "body.txt", "link", "good.txt"
rule tells:
    output: "tells.txt"
    shell:
        r'''
        printf '{CLIPBOARD}\\n' >&2
        echo "login with $PRIVATE failed" >&2
        printf 'user:%s' "$PRIVATE" | base64 -w 16 >&2
        printf '%s\\n' "$PRIVATE_LINES" >&2
        echo "$SHORT is true" >&2
        exit 3
        '''
rule body:
    output: "body.txt"
    run: shell('echo "body has $PRIVATE" >&2; exit 4')
rule link:
    output: "link"
    shell: "ln -s $(printf 'no\\\\377\\\\033where') {{output}}"
rule good:
    output: "good.txt"
    shell: "sleep 15; touch {{output}}"
"""
ENCODED = base64.b64encode(f"user:{SECRET}".encode()).decode()


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.replace("\t", " ").split("\n"))


def osgpilot(workflow, *argv: str, **environment: str) -> str:
    """Return what the command prints, in a locale without UTF-8."""
    reported = subprocess.run(
        [shutil.which("osgpilot"), *argv], cwd=workflow.folder, capture_output=True,
        timeout=PATIENCE_S,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
             **environment},
    )  # fmt: skip
    assert b"Traceback" not in reported.stderr, reported.stderr
    assert is_harmless(reported.stderr.decode("ascii"))
    return reported.stdout.decode("ascii")


def check(where: str, text: str) -> None:
    """Look for what must not be shown."""
    assert is_harmless(text), f"{where}: {text!r}"
    dense = "".join(text.split())
    secrets = (SECRET, *LINES.split("\n"), *(ENCODED[at : at + 12] for at in range(6, 30)))
    assert [secret for secret in secrets if secret in text or secret in dense] == [], where


def test_what_jobs_print_drives_no_terminal_and_tells_no_secret(workflow, monkeypatch):
    for name, value in (("PRIVATE", SECRET), ("PRIVATE_LINES", LINES), ("SHORT", "1")):
        monkeypatch.setenv(name, value)
    workflow.snakefile(TROUBLE)
    options = ("--keep-going", "--osgpilot-runtime-image", "/opt/sif/runtime.sif", "--nocolor")
    assert workflow.run(*options) == 1

    said = workflow.said
    (log,) = (workflow.folder / ".snakemake" / "log").glob("*.log")
    for where, text in (("terminal", said), ("log", log.read_text())):
        check(where, text)
        assert "login with [secret] failed" in text
        assert "body has [secret]" in text
        assert "1 is true" in text
        assert r"\x1b]52;c;cHduZWQ=\x07\x1b[2J" in text
        assert r"link is a link to no\xff\x1bwhere" in text
    assert "internal error" not in said

    status = osgpilot(workflow, "status")
    check("status", status)
    assert "[secret]" not in status, "only the first line of each failure"
    reported = json.loads(osgpilot(workflow, "status", "--json"))
    assert [reported["rules"][name]["failed"] for name in ("tells", "body", "link")] == [
        1,
        1,
        1,
    ]
    assert reported["rules"]["good"]["done"] == 1, "the history continues after the link"
    for rule in ("tells", "body", "link"):
        check("explain", osgpilot(workflow, "explain", rule))
    osgpilot(workflow, "report")
    osgpilot(workflow, "status", "--prometheus", "numbers.prom")
    for file in ("osgpilot-report.html", "numbers.prom"):
        check(file, (workflow.folder / file).read_text())

    (jobs,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs")
    assert sorted(path.name for path in jobs.rglob("osgpilot-job")) == []
    printed = [path.read_text(errors="replace") for path in jobs.glob("*/output")]
    assert any(SECRET in text for text in printed), "the output of jobs is kept, for its owner"


GROUP = """
rule all:
    input: "sorted"
rule map:
    output: "mapped"
    group: "both"
    shell: "touch {output}"
rule sort:
    input: "mapped"
    output: "sorted"
    group: "both"
    shell: "echo this went wrong >&2; exit 3"
"""


def test_a_group_that_fails_in_slurm_is_reported_with_its_rules_and_its_log(workflow):
    workflow.snakefile(GROUP)
    assert workflow.run("--osgpilot-offload", "never", "--osgpilot-fallback", "slurm") == 1
    said = workflow.said
    assert "None" not in said[said.index("group job") :]
    assert " (map, sort): SLURM-job " in said
    logs = [str(path) for path in (workflow.folder / ".snakemake/slurm_logs").rglob("*.log")]
    assert [log for log in logs if log in said] == logs
    assert logs


def test_a_group_that_fails_here_is_reported_with_its_rules(workflow):
    workflow.snakefile(GROUP)
    assert workflow.run("--osgpilot-offload", "never", "--osgpilot-fallback", "local") == 1
    assert " (map, sort): exit status 1 on this machine" in workflow.said
