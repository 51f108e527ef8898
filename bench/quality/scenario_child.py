"""The child process of `scenario`: perplexity, paired ratio and KL of model directories."""

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...compress.run import choose_device
from ...compress.text.calibration import leading_windows
from ...errors import InputError
from ...export.disk.model_files import read_object
from ..process.child_call import PrintedProgress, answer
from ..record.results import BenchModel, ModelQuality, QualityRecord, SampleAnswer
from ..record.settings import BenchSettings
from .perplexity import ModelPerplexity, Scorer
from .perplexity_in_turn import measure_in_turn
from .sample_answers import sample_answers
from .scenario import QualityRequest
from .scorers import context_tokens, load_tokenizer, open_scorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    answers: list[SampleAnswer] = []
    scorers = {model.name: partial(_opened, model, settings, device, answers) for model in models}
    with tempfile.TemporaryDirectory(prefix="dotresize-quality-") as folder:
        qualities = measure_in_turn(scorers, windows, Path(folder), progress=PrintedProgress())
    return QualityRecord(
        text=windows.record.name,
        text_sha256=windows.record.sha256,
        windows=windows.record.windows,
        window_tokens=windows.record.window_tokens,
        models=[_of_model(quality) for quality in qualities],
        answers=answers,
    )


def _opened(
    model: BenchModel, settings: BenchSettings, device: torch.device, answers: list[SampleAnswer]
) -> Scorer:
    """The scorer of a model, after it has answered the sample prompts."""
    place = Path(model.path)
    scorer, tokenizer = (
        open_scorer(place, model.format, device=device, dtype=settings.dtype),
        load_tokenizer(place),
    )
    answers += sample_answers(
        model.name,
        scorer,
        tokenizer,
        context_tokens=context_tokens(place, model.format),
        stop=_stop_tokens(place, tokenizer),
    )
    return scorer


def _stop_tokens(place: Path, tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """What ends an answer: of the tokenizer, and of generation_config.json where there is one."""
    file = place / "generation_config.json"
    listed = read_object(file).get("eos_token_id") if file.is_file() else None
    ends = [tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])]
    return frozenset(end for end in ends if isinstance(end, int))


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
