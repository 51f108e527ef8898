"""The vLLM command line for one checkpoint on one machine."""

import os
from dataclasses import replace

from ...errors import ModelError, OptionError
from ...export.for_vllm.config import refuse_without_kernel
from ...export.for_vllm.processor import INT4_VARIABLE, int4_settings
from .command import Command
from .draft import check_draft, draft_flags, draft_notes, draft_warnings
from .machine import Machine
from .model_facts import DTYPE_BYTES, ModelFacts
from .options import ServeOptions
from .vllm_install import VllmInstall

__all__ = ["vllm_command"]

GIBIBYTE = 1024**3
NORM_GRID = 8  # vLLM's fused add-and-norm kernel needs the width to be a multiple of this
MATRIX_GRID = {"cuda": 64, "cpu": 32}  # matrix kernels work in tiles this wide and pad the last one
FULL_SEQUENCES = 32  # how many sequences of full length the CPU cache should hold, memory permitting
CACHE_FRACTION = 0.6  # of the memory that the weights leave, so that the machine stays usable
ENGINE_OVERHEAD_BYTES = 2 * GIBIBYTE  # three Python processes with torch
LOADED_FRACTION = 2.0  # weights and their copy in the matrix library's own order
DEFAULT_CONTEXT_TOKENS = 2048  # for a config that names none
CONTEXT_STEP_TOKENS = 256
# a local directory needs no hub; usage statistics would leave the machine; and a script's folder or the
# working directory must not shadow a package of the engine
BASE_SETTINGS = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONSAFEPATH": "1"}


def vllm_command(
    options: ServeOptions,
    port: int,
    facts: ModelFacts,
    machine: Machine,
    install: VllmInstall | None,
    draft: ModelFacts | None = None,
) -> Command:
    """Decide the command line and the settings.

    Args:
        options: What the user asked for.
        port: Where it will listen; never 0.
        facts: The checkpoint in `options.directory`.
        machine: Where it will run.
        install: The vLLM that will run it; None writes the command for an installed `vllm`.
        draft: The checkpoint in `options.draft`, when there is one.

    Raises:
        ModelError: The checkpoint's format is not one that vLLM reads.
        OptionError: The model cannot be split or sized as asked, or vLLM has no kernel for its weights.
    """
    check_split(options, facts)
    if draft is not None:
        check_draft(options, facts, draft)
        check_split(replace(options, directory=options.draft or options.directory, max_model_len=None), draft)
    device = choose_device(options, machine, install)
    if facts.manifest is not None:
        refuse_without_kernel(facts.manifest.precision, gpu=device == "cuda", flags=machine.flags)
    program = ("vllm", "serve") if install is None else (install.python, *install.serve_arguments)
    command = Command(
        engine="vllm",
        arguments=(*program, str(options.directory.resolve()), *_flags(options, port), *draft_flags(options)),
        settings=BASE_SETTINGS,
        secrets={} if options.api_key is None else {"VLLM_API_KEY": options.api_key},
        host=options.host,
        port=port,
        model_name=options.model_name,
        dtype=options.dtype,
        notes=(*_ray_notes(options), *draft_notes(options)),
        warnings=(
            *_width_warnings(facts, device, options.tensor_parallel_size),
            *(draft_warnings(facts, draft) if draft is not None else ()),
            *_safety_warnings(options),
        ),
    )
    command = (
        _with_cpu_settings(command, options, [facts, *([draft] if draft is not None else [])], machine)
        if device == "cpu"
        else _with_dtype(command, facts)
    )
    return replace(command, arguments=(*command.arguments, *options.engine_flags))


