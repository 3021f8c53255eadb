"""The worker process: one JSON request a line in, one JSON answer a line out.

The HTCondor bindings hold Python's global lock during network calls, and a dead host can keep them
for a minute. In a process of its own that cannot stop Snakemake, and a deadline can be enforced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

ACT_CHUNK = 1000
"""Jobs named in one removal, so that the constraint stays short."""

Request = dict[str, Any]


def main() -> None:
    """Serve requests until standard input closes."""
    import htcondor2

    for line in sys.stdin:
        request: Request = json.loads(line)
        try:
            answer = {"ok": OPERATIONS[request["do"]](htcondor2, request)}
        except htcondor2.HTCondorException as error:
            answer = {"error": " ".join(str(error).split())}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _ping(htcondor: Any, request: Request) -> dict[str, str]:
    schedd = htcondor.Schedd()
    schedd.query(constraint="false", projection=["ClusterId"], limit=1)
    return {"version": str(htcondor.version())}


def _submit(htcondor: Any, request: Request) -> dict[str, int]:
    submit = htcondor.Submit(request["description"])
    result = htcondor.Schedd().submit(submit, itemdata=iter(request["items"]))
    return {"cluster": result.cluster(), "first_proc": result.first_proc()}


def _find(htcondor: Any, request: Request) -> dict[str, str]:
    attributes = ["ClusterId", "ProcId", "OSGPilotJobKey"]
    ads = htcondor.Schedd().query(constraint=request["constraint"], projection=attributes)
    return {ad["OSGPilotJobKey"]: f"{ad['ClusterId']}.{ad['ProcId']}" for ad in ads}


def _remove(htcondor: Any, request: Request) -> int:
    schedd, action = htcondor.Schedd(), htcondor.JobAction.Remove
    # (reason, code): a bare string is dropped by the bindings
    reason = (request["reason"], 1)
    ids = request["ids"]
    if ids is None:
        schedd.act(action, request["constraint"], reason=reason)
        return -1
    for start in range(0, len(ids), ACT_CHUNK):
        schedd.act(action, ids[start : start + ACT_CHUNK], reason=reason)
    return len(ids)


def _forget(htcondor: Any, request: Request) -> None:
    htcondor.Schedd().act(htcondor.JobAction.RemoveX, request["constraint"])


OPERATIONS: dict[str, Callable[[Any, Request], Any]] = {
    "ping": _ping,
    "submit": _submit,
    "find": _find,
    "remove": _remove,
    "forget": _forget,
}

if __name__ == "__main__":
    main()
