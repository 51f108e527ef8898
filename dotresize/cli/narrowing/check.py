"""Before `dotresize compress` reads a weight: what it was asked to do, and everything that can be refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compress.record.config import CompressConfig
    from ...compress.text.calibration import Windows
    from ...compress.weights.source import OpenModel
    from ...export.checkpoint.hub import HubTarget
    from ...plan.record import PlanRecord

__all__ = ["CompressRun", "check_options", "check_run", "refuse_same_text", "stream_bytes_of"]

_EVALUATION_WINDOWS = 8


@dataclass(frozen=True, kw_only=True)
class CompressRun:
    """One `dotresize compress`, as it was asked for."""

    model: str
    output: Path
    config: "CompressConfig"
    evaluation: tuple[str, ...] = ("builtin",)  # texts to measure on, or "none"
    evaluation_windows: int | None = None  # of each text at most
    force: bool = False
    as_json: bool = False
    plan: "PlanRecord | None" = None  # where the widths come from
    revision: str | None = None  # of a model on the hub
    hub: "HubTarget | None" = None  # where it is pushed afterwards
    recipe: str = ""  # what repeats it, as YAML
    stream_memory: float | None = None  # gigabytes; None for a quarter of what is free


def check_options(run: CompressRun, *, dry_run: bool, plans: bool) -> None:
    """Refuse options that cannot take effect.

    Raises:
        OptionError: one cannot.
    """
    from ...compress.streams.launcher import launched_processes
    from ...errors import OptionError

    if launched_processes() > 1 and (dry_run or plans):
        why = "--dry-run computes nothing" if dry_run else "a budget is planned by one"
        raise OptionError(
            f"several processes were started, but {why}; run it alone, then give torchrun the widths "
            "or --plan."
        )
    if run.stream_memory is not None and not 0 <= run.stream_memory < 1e9:
        raise OptionError(f"--stream-memory is {run.stream_memory:g}; give gigabytes, 0 or more.")
    if run.stream_memory is not None and dry_run:
        raise OptionError("--stream-memory has no effect with --dry-run; leave one of them out.")
    if run.revision is not None and plans:
        raise OptionError(
            "--revision was given beside a budget, which is planned for the newest; give widths."
        )


def check_run(run: CompressRun) -> "tuple[OpenModel, list[Windows]]":
    """The model without its weights, and what to evaluate on; everything that can be refused has been."""
    from ...bench.quality.text_quality import windows_of_texts
    from ...compress.run import check_inputs
    from ...compress.weights.source import open_model
    from ...compress.widths.plan import make_plan
    from ...compress.widths.unchanged import check_changes
    from ...errors import OptionError
    from ...export.disk.staging import check_apart, check_free, check_writable

    config, output, evaluation = run.config, run.output, list(run.evaluation)
    config.settings()
    if "none" in evaluation and len(evaluation) > 1:
        raise OptionError("--evaluation none was given beside a text; give either none or texts.")
    if evaluation == ["none"] and run.evaluation_windows is not None:
        raise OptionError("--evaluation-windows has no effect with --evaluation none; leave one of them out.")
    if run.evaluation_windows is not None and run.evaluation_windows < 1:
        raise OptionError(f"--evaluation-windows is {run.evaluation_windows}; it must be at least 1.")
    check_free(output, force=run.force)
    check_writable(output)
    refuse_same_text(config, evaluation)
    opened = open_model(run.model, trust_remote_code=config.trust_remote_code, revision=run.revision)
    if run.plan is not None:
        _check_plan(run.plan, opened)
    check_apart(output, [opened.path, *_text_files([*_calibration_texts(config), *evaluation])])
    texts = windows_of_texts(
        [] if evaluation == ["none"] else evaluation,
        opened.tokenizer,
        at_most=run.evaluation_windows or _EVALUATION_WINDOWS,
        window_tokens=config.window_tokens,
    )
    check_inputs(opened, config)
    check_changes(config, make_plan(opened.config, opened.family, config))
    _check_disk(run, opened)
    return opened, texts


def _check_plan(plan: "PlanRecord", opened: "OpenModel") -> None:
    from ...compress.families.shape import widths_of
    from ...plan.record import check_plan_fits

    check_plan_fits(plan, widths_of(opened.config, opened.family), opened.architecture)


def _check_disk(run: CompressRun, opened: "OpenModel") -> None:
    """The model, as far as an earlier run has not written it yet; twice where it does not grow in place.

    Streams on the disk count where their number of windows was given.
    """
    from ...compress.output.resume import work_path
    from ...compress.record.config import STREAM_ITEM_BYTES
    from ...compress.widths.plan import make_plan
    from ...compress.widths.sizes import predict_counts
    from ...export.disk.room import check_room, free_bytes_at

    output, config = run.output, run.config
    counts, plan = predict_counts(opened, config), make_plan(opened.config, opened.family, config)
    kept_bytes = sum(file.lstat().st_blocks * 512 for file in work_path(output).glob("*.safetensors"))
    parts = {"the model": max(0, counts.weight_bytes - kept_bytes)}
    if not plan.narrow_family.stored_as_named:
        parts = {
            "the model": counts.weight_bytes,
            "finished layers until it is written": max(0, counts.layer_bytes - kept_bytes),
        }
    if config.calibration_windows is not None:
        tokens = config.calibration_windows * config.window_tokens
        widths = [plan.dense.hidden_size, plan.narrow.hidden_size][: 1 if config.compensate == "none" else 2]
        sizes = [STREAM_ITEM_BYTES[config.stream_dtype] * tokens * width for width in widths]
        parts["residual streams while it runs"] = sum(size for size in sizes if size > stream_bytes_of(run))
    check_room(output, parts, free_bytes=free_bytes_at(output))


def stream_bytes_of(run: CompressRun, processes: int = 1) -> int:
    """Memory that one residual stream may take in each of the processes on this machine."""
    from ...compress.streams.memory import default_stream_bytes

    given = run.stream_memory
    return default_stream_bytes(processes) if given is None else int(given * 1e9)


def _calibration_texts(config: "CompressConfig") -> list[str]:
    """The texts without their shares."""
    from ...compress.text.mixture import mixture_of

    named = config.calibration
    return [part.spec for part in mixture_of([named] if isinstance(named, str) else named)]


def refuse_same_text(config: "CompressConfig", evaluation: list[str]) -> None:
    """`builtin` and hub datasets have two halves; a file is one text and must not serve for both."""
    from ...errors import OptionError

    for file in _text_files(evaluation):
        if any(file.samefile(other) for other in _text_files(_calibration_texts(config))):
            raise OptionError(
                f"{file} was given for calibration and for evaluation; a perplexity on text that was "
                "calibrated on says little, so name another --evaluation (builtin, another file, or none)."
            )


def _text_files(texts: list[str]) -> list[Path]:
    """The files among what was named as texts; those that are not there are refused when they are read."""
    from ...compress.text.documents import is_file_name
    from ...errors import TextError
    from ...paths import path_of

    named = [text for text in texts if text != "none" and is_file_name(text)]
    return [path for text in named if (path := path_of(text, "the text", TextError)).is_file()]
