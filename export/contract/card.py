"""The model card: README.md with the metadata that hubs read and the numbers that people need."""

from collections.abc import Sequence
from typing import Any

from ...compress.record.report import Report
from ...version import __version__
from .recovery import Recovery

__all__ = ["HERE", "NAME", "render"]

NAME = "README.md"
HERE = "path/to/this-model"  # in the card's commands, until it is pushed under a name

_WIDTHS = (
    ("hidden width", "hidden_size"),
    ("MLP width", "intermediate_size"),
    ("key-value groups", "num_key_value_heads"),
    ("query heads", "num_attention_heads"),
    ("layers", "num_hidden_layers"),
    ("experts per layer", "num_experts"),
)


def render(report: Report, quality: dict[str, Any] | None, recovery: Recovery | None = None) -> str:
    """Model card of a compressed checkpoint, as Markdown.

    Args:
        report: What the compression did.
        quality: Flat or nested measured numbers, or None when nothing was measured.
        recovery: How it was trained afterwards, or None.
    """
    sections = [
        _front_matter(report, quality),
        _intro(report, trained=recovery is not None and recovery.best_step > 0),
        _sizes(report),
        _ties(report),
        _usage(),
        _quality(quality),
        _how(report),
        _recovery(recovery),
    ]
    return "\n".join(section for section in sections if section)


def _front_matter(report: Report, quality: dict[str, Any] | None) -> str:
    lines = ["---"]
    if report.source.kind == "hub":
        lines += [f"base_model: {report.source.name}", "base_model_relation: finetune"]
    else:
        lines.append(f"base_model: {_yaml(report.source.name)}")
    if report.source.licence:
        lines.append(f"license: {_yaml(report.source.licence)}")
    lines += [
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
        "- dotresize",
        "- compressed",
        f"- {report.source.model_type}",
        *_model_index(report, quality),
        "---",
        "",
    ]
    return "\n".join(lines)


def _model_index(report: Report, quality: dict[str, Any] | None) -> list[str]:
    """Measured perplexities of this model as hubs read them; nothing where nothing was measured."""
    results = []
    for text in _texts(quality):
        value = text["models"][-1]["perplexity"]["value"]
        named = _yaml(str(text["text"]))
        results += [
            "  - task:",
            "      type: text-generation",
            "    dataset:",
            f"      name: {named}",
            f"      type: {named}",
            "    metrics:",
            "    - type: perplexity",
            f"      value: {value:.4f}",
        ]
    name = _yaml(f"{report.source.name.rpartition('/')[2]}-narrow")
    return ["model-index:", f"- name: {name}", "  results:", *results] if results else []


