"""Measured candidates on disk, so that an interrupted search goes on where it stopped."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import InputError
from ..export.disk.staging import write_atomically
from ..json_files import read_json, validated
from .axes import Candidate
from .hardware import Serving

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
    serving: dict[str, Serving] = field(default_factory=dict)


def state_path(output: Path) -> Path:
    """Where the search for a plan keeps its results: beside it, hidden."""
    return output.with_name(f".{output.name}.dotresize-search")


@dataclass
class SearchState:
    """Results by candidate and rung, speeds by run; written after each, and of one identity only."""

    path: Path | None  # None keeps nothing on disk
    identity: str  # of everything that decides a result
    results: dict[str, Measured] = field(default_factory=dict)
    serving: dict[str, Serving] = field(default_factory=dict)  # how fast this machine serves in which run

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
            state.results, state.serving = dict(kept.results), dict(kept.serving)
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
        self._write()

    def keep_serving(self, run: str, serving: Serving) -> None:
        """Keep how fast this machine serves, so that a search that goes on has the same candidates.

        Raises:
            OutputError: the file cannot be written.
        """
        self.serving[run] = serving
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            kept = _Kept(identity=self.identity, results=self.results, serving=self.serving)
            write_atomically(self.path, json.dumps(asdict(kept)) + "\n")

    def discard(self) -> None:
        """Remove the file; call it when the plan has been written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _key(candidate: Candidate, rung: int) -> str:
    return "-".join(map(str, candidate)) + f"@{rung}"
