"""What one hostile case is: a kind and a seed that give a damaged sandbox and a command to run in it."""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..picos import ZEN

__all__ = ["Attempt", "Case", "Damage", "Sandbox"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case; `Case.parse("config:17")` reads what reports print."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}"

    @classmethod
    def parse(cls, text: str) -> "Case":
        kind, _, seed = text.partition(":")
        return cls(kind=kind, seed=int(seed))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a damage asks to be run, and what may follow.

    Paths are relative to the sandbox's home, which is the working directory of the command.
    """

    arguments: Sequence[str]  # of `dotresize`
    damage: str  # what was done, for the report
    model: str | None = None  # whose weights must be what the files hold when the command succeeds
    output: str | None = None  # what may appear
    replaced: Sequence[str] = ()  # what may be changed or removed when the command succeeds
    touched: Sequence[str] = ()  # what may change even when it fails (results of a benchmark)
    must_fail: str = ""  # why success would be wrong; empty where it may be right
    must_equal: str | None = None  # a directory beside the sandbox that the output must equal byte by byte
    gone: Sequence[str] = ()  # what must not be there any more when the command succeeds
    seconds: int = 120  # the longest it may take, damaging included


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A folder of the user's, with files of theirs in and beside the working directory."""

    root: Path
    bases: Path  # undamaged models, see bases.py
    rng: random.Random
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.root / "home")

    def furnish(self) -> None:
        """Files that nobody may change."""
        (self.home / "precious").mkdir(parents=True)
        (self.home / "precious" / "thesis.txt").write_text("three years of work\n")
        (self.root / "neighbour").mkdir()
        (self.root / "neighbour" / "photo.raw").write_bytes(bytes(range(256)))
        (self.home / "text.txt").write_text(ZEN + "\n")
        (self.home / "other.txt").write_text("\n".join(reversed(ZEN.splitlines())) + "\n")

    def copy(self, base: str, name: str = "model") -> Path:
        """A copy of a base model, to damage."""
        source, target = self.bases / base, self.home / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        return target


Damage = Callable[[Sandbox], Attempt]