def check_split(options: ServeOptions, facts: ModelFacts) -> None:
    """Refuse what vLLM cannot hold.

    Raises:
        ModelError: The checkpoint's format is not one that vLLM reads.
        OptionError: The model cannot be split or sized as asked.
    """
    if facts.manifest is not None and facts.manifest.format not in ("huggingface", "vllm"):
        raise ModelError(
            f"{options.directory} is a {facts.manifest.format} export; vLLM reads the output of "
            "`dotresize compress` or `dotresize export vllm`"
        )
    ranks = options.tensor_parallel_size
    if not _splits(facts, ranks):
        sizes = [str(size) for size in range(1, facts.num_attention_heads + 1) if _splits(facts, size)]
        raise OptionError(
            f"--tensor-parallel-size {ranks} cannot split {facts.num_attention_heads} attention heads, "
            f"{facts.num_key_value_heads} key/value heads and an MLP width of {facts.intermediate_size} "
            f"evenly; sizes that can: {', '.join(sizes)}"
        )
    if options.pipeline_parallel_size > facts.num_hidden_layers:
        raise OptionError(
            f"--pipeline-parallel-size {options.pipeline_parallel_size} is more than the model's "
            f"{facts.num_hidden_layers} layers"
        )
    limit = facts.max_position_embeddings
    if options.max_model_len is not None and limit is not None and options.max_model_len > limit:
        raise OptionError(
            f"--max-model-len {options.max_model_len} is more than the model's {limit} positions"
        )


def choose_device(options: ServeOptions, machine: Machine, install: VllmInstall | None) -> str:
    """Which settings to choose: "cpu" or "cuda"."""
    if options.device != "auto":
        return options.device
    cpu_build = install is not None and install.cpu_only
    return "cpu" if cpu_build or machine.gpus == 0 else "cuda"


def _splits(facts: ModelFacts, ranks: int) -> bool:
    queries, keys = facts.num_attention_heads, facts.num_key_value_heads
    return not (queries % ranks or (keys % ranks and ranks % keys) or facts.intermediate_size % ranks)


def _flags(options: ServeOptions, port: int) -> tuple[str, ...]:
    flags = ["--host", options.host, "--port", str(port), "--served-model-name", options.model_name]
    if options.tensor_parallel_size > 1:
        flags += ["--tensor-parallel-size", str(options.tensor_parallel_size)]
    if options.pipeline_parallel_size > 1:
        flags += ["--pipeline-parallel-size", str(options.pipeline_parallel_size)]
    if options.gpu_memory_utilization is not None:
        flags += ["--gpu-memory-utilization", str(options.gpu_memory_utilization)]
    if options.max_model_len is not None:
        flags += ["--max-model-len", str(options.max_model_len)]
    return tuple(flags)


def _with_dtype(command: Command, facts: ModelFacts) -> Command:
    dtype = command.dtype
    note = f"dtype {dtype}" if dtype != "auto" else f"dtype auto: vLLM decides, the weights are {facts.dtype}"
    return replace(command, arguments=(*command.arguments, "--dtype", dtype), notes=(*command.notes, note))


def _with_cpu_settings(
    command: Command, options: ServeOptions, models: list[ModelFacts], machine: Machine
) -> Command:
    dtype, reason = options.dtype, "as asked"
    if dtype == "auto":
        dtype = "bfloat16" if machine.native_bfloat16 else "float32"
        reason = (
            f"the processor {'computes' if machine.native_bfloat16 else 'does not compute'} bfloat16 natively"
        )
    notes = [f"dtype {dtype}: {reason}"]
    arguments = [*command.arguments, "--dtype", dtype]
    settings = command.settings | _int4_settings(models, dtype, machine)
    if INT4_VARIABLE in settings:
        notes.append(f"activations stay {dtype} beside 4-bit weights; {INT4_VARIABLE}=1 takes 8 bits of them")
    if "VLLM_CPU_OMP_THREADS_BIND" not in os.environ:
        settings["VLLM_CPU_OMP_THREADS_BIND"] = "auto"
        notes.append(f"threads: {machine.cores} cores, vLLM keeps one for its API server")
    chosen = any(flag.startswith("--kv-cache-memory-bytes") for flag in options.engine_flags)
    if not chosen and "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        gibibytes, tokens, note = _cpu_cache(options, models, machine, dtype)
        settings["VLLM_CPU_KVCACHE_SPACE"] = str(gibibytes)
        notes.append(note)
        if options.max_model_len is None and tokens is not None:
            arguments += ["--max-model-len", str(tokens)]
            notes.append(
                f"context shortened to {tokens} tokens, which the cache holds; --max-model-len overrides"
            )
    return replace(
        command,
        arguments=tuple(arguments),
        settings=settings,
        dtype=dtype,
        notes=(*command.notes, *notes),
    )


