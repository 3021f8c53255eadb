"""The connection to the cluster, with an `ssh` that breaks on request."""

import pytest

from snakemake_executor_plugin_osgpilot.errors import (
    MissingPrerequisiteError,
    NotSentError,
    OutcomeUnknownError,
)
from snakemake_executor_plugin_osgpilot.slurm import ssh
from snakemake_executor_plugin_osgpilot.slurm.host import Host

FAKE = """#!/bin/sh
# A master is a file at its control path. `denied` is what a login says, `breaks` what a
# command does.
echo "$*" >> {folder}/calls
for each; do
    case $each in ControlPath=*) master=${{each#*=}} ;; */log) log=$each ;; esac
done
case "$*" in
    "-G "*) cat {folder}/options-"$3" ;;
    *"-O check"*) [ -e "$master" ] ;;
    *"-O exit"*) rm -f "$master" ;;
    *BatchMode=yes*" -N "*)
        if [ -s {folder}/denied ]; then cat {folder}/denied > "$log"; exit 255; fi
        : > "$master" ;;
    *" -N "*) : > "$master" ;;
    *)
        [ -e "$master" ] || exit 255
        echo "Welcome to the cluster"
        if [ -e {folder}/breaks ]; then . {folder}/breaks; fi
        exec sh ;;
esac
"""
DENIED = "alice@login: Permission denied (publickey,keyboard-interactive).\n"


class Network:
    """The requests to the fake `ssh`, and its next behaviour."""

    def __init__(self, folder):
        self.folder = folder

    def calls(self, word):
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if f" {word} " in f" {line} "]

    def denies(self, said):
        (self.folder / "denied").write_text(said)

    def breaks(self, how):
        (self.folder / "breaks").write_text(how)

    def heals(self):
        (self.folder / "breaks").unlink()


@pytest.fixture
def network(tmp_path, monkeypatch):
    fake = tmp_path / "ssh"
    fake.write_text(FAKE.format(folder=tmp_path))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(ssh, "has_terminal", lambda: False)
    return Network(tmp_path)


@pytest.fixture
def connection(network):
    connection = ssh.Logins().connection("login")
    yield connection
    connection.close()


def lose_master(connection):
    connection._login._socket.unlink()


def test_one_login_serves_all_commands(network, connection):
    connection.log_in()
    host = Host(connection)
    assert [host.run(["echo", word]).out for word in "ab"] == ["a\n", "b\n"]
    assert len(network.calls("-N")) == 1


OPTIONS = "host {name}\nuser {user}\nhostname login.example\nport 22\nsetenv CLUSTER={name}\n"


@pytest.fixture
def named(network):
    """Have `ssh -G` know two names of one account on a host, and one of another account there."""
    for name, user in (("first", "alice"), ("second", "alice"), ("third", "bob")):
        text = OPTIONS.format(name=name, user=user)
        (network.folder / f"options-{name}").write_text(text)
    logins = ssh.Logins()
    connections = {name: logins.connection(name) for name in ("first", "second", "third")}
    yield connections
    for each in connections.values():
        each.close()


def test_names_of_one_account_on_a_host_share_a_login(network, named):
    for connection in named.values():
        connection.log_in()
        assert Host(connection).run(["echo", "there"]).out == "there\n"
    assert [call.split()[-1] for call in network.calls("-N")] == ["first", "third"]
    # the user's configuration of a name holds for its commands
    ran = [call for call in network.calls("-T") if call.endswith("-- second exec sh")]
    assert len(ran) == 1


def test_a_login_ends_with_the_last_connection_that_uses_it(network, named):
    named["first"].log_in()
    folder = named["first"]._login._socket.parent
    for _ in range(2):
        named["first"].close()
    assert Host(named["second"]).run(["echo", "still"]).out == "still\n"
    assert len(network.calls("-N")) == 1
    named["second"].close()
    assert not folder.exists()


def test_a_login_that_was_denied_is_not_tried_for_another_name_of_the_host(network, named):
    network.denies(DENIED)
    for name in ("first", "second"):
        with pytest.raises(MissingPrerequisiteError, match="Permission denied"):
            named[name].log_in()
    assert len(network.calls("-N")) == 1


def test_what_is_run_is_no_argument_of_ssh(network, connection):
    connection.log_in()
    Host(connection).run(["echo", "--account=mine"])
    assert network.calls("-T")[0].endswith("-- login exec sh")
    assert "mine" not in (network.folder / "calls").read_text()


def test_a_command_never_connects_by_itself_nor_asks(network, connection):
    connection.log_in()
    Host(connection).run(["true"])
    for option in ("ControlMaster=no", "ProxyCommand=false", "BatchMode=yes"):
        assert option in network.calls("-T")[0]


