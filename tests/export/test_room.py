"""Is there room for an output? What is predicted never exceeds what is written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dotresize.errors import OutputError
from dotresize.export.disk.room import check_room, free_bytes_at, matrix_bytes, stored_headers
from dotresize.export.for_gguf.forms import FORMS
from dotresize.export.for_gguf.tensors import plan_tensors, planned_bytes
from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf
from dotresize.export.for_vllm.to_vllm import VllmConfig, export_vllm
from dotresize.export.to_onnx import WEIGHT_BYTES, OnnxConfig, export_onnx


def test_what_fits_passes_to_the_byte(tmp_path: Path) -> None:
    check_room(tmp_path / "out", {"a": 3, "b": 4}, free_bytes=7)
    with pytest.raises(OutputError, match=r"out needs at least 0.00 MB .* 0.00 MB are free in"):
        check_room(tmp_path / "out", {"a": 3, "b": 4}, free_bytes=6)


def test_the_error_says_what_is_needed_what_is_there_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        check_room(
            tmp_path / "new" / "out", {"the model": 3 * 10**9, "layers": 0, "b": 10**9}, free_bytes=10**6
        )
    assert str(caught.value) == (
        f"{tmp_path / 'new' / 'out'} needs at least 4.00 GB on the disk (3.00 GB for the model, 1.00 GB for "
        f"b), and 1.00 MB are free in {tmp_path}; free some space, or choose an output on a larger disk"
    )


def test_free_bytes_are_those_of_the_nearest_directory(tmp_path: Path) -> None:
    assert free_bytes_at(tmp_path / "a" / "b" / "out") == pytest.approx(
        shutil.disk_usage(tmp_path).free,
        abs=2**30,  # others write meanwhile
    )


def test_predictions_are_close_to_what_is_written_and_never_above(pico_saved: Path, tmp_path: Path) -> None:
    headers = stored_headers(pico_saved)
    for kind in ("f16", "q8_0"):
        record = export_gguf(
            pico_saved, tmp_path / f"{kind}.gguf", GgufConfig(type=kind, fallback_f16=kind != "f16")
        )
        written = record.files[f"{kind}.gguf"].bytes
        predicted = planned_bytes(plan_tensors(pico_saved, FORMS["LlamaForCausalLM"], kind))
        assert written - 40_000 < predicted < written  # the tokenizer is in there too
    exact = VllmConfig(dtype="bfloat16")
    record = export_vllm(pico_saved, tmp_path / "vllm", exact)
    written = sum(file.bytes for file in record.files.values())
    assert 0.9 * written < matrix_bytes(headers, exact.weight_bytes) < written
    record = export_onnx(pico_saved, tmp_path / "onnx", OnnxConfig(precision="fp32"))
    written = record.files["model.onnx.data"].bytes
    assert 0.8 * written < matrix_bytes(headers, WEIGHT_BYTES["fp32"]) < written


@pytest.mark.parametrize("kind", ["gguf", "onnx", "vllm"])
def test_an_export_that_does_not_fit_is_refused_before_any_work(
    pico_saved: Path, tmp_path: Path, kind: str
) -> None:
    """On a file system of 64 KiB, which a process may have to itself where namespaces are allowed."""
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=64k none {small}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, mount], check=False).returncode != 0:
        pytest.skip("no file system of its own for a process here")
    export = f"{sys.executable} -m dotresize.cli export {kind} {pico_saved} -o {small}/m.gguf; ls -A {small}"
    done = subprocess.run([*alone, f"{mount} && {export}"], capture_output=True, text=True, check=False)
    assert f"error: {small}/m.gguf needs at least" in done.stderr
    assert f"are free in {small}; free some space" in done.stderr
    assert done.stdout == ""