def _cpu_cache(
    options: ServeOptions, models: list[ModelFacts], machine: Machine, dtype: str
) -> tuple[int, int | None, str]:
    """Whole GiB for keys and values of all models, the context length when it must be shortened, and why."""
    token_bytes = sum(facts.kv_cache_bytes_per_token(dtype) for facts in models)
    loaded_bytes = sum(_loaded_bytes(facts, dtype) for facts in models)
    free_bytes = max(0.0, machine.available_memory_bytes - loaded_bytes - ENGINE_OVERHEAD_BYTES)
    context = options.max_model_len or models[0].max_position_embeddings or DEFAULT_CONTEXT_TOKENS
    wanted = -(-context * token_bytes * FULL_SEQUENCES // GIBIBYTE)
    gibibytes = max(1, min(wanted, int(free_bytes * CACHE_FRACTION / GIBIBYTE)))
    held_tokens = gibibytes * GIBIBYTE // token_bytes
    note = (
        f"KV cache {gibibytes} GiB: {held_tokens} tokens at {token_bytes} bytes each, "
        f"{machine.available_memory_bytes / GIBIBYTE:.1f} GiB of memory available"
    )
    if held_tokens >= context:
        return gibibytes, None, note
    shortened = held_tokens // CONTEXT_STEP_TOKENS * CONTEXT_STEP_TOKENS
    if options.max_model_len is not None or shortened == 0:
        raise OptionError(
            f"{context} tokens need {context * token_bytes / GIBIBYTE:.1f} GiB of KV cache and "
            f"this machine has room for {gibibytes} GiB; give --max-model-len {held_tokens} or less"
        )
    return gibibytes, shortened, note


def _int4_settings(models: list[ModelFacts], dtype: str, machine: Machine) -> dict[str, str]:
    precisions = [facts.manifest.precision for facts in models if facts.manifest is not None]
    return {
        name: value
        for precision in precisions
        for name, value in int4_settings(precision, dtype, machine.flags).items()
    }


def _loaded_bytes(facts: ModelFacts, dtype: str) -> float:
    stored_bytes = DTYPE_BYTES.get(facts.dtype, DTYPE_BYTES["float32"])
    return facts.weight_bytes * DTYPE_BYTES[dtype] / stored_bytes * LOADED_FRACTION


def _width_warnings(facts: ModelFacts, device: str, ranks: int) -> list[str]:
    """Name the cost of widths that the kernels must pad."""
    warnings = []
    if device == "cuda" and facts.hidden_size % NORM_GRID:
        warnings.append(
            f"hidden width {facts.hidden_size} is not a multiple of {NORM_GRID}: every norm takes vLLM's "
            "scalar path instead of its vectorised one"
        )
    grid = MATRIX_GRID[device]
    widths = {"hidden width": facts.hidden_size}
    if facts.intermediate_size:
        widths["MLP width" if ranks == 1 else f"MLP width per rank (1/{ranks})"] = (
            facts.intermediate_size // ranks
        )
    for name, width in widths.items():
        padded = -(-width // grid) * grid
        if padded != width:
            warnings.append(
                f"{name} {width} is not a multiple of {grid}: matrix kernels pad it to {padded}, so up to "
                f"{(padded - width) / padded:.1%} of the work in those matrices is wasted"
            )
    return warnings


def _safety_warnings(options: ServeOptions) -> list[str]:
    if options.on_loopback or options.api_key is not None:
        return []
    return [f"{options.host} is reachable from other machines and no API key is set: anyone there can use it"]


def _ray_notes(options: ServeOptions) -> tuple[str, ...]:
    if not any("ray" in flag.split("=") for flag in options.engine_flags):
        return ()
    return (
        "Ray: run `ray start --head --port=6379` here and `ray start --address=THIS_HOST:6379` on every "
        "other node first; the model directory must have the same path on all of them",
    )
