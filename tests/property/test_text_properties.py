"""Texts of jobs and nodes: printable, preserved in the history, without secrets."""

import base64
import json
from urllib.parse import quote

from histories import of_every_kind
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.common.printable import one_line, printable, storable
from snakemake_executor_plugin_osgpilot.common.redact import BASE64_RUN, LENGTH_MIN, MASK, Redactor
from snakemake_executor_plugin_osgpilot.explain.explain import explain
from snakemake_executor_plugin_osgpilot.explain.gather import Answers, facts
from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY, History, read
from snakemake_executor_plugin_osgpilot.report import prometheus
from snakemake_executor_plugin_osgpilot.report.html import page
from snakemake_executor_plugin_osgpilot.report.replay import ReplayedRun
from snakemake_executor_plugin_osgpilot.report.summary import view

ANY = st.text(st.characters(codec=None, exclude_categories=()))
SECRETS = st.text(st.characters(exclude_categories=("Cs",)), min_size=LENGTH_MIN, max_size=60)


@given(ANY)
@example("\x9b1A\u202e\r\n\t\udcff\ud800\x00")
def test_printable_text_has_no_controls_and_is_encodable(text):
    shown = printable(text)
    assert all(line.replace("\xa0", " ").isprintable() for line in shown.split("\n"))
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    assert "\n" not in one_line(text)
    assert storable(text).encode().decode() == storable(text)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_ordinary_text_is_unchanged(text):
    assert printable(text) == one_line(text) == storable(text) == text


@given(SECRETS, st.binary(max_size=40), st.binary(max_size=40), st.integers(4, 90))
def test_secret_is_masked_inside_any_base64(secret, before, after, width):
    redact = Redactor([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + after).decode()
        wrapped = "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
        text = "".join(redact(f"said: {wrapped} <").split()).translate(str.maketrans("-_", "+/"))
        for offset in range(3):
            whole = base64.b64encode(b"\0" * offset + secret.encode()).decode()
            core = whole[-(-offset * 8 // 6) : (offset + len(secret.encode())) * 8 // 6]
            runs = {core[at : at + BASE64_RUN] for at in range(max(1, len(core) - BASE64_RUN + 1))}
            assert not any(run in text for run in runs)


@given(SECRETS, ANY, ANY)
def test_secret_is_masked_literally_and_escaped(secret, before, after):
    redact = Redactor([secret])
    for form in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]):
        assert MASK in redact(f"{before} {form} {after}")
        assert form not in redact(f"{before} {form} {after}").replace(MASK, "")


@given(st.lists(st.text("abcdefghij", min_size=LENGTH_MIN, max_size=12), min_size=1, max_size=5))
def test_each_line_of_a_secret_is_masked(lines):
    redact = Redactor(["\n".join(lines)])
    assert all(redact(f"<{line}>") == f"<{MASK}>" for line in lines)


@given(st.text(max_size=LENGTH_MIN - 1), ANY)
def test_short_values_are_not_masked(value, text):
    assert Redactor([value, ""])(text) == Redactor()(text)


@given(
    st.text("abcdefgh0123456789+/\n", min_size=LENGTH_MIN, max_size=200),
    st.text(" ,.\n", max_size=300),
    st.integers(0, 500),
)
def test_tail_does_not_begin_within_a_secret(secret, noise, cut):
    redact = Redactor([secret])
    text = f"{secret}\n{noise}{secret}{noise}"[cut:]
    shown = redact.tail(text)
    for line in filter(lambda line: len(line) >= LENGTH_MIN, [secret, *secret.split("\n")]):
        assert line.strip() not in shown.replace(MASK, "") or len(line.strip()) < LENGTH_MIN


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(ANY, max_size=5))
def test_every_text_survives_the_history(tmp_path, texts):
    path = tmp_path / HISTORY
    path.unlink(missing_ok=True)
    history = History(path)
    history.put({"kind": "failed", "text": text} for text in texts)
    history.close()
    assert [line["text"] for line in read(path)[0]] == texts if texts else True


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=5,
)
LINES = json.loads(json.dumps(of_every_kind()))
WHOLE = ReplayedRun().take(LINES)


def damaged(draw, value):
    """Put something else in place of a part of `value`, or leave a part out."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 4)) == 0:
            return {key: each for key, each in value.items() if key != name}
        return value | {name: damaged(draw, value[name])}
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], damaged(draw, value[at]), *value[at + 1 :]]
    return draw(VALUES)


@st.composite
def histories(draw):
    """The bytes of a history of which one line is damaged: still JSON, or not even that."""
    encoded = [json.dumps(line).encode() for line in LINES]
    at = draw(st.integers(0, len(LINES) - 1))
    if draw(st.integers(0, 3)):
        line = json.dumps(damaged(draw, LINES[at])).encode()
    else:
        line = draw(st.binary(max_size=50)).replace(b"\n", b"")
    return b"".join(each + b"\n" for each in [*encoded[:at], line, *encoded[at + 1 :]])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(content=histories(), alive=st.booleans())
def test_damaged_line_hides_only_itself(tmp_path, content, alive):
    path = tmp_path / HISTORY
    path.write_bytes(content)
    replayed = ReplayedRun().take(read(path)[0])
    seen = view(replayed, max(replayed.last_s, 0.0) + 1, alive=alive)
    assert json.dumps(seen.plain())
    assert prometheus.text(seen).encode()
    assert page(replayed, seen).encode()
    explain("", facts(replayed, Answers(), seen.at_s, alive=alive))
    assert len(WHOLE.jobs) - len(replayed.jobs) <= 6
    assert len(WHOLE.pilots) - len(replayed.pilots) <= 1


def test_the_history_that_is_damaged_above_is_whole():
    replayed = ReplayedRun().take(LINES)
    assert replayed.life
    assert replayed.plans
    assert {job.state for job in replayed.jobs.values()} >= {"done", "failed", "held"}
    assert replayed.is_full
    assert not replayed.is_over
    assert "has reached its limit" in page(replayed, view(replayed, replayed.last_s, alive=False))
