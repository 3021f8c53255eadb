"""Validate lines of a history before they are used. Pure.

A line that a disk, a kill or another program damaged may still be JSON. `records` and `recorder`
write the fields that are expected here; further fields are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from ..model.resources import Policy, Shape

Line = dict[str, Any]

FULL = "full"
"""Kind of the line after which nothing more is recorded of jobs and pilots."""

Check = Callable[[Any], bool]

LARGEST, CORES_MAX = 1e11, 100_000
"""Upper limits of any time, size or number of a run, and of the cores of a job or pilot."""


def is_whole(line: Line) -> bool:
    """Return True if `line` is of a known kind and has all fields of this kind."""
    check = _KINDS.get(line["kind"]) if isinstance(line.get("kind"), str) else None
    return check is not None and check(line)


def _number(value: Any) -> bool:
    # NaN fails this comparison
    return type(value) in (int, float) and -LARGEST < value < LARGEST


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _cores(value: Any) -> bool:
    return _count(value) and value <= CORES_MAX


def _text(value: object) -> bool:
    return isinstance(value, str)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _each(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _named(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _entry(*checks: Check, rest: Check = lambda value: False) -> Check:
    """Return a check of a list: its first items by `checks`, all others by `rest`."""
    needed = len(checks)

    def check(value: object) -> bool:
        if type(value) is not list or len(value) < needed:
            return False
        return all(valid(each) for valid, each in zip(checks, value, strict=False)) and all(
            map(rest, value[needed:])
        )

    return check


def _entries(*checks: Check, rest: Check = lambda value: False) -> Check:
    """Return a check of a list of entries of texts and numbers, as `_entry` describes each.

    A large history has a hundred thousand entries, but few combinations of types: the first entry
    of each is checked in full, of the others only the numbers.
    """
    entry, known = _entry(*checks, rest=rest), dict[tuple[type, ...], tuple[int, ...]]()

    def check(value: object) -> bool:
        if type(value) is not list:
            return False
        for each in value:
            if type(each) is not list:
                return False
            types = tuple(map(type, each))
            if types not in known:
                if not entry(each):
                    return False
                known[types] = tuple(n for n, kind in enumerate(types) if kind in (int, float))
            for number in known[types]:
                # NaN fails this comparison
                if not -LARGEST < each[number] < LARGEST:
                    return False
        return True

    return check


def _has(optional: dict[str, Check] | None = None, /, **needed: Check) -> Check:
    """Return a check of an object: all `needed` fields exist, and all known fields are valid."""
    checks = tuple(needed.items())
    more = tuple((optional or {}).items())

    def check(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        for name, valid in checks:
            if name not in value or not valid(value[name]):
                return False
        return all(valid(value[name]) for name, valid in more if name in value)

    return check


def _jobs(*checks: Check, rest: Check = lambda value: False) -> dict[str, Check]:
    return {"jobs": _entries(_text, *checks, rest=rest)}


def _these(names: Iterable[str], check: Check) -> dict[str, Check]:
    return dict.fromkeys(names, check)


_SHAPE = {**_these(Shape._fields, _count), "cores": _cores}
_PARTS = ("offers", "site_limits")
_LIMITS = _these((each.name for each in fields(Policy) if each.name not in _PARTS), _number)
_POLICY = _has(
    {
        **_LIMITS,
        "cores_max": _maybe(_count),
        "core_s_max": _maybe(_number),
        "site_limits": _each(_has(site=_text)),
    },
    offers=_each(
        _has(name=_text, shape=_has(**_SHAPE), walltimes_s=_entry(_number, rest=_number)),
    ),
)
_HOLDER = _has(host=_text, boot=_text, space=_text, pid=_count, started=_text, since_s=_number)
_FLEET = _these(("ssh", "folder", "cluster", "site"), _text)
_PLACE = _has(
    {**_these(("host", "schedd", "collector"), _text), **_FLEET, "others": _each(_has(_FLEET))}
)
_DECIDED = _has(action=_text, count=_count, reason=_text)
_REFUSED = _has(count=_count, rule=_text, reason=_text)
_ETA = _has(low_s=_number, high_s=_number, serving=_flag, unknown=_each(_text))

_KINDS: dict[str, Check] = {
    "life": _has(
        {
            **_these(("run", "project", "owner"), _text),
            "policy": _POLICY, "holder": _maybe(_HOLDER), "place": _PLACE,
            "about": _named(_text),
        },
        at_s=_number,
    ),
    "steps": _has({"failed": _count}, done=_count, total=_count),
    "images": _has(sent=_each(_entry(_text, _number, _text, _count))),
    "end": _has(
        {
            "critical_path_s": _number, "error": _text, "interrupted": _flag, "to_come": _count,
        },
        at_s=_number, detached=_flag,
    ),
    FULL: _has(),
    "queued": _has(
        {"rule_memory_mb": _count},
        at_s=_number, rule=_text, runtime_s=_number, **_SHAPE, **_jobs(_text, rest=_text),
    ),
    "needed": _has(jobs=_each(_text), needs=_each(_text)),
    "inputs": _has(**_jobs(_number)),
    "woken": _has(at_s=_number, jobs=_each(_text)),
    "sent": _has(**_jobs(_number, _text)),
    "started": _has(**_jobs(_number, _text, _text, _text, _text)),
    "ended": _has(**_jobs(_number, _maybe(_number), rest=_number)),
    "spent": _has(**_jobs(_number, _number)),
    "removed": _has(**_jobs(_number, _text)),
    "held": _has(**_jobs(_number, _text)),
    "waiting": _has(**_jobs(_number, _text, rest=_number)),
    "failed": _has({"logs": _each(_text)}, at_s=_number, job=_text, text=_text),
    "pilot": _has(
        {"site": _text},
        shape=_has(**_SHAPE),
        **_these(("name", "allocation_id", "node", "offer", "state", "pending_reason", "failure"),
                 _text),
        **_these(("walltime_s", "asked_s", "since_s"), _number),
        **_these(("started_s", "ends_s", "ended_s"), _maybe(_number)),
    ),
    "plan": _has(
        {
            "to_come": _count, "critical_path_s": _number, "eta": _maybe(_ETA),
            "waits_s": _named(_number), "forecast": _named(_maybe(_number)),
            "upcoming": _each(_has(rule=_text, jobs=_count, after=_each(_text))),
        },
        at_s=_number, actions=_each(_DECIDED), refusals=_each(_REFUSED),
    ),
}  # fmt: skip
