"""What is measured, how often, and with which tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .load import Concurrency, DraftTokens, RequestRates, SloTpotSeconds, SloTtftSeconds, VllmFlags
from .run import Engine
from .texts import Evaluation, EvaluationWindows

__all__ = [
    "BenchOptions",
    "Compare",
    "FailAbove",
    "Limit",
    "LogSamples",
    "NumFewshot",
    "Offline",
    "Speculative",
    "TaskDirectory",
    "Tasks",
    "Tokenizer",
]

_PANEL, _TASKS = "Benchmark", "Tasks"

Scenarios = Annotated[
    str,
    typer.Option(
        help="Of latency,throughput,online,memory,quality,speculative; default: all but the last.",
        rich_help_panel=_PANEL,
    ),
]
Speculative = Annotated[
    bool,
    typer.Option(
        "--speculative",
        help="Measure ORIGINAL with each NARROW as its draft: the same text, faster?",
        rich_help_panel=_PANEL,
    ),
]
InputTokens = Annotated[int, typer.Option(help="Prompt length.", rich_help_panel=_PANEL)]
OutputTokens = Annotated[
    int, typer.Option(help="Tokens generated, always that many.", rich_help_panel=_PANEL)
]
BatchSizes = Annotated[str, typer.Option(help="Of the latency scenario.", rich_help_panel=_PANEL)]
Requests = Annotated[int, typer.Option(help="Of the throughput scenario.", rich_help_panel=_PANEL)]
Rounds = Annotated[
    int, typer.Option(help="How often every model is measured, in turn.", rich_help_panel=_PANEL)
]
Repeats = Annotated[
    int,
    typer.Option(
        help="Timed repetitions within a round; speculative: prompts of each text.", rich_help_panel=_PANEL
    ),
]
Warmup = Annotated[int, typer.Option(help="Untimed repetitions before them.", rich_help_panel=_PANEL)]
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Compare two results files instead of measuring.", rich_help_panel=_PANEL),
]
FailAbove = Annotated[
    str | None,
    typer.Option(
        help="With --compare: exit 1 when something got worse by more, e.g. 5%.", rich_help_panel=_PANEL
    ),
]
Tasks = Annotated[
    str,
    typer.Option(help="lm-eval tasks, separated by commas, e.g. hellaswag,arc_easy.", rich_help_panel=_TASKS),
]
TaskDirectory = Annotated[
    Path | None, typer.Option(help="Directory with local task files.", rich_help_panel=_TASKS)
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Four tasks made of texts that Python carries, without a network: offline_cloze, offline_pairs, "
        "offline_arithmetic, offline_code; --tasks names some of them.",
        rich_help_panel=_TASKS,
    ),
]
Limit = Annotated[int | None, typer.Option(help="Documents per task at most.", rich_help_panel=_TASKS)]
NumFewshot = Annotated[
    int | None,
    typer.Option(
        help="Worked examples before each question; default: as the task says.", rich_help_panel=_TASKS
    ),
]
LogSamples = Annotated[
    bool,
    typer.Option(
        "--log-samples",
        help="Also write every question with its answers, to --output.",
        rich_help_panel=_TASKS,
    ),
]
Tokenizer = Annotated[
    Path | None, typer.Option(help="Directory with the tokenizer, for endpoints.", rich_help_panel=_TASKS)
]


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Of `bench` and `sweep`."""

    engine: Engine = "vllm"
    scenarios: Scenarios = ""
    draft_tokens: DraftTokens = "1,2,4"
    input_tokens: InputTokens = 128
    output_tokens: OutputTokens = 128
    batch_sizes: BatchSizes = "1,8,32"
    concurrency: Concurrency = "1,4,16"
    request_rates: RequestRates = ""
    slo_ttft_seconds: SloTtftSeconds = None
    slo_tpot_seconds: SloTpotSeconds = None
    requests: Requests = 64
    rounds: Rounds = 5
    repeats: Repeats = 3
    warmup: Warmup = 1
    vllm_flags: VllmFlags = ""
    evaluation: Evaluation = None
    evaluation_windows: EvaluationWindows = 16
    tasks: Tasks = ""
    task_directory: TaskDirectory = None
    limit: Limit = None
