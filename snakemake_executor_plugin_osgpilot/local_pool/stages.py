"""Build stages: each is a folder that gets its final name only when finished."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common.atomic_write import READABLE_MODE, write_atomically
from . import namespace as space

MANIFEST = "current.json"


@dataclass(frozen=True)
class Stage:
    """One product of the build.

    name: what it is, for people
    key: hash of everything it depends on; another key is another folder
    """

    name: str
    key: str

    @property
    def folder(self) -> str:
        """Its folder's name below the images."""
        return f"{self.name}-{self.key}"


class Store:
    """The folder of finished stages."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, stage: Stage) -> Path:
        """Return the folder of `stage`, whether it exists or not."""
        return self.root / stage.folder

    def has(self, stage: Stage) -> bool:
        """Return True if `stage` is finished."""
        return self.path(stage).is_dir()

    def make(self, stage: Stage, work: Callable[[Path], None]) -> bool:
        """Let `work` fill a temporary folder and give it its final name; False if it was finished
        before.

        Errors of `work` are passed on, and nothing is finished then.
        """
        if self.has(stage):
            return False
        temporary = self.root / f"tmp-{stage.folder}"
        space.remove(temporary)
        temporary.mkdir(parents=True)
        work(temporary)
        temporary.rename(self.path(stage))
        return True

    def publish(self, stages: dict[str, Stage]) -> None:
        """Record `stages` as the set that pools are made of."""
        content = json.dumps({role: stage.folder for role, stage in stages.items()})
        write_atomically(self.root / MANIFEST, content, READABLE_MODE)

    def published(self) -> dict[str, Path] | None:
        """Return the folders of the set that pools are made of, by role; None before the first
        build.
        """
        try:
            content = json.loads((self.root / MANIFEST).read_text())
        except FileNotFoundError:
            return None
        return {role: self.root / folder for role, folder in content.items()}

    def collect(self, keep: set[Path]) -> list[Path]:
        """Remove stages and remains of broken builds except `keep`; return what was removed."""
        gone = [path for path in self.root.iterdir() if path.is_dir() and path not in keep]
        gone = [path for path in gone if path.name != "log"]
        space.remove(*gone)
        return gone
