"""transformers loads a model only when the files hold exactly the tensors that it has.

By itself it fills what is missing with random numbers, leaves what it does not know, and says so in a
warning at most: a file with one tensor renamed would run, be narrowed and be written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import ModelError
from ...foreign import reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["load_strictly"]

_NAMED = 3  # tensors that an error names


def load_strictly(directory: Path, *, what: str = "", **how: Any) -> "PreTrainedModel":
    """A causal language model from a directory, in eval mode.

    Args:
        directory: Holds config.json and weights, or the GGUF file that `gguf_file` names.
        what: The model as the user named it, for errors.
        how: Passed to `AutoModelForCausalLM.from_pretrained`, such as `dtype` or `gguf_file`.

    Raises:
        ModelError: transformers cannot load it, or a tensor is missing, unexpected, or of another shape. A
            head that is tied to the embedding need not be stored.
    """
    what = what or str(directory)
    with reading(what, by="transformers"):
        from transformers import AutoModelForCausalLM

        # a shape that differs is reported by name below instead of by "see the report above"
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            directory, output_loading_info=True, ignore_mismatched_sizes=True, **how
        )
        model, information = loaded
    _refuse(what, information)
    model.eval()
    return cast("PreTrainedModel", model)


def _refuse(what: str, information: dict[str, Any]) -> None:
    problems = []
    if missing := sorted(information.get("missing_keys") or ()):
        problems.append(f"lacks {_listed(missing)}, which would be filled with random numbers")
    if unexpected := sorted(information.get("unexpected_keys") or ()):
        problems.append(f"holds {_listed(unexpected)}, which its config has no place for")
    mismatched = sorted(information.get("mismatched_keys") or (), key=lambda entry: str(entry[0]))
    if mismatched:
        shapes = [f"{name} as {list(found)} instead of {list(wanted)}" for name, found, wanted in mismatched]
        problems.append(f"holds {_listed(shapes)}")
    if errors := information.get("error_msgs"):
        problems.append(f"cannot be loaded: {' '.join(str(errors[0]).split())}")
    if problems:
        raise ModelError(
            f"{what} {'; and it '.join(problems)}. Its weights and its config.json do not belong together: "
            "copy or download the model again"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
