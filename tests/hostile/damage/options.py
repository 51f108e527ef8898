"""Option values that cannot be meant."""

from ..case import Attempt, Sandbox
from ..operations import compress

__all__ = ["BASES", "damage"]

BASES = ("llama", "narrow")
NUMBERS = (
    "0", "-1", "-5", "nan", "inf", "-inf", "1e400", "1e-300", "10000000000000000000",
    "99999999999999999999999", "0x10", "1_0", "word", "", " ", "[/red]", "0.5", "1.0", "2.5", "1",
    "\ud800", "٣", "1e3",
)  # fmt: skip
CHOICES = ("", "word", "[/red]", "AUTO", "none", "pca,dot", "\0", "x" * 5000, "\ud800", "cuda", "../x")
COMPRESS = (
    "--hidden-size", "--intermediate-size", "--kv-groups", "--layers", "--reg", "--ridge-tokens",
    "--neuron-steps", "--calibration-windows", "--window-tokens", "--evaluation-windows", "--seed",
)  # fmt: skip
COMPRESS_CHOICES = ("--method", "--mlp-method", "--compensate", "--mass", "--dtype", "--device")
OTHERS = (
    ["perplexity", "model", "--evaluation", "text.txt", "--window-tokens", "NUMBER"],
    ["perplexity", "model", "--evaluation", "text.txt", "--window-tokens", "32", "--evaluation-windows",
     "NUMBER"],
    ["perplexity", "model", "--evaluation", "text.txt", "--window-tokens", "32", "--device", "CHOICE"],
    ["perplexity", "model", "CHOICE", "--evaluation", "text.txt", "--window-tokens", "32"],
    ["export", "gguf", "narrow", "-o", "out", "--dtype", "CHOICE"],
    ["export", "gguf", "narrow", "-o", "out", "--dtype", "q4_k_m", "--calibration", "CHOICE"],
    ["export", "gguf", "narrow", "-o", "out", "--dtype", "q4_k_m", "--window-tokens", "NUMBER"],
    ["export", "vllm", "narrow", "-o", "out", "--shard-bytes", "NUMBER"],
    ["export", "vllm", "narrow", "-o", "out", "--dtype", "CHOICE"],
    ["export", "vllm", "narrow", "-o", "out", "--quantize", "w4a16", "--group-size", "NUMBER"],
    ["export", "vllm", "narrow", "-o", "out", "--quantize", "w4a16", "--calibration", "CHOICE"],
    ["export", "vllm", "narrow", "-o", "out", "--quantize", "w8a8", "--rounding", "CHOICE"],
    ["export", "vllm", "narrow", "-o", "out", "--quantize", "w8a8", "--calibration", "text.txt",
     "--window-tokens", "NUMBER"],
    ["export", "onnx", "narrow", "-o", "out", "--dtype", "CHOICE"],
    ["export", "onnx", "narrow", "-o", "out", "--provider", "CHOICE"],
    ["info", "CHOICE"],
    ["verify", "narrow", "--runtime", "CHOICE"],
    ["verify", "CHOICE"],
    ["serve", "narrow", "--dry-run", "--port", "NUMBER"],
    ["serve", "narrow", "--dry-run", "--max-model-len", "NUMBER"],
    ["serve", "narrow", "--dry-run", "--tensor-parallel-size", "NUMBER"],
    ["serve", "narrow", "--dry-run", "--gpu-memory-utilization", "NUMBER"],
    ["serve", "narrow", "--dry-run", "--dtype", "CHOICE"],
    ["serve", "narrow", "--dry-run", "--host", "CHOICE"],
    ["serve", "CHOICE", "--dry-run"],
    ["serve", "model", "--dry-run", "--draft", "CHOICE"],
    ["serve", "model", "--dry-run", "--draft", "narrow", "--draft-tokens", "NUMBER"],
    ["bench", "model", "-o", "report"],
    ["bench", "model", "CHOICE", "-o", "report", "--engine", "transformers"],
    ["bench", "CHOICE", "narrow", "-o", "report", "--engine", "onnx"],
    *(["bench", "model", "nowhere", "-o", "report", name, "NUMBER"] for name in (
        "--input-tokens", "--output-tokens", "--requests", "--rounds", "--repeats", "--warmup", "--seed",
        "--evaluation-windows", "--window-tokens", "--batch-sizes", "--concurrency", "--limit",
        "--draft-tokens", "--request-rates", "--slo-ttft-seconds", "--slo-tpot-seconds",
    )),
    ["bench", "model", "nowhere", "-o", "report", "--scenarios", "CHOICE"],
    ["bench", "model", "nowhere", "-o", "report", "--vllm-flags", "CHOICE"],
    ["bench", "model", "nowhere", "-o", "report", "--tasks", "CHOICE"],
    ["bench", "model", "nowhere", "-o", "CHOICE"],
    ["bench", "CHOICE", "CHOICE", "--compare"],
    ["bench", "model", "model", "--compare", "--fail-above", "NUMBER"],
)  # fmt: skip


def damage(box: Sandbox) -> Attempt:
    box.copy("llama")
    if box.rng.random() < 0.5:
        return _compress(box)
    box.copy("narrow", "narrow")
    template = box.rng.choice(OTHERS)
    number, choice = box.rng.choice(NUMBERS), box.rng.choice(CHOICES)
    arguments = [{"NUMBER": number, "CHOICE": choice}.get(word, word) for word in template]
    output = next((arguments[place + 1] for place, word in enumerate(arguments) if word == "-o"), None)
    what = " ".join(word[:30] for word in arguments)
    touched = ["home/narrow/dotresize.json"] if arguments[0] == "verify" else []
    return Attempt(arguments=arguments, damage=what, output=output, touched=touched, seconds=300)


def _compress(box: Sandbox) -> Attempt:
    base = compress(box, "model", damage="", evaluation=box.rng.choice(["none", "other.txt"]))
    words = list(base.arguments)
    extra: list[str] = []
    for _ in range(box.rng.choice([1, 1, 2])):
        if box.rng.random() < 0.7:
            extra += [box.rng.choice(COMPRESS), box.rng.choice(NUMBERS)]
        else:
            extra += [box.rng.choice(COMPRESS_CHOICES), box.rng.choice(CHOICES)]
    return Attempt(arguments=[*words, *extra], damage=" ".join(extra)[:80], model="model", output="out")
