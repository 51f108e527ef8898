"""What several workers share is made once, and only one of them has engines."""

from pathlib import Path

import pytest

from .workers import EngineScheduling, once, starts_vllm


def test_a_folder_is_made_once_and_anew_after_a_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    calls: list[bool] = []

    def make(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "model").touch()
        calls.append(True)
        if len(calls) == 1:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        once(tmp_path_factory)("test-workers", make)
    folder = once(tmp_path_factory)("test-workers", make)
    assert once(tmp_path_factory)("test-workers", make) == folder
    assert len(calls) == 2
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_all_that_starts_vllm_is_dealt_out_as_one(request: pytest.FixtureRequest) -> None:
    """However many workers there are, one of them has all engines; their files' other tests are anywhere."""
    scheduling = object.__new__(EngineScheduling)  # the rule alone; the rest is pytest-xdist's
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for item in request.session.items:
        marked = item.get_closest_marker("vllm") is not None
        assert starts_vllm(item.nodeid) == marked, item.nodeid
        found[marked].add(scheduling._split_scope(item.nodeid))
    assert len(found[True]) <= 1
    assert found[True].isdisjoint(found[False])


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/serve/test_endpoint.py::test_a[vllm]", "vLLM"),
        ("tests/serve/test_endpoint.py::test_a[pico onnx]", "tests/serve/test_endpoint.py"),
        ("tests/test_pipeline.py::test_the_real_model_narrowed_on_both_axes_runs_in_real_vllm", "vLLM"),
        ("tests/test_locks.py::test_a[b::c]", "tests/test_locks.py"),
    ],
)
def test_names_are_enough(nodeid: str, scope: str) -> None:
    assert object.__new__(EngineScheduling)._split_scope(nodeid) == scope
