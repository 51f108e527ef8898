"""Measured candidates on disk, so that an interrupted search goes on where it stopped."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import InputError
from ..export.disk.staging import write_atomically
from ..json_files import read_json, validated
from .axes import Candidate

__all__ = ["Measured", "SearchState", "state_path"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How one candidate did."""

    kl_nats_per_token: float  # mean over the texts
    perplexity_ratio: float  # to the original, geometric mean over the texts
    windows: int  # of each text
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Kept:
    identity: str
    results: dict[str, Measured]


def state_path(output: Path) -> Path:
    """Where the search for a plan keeps its results: beside it, hidden."""
    return output.with_name(f".{output.name}.dotresize-search")


@dataclass
class SearchState:
    """Results by candidate and rung; written after each, and of one identity only."""

    path: Path | None  # None keeps nothing on disk
    identity: str  # of everything that decides a result
    results: dict[str, Measured] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None, identity: str) -> "SearchState":
        """What an earlier run left; a damaged file, or one of another search, is as good as none."""
        state = cls(path, identity)
        if path is None or path.is_symlink() or not path.is_file():
            return state
        try:
            kept = validated(_Kept, read_json(path, InputError), str(path), InputError)
        except InputError:
            return state
        if kept.identity == identity:
            state.results = dict(kept.results)
        return state

    def get(self, candidate: Candidate, rung: int) -> Measured | None:
        """The result, when it is known."""
        return self.results.get(_key(candidate, rung))

    def put(self, candidate: Candidate, rung: int, measured: Measured) -> None:
        """Keep a result.

        Raises:
            OutputError: the file cannot be written.
        """
        self.results[_key(candidate, rung)] = measured
        if self.path is not None:
            kept = _Kept(identity=self.identity, results=self.results)
            write_atomically(self.path, json.dumps(asdict(kept)) + "\n")

    def discard(self) -> None:
        """Remove the file; call it when the plan has been written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _key(candidate: Candidate, rung: int) -> str:
    return "-".join(map(str, candidate)) + f"@{rung}"