def test_the_socket_is_in_a_folder_of_our_own_with_a_short_path(network, connection):
    folder = connection._login._socket.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    # ssh binds it under a longer name first: 17 characters more
    assert len(str(connection._login._socket)) + 17 < 108
    connection.close()
    assert not folder.exists()
    assert network.calls("-O")


def test_foreign_folder_at_our_path_is_not_used(connection, tmp_path):
    connection.log_in()
    gone, theirs = connection._login._socket.parent, tmp_path / "theirs"
    gone.rename(theirs)
    gone.symlink_to(theirs)
    try:
        assert Host(connection).run(["echo", "safe"]).out == "safe\n"
        assert connection._login._socket.parent not in (gone, theirs)
    finally:
        gone.unlink()


@pytest.mark.parametrize(
    "how", ["exit 255", "head -c 9 > /dev/null; exit 255", "sh | head -c 60; exit 255"]
)
def test_a_connection_that_breaks_leaves_the_command_unanswered(network, connection, how):
    connection.log_in()
    host = Host(connection)
    network.breaks(how)
    with pytest.raises(OutcomeUnknownError, match="the connection broke during `sbatch`"):
        host.run(["sbatch"])
    network.heals()
    lose_master(connection)
    assert host.run(["echo", "back"]).out == "back\n"
    assert len(network.calls("-N")) == 2


def test_a_status_of_255_is_the_commands_own_when_it_says_so(network, connection):
    connection.log_in()
    assert Host(connection).run(["sh", "-c", "exit 255"]).status == 255


def test_after_a_denied_login_only_the_user_logs_in_again(network, connection):
    connection.log_in()
    host = Host(connection)
    lose_master(connection)
    network.denies(DENIED)
    for _ in range(3):
        with pytest.raises(
            OutcomeUnknownError, match="log in from another one: ssh -fNM -o ControlPath="
        ):
            host.run(["true"])
    assert len(network.calls("-N")) == 2
    connection._login._socket.touch()
    assert host.run(["echo", "back"]).out == "back\n"


def test_a_failed_login_is_tried_again_later_and_not_at_once(network, connection, monkeypatch):
    connection.log_in()
    host = Host(connection)
    lose_master(connection)
    network.denies("ssh: connect to host login port 22: Connection refused\n")
    for _ in range(2):
        with pytest.raises(NotSentError, match="Connection refused"):
            host.run(["true"])
    assert len(network.calls("-N")) == 2
    network.denies("")
    monkeypatch.setattr(ssh.time, "monotonic", lambda: float("inf"))
    assert host.run(["true"]).status == 0


def test_a_login_that_is_denied_at_the_start_is_not_repeated_soon(network, connection):
    """It counts as a failed attempt there; the user logs in for it."""
    network.denies(DENIED)
    with pytest.raises(MissingPrerequisiteError):
        connection.log_in()
    with pytest.raises(NotSentError, match=f"ControlPath={connection._login._socket}"):
        Host(connection).run(["true"])
    assert len(network.calls("-N")) == 1
    connection._login._socket.touch()
    assert Host(connection).run(["true"]).status == 0


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "the host key differs from the known one"),
        ("Host key verification failed.", "not known yet; run `ssh login` once"),
        (DENIED, "Permission denied (publickey,keyboard-interactive).; if it asks"),
        ("ssh: Could not resolve hostname login: Name or service not known",
         "ssh login: Could not resolve hostname"),
    ],
)  # fmt: skip
def test_a_login_that_fails_is_one_line_with_what_to_do(network, connection, said, line):
    network.denies(said)
    with pytest.raises(MissingPrerequisiteError) as caught:
        connection.log_in()
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_there_is_a_terminal_the_user_is_asked_once(network, connection, monkeypatch):
    monkeypatch.setattr(ssh, "has_terminal", lambda: True)
    network.denies(DENIED)
    connection.log_in()
    assert Host(connection).run(["true"]).status == 0
    asked = [call for call in network.calls("-N") if "BatchMode" not in call]
    assert len(asked) == 1


def test_a_host_key_is_nothing_to_ask_the_user_about(network, connection, monkeypatch):
    monkeypatch.setattr(ssh, "has_terminal", lambda: True)
    network.denies("Host key verification failed.")
    with pytest.raises(MissingPrerequisiteError):
        connection.log_in()
    assert len(network.calls("-N")) == 1


def test_without_ssh_the_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    connection = ssh.Logins().connection("login")
    with pytest.raises(MissingPrerequisiteError, match="`ssh` could not be started"):
        connection.log_in()
    connection.close()
