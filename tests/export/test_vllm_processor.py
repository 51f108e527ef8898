"""What a processor does with 4-bit weights in vLLM, by its flags."""

import os

import pytest

from dotresize.export.for_vllm.processor import INT4_VARIABLE, has_int4_kernel, int4_settings, processor_flags

AMX = frozenset({"avx2", "avx512f", "amx_tile"})


def test_the_kernel_needs_avx_512_on_x86() -> None:
    assert has_int4_kernel(AMX, "x86_64")
    assert not has_int4_kernel(frozenset({"avx2"}), "x86_64")
    assert has_int4_kernel(frozenset({"asimd"}), "aarch64")


@pytest.mark.parametrize(
    ("precision", "dtype", "flags", "expected"),
    [
        ("w4a16", "bfloat16", AMX, {INT4_VARIABLE: "0"}),
        ("w4a16", "float16", AMX, {}),
        ("w4a16", "bfloat16", AMX - {"amx_tile"}, {}),
        ("w8a8", "bfloat16", AMX, {}),
    ],
)
def test_activations_are_kept_where_they_would_be_rounded(
    precision: str,
    dtype: str,
    flags: frozenset[str],
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(INT4_VARIABLE, raising=False)
    assert int4_settings(precision, dtype, flags) == expected
    monkeypatch.setenv(INT4_VARIABLE, "1")
    assert int4_settings(precision, dtype, flags) == {}


def test_the_flags_of_this_processor_are_read() -> None:
    if os.uname().machine == "x86_64":
        assert "sse2" in processor_flags()
