"""The child process of `scenario`: perplexity, paired ratio and KL of model directories."""

import tempfile
from functools import partial
from pathlib import Path

from ...compress.calibration import leading_windows
from ...compress.run import choose_device
from ...errors import InputError
from ..process.child_call import PrintedProgress, answer
from ..record.results import BenchModel, ModelQuality, QualityRecord
from .perplexity import ModelPerplexity
from .perplexity_in_turn import measure_in_turn
from .scenario import QualityRequest
from .scorers import context_tokens, load_tokenizer, open_scorer

__all__: list[str] = []


def work(request: QualityRequest) -> QualityRecord:
    """Measure everything but the tasks."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    models, settings = request.models, request.settings
    _check_vocabulary(models)
    device = choose_device(settings.device)
    limits = [context_tokens(Path(model.path), model.format) for model in models]
    window_tokens = min([settings.text_window_tokens, *(limit for limit in limits if limit)])
    windows = leading_windows(
        settings.text,
        load_tokenizer(Path(models[0].path)),
        at_most=settings.text_windows,
        window_tokens=window_tokens,
    )
    scorers = {
        model.name: partial(open_scorer, Path(model.path), model.format, device=device, dtype=settings.dtype)
        for model in models
    }
    with tempfile.TemporaryDirectory(prefix="dotresize-quality-") as folder:
        qualities = measure_in_turn(scorers, windows, Path(folder), progress=PrintedProgress())
    return QualityRecord(
        text=windows.record.name,
        text_sha256=windows.record.sha256,
        windows=windows.record.windows,
        window_tokens=windows.record.window_tokens,
        models=[_of_model(quality) for quality in qualities],
    )


def _of_model(quality: ModelPerplexity) -> ModelQuality:
    return ModelQuality(
        model=quality.name,
        tokens=quality.tokens,
        perplexity=quality.perplexity,
        perplexity_ratio=quality.perplexity_ratio,
        kl_nats_per_token=quality.kl_nats_per_token,
    )


def _check_vocabulary(models: list[BenchModel]) -> None:
    """Only with one vocabulary do the tokens, and so the perplexities, compare."""
    for model in models[1:]:
        if model.tokenizer_sha256 != models[0].tokenizer_sha256:
            raise InputError(
                f"{model.name} has another vocabulary than {models[0].name}, so their perplexities do not "
                "compare; measure them in separate runs"
            )


if __name__ == "__main__":
    answer(QualityRequest, work)
