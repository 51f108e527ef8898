"""What can be checked about a checkpoint without running it: files, hashes, shapes, ties, finite values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...compress.weights.files import read_headers
from ...errors import DotresizeError, ManifestError
from ...foreign import reading
from ..contract import reference
from ..contract.manifest import Check, Manifest, file_record
from ..disk.model_files import load_config, read_config, read_tensor

__all__ = ["check_files", "check_reference", "check_tensors"]


def _check(name: str, misses: list[str], measured: dict[str, float | int | str]) -> Check:
    note = "; ".join(misses[:3]) + (f"; and {len(misses) - 3} more" if len(misses) > 3 else "")
    return Check(name=name, runtime="files", measured=measured, limits={}, passed=not misses, note=note)


def check_files(directory: Path, manifest: Manifest) -> Check:
    """Every weight file is there, with the size and hash that the manifest recorded."""
    misses = []
    for name, recorded in manifest.files.items():
        path = directory / name
        if not path.is_file():
            misses.append(f"{name} is missing")
        elif path.stat().st_size != recorded.bytes:
            misses.append(f"{name} has {path.stat().st_size} bytes, expected {recorded.bytes}")
        elif file_record(path) != recorded:
            misses.append(f"{name} has another content than when it was written")
    total_bytes = sum(record.bytes for record in manifest.files.values())
    return _check("file hashes", misses, {"files": len(manifest.files), "bytes": total_bytes})


def check_reference(directory: Path, manifest: Manifest) -> Check:
    """The reference logits are the ones that were written with the artefact."""
    with reading(directory / reference.FOLDER, ManifestError):
        found = reference.sha256(directory)
    misses = (
        [] if found == manifest.reference else ["reference/ has another content than when it was written"]
    )
    return _check("reference hash", misses, {})


def check_tensors(directory: Path) -> Check:
    """Tensor names and shapes follow the config, ties are as it says, and every value is finite."""
    return _guarded("tensors", lambda: _tensor_misses(directory))


def _guarded(name: str, find: Callable[[], tuple[list[str], dict[str, float | int | str]]]) -> Check:
    try:
        misses, measured = find()
    except DotresizeError as error:
        misses, measured = [str(error)], {}
    return _check(name, misses, measured)


def _tensor_misses(directory: Path) -> tuple[list[str], dict[str, float | int | str]]:
    config = read_config(directory)
    expected, tied = _expected_shapes(directory)
    misses: list[str] = []
    seen: set[str] = set()
    values = 0
    for path in sorted(directory.glob("*.safetensors")):
        for name in read_headers([path]):
            tensor = read_tensor(path, name)
            seen.add(name)
            values += tensor.numel()
            misses += _judge(name, tensor, expected.get(name))
    misses += [f"{name} is missing" for name in sorted(expected.keys() - seen - tied)]
    if seen & tied:
        misses.append(f"{', '.join(sorted(seen & tied))} is stored, but config.json says it is tied")
    if not config.get("head_dim"):
        misses.append("config.json has no head_dim")
    return misses, {"tensors": len(seen), "values": values}


def _expected_shapes(directory: Path) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Name -> shape of every tensor that the config asks for, and the names that are tied to another."""
    from ...compress.families.hollow import hollow_model

    config = load_config(directory)
    with reading(directory / "config.json", by="transformers"):
        from transformers.core_model_loading import revert_weight_conversion

        model = hollow_model(config)
        stored = revert_weight_conversion(model, model.state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    tied = set(model.all_tied_weights_keys)
    return shapes, tied


def _judge(name: str, tensor: Any, expected: tuple[int, ...] | None) -> list[str]:
    if expected is None:
        return [f"{name} is not in this architecture"]
    if tuple(tensor.shape) != expected:
        return [f"{name} has shape {list(tensor.shape)}, expected {list(expected)}"]
    if not bool(tensor.isfinite().all()):
        return [f"{name} holds values that are not finite"]
    return []
