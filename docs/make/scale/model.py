"""A Llama of any size with random weights, written tensor by tensor: it is never in memory as a whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dotresize.compress.families.hollow import hollow_model
from dotresize.compress.output.shard_layout import INDEX_NAME, lay_out

__all__ = ["Shape", "write_llama"]

DTYPE = torch.bfloat16
SPREAD = 0.02  # standard deviation of every matrix; gains are one


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The widths of a Llama with heads of 64 or 128."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    groups: int
    head_dim: int
    vocabulary: int

    @property
    def layer_bytes(self) -> int:
        """Of one layer's weights, as they are stored."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.groups)
        return 2 * (attention + 3 * self.hidden * self.mlp + 2 * self.hidden)


def write_llama(directory: Path, shape: Shape, *, max_shard_bytes: int = 5_000_000_000) -> int:
    """Write config, tokenizer and shards; returns the parameters."""
    from transformers import LlamaConfig

    config: Any = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        head_dim=shape.head_dim,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=False,
        dtype=DTYPE,
    )
    config.architectures = ["LlamaForCausalLM"]
    directory.mkdir(parents=True)
    config.save_pretrained(directory)
    _tokenizer().save_pretrained(directory)
    layout = lay_out(hollow_model(config), DTYPE, set(), max_shard_bytes=max_shard_bytes)
    generator = torch.Generator().manual_seed(0)
    for shard in layout.shards:
        with (directory / shard.name).open("wb") as stream:
            stream.write(shard.header)
            for place in shard.places.values():
                values = torch.ones(place.shape) if len(place.shape) == 1 else torch.empty(place.shape)
                if values.ndim > 1:
                    values.normal_(0, SPREAD, generator=generator)
                stream.write(values.to(DTYPE).view(torch.uint8).numpy().data)
    if layout.index is not None:
        (directory / INDEX_NAME).write_text(layout.index, encoding="utf-8")
    return sum(place.size_bytes // 2 for shard in layout.shards for place in shard.places.values())


def _tokenizer() -> Any:
    """One token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer: Any = Tokenizer(
        models.BPE(vocab={sign: index for index, sign in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
