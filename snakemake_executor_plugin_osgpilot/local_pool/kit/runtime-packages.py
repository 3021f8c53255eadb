"""Print the files of the named Python packages and of all that they require, one per line.

Paths are relative to site-packages; programs outside it are left out.
"""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

found: set[str] = set()
waiting = [canonicalize_name(name) for name in sys.argv[1:]]
while waiting:
    name = waiting.pop()
    if name in found:
        continue
    found.add(name)
    package = importlib.metadata.distribution(name)
    for path in package.files or []:
        if path.parts[0] != ".." and Path(path.locate()).is_file():
            print(path)
    for line in package.requires or []:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            waiting.append(canonicalize_name(need.name))
