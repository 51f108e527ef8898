"""What `--text` names -> windows of each text, in order, for `batches.read_texts`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...compress.text.calibration import draw_windows
from ...compress.text.mixture import SELF, Part, mixture_of
from ...errors import TextError
from .batches import Source
from .config import RecoverConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check_texts", "parts_of", "read_sources"]


def parts_of(config: RecoverConfig) -> tuple[Part, ...]:
    """The texts and their shares; `builtin` is its own texts here, without any that the teacher writes.

    Raises:
        OptionError: shares that cannot be.
    """
    return mixture_of(config.text, writer=False)


def check_texts(config: RecoverConfig, tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """How many windows each text holds, but for what the teacher writes; before a weight is read.

    Raises:
        OptionError: shares that cannot be.
        TextError: a text is missing, unreadable, or too short to hold some windows out and train on others.
    """
    held = {}
    for part in parts_of(config):
        if part.spec == SELF:
            continue
        drawn = draw_windows(
            part.spec, tokenizer, windows=None, window_tokens=config.window_tokens, seed=config.seed
        )
        held[part.spec] = drawn.available
        if drawn.available < config.held_out_windows + config.batch_windows:
            raise TextError(
                f"{part.spec} holds {drawn.available} windows of {config.window_tokens} tokens; expected at "
                f"least {config.held_out_windows} to hold out and {config.batch_windows} for one step. Give "
                "more text, or smaller --window-tokens or --batch-windows."
            )
    return held


def read_sources(
    config: RecoverConfig,
    tokenizer: "PreTrainedTokenizerBase",
    held: dict[str, int],
    *,
    needed: int,
    write: Callable[[int], list[str]],
) -> list[Source]:
    """The calibration half of each text as windows, as many as the recovery can use.

    Args:
        config: `text`, `window_tokens`, `held_out_windows`, `batch_windows` and `seed` are used.
        tokenizer: of the student.
        held: of `check_texts`.
        needed: windows that will be trained on, of all texts.
        write: texts of the teacher's own with at least so many tokens.

    Raises:
        TextError: a text cannot be read any more, or the teacher writes nothing but loops.
    """
    found = []
    for part in parts_of(config):
        wanted = round(part.share * needed) + config.held_out_windows + config.batch_windows
        drawn = draw_windows(
            part.spec,
            tokenizer,
            windows=min(held.get(part.spec, wanted), wanted),
            window_tokens=config.window_tokens,
            seed=config.seed,
            self_text=write,
        )
        found.append(Source(part.spec, part.share, drawn.token_ids))
    return found
