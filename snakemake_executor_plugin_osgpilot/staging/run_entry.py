"""Call the body of a `run:` on the execution point, which has only the text of this file of our
package, and Snakemake.

    python -c TEXT FILE

FILE holds, in JSON, what `staging/run_body.py` wrote: the body and the job's values as pickles. No
Snakefile is read and no DAG is built. The job's values go to `run_wrapper`, with which Snakemake's
local executor calls a body (`snakemake.executors.local`, 9.27.1): it measures benchmarks, and
reports exceptions with the line of the Snakefile. If its parameters change, the job fails with a
TypeError.
"""

import base64
import io
import json
import logging
import os
import pickle
import shutil
import sys
import types
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from snakemake.exceptions import format_exception_to_string
from snakemake.executors.local import run_wrapper
from snakemake.io import apply_wildcards
from snakemake.iocontainers import Namedlist
from snakemake.logging import logger
from snakemake.shell import shell


class StandIn:
    """A stand-in for an object of Snakemake that exists only where Snakemake runs."""

    def __init__(self, name: str, known: dict[str, object]) -> None:
        self._name = name
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self._name} has no {name!r} where the job runs: read it outside of `run:`, "
            "or pass it as a parameter (`params:`)"
        )

    def source_path(self, path: str) -> str:
        """Return the place of a file beside the calling Snakefile, as `workflow.source_path`."""
        calling = sys._getframe(1).f_code.co_filename
        return os.path.normpath(Path(calling).parent / path)

    def get(self, **wildcards: str) -> "StandIn":
        """Return a checkpoint's job, as `checkpoints.NAME.get`."""
        made = Namedlist(toclone=self.output, custom_map=lambda f: apply_wildcards(f, wildcards))
        return StandIn(self._name, {"output": made, "rule": self})


class Unpickler(pickle.Unpickler):
    """Reads what `body_pickler.BodyPickler` wrote; `marks` are what marks in texts stand for."""

    def __init__(self, content: str, marks: Sequence[str]) -> None:
        super().__init__(io.BytesIO(zlib.decompress(base64.b64decode(content))))
        self._marks = marks
        self._sets: dict[int, object] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Import a class or function."""
        if module == "snakemake.workflow":
            # which cannot be the first of Snakemake's modules to be imported
            import_module("snakemake.api")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> object:
        if isinstance(pid, list):
            return "".join(map(self._text, pid))
        if isinstance(pid[0], int):
            number, kind, items = pid
            return self._sets.setdefault(number, kind(items))
        return StandIn(*pid)

    def _text(self, part: int | bytes) -> str:
        return self._marks[part] if isinstance(part, int) else part.decode("utf-8", "surrogatepass")


class Messages(logging.Handler):
    """Prints what a body reports through Snakemake's logger."""

    def emit(self, record: logging.LogRecord) -> None:
        # commands of shell() are records without a text
        if record.msg is not None:
            print(record.getMessage(), file=sys.stderr)


def have_cloudpickle(source: str) -> None:
    """Make cloudpickle from its `source` if this Python has none."""
    if find_spec("cloudpickle") is None:
        package, module = (types.ModuleType(f"cloudpickle{end}") for end in ("", ".cloudpickle"))
        sys.modules |= {each.__name__: each for each in (package, module)}
        text = zlib.decompress(base64.b64decode(source)).decode()
        exec(compile(text, "cloudpickle.py", "exec"), vars(module))
        vars(package).update(cloudpickle=module)


def prepare_shell(executable: str, prefix: str | None, suffix: str) -> None:
    """Have `shell()` start commands as on the other side (`snakemake.shell`, 9.27.1)."""
    shell.executable(shutil.which(executable) if executable else None)
    shell._process_prefix, shell._process_suffix = prefix, suffix


def loaded(content: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the body, and the values of its job."""
    sys.path[:0] = content["path"]
    have_cloudpickle(content["cloudpickle"])
    prepare_shell(*content["shell"])
    marks = content["marks"]
    body = Unpickler(content["body"] or Path(content["file"]).read_text(), marks).load()
    # other processes of the body look for its functions here
    names = vars(sys.modules["__main__"])
    names |= {name: each for name, each in body.__globals__.items() if name not in names}
    values, linemaps = (Unpickler(content[name], marks).load() for name in ("job", "linemaps"))
    return body, {**values, "linemaps": linemaps}


def main(file: str) -> int:
    """Run the body in `file`; return 1 if it failed, and print why."""
    content = json.loads(Path(file).read_text())
    here = ".".join(map(str, sys.version_info[:2]))
    label = f"osgpilot: rule {content['rule']}"
    if content["python"] != here:
        print(
            f"{label}: its image has Python {here}, and Snakemake was started with "
            f"{content['python']}: name an image made by `osgpilot runtime build`, or none",
            file=sys.stderr,
        )
        return 1
    logger.addHandler(Messages())
    logger.setLevel(logging.INFO)
    try:
        body, values = loaded(content)
    except Exception as error:
        print(f"{label}: its `run:` cannot be loaded here: {error!r}", file=sys.stderr)
        return 1
    kinds = ("shellcmd", "script", "wrapper", "cwl")
    rule = types.SimpleNamespace(run_func=body, name=content["rule"], **dict.fromkeys(kinds))
    try:
        run_wrapper(rule, **values)
    except Exception as error:
        text = format_exception_to_string(error, values["linemaps"])
        here, root = content["marks"]
        for place in filter(None, (here, str(Path.cwd()))):
            text = text.replace(place, content["workdir"])
        print(text.replace(root, "") if root else text, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
