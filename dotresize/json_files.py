"""JSON that somebody else may have written: bounded in size and depth, checked by pydantic."""

import json
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from .errors import DotresizeError, ManifestError
from .foreign import reading

__all__ = ["parse_json", "read_json", "validated"]

T = TypeVar("T")

LARGEST_BYTES = 256 * 2**20
DEEPEST = 200  # nested arrays and objects


def read_json(
    path: Path, kind: type[DotresizeError] = ManifestError, *, largest_bytes: int = LARGEST_BYTES
) -> Any:
    """The content of a JSON file.

    Raises:
        DotresizeError: Of the kind asked for: not there, too large, nested too deeply, or not JSON in UTF-8.
    """
    with reading(path, kind):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise kind(f"{path} is not a regular file; expected a file with JSON")
        if status.st_size > largest_bytes:
            raise kind(f"{path} has {status.st_size} bytes; expected at most {largest_bytes} of JSON")
        text = path.read_text(encoding="utf-8")
    return parse_json(text, str(path), kind)


def parse_json(text: str, what: str, kind: type[DotresizeError] = ManifestError) -> Any:
    """The value of a JSON text; `what` names it in errors.

    Raises:
        DotresizeError: Of the kind asked for: nested too deeply, or not JSON.
    """
    if _depth(text) > DEEPEST:
        raise kind(f"{what} nests deeper than {DEEPEST} levels; expected a plain JSON document")
    with reading(what, kind):
        return json.loads(text)


def validated(annotation: type[T], value: Any, what: str, kind: type[DotresizeError] = ManifestError) -> T:
    """`value`, parsed from JSON, as an instance of `annotation`: a dataclass, a TypedDict or any other type.

    Raises:
        DotresizeError: Of the kind asked for, naming the first field that is missing or of the wrong kind.
    """
    from pydantic import ValidationError

    try:
        result: T = _adapter(cast(Any, annotation)).validate_json(
            json.dumps(value, allow_nan=False), strict=True
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise kind(f"{what} is damaged at {field}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise kind(f"{what} is damaged: {error}") from error
    return result


@lru_cache(maxsize=64)
def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def _depth(text: str) -> int:
    """How deeply brackets nest outside strings; a bound that needs no recursion."""
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > DEEPEST:
                return deepest
        elif character in "]}":
            depth -= 1
    return deepest
