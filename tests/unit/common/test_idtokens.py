"""Checks of tokens before they are used."""

import base64
import json
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.common.idtokens import JOIN_POOL, SUBMIT_JOBS, examine
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor import credentials
from snakemake_executor_plugin_osgpilot.pilots.token import check_token

NOW_S, LIFE_S = 1_795_000_000.0, 12 * 3600.0
ALL = "condor:/READ condor:/ADVERTISE_STARTD condor:/ADVERTISE_MASTER"


def part(content):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(**claims):
    content = {"iss": "pool.example", "sub": "pilot@pool.example", "scope": ALL, **claims}
    head = part({"alg": "HS256", "kid": "POOL"})
    return f"{head}.{part({k: v for k, v in content.items() if v is not None})}.c2ln"


def look(text, needs=JOIN_POOL):
    return examine(text, needs, NOW_S, LIFE_S)


def test_valid_token_has_a_summary():
    found = look(token(exp=NOW_S + 30 * 86400))
    assert found.summary == (
        "pilot@pool.example at pool.example, may ADVERTISE_MASTER ADVERTISE_STARTD READ, "
        "expires in 30 d"
    )
    assert not found.error
    assert not found.warning


def test_token_without_expiry_or_scope_is_valid_for_all():
    found = look(token(scope=None))
    assert "may anything, does not expire" in found.summary
    assert not found.error
    assert not found.warning


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (token(exp=NOW_S - 7200), "expired 2 h ago"),
        (token(exp=NOW_S), "expired 0 s ago"),
        (token(scope="condor:/READ"), "does not allow ADVERTISE_STARTD and ADVERTISE_MASTER"),
        (token(scope=""), "does not allow ADVERTISE_STARTD and ADVERTISE_MASTER"),
        (token(scope="condor:/DAEMON condor:/ADVERTISE_STARTD"), "does not allow ADVERTISE_MASTER"),
        ("secret\n", "is not a token (a JSON Web Token)"),
        ("a.b.c", "is not a token (a JSON Web Token)"),
        (f"{part({})}.{part(['list'])}.x", "is not a token (a JSON Web Token)"),
        (f"{part({})}.{part(b'[' * 100_000)}.x", "is not a token (a JSON Web Token)"),
        (token(exp="tomorrow"), "is not a token (a JSON Web Token)"),
        (token(exp=True), "is not a token (a JSON Web Token)"),
        (token(exp=10**400), "is not a token (a JSON Web Token)"),
        (token(exp=float("nan")), "is not a token (a JSON Web Token)"),
        ("", "is empty"),
        ("\n# nothing here\n", "is empty"),
    ],
)
def test_unusable_token_has_a_reason(text, error):
    assert look(text).error == error


def test_token_that_expires_before_longest_pilot_is_a_warning():
    found = look(token(exp=NOW_S + 6 * 3600))
    assert not found.error
    assert found.warning == "expires in 6 h, before 12 h are over"


def test_what_a_token_must_allow_depends_on_its_use():
    assert look(token(), SUBMIT_JOBS).error == "does not allow WRITE"


def test_best_of_several_tokens_counts():
    text = f"# mine\n{token(exp=NOW_S - 1)}\n\n{token(exp=NOW_S + 60)}\n{token()}\n"
    assert "does not expire" in look(text).summary


def test_claims_cannot_inject_lines():
    found = look(token(iss="pool\nerror: \x1b[31m", scope=f"{ALL} x\x07y"))
    assert found.summary.isprintable()


def test_a_run_starts_with_a_line_about_the_token_and_what_may_go_wrong(logged):
    check_token(token(), "/t", NOW_S, LIFE_S)
    assert logged.texts == [f"token of the pilots: {look(token()).summary}"]
    check_token(token(exp=NOW_S + 60), "/t", NOW_S, LIFE_S)
    (warning,) = logged.warnings
    assert "the token in /t expires in 1 min" in warning
    assert "condor_token_fetch" in warning


@pytest.mark.parametrize("text", ["hunter2", token(exp=1)])
def test_refusal_has_a_fix_and_no_token_text(text):
    with pytest.raises(InputError, match="ask support@osg-htc") as caught:
        check_token(text, "/t", NOW_S, LIFE_S)
    assert text not in str(caught.value)
    assert "\n" not in str(caught.value)


def condor(folder, **tokens):
    """HTCondor's settings, with these tokens by name of their file."""
    for name, text in tokens.items():
        (folder / name).write_text(f"# {name}\n{text}\n")
    return SimpleNamespace(param={"SEC_TOKEN_DIRECTORY": str(folder)})


SUBMIT = "condor:/READ condor:/WRITE"


def test_accepted_token_is_known_without_its_signature(tmp_path):
    tokens = {"a": token(jti="1"), "b": token(jti="2"), "c": token(), "d": "nonsense"}
    there = condor(tmp_path, **tokens)
    found = credentials.accepted(there, {"AuthTokenId": "2"})
    assert found["file"] == str(tmp_path / "b")
    assert "c2ln" not in found["claims"]
    assert credentials.accepted(there, {"AuthTokenId": "3"}) == {}
    assert credentials.accepted(there, {"AuthMethods": "FS"}) == {}


@pytest.mark.parametrize(
    ("tokens", "what"),
    [
        ({}, "there is no token"),
        ({"a": "nonsense"}, "there is no token"),
        ({"a": token(iss="other")}, "none of the tokens in {} is from pool.example"),
        ({"a": token(exp=1, scope=SUBMIT), "b": token(iss="other")}, "the token in {}/a expired 2"),
        (
            {"a": token(scope="condor:/READ"), "b": token(scope="condor:/WRITE")},
            "the token in {0}/a does not allow WRITE and the token in {0}/b does not allow READ",
        ),
        ({"a": token(scope=SUBMIT)}, "none of the tokens in {} is accepted there for WRITE"),
    ],
)
def test_problems_with_tokens_for_access_point(tmp_path, tokens, what):
    there = condor(tmp_path, **tokens)
    assert credentials.complaint(there, "pool.example").startswith(what.format(tmp_path))


def test_submit_token_that_expires_early_is_a_warning(logged):
    own = {"file": "/t", "claims": token(scope=SUBMIT, exp=NOW_S + 3600)}
    credentials.check_token(own, NOW_S, LIFE_S)
    assert logged.info == [
        "token for the access point: pilot@pool.example at pool.example, may READ WRITE, "
        "expires in 1 h"
    ]
    assert logged.warnings[0].startswith(
        "the token in /t expires in 1 h, before 12 h are over: jobs"
    )
    credentials.check_token({}, NOW_S, LIFE_S)
    assert len(logged.texts) == 2
