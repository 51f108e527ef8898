"""May this be written? Asked before any work, and again before anything is put in place."""

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from ...errors import OutputError
from ...json_files import read_json
from ...paths import LONGEST_NAME_BYTES, path_of
from .leftovers import clean
from .licences import LICENCE_FILES

__all__ = [
    "GGUF_MARK",
    "check_apart",
    "check_free",
    "check_writable",
    "clean_up",
    "is_ours",
    "nearest_directory",
]

GGUF_MARK = "dotresize.source"  # key in a GGUF file of ours: the hash of the manifest it was made from
_MANIFEST = "dotresize.json"
# What compress and the exports write, families of tokenizers included, beside the manifest.
_WRITTEN = (
    *("README.md", "config.json", "generation_config.json", "genai_config.json", "recipe.yaml", "reference"),
    *("recovery.svg", "adapter", "adapter_config.json"),
    *(
        "*.safetensors",
        "*.safetensors.index.json",
        "*.onnx",
        "*.onnx.data",
        "*.jinja",
        "*.model",
        "*.tiktoken",
    ),
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    *(
        ".dotresize.json.*.dotresize-tmp",
        ".README.md.*.dotresize-tmp",
    ),  # of a run that was killed while it added its measurements
    *LICENCE_FILES,
    *("additional_chat_templates", "preprocessor_config.json", "processor_config.json"),
)
_LARGEST_MANIFEST_BYTES = 64 * 2**20
_FILE_MAGIC = b"GGUF"
_HEAD_BYTES = 2**16  # within which the mark lies: it precedes the vocabulary
_RECORD_SUFFIX = ".dotresize"  # of the folder beside a GGUF file


def check_free(target: Path, *, force: bool) -> None:
    """Refuse a target that exists, before any work is done; what dead runs of it left is cleaned up first.

    Args:
        target: File or directory that is about to be written.
        force: Allow replacing an earlier output: a directory that is empty, or carries our manifest and
            nothing that is not ours; a file that is empty, or a GGUF file of ours.
            Anything else is refused even then.

    Raises:
        OutputError: `target` is in the way, or no path can be called that.
    """
    clean_up(target)
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputError(f"{target} already exists; choose another output, or replace it with --force")
    if target.is_symlink():
        raise OutputError(f"{target} is a symbolic link; --force replaces only real files and directories")
    if target.is_dir():
        _check_directory(target)
    elif not target.is_file() or not _replaceable(target):
        raise OutputError(
            f"{target} is not a GGUF file that dotresize wrote; --force does not replace it, remove it "
            "yourself or choose another output"
        )


def clean_up(target: Path) -> None:
    """Remove what dead runs of `target` left beside it.

    Raises:
        OutputError: No path can be called that, or its directory cannot be read.
    """
    _check_name(target)
    try:
        clean(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}; choose another output") from error


def _check_directory(target: Path) -> None:
    """Refuse to replace a directory that is not ours, or that somebody has put something into."""
    if any(target.iterdir()) and not is_ours(target):
        raise OutputError(
            f"{target} holds files that dotresize did not write (there is no {_MANIFEST} of ours); "
            "--force does not delete it, remove it yourself or choose another output"
        )
    strange = _others(target, (_MANIFEST, *_WRITTEN))
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise OutputError(
            f"{target} is an earlier output, but also holds {', '.join(strange[:3])}{more}, which dotresize "
            "did not write; --force does not delete that, move it elsewhere or choose another output"
        )


def _others(directory: Path, patterns: Iterable[str]) -> list[str]:
    """What lies in a directory under none of these names."""
    known = tuple(patterns)
    names = sorted(entry.name for entry in directory.iterdir())
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in known)]


def is_ours(directory: Path) -> bool:
    """Whether a directory carries a manifest that dotresize wrote, of whatever version, and what it names.

    A copied manifest beside somebody's own files is none of ours. The folder beside a GGUF file holds a
    manifest, the reference and licences only.
    """
    path = directory / _MANIFEST
    if path.is_symlink() or not path.is_file():
        return False
    try:
        content = read_json(path, OutputError, largest_bytes=_LARGEST_MANIFEST_BYTES)
    except OutputError:
        return False
    if not isinstance(content, dict) or not isinstance(content.get("schema_version"), int):
        return False
    files = content.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(content.get(key), str) for key in ("tool_version", "format", "precision")
    ):
        return False
    if content["format"] == "gguf":
        return not _others(directory, (_MANIFEST, "reference", *LICENCE_FILES))
    return bool(files) and all("\0" not in name and (directory / name).is_file() for name in files)


def check_apart(target: Path, sources: Iterable[Path]) -> None:
    """Refuse an output that is a source, lies inside one, or holds one, however it is spelled.

    Args:
        target: What is about to be written.
        sources: Directories and files that are read.

    Raises:
        OutputError: Writing the target would change a source.
    """
    place = _resolved(target)
    for source in sources:
        read = _resolved(source)
        if place == read or (place.exists() and read.exists() and place.samefile(read)):
            relation = "is"
        elif place.is_relative_to(read):
            relation = "lies inside"
        elif read.is_relative_to(place):
            relation = "holds"
        else:
            continue
        raise OutputError(
            f"{target} {relation} {source}, which is read; an output never touches its source, choose another"
        )


def check_writable(target: Path) -> None:
    """Refuse a place where nothing can be made, before any work is done. Makes nothing.

    Raises:
        OutputError: The nearest directory that exists is none, or may not be written.
    """
    parent = nearest_directory(target)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target} cannot be written: {parent} is read-only; choose another output")


def nearest_directory(target: Path) -> Path:
    """The nearest directory above a path that exists.

    Raises:
        OutputError: What exists there is no directory.
    """
    found = next(parent for parent in _resolved(target).parents if os.path.lexists(parent))
    if not found.is_dir():
        raise OutputError(f"{target} cannot be written: {found} is not a directory")
    return found


def _resolved(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be resolved: {error}; choose another output") from error


def _replaceable(file: Path) -> bool:
    """Whether a file is empty, or a GGUF file that says itself, or whose manifest says, that it is ours."""
    try:
        with file.open("rb") as stream:
            start = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise OutputError(f"{file} cannot be read: {error.strerror}") from error
    ours = GGUF_MARK.encode() in start or is_ours(file.with_name(file.name + _RECORD_SUFFIX))
    return not start or (start.startswith(_FILE_MAGIC) and ours)


def _check_name(target: Path) -> None:
    path_of(target, "the output", OutputError)
    text = str(target)
    if target.name in ("", "..") or text.startswith(("hf:", "demo:", "~")):
        raise OutputError(f"{text!r} does not name an output; expected the path of a new file or directory")
    if len(os.fsencode(target.name)) > LONGEST_NAME_BYTES:
        raise OutputError(
            f"{target.name[:60]}... is longer than {LONGEST_NAME_BYTES} bytes; choose a shorter name"
        )
