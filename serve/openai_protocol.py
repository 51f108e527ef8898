"""The subset of OpenAI's request bodies that the ONNX server takes. Anything else is refused, not ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ChatRequest", "CompletionRequest", "GenerationRequest"]

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's own default for completions
LARGEST_SEED = 2**63 - 1
TokenId = Annotated[int, Field(ge=0, strict=True)]
Stop = Annotated[str, Field(min_length=1)]


class StreamOptions(BaseModel):
    """What a stream carries beside text."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class GenerationRequest(BaseModel):
    """Fields that both kinds of request share."""

    model_config = ConfigDict(extra="forbid")
    model: str
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)  # vLLM's extension; 0 considers all tokens
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED)
    stop: Stop | list[Stop] | None = None
    n: Literal[1] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False  # vLLM's extension
    return_token_ids: bool = False  # vLLM's extension
    user: str | None = None  # taken, because clients send it, and not used
    metadata: dict[str, Any] | None = None  # taken and not used

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """All stop texts."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class CompletionRequest(GenerationRequest):
    """Body of `/v1/completions`."""

    prompt: str | Annotated[list[TokenId], Field(min_length=1)]
    max_tokens: int = Field(default=DEFAULT_COMPLETION_TOKENS, ge=1)
    echo: Literal[False] = False


class TextPart(BaseModel):
    """A part of a message; text is the only kind."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """Role and text, as chat templates take them."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class ChatRequest(GenerationRequest):
    """Body of `/v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
