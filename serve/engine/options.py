"""What to serve and how: the options of `dotresize serve`, validated once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ...errors import OptionError

__all__ = ["DRAFT_TOKENS", "Device", "Engine", "ServeOptions"]

Engine = Literal["auto", "vllm", "onnx"]
Device = Literal["auto", "cpu", "cuda"]
DTYPES = ("auto", "float32", "bfloat16", "float16")
LARGEST_PORT = 65535
DRAFT_TOKENS = 2  # with a draft that is half as costly as its original or more, further ones rarely pay
MOST_DRAFT_TOKENS = 64
SPECULATION_FLAGS = ("--speculative-config", "-sc", "--spec-model", "--spec-method", "--spec-tokens")

# vLLM flags that would bypass what `serve` decides, checks or keeps secret
OWNED_FLAGS = {
    "--host": "use --host before the --",
    "--port": "use --port before the --",
    "--model": "the model is DIR",
    "--uds": "the endpoint is TCP",
    "--served-model-name": "use --served-model-name before the --",
    "--dtype": "use --dtype before the --",
    "--max-model-len": "use --max-model-len before the --",
    "--tensor-parallel-size": "use --tensor-parallel-size before the --",
    "-tp": "use --tensor-parallel-size before the --",
    "--pipeline-parallel-size": "use --pipeline-parallel-size before the --",
    "-pp": "use --pipeline-parallel-size before the --",
    "--gpu-memory-utilization": "use --gpu-memory-utilization before the --",
    "--api-key": "a key on a command line is visible to every user of the machine: use --api-key-file",
    "--trust-remote-code": "a dotresize checkpoint is a stock architecture and needs no code of its own",
    "--headless": "serve waits for an endpoint; start headless nodes with vllm itself",
}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """One endpoint.

    Raises:
        OptionError: A value is outside its legal range, or an engine flag belongs to `serve` itself.
    """

    directory: Path
    engine: Engine = "auto"
    device: Device = "auto"  # which settings to choose; the installed engine decides where it runs
    host: str = "127.0.0.1"
    port: int = 8000  # 0 picks a free one
    dtype: str = "auto"
    max_model_len: int | None = None  # tokens of prompt and answer together
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    gpu_memory_utilization: float | None = None  # in (0, 1]
    draft: Path | None = None  # a narrow model that proposes tokens for the original in `directory`
    draft_tokens: int | None = None  # that it proposes before each check; default: DRAFT_TOKENS
    api_key: str | None = field(default=None, repr=False)
    served_model_name: str | None = None  # default: the directory's name
    vllm_python: Path | None = None  # interpreter that has vLLM; default: this one
    engine_flags: tuple[str, ...] = ()  # passed on to vLLM as they are
    check: bool = True  # compare greedy tokens with the reference before "ready"
    log_path: Path | None = None  # default: a new file in the temporary directory
    start_timeout_seconds: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= LARGEST_PORT:
            raise OptionError(
                f"port {self.port} does not exist; expected 1 to {LARGEST_PORT}, or 0 for a free one"
            )
        for name, choices in (("engine", get_args(Engine)), ("device", get_args(Device))):
            value = getattr(self, name)
            if value not in choices:
                raise OptionError(f"--{name} is {value!r}; choose one of {', '.join(choices)}.")
        if self.dtype not in DTYPES:
            raise OptionError(f"unknown dtype {self.dtype!r}; expected one of {', '.join(DTYPES)}")
        if self.gpu_memory_utilization is not None and not 0 < self.gpu_memory_utilization <= 1:
            raise OptionError(
                f"gpu-memory-utilization is {self.gpu_memory_utilization}; expected above 0 and up to 1"
            )
        for name in ("max_model_len", "tensor_parallel_size", "pipeline_parallel_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name.replace('_', '-')} is {value}; expected at least 1")
        self._check_draft()
        if self.api_key is not None and (not self.api_key.isascii() or not self.api_key.isprintable()):
            raise OptionError(
                "the API key holds characters that an HTTP header cannot; expected printable ASCII"
            )
        self._refuse_owned_flags()

    def _check_draft(self) -> None:
        if self.draft_tokens is not None and self.draft is None:
            raise OptionError("--draft-tokens cannot take effect without --draft; name a narrow model")
        if self.draft_tokens is not None and not 1 <= self.draft_tokens <= MOST_DRAFT_TOKENS:
            raise OptionError(f"--draft-tokens is {self.draft_tokens}; expected 1 to {MOST_DRAFT_TOKENS}")

    @property
    def model_name(self) -> str:
        """Name that clients ask for."""
        return self.served_model_name or self.directory.resolve().name

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def _refuse_owned_flags(self) -> None:
        for flag in self.engine_flags:
            name = flag.split("=", 1)[0].replace("_", "-")
            if self.draft is not None and name in SPECULATION_FLAGS:
                raise OptionError(f"{name} cannot be passed through to the engine: --draft writes it")
            if name in OWNED_FLAGS:
                raise OptionError(f"{name} cannot be passed through to the engine: {OWNED_FLAGS[name]}")