def _texts(quality: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not quality:
        return []
    return list(quality.get("texts", [quality]))  # older records hold one text


def _usage() -> str:
    return (
        "## Use it\n\n"
        "```python\n"
        "from transformers import pipeline\n\n"
        f'generate = pipeline("text-generation", model="{HERE}")\n'
        'print(generate("The library opens at", max_new_tokens=20))\n'
        "```\n\n"
        "```sh\n"
        f"vllm serve {HERE}\n"
        f"dotresize export gguf {HERE} -o model.gguf --dtype q8_0  # of a local directory\n"
        "llama-cli -m model.gguf\n"
        "```\n"
    )


def _yaml(text: str) -> str:
    plain = all(char.isalnum() or char in "-._/" for char in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _intro(report: Report, *, trained: bool) -> str:
    origin = f", dequantised from {report.source.dequantised_from}" if report.source.dequantised_from else ""
    how = ", then trained on its answers" if trained else " without gradient training"
    return (
        f"# {report.source.name}, narrowed\n\n"
        f"A narrower version of `{report.source.name}` (`{report.source.architecture}`{origin}), made by "
        f"dotresize {__version__}{how}. The architecture is unchanged: stock "
        "transformers and vLLM load it as any other checkpoint.\n"
    )


def _sizes(report: Report) -> str:
    rows = [("", "original", "this model", "ratio")]
    dense_widths, narrow_widths = report.dense, report.narrow
    for label, field in _WIDTHS:
        before, after = getattr(dense_widths, field), getattr(narrow_widths, field)
        if before != after or field in ("hidden_size", "intermediate_size"):
            rows.append(_row(label, before, after))
    dense, narrow = report.dense_counts, report.narrow_counts
    rows += [
        _row("layer parameters", dense.layer_parameters, narrow.layer_parameters),
        _row("embedding parameters", dense.embedding_parameters, narrow.embedding_parameters),
        _row("head parameters", dense.head_parameters, narrow.head_parameters),
        _row("all parameters", dense.total_parameters, narrow.total_parameters),
        _row("weight bytes", dense.weight_bytes, narrow.weight_bytes),
        _row("FLOPs per token", dense.flops_per_token, narrow.flops_per_token),
        _row("KV cache bytes per token", dense.kv_cache_bytes_per_token, narrow.kv_cache_bytes_per_token),
    ]
    return "## Size\n\n" + _table(rows) + _unchanged(report)


def _row(label: str, dense: int, narrow: int) -> tuple[str, str, str, str]:
    return label, f"{dense:,}", f"{narrow:,}", f"{narrow / dense:.3f}" if dense else "-"


def _unchanged(report: Report) -> str:
    widths, narrow = report.dense, report.narrow
    same = []
    if narrow.num_hidden_layers == widths.num_hidden_layers:
        same.append(f"{widths.num_hidden_layers} layers")
    if narrow.num_attention_heads == widths.num_attention_heads:
        same.append(f"{widths.num_attention_heads} heads")
        same.append(f"{widths.num_key_value_heads} key-value heads of {widths.head_dim}")
    text = f"\nUnchanged: {', '.join([*same, f'vocabulary {widths.vocab_size}'])}.\n"
    if report.kept_layers is not None:
        gone = [str(index) for index in range(widths.num_hidden_layers) if index not in report.kept_layers]
        text += (
            f"\nLayers {', '.join(gone)} of the original are gone, counted from 0: they turned the residual "
            "stream least on the calibration text.\n"
        )
    saved = 1 - report.narrow_counts.total_parameters / report.dense_counts.total_parameters
    verb = "fewer" if saved >= 0 else "more"
    return text + f"{abs(saved):.1%} {verb} parameters are stored than in the original.\n"


def _ties(report: Report) -> str:
    if report.dense_counts.head_parameters or not report.narrow_counts.head_parameters:
        return ""
    return (
        "The original shares one matrix between embedding and head. Here they differ, because the head "
        "absorbs the final norm and its own fit, so a head of "
        f"{report.narrow_counts.head_parameters:,} parameters is stored that the original does "
        "not have. It eats part of what the narrower layers save.\n"
    )


def _quality(quality: dict[str, Any] | None) -> str:
    if not quality:
        return "## Quality\n\nNot measured when this was written. `dotresize perplexity` measures it.\n"
    tables = [_text_quality(text) for text in _texts(quality)]
    lines = [
        f"* Ratio over {each['texts']} texts ({each['scope']}): geometric mean "
        f"{_estimate(each['geometric_mean'], 3)}, worst {_estimate(each['worst'], 3)} "
        f"on `{each['worst_text']}`.\n"
        for each in quality.get("summary", [])
    ]
    warnings = [f"\n**Warning:** {line}.\n" for line in quality.get("warnings", [])]
    return "## Quality\n\n" + "\n".join([*tables, "".join([*lines, *warnings])]).rstrip() + "\n"


_RELATIONS = {"text": "was calibrated on this text", "kind": "was calibrated on text of this kind"}


def _text_quality(text: dict[str, Any]) -> str:
    rows = [("model", "perplexity", "ratio to dense", "KL to dense, nats/token")]
    for model in text["models"]:
        keys = (("perplexity", 2), ("perplexity_ratio", 3), ("kl_nats_per_token", 3))
        rows.append((model["name"], *(_estimate(model[key], digits) for key, digits in keys)))
    related = [
        f" `{model['name']}` {_RELATIONS[model['calibrated_on']]}."
        for model in text["models"]
        if model.get("calibrated_on")
    ]
    head = (
        f"Measured on {text['windows']} windows of {text['window_tokens']} tokens "
        f"of `{text['text']}`, ± standard error over windows.{''.join(related)}\n"
    )
    return head + "\n" + _table(rows)


def _estimate(estimate: dict[str, float | None] | None, digits: int) -> str:
    if estimate is None:
        return ""
    error = estimate["standard_error"]
    return f"{estimate['value']:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _how(report: Report) -> str:
    calibration = report.calibration
    rows = [
        ("option", "value"),
        *((f"`{key}`", f"`{value}`") for key, value in sorted(report.config.items()) if value is not None),
    ]
    notes = "".join(f"* {note}\n" for note in report.notes)
    return (
        "## How it was made\n\n"
        f"Calibrated on {calibration.windows} windows of {calibration.window_tokens} tokens of "
        f"`{calibration.name}`{_mixture(report)} (seed {calibration.seed}).\n\n"
        + _table(rows)
        + (f"\n{notes}" if notes else "")
        + "\nMethod: [DOTResize](https://arxiv.org/abs/2507.04517) and closed-form fits on one shared basis. "
        "`dotresize.json` holds the full record, `reference/` the logits that `dotresize verify` "
        "compares with.\n"
    )


def _mixture(report: Report) -> str:
    parts = report.calibration.parts
    if len(parts) < 2:
        return ""
    return ": " + ", ".join(f"{part.windows} of `{part.name}`" for part in parts)


def _recovery(recovery: Recovery | None) -> str:
    if recovery is None:
        return ""
    start = recovery.curve[0]
    best = next(point for point in recovery.curve if point.step == recovery.best_step)
    rows = [("text", "held-out KL at the start, nats/token", "of these weights")]
    for name, before in start.held_out_kl.items():
        rows.append((name, f"{before:.3f}", f"{best.held_out_kl[name]:.3f}"))
    outcome = "No state was better than the start, whose weights these are."
    if recovery.best_step:
        spent = f"{best.tokens:,} tokens and {best.seconds / 60:.1f} minutes"
        outcome = f"The state after {spent} was the best and was kept."
    how = f"Distilled from `{recovery.teacher}` (trained: {recovery.config['train']}). {outcome}"
    return f"## Recovery\n\n{how}\n\n" + _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    header, *body = rows
    align = ["---"] + ["---:"] * (len(header) - 1)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, align, *body))
