"""What `--text` names -> windows of each text, in order, for `batches.read_texts`."""

from typing import TYPE_CHECKING

from ..compress.calibration import Windows, draw_windows
from ..compress.mixture import mixture_of
from .batches import Source
from .config import RecoverConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["read_sources"]


def read_sources(config: RecoverConfig, tokenizer: "PreTrainedTokenizerBase") -> list[Source]:
    """The calibration half of each text as windows, as many as the recovery can use.

    Args:
        config: `text`, `tokens`, `window_tokens`, `held_out_windows` and `seed` are used.
        tokenizer: of the student.

    Raises:
        OptionError: shares that cannot be.
        TextError: a text is missing, unreadable or too short.
    """
    found = []
    for part in mixture_of(config.text, writer=False):
        wanted = None
        if config.tokens is not None:
            wanted = round(part.share * config.tokens / config.window_tokens) + config.held_out_windows
        held = _draw(part.spec, config, tokenizer, None).available
        wanted = held if wanted is None else min(held, wanted + config.batch_windows)
        drawn = _draw(part.spec, config, tokenizer, wanted)
        found.append(Source(part.spec, part.share, drawn.token_ids))
    return found


def _draw(
    spec: str,
    config: RecoverConfig,
    tokenizer: "PreTrainedTokenizerBase",
    windows: int | None,
) -> Windows:
    return draw_windows(
        spec,
        tokenizer,
        windows=windows,
        window_tokens=config.window_tokens,
        seed=config.seed,
    )
