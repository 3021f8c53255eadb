"""Any content of a token file gets a check result that does not show it."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.common.idtokens import JOIN_POOL, examine

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
CLAIMS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("exp", "iat", "iss", "sub", "scope"), VALUES)
)
TIMES = st.floats(0, 1e10)


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*"), TIMES, TIMES)
def test_any_text_gets_one_line(text, now_s, life_s):
    found = examine(text, JOIN_POOL, now_s, life_s)
    assert f"{found.summary}{found.error}{found.warning}".isprintable()


@given(CLAIMS, TIMES, TIMES)
def test_any_claims_get_one_line(claims, now_s, life_s):
    head, content = (base64.urlsafe_b64encode(json.dumps(c).encode()) for c in ({}, claims))
    text = f"{head.decode().rstrip('=')}.{content.decode().rstrip('=')}.s1gnature"
    found = examine(text, JOIN_POOL, now_s, life_s)
    shown = f"{found.summary}{found.error}{found.warning}"
    assert shown.isprintable()
    assert "s1gnature" not in shown
    if not found.error:
        expires_s = claims.get("exp")
        assert expires_s is None or expires_s > now_s
        assert bool(found.warning) == (expires_s is not None and expires_s - now_s < life_s)
