"""One engine's command line and environment, decided but not yet run."""

import os
import shlex
from dataclasses import dataclass, field

__all__ = ["Command"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. `secrets` reach the engine through its environment and are never shown."""

    engine: str  # "vllm" or "onnx"
    arguments: tuple[str, ...]
    settings: dict[str, str]  # environment variables chosen for this machine
    secrets: dict[str, str] = field(repr=False)
    host: str
    port: int
    model_name: str
    dtype: str  # that the engine computes in, as far as it is known
    notes: tuple[str, ...] = ()  # choices that were made, one line each
    warnings: tuple[str, ...] = ()  # costs and risks, one line each

    @property
    def url(self) -> str:
        """Where clients connect. An engine that listens everywhere is reached through loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}"

    @property
    def shell_line(self) -> str:
        """The same command for a shell, without secrets."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.settings.items()]
        return " ".join([*settings, shlex.join(self.arguments)])

    def environment(self) -> dict[str, str]:
        """The engine's whole environment."""
        return os.environ | self.settings | self.secrets
