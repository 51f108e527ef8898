"""Output paths that reach something of the user's, or that no file can have."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..case import Attempt, Sandbox
from ..operations import compress, export_gguf, export_vllm

__all__ = ["BASES", "damage"]

Taken = Callable[[Sandbox, Path], None]

BASES = ("llama", "narrow")
NEAR_THE_MODEL = (
    "model", "model/", "./model", "model/.", "model/out", "model/config.json", ".", "..", "../home",
    "../home/model", "out/../model", "precious/../model", "model/../model", "linked", "linked/out",
    "linked/../home/model",
    "MODEL", "upper/home", "upper/home/model", "model/model.safetensors", "//model", "../../home/model",
)  # fmt: skip
NO_NAMES = (
    "", "x" * 300, "a\0b", "\ud800", "[/red]", "[bold]x[/bold]", "~nobody/x", "~", "/dev/null", "/dev/zero",
    "/proc/out", "precious/thesis.txt", "precious/thesis.txt/out", "hf:", "-", "--help",
    "a\nb",
    "nowhere/a/b/out", "/", "out/", "new/../out",
    "нарыв", "x/" * 200 + "out", " ", "out.txt", "out.gguf", "con:aux",
)  # fmt: skip


def damage(box: Sandbox) -> Attempt:
    box.copy(base := box.rng.choice(BASES))
    act = box.rng.choice(["near", "near", "odd", "taken", "taken", "beside", "report"])
    if act == "report":
        return _report(box)
    if act == "near":
        output, what = _near(box), "near the model"
    elif act == "odd":
        output, what = box.rng.choice(NO_NAMES), "odd name"
    elif act == "taken":
        output, what = "out", box.rng.choice(list(TAKEN))
        TAKEN[what](box, box.home / output)
    else:
        output, what = "out", _beside(box)
    force = act == "taken" or box.rng.random() < 0.7
    attempt = _command(box, base, output, f"{what}: -o {output[:60]!r}{' --force' if force else ''}")
    arguments = [*attempt.arguments, *(["--force"] if force else [])]
    ours = act == "taken" and what.startswith("ours")
    return replace(attempt, arguments=arguments, replaced=[f"home/{output}"] if ours else [])


def _report(box: Sandbox) -> Attempt:
    """A directory of the user's that looks like a benchmark; one model is missing, so it ends soon."""
    report = box.home / "report"
    (report / "work").mkdir(parents=True)
    (report / "work" / "thesis.txt").write_text("the only copy")
    name = box.rng.choice(["results.json", "report.html", ".lock", "notes.txt"])
    (report / name).write_text(box.rng.choice(["", "{}", '{"mine": 1}', "[1]"]))
    how = box.rng.choice([[], ["--force"], ["--resume"]])
    arguments = ["bench", "model", "nowhere", "-o", "report", "--engine", "transformers", *how]
    return Attempt(arguments=arguments, damage=f"a report with {name} of the user's {how}")


def _command(box: Sandbox, base: str, output: str, what: str) -> Attempt:
    if base == "llama" or box.rng.random() < 0.3:
        return compress(box, "model", damage=what, output=output, evaluation="none")
    return box.rng.choice([export_gguf, export_vllm])("model", damage=what, output=output)


def _near(box: Sandbox) -> str:
    (box.home / "linked").symlink_to("model")
    (box.home / "upper").symlink_to("..")
    output = box.rng.choice(NEAR_THE_MODEL)
    return str(box.home / output) if box.rng.random() < 0.3 else output


def _thesis(box: Sandbox, out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("the only copy")


def _thesis_with(name: str) -> Taken:
    def make(box: Sandbox, out: Path) -> None:
        _thesis(box, out)
        (out / name).write_text("{}")

    return make


def _thesis_in_ours(box: Sandbox, out: Path) -> None:
    """A manifest that is whole, and a file that it does not name."""
    _thesis(box, out)
    shutil.copyfile(box.bases / "narrow" / "dotresize.json", out / "dotresize.json")


def _file(box: Sandbox, out: Path) -> None:
    out.write_text("a letter")


def _link_to_precious(box: Sandbox, out: Path) -> None:
    out.symlink_to("precious")


def _link_to_nothing(box: Sandbox, out: Path) -> None:
    out.symlink_to("nowhere")


def _foreign_gguf(box: Sandbox, out: Path) -> None:
    out.write_bytes(b"GGUF\3\0\0\0" + bytes(64))


def _foreign_model(box: Sandbox, out: Path) -> None:
    """A model of somebody else's: a config and weights, but no manifest of ours."""
    shutil.copytree(box.home / "model", out)
    (out / "dotresize.json").unlink(missing_ok=True)


def _earlier(box: Sandbox, out: Path) -> None:
    shutil.copytree(box.bases / "narrow", out)


def _earlier_with_notes(box: Sandbox, out: Path) -> None:
    _earlier(box, out)
    (out / "my-notes.txt").write_text("measured by hand")


TAKEN: dict[str, Taken] = {
    "a thesis": _thesis,
    "a thesis and config.json": _thesis_with("config.json"),
    "a thesis and genai_config.json": _thesis_with("genai_config.json"),
    "a thesis and a broken dotresize.json": _thesis_with("dotresize.json"),
    "a thesis and a manifest": _thesis_in_ours,
    "a file": _file,
    "a GGUF file of somebody else's": _foreign_gguf,
    "a link to a directory": _link_to_precious,
    "a link to nothing": _link_to_nothing,
    "a foreign model": _foreign_model,
    "ours, replaced": _earlier,
    "an earlier output with notes of the user's": _earlier_with_notes,
}


def _beside(box: Sandbox) -> str:
    """Names beside the output that a careless tool takes for its own."""
    home = box.home
    names = [
        "out.partial", ".out.partial", "out.tmp", ".out.tmp", ".out.old", "out.old", ".out.1.old",
        ".out.x.tmp", "out.dotresize", "out.gguf.dotresize", ".out.work", "out.work", ".out.dotresize-work",
        "out.lock", ".lock",
    ]  # fmt: skip
    name = box.rng.choice(names)
    if box.rng.random() < 0.25:
        (home / name).write_text("a file of the user's")
        return f"file {name} beside"
    (home / name).mkdir()
    (home / name / "thesis.txt").write_text("the only copy")
    for inside in box.rng.sample(
        ["identity", "lock", "basis.safetensors", "layer-0.safetensors", ".marker"], 2
    ):
        (home / name / inside).write_text("a file of the user's")
    return f"directory {name} beside"
