"""Endpoints and conversations, in the words of vLLM where it has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..asked.api_key import API_KEY_ENVIRONMENT
from .load import MaxModelLen, MaxTokens, TensorParallelSize

__all__ = [
    "ApiKeyFile",
    "EndpointOptions",
    "LogFile",
    "ModelName",
    "ServedModelName",
    "TalkOptions",
    "Temperature",
    "VllmPython",
]

_PANEL, _CHAT = "Endpoint", "Conversation"

Host = Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_PANEL)]
Port = Annotated[
    int, typer.Option(help="TCP port; 0 picks a free one and prints it.", rich_help_panel=_PANEL)
]
PipelineParallelSize = Annotated[
    int, typer.Option(help="Stages that split the layers.", rich_help_panel="Load")
]
GpuMemoryUtilization = Annotated[
    float | None, typer.Option(help="Fraction of device memory.", rich_help_panel="Load")
]
Draft = Annotated[
    Path | None,
    typer.Option(
        metavar="NARROW",
        help="A narrow copy of DIR that drafts for it: the same text, faster.",
        rich_help_panel=_PANEL,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        help=f"File with the API key; without it ${API_KEY_ENVIRONMENT} is read.", rich_help_panel=_PANEL
    ),
]
ServedModelName = Annotated[
    str | None,
    typer.Option(help="Name of the model at the endpoint; default: the directory's.", rich_help_panel=_PANEL),
]
VllmPython = Annotated[
    Path | None, typer.Option(help="Python of an environment that has vLLM.", rich_help_panel=_PANEL)
]
Check = Annotated[
    bool, typer.Option(help="Compare greedy tokens with the reference first.", rich_help_panel=_PANEL)
]
LogFile = Annotated[
    Path | None,
    typer.Option(help="The engine's log; default: a new temporary file.", rich_help_panel=_PANEL),
]
Message = Annotated[
    str | None,
    typer.Option("--message", "-m", help="Ask this one thing and stop.", rich_help_panel=_CHAT),
]
System = Annotated[str | None, typer.Option(help="System message.", rich_help_panel=_CHAT)]
Temperature = Annotated[
    float,
    typer.Option(
        help="Divides the logits; in a chat, 0 always takes the likeliest token.", rich_help_panel="Run"
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(help="For a URL: which model; default: the first.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """Of `serve`: the fields of `ServeOptions` that are taken as they were typed."""

    host: Host = "127.0.0.1"
    port: Port = 8000
    max_model_len: MaxModelLen = None
    tensor_parallel_size: TensorParallelSize = 1
    pipeline_parallel_size: PipelineParallelSize = 1
    draft: Draft = None
    gpu_memory_utilization: GpuMemoryUtilization = None
    served_model_name: ServedModelName = None
    vllm_python: VllmPython = None
    check: Check = True


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """Of `chat`: what is said, and how it is answered."""

    message: Message = None
    system: System = None
    max_tokens: MaxTokens = 512
    temperature: Temperature = 0.0
