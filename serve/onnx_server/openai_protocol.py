"""The subset of OpenAI's request bodies that the ONNX server takes. Anything else is refused, not ignored."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = ["ChatRequest", "CompletionRequest", "GenerationRequest"]

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's own default for completions
LARGEST_SEED = 2**63 - 1
# what follows is checked on the event loop, so it has to be quick whatever is sent
MOST_FIELDS = 64  # of one object
MOST_VALUES = 2**16  # of all objects and arrays together, token ids apart
MOST_TOKEN_IDS = 2**20
MOST_STOPS = 64


def _without_halves(text: str) -> str:
    """JSON can spell half of a character, which is no text and has no tokens."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a character (a lone surrogate) at position {error.start}") from error
    return text


Text = Annotated[str, AfterValidator(_without_halves)]
TokenId = Annotated[int, Field(ge=0, strict=True)]
Stop = Annotated[Text, Field(min_length=1)]


class StreamOptions(BaseModel):
    """What a stream carries beside text."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class GenerationRequest(BaseModel):
    """Fields that both kinds of request share."""

    model_config = ConfigDict(extra="forbid")
    model: Text
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)  # vLLM's extension; 0 considers all tokens
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED)
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS, fail_fast=True)] | None = None
    n: Literal[1] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False  # vLLM's extension
    return_token_ids: bool = False  # vLLM's extension
    user: str | None = None  # taken, because clients send it, and not used
    metadata: dict[str, Any] | None = None  # taken and not used

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, data: Any) -> Any:
        """A body of bounded structure: each of its wrong values would be an error of its own to build."""
        values = 0
        unseen: list[dict[str, Any] | list[Any]] = [data] if isinstance(data, dict) else []
        while unseen:
            container = unseen.pop()
            values += len(container)
            if isinstance(container, dict) and len(container) > MOST_FIELDS:
                raise ValueError(f"{len(container)} fields in one object, expected at most {MOST_FIELDS}")
            if values > MOST_VALUES:
                raise ValueError(f"more than {MOST_VALUES} values in objects and arrays")
            inner: list[Any] = list(container.values() if isinstance(container, dict) else container)
            if isinstance(data, dict) and container is data:
                inner = [value for name, value in data.items() if name != "prompt"]
            unseen += [value for value in inner if isinstance(value, dict | list)]
        return data

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """All stop texts."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class CompletionRequest(GenerationRequest):
    """Body of `/v1/completions`."""

    prompt: Text | Annotated[list[TokenId], Field(min_length=1, max_length=MOST_TOKEN_IDS, fail_fast=True)]
    max_tokens: int = Field(default=DEFAULT_COMPLETION_TOKENS, ge=1)
    echo: Literal[False] = False

    @property
    def limit_tokens(self) -> int | None:
        """Of the answer."""
        return self.max_tokens


class TextPart(BaseModel):
    """A part of a message; text is the only kind."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)]
    name: str | None = None

    @property
    def text(self) -> str:
        """All parts in one."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)

    def plain(self) -> dict[str, str]:
        """Role and text, as chat templates take them."""
        return {"role": self.role, "content": self.text}


class ChatRequest(GenerationRequest):
    """Body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @property
    def limit_tokens(self) -> int | None:
        """Of the answer; None takes what the context leaves."""
        return self.max_completion_tokens or self.max_tokens
