"""The body of `dotresize compress`: check, load, narrow, write, measure, show."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .narrow_measure import measure, measuring_command, say_if_unmeasured
from .output import emit, error_console, quiet_libraries

if TYPE_CHECKING:
    from ..compress.calibration import Windows
    from ..compress.config import CompressConfig
    from ..compress.source import OpenModel
    from ..plan.record import PlanRecord

__all__ = ["check_run", "refuse_same_text", "run_compress"]

_EVALUATION_WINDOWS = 8


def run_compress(
    model: str,
    output: Path,
    config: "CompressConfig",
    *,
    evaluation: list[str],
    evaluation_windows: int | None,
    force: bool,
    as_json: bool,
    plan: "PlanRecord | None" = None,
) -> None:
    """Check, load, narrow, write, measure, show: the body of `dotresize compress`."""
    quiet_libraries()
    from ..compress.landing import note_landing
    from ..compress.resume import WorkDirectory, work_path
    from ..compress.run import compress
    from ..errors import DotresizeError
    from ..export.checkpoint import save
    from ..export.staging import check_free
    from .progress import ProgressBar
    from .tables import compression_tables

    command = [model, config.to_dict(), evaluation, evaluation_windows, force]
    resumes = _settle_landing(output, command)
    opened, texts = check_run(model, output, config, evaluation, evaluation_windows, force or resumes, plan)
    with ProgressBar() as progress, WorkDirectory(work_path(output)) as work:
        check_free(output, force=force or resumes)  # a run that ended just now may have written it
        error_console().print(f"loading {model}", markup=False)
        dense = opened.stream()
        result = compress(dense, config, progress=progress, work=work)
        save(
            result,
            output,
            force=force or resumes,
            on_complete=lambda file: note_landing(work.path, file, command),
        )
        report, cost = result.report, result.cost
        del result  # it is on disk, and measured from there
        try:
            quality = None
            if texts:
                again = measuring_command(model, output, config, evaluation, texts)
                with say_if_unmeasured(output, again):
                    quality = measure(output, config, dense, report.calibration, texts, progress)
        except DotresizeError:
            work.discard()
            raise
        work.discard()
    data = {
        "output": str(output),
        "report": report.to_dict(),
        "quality": quality,
        "seconds": cost.seconds,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "peak_device_memory_bytes": cost.peak_device_memory_bytes,
        "device": cost.device,
    }
    emit(data, *compression_tables(report, cost, quality, output), as_json=as_json)


def _settle_landing(output: Path, command: Any) -> bool:
    """Whether this very command was killed between writing `output` and measuring it, so that it goes on.

    Where it was killed after that, all is done, and its work directory goes.
    """
    from ..compress.landing import is_finished, is_unmeasured
    from ..compress.resume import WorkDirectory, work_path
    from ..export.manifest import MANIFEST_NAME
    from ..export.outputs import clean_up

    clean_up(output)
    work, file = work_path(output), output / MANIFEST_NAME
    if is_finished(work, file, command):
        with WorkDirectory(work) as finished:
            finished.discard()
    elif work.is_dir() and not work.is_symlink() and not any(work.iterdir()):
        work.rmdir()  # killed between the note and the directory
    return is_unmeasured(work, file, command)


def check_run(
    model: str,
    output: Path,
    config: "CompressConfig",
    evaluation: list[str],
    evaluation_windows: int | None,
    force: bool,
    plan: "PlanRecord | None" = None,
) -> "tuple[OpenModel, list[Windows]]":
    """The model without its weights, and what to evaluate on; everything that can be refused has been."""
    from ..bench.quality.text_quality import windows_of_texts
    from ..compress.run import check_inputs
    from ..compress.source import open_model
    from ..errors import OptionError
    from ..export.staging import check_apart, check_free, check_writable

    config.settings()
    if "none" in evaluation and len(evaluation) > 1:
        raise OptionError("--evaluation none was given beside a text; give either none or texts.")
    if evaluation == ["none"] and evaluation_windows is not None:
        raise OptionError("--evaluation-windows has no effect with --evaluation none; leave one of them out.")
    if evaluation_windows is not None and evaluation_windows < 1:
        raise OptionError(f"--evaluation-windows is {evaluation_windows}; it must be at least 1.")
    check_free(output, force=force)
    check_writable(output)
    refuse_same_text(config, evaluation)
    opened = open_model(model, trust_remote_code=config.trust_remote_code)
    if plan is not None:
        _check_plan(plan, opened)
    check_apart(output, [opened.path, *_text_files([*_calibration_texts(config), *evaluation])])
    texts = windows_of_texts(
        [] if evaluation == ["none"] else evaluation,
        opened.tokenizer,
        at_most=evaluation_windows or _EVALUATION_WINDOWS,
        window_tokens=config.window_tokens,
    )
    check_inputs(opened, config)
    _check_disk(output, opened, config)
    return opened, texts


def _check_plan(plan: "PlanRecord", opened: "OpenModel") -> None:
    from ..compress.shape import widths_of
    from ..plan.record import check_plan_fits

    check_plan_fits(plan, widths_of(opened.config, opened.family))


def _check_disk(output: Path, opened: "OpenModel", config: "CompressConfig") -> None:
    """The model, and beside it the finished layers, as far as an earlier run has not stored them yet."""
    from ..compress.resume import work_path
    from ..compress.sizes import predict_counts
    from ..export.room import check_room, free_bytes_at

    counts = predict_counts(opened, config)
    kept_bytes = sum(file.lstat().st_size for file in work_path(output).glob("*.safetensors"))
    check_room(
        output,
        {
            "the model": counts.weight_bytes,
            "finished layers until it is written": max(0, counts.layer_bytes - kept_bytes),
        },
        free_bytes=free_bytes_at(output),
    )


def _calibration_texts(config: "CompressConfig") -> list[str]:
    """The texts without their shares."""
    from ..compress.mixture import mixture_of

    named = config.calibration
    return [part.spec for part in mixture_of([named] if isinstance(named, str) else named)]


def refuse_same_text(config: "CompressConfig", evaluation: list[str]) -> None:
    """`builtin` and hub datasets have two halves; a file is one text and must not serve for both."""
    from ..errors import OptionError

    for file in _text_files(evaluation):
        if any(file.samefile(other) for other in _text_files(_calibration_texts(config))):
            raise OptionError(
                f"{file} was given for calibration and for evaluation; a perplexity on text that was "
                "calibrated on says little, so name another --evaluation (builtin, another file, or none)."
            )


def _text_files(texts: list[str]) -> list[Path]:
    """The files among what was named as texts; those that are not there are refused when they are read."""
    from ..compress.text import is_file_name
    from ..errors import TextError
    from ..paths import path_of

    named = [text for text in texts if text != "none" and is_file_name(text)]
    return [path for text in named if (path := path_of(text, "the text", TextError)).is_file()]
