"""Models, machine, memory and quality for `example_results`. EVERY NUMBER HERE IS MADE UP."""

from dotresize.bench.record.making import Making
from dotresize.bench.record.results import (
    BenchModel,
    Environment,
    Estimate,
    MemoryRecord,
    ModelQuality,
    Part,
    PartCost,
    QualityRecord,
    SampleAnswer,
    TaskScore,
)

__all__ = [
    "ORIGINAL",
    "SHAPES",
    "example_environment",
    "example_memory",
    "example_model",
    "example_quality",
]

ORIGINAL = "SmolLM2-135M"
SHAPES = {ORIGINAL: (576, 1536), "mlp-0.75": (576, 1152), "hidden-0.8": (459, 1536), "both": (513, 1184)}
PERPLEXITY = {ORIGINAL: 21.43, "mlp-0.75": 27.08, "hidden-0.8": 30.66, "both": 28.94}


def example_environment() -> Environment:
    return Environment(
        processor="Example CPU 9000 (made up)",
        cores=8,
        memory_bytes=32 * 10**9,
        gpu=None,
        gpu_memory_bytes=None,
        gpu_driver=None,
        gpu_clock_megahertz=None,
        system="Linux 6.1",
        versions={"python": "3.11.9", "dotresize": "0.1.0", "torch": "2.13.0", "vllm": "0.32.0"},
        load_average=0.4,
    )


def example_model(name: str) -> BenchModel:
    hidden, inner = SHAPES[name]
    weights: dict[Part, int] = {
        "attention": 30 * 2 * hidden * (576 + 192),
        "mlp": 30 * 3 * hidden * inner,
        "head": 49152 * hidden,
    }
    parameters = sum(weights.values()) + (0 if hidden == 576 else 49152 * hidden)
    return BenchModel(
        name=name,
        source=f"models/{name}",
        path=f"models/{name}",
        format="huggingface",
        precision="bfloat16",
        sha256=(name.encode().hex() * 16)[:64],
        tokenizer_sha256="ab" * 32,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        vocab_size=49152,
        parameters=parameters,
        weight_bytes=2 * parameters,
        kv_bytes_per_token=2 * 30 * 3 * 64 * 2,
        parts={
            part: PartCost(weight_bytes=2 * count, decode_bytes=2 * count, flops_per_token=2.0 * count)
            for part, count in weights.items()
        },
        making=None if name == ORIGINAL else _making(name),
    )


def _making(name: str) -> Making:
    hidden, inner = SHAPES[name]
    verified = {"mlp-0.75": True, "hidden-0.8": False}.get(name)
    return Making(
        source=ORIGINAL,
        options={
            "effort": "standard",
            "hidden_size": str(hidden),
            "intermediate_size": str(inner),
            "seed": "42",
        },
        calibration="32 windows of 512 tokens of builtin",
        calibration_tokens=16_384,
        recovery="all from SmolLM2-135M, 400,000 tokens kept" if name == "both" else "",
        recovery_seconds=1980.0 if name == "both" else None,
        verified=verified,
        verification={
            True: "passed: 6 checks with transformers 5.19.0, vllm 0.32.0",
            False: "MISSED: logits (vllm 0.32.0)",
            None: "not recorded",
        }[verified],
    )


def example_memory(name: str) -> MemoryRecord:
    model, original = example_model(name), example_model(ORIGINAL)
    budget = original.weight_bytes + 20_000 * original.kv_bytes_per_token
    return MemoryRecord(
        model=name,
        weight_bytes_on_disk=model.weight_bytes,
        weight_bytes_predicted=model.weight_bytes,
        weight_bytes_loaded=int(model.weight_bytes * 1.004),
        kv_bytes_per_token_predicted=model.kv_bytes_per_token,
        kv_bytes_per_token_measured=model.kv_bytes_per_token * 1.01,
        peak_bytes_predicted=model.weight_bytes + 1_900_000_000,
        peak_bytes_measured=model.weight_bytes + 2_060_000_000,
        on_gpu=False,
        reference_tokens=20_000,
        tokens_that_fit=(budget - model.weight_bytes) // model.kv_bytes_per_token,
    )


def example_quality() -> QualityRecord:
    dense = PERPLEXITY[ORIGINAL]
    models = []
    for name, value in PERPLEXITY.items():
        compared = name != ORIGINAL
        ratio = Estimate(value=value / dense, standard_error=0.012)
        divergence = Estimate(value=0.2 * (value / dense - 0.2), standard_error=0.004)
        models.append(
            ModelQuality(
                model=name,
                tokens=8176,
                perplexity=Estimate(value=value, standard_error=value * 0.04),
                perplexity_ratio=ratio if compared else None,
                kl_nats_per_token=divergence if compared else None,
            )
        )
    tasks = [
        TaskScore(
            model=name,
            task="arc_easy",
            metric="acc",
            value=0.56 - (value - dense) / 80,
            standard_error=0.011,
            documents=500,
        )
        for name, value in PERPLEXITY.items()
    ]
    answers = [
        SampleAnswer(
            model=name,
            prompt=prompt,
            text=f"Made up for {name}.\n    return text[::-1] < 'ünïcode'"
            + " and on" * (12 * (name == "both")),
            complete=name != "both",
        )
        for prompt in ("Why is the sky blue?", "Write a Python function that reverses a string.")
        for name in SHAPES
    ]
    return QualityRecord(
        text="builtin",
        text_sha256="cd" * 32,
        windows=16,
        window_tokens=512,
        models=models,
        tasks=tasks,
        answers=answers,
    )
