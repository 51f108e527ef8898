"""Turns of a conversation -> text, by the model's own chat template."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import TextError
from ...foreign import reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Conversation", "Turn", "conversation_of", "render", "render_question"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one side said."""

    role: str  # "system", "user" or "assistant", as chat templates know them
    content: str


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns in order."""

    turns: tuple[Turn, ...]

    def strip(self) -> str:
        """What was said, without roles; empty when nothing was."""
        return "\n".join(turn.content for turn in self.turns).strip()


def conversation_of(messages: Any, where: str) -> Conversation:
    """The conversation in a JSON value such as `[{"role": "user", "content": "Hello"}]`.

    Raises:
        TextError: it is anything else.
    """
    if not isinstance(messages, list) or not messages:
        raise TextError(f"{where} has no turns in `messages`; expected a list of roles and contents.")
    turns = []
    for message in messages:
        fields = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(fields[0], str) or not isinstance(fields[1], str):
            raise TextError(f"{where} has a message without string fields `role` and `content`.")
        turns.append(Turn(role=fields[0], content=fields[1]))
    return Conversation(turns=tuple(turns))


def render(conversation: Conversation, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text that the model would see; plain `role: content` paragraphs when it has no chat template.

    Raises:
        TextError: the template refuses these roles.
    """
    if not tokenizer.chat_template:
        return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in conversation.turns)
    messages = [{"role": turn.role, "content": turn.content} for turn in conversation.turns]
    roles = ", ".join(dict.fromkeys(turn.role for turn in conversation.turns))
    with reading(f"a conversation between {roles}", TextError, by="the model's chat template"):
        return str(tokenizer.apply_chat_template(messages, tokenize=False))


def render_question(question: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """A user's first turn and the beginning of the assistant's: what a model is given to answer.

    Raises:
        TextError: the template refuses it.
    """
    if not tokenizer.chat_template:
        return f"User: {question}\n\nAssistant:"
    messages = [{"role": "user", "content": question}]
    with reading("a question", TextError, by="the model's chat template"):
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
