"""Messages at the end of a run: by mail, to a URL, to a command."""

import http.server
import json
import os
import threading

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.monitoring.notify import (
    Message,
    Notifier,
    ended,
    needs_person,
)
from snakemake_executor_plugin_osgpilot.monitoring.progress import Progress, Steps

MESSAGE = Message("r1", "osgpilot: run r1 failed", "1 failed\n")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a program that writes its arguments and input to a file."""

    def make(name, status=0):
        path, noted = tmp_path / name, tmp_path / "noted"
        path.write_text(
            f'#!/bin/sh\n{{ echo "$@"; cat; }} > {noted}\necho bad >&2\nexit {status}\n'
        )
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return noted

    return make


def test_a_command_gets_the_text_on_its_standard_input(program):
    noted = program("tell")
    Notifier("tell --to 'two words'").send(MESSAGE)
    assert noted.read_text() == "--to two words\nosgpilot: run r1 failed\n1 failed\n"


def test_mail_gets_subject_and_address(program):
    noted = program("mail")
    Notifier("mail:me@example.org").send(MESSAGE)
    assert noted.read_text().startswith("-s osgpilot: run r1 failed me@example.org\n")


def test_a_url_gets_json():
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Notifier(f"http://127.0.0.1:{server.server_port}/hook").send(MESSAGE)
        server.shutdown()
        thread.join()
    assert got == [{"run": "r1", "subject": MESSAGE.subject,
                    "text": "osgpilot: run r1 failed\n1 failed\n"}]  # fmt: skip


def test_a_failure_is_one_warning_without_the_target(program, logged):
    program("tell", status=7)
    Notifier("tell").send(MESSAGE)
    Notifier("http://127.0.0.1:9/secret-hook").send(MESSAGE)
    assert len(logged.warnings) == 2
    assert "tell ended with exit status 7: bad" in logged.warnings[0]
    assert "secret-hook" not in logged.warnings[1]


@pytest.mark.parametrize(
    "target", ["mail:", "mail:-x", "mail:a b@c", "no-such-program-here", "'open", "ftp://x/y"]
)
def test_a_target_that_cannot_be_used_is_refused_at_the_start(target):
    with pytest.raises(InputError, match="--osgpilot-notify"):
        Notifier(target)


def test_without_a_target_nothing_is_sent(logged):
    for target in (None, "", " "):
        Notifier(target).send(MESSAGE)
        Notifier(target).send_soon(MESSAGE)
    assert logged.warnings == []


@pytest.mark.parametrize(
    ("progress", "how", "state"),
    [
        (Progress(0, 0, 3, 0), {}, "ended"),
        (Progress(0, 0, 3, 1), {}, "failed"),
        (Progress(0, 0, 3, 0, steps=Steps(3, 5, 1)), {}, "failed"),
        (Progress(0, 0, 3, 1), {"interrupted": True}, "interrupted"),
        (Progress(1, 1, 3, 0), {"interrupted": True, "detached": True}, "detached"),
        (Progress(0, 0, 3, 0), {"error": "rule map: no such image"}, "failed"),
    ],
)
def test_the_message_says_how_a_run_ended(progress, how, state):
    known = {"interrupted": False, "detached": False, "error": "", **how}
    message = ended("r1", "/w", progress, **known)
    assert message.subject.startswith(f"osgpilot: run r1 {state}")
    assert "3 done" in message.text
    assert known["error"] in message.text
    assert "needs you" in needs_person("r1", "/w", "the budget is spent").subject
