"""One live endpoint per engine, asked by two clients, abused, and finally killed under a stream.

The tests of one engine share its server and run in this order.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from dotresize.export.contract import reference
from dotresize.serve.client.greedy_check import GreedyCheck, check_greedy
from dotresize.serve.client.record import RequestRecord
from dotresize.serve.client.streaming import Client, Sampling

from .conftest import API_KEY, Malformed, Served, assert_nothing_is_left

CLIENTS = 32
NEAR_TIE_LOGITS = 0.02  # float32 on another engine, see greedy_check
ANSWER_TOKENS = 12


@pytest.fixture(
    scope="module",
    params=[
        "pico onnx",
        pytest.param("onnx", marks=pytest.mark.slow),
        pytest.param("vllm", marks=[pytest.mark.slow, pytest.mark.vllm]),
    ],
)
def directory(request: pytest.FixtureRequest) -> Path:
    name = {"pico onnx": "long_pico_onnx", "onnx": "narrow_smollm2_onnx", "vllm": "narrow_smollm2_directory"}[
        request.param
    ]
    found = request.getfixturevalue(name)
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def long_answer_tokens(directory: Path) -> int:
    """More than anybody computes before a client can interfere; the vLLM server here holds 512."""
    return 400 if is_vllm_checkpoint(directory) else 4000


@pytest.fixture(scope="module")
def served(directory: Path, start_serve: Callable[..., Served]) -> Served:
    if not is_vllm_checkpoint(directory):
        return start_serve(directory, api_key=API_KEY)
    options = ("--dtype", "float32", "--max-model-len", "512", "--", "--enforce-eager")
    return start_serve(directory, *options, api_key=API_KEY)


@pytest.fixture(scope="module")
def openai_client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=API_KEY, max_retries=0)


def test_it_was_compared_with_the_reference_before_ready(served: Served) -> None:
    assert "greedy tokens equal the reference: 64 of 64" in " ".join(served.errors.read_text().split())


def test_the_official_client_lists_the_model(served: Served, openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == [served.model]


def test_the_official_client_streams_a_completion(served: Served, openai_client: openai.OpenAI) -> None:
    prompt = "The sea was calm"
    whole = openai_client.completions.create(
        model=served.model, prompt=prompt, max_tokens=ANSWER_TOKENS, temperature=0
    )
    chunks = list(
        openai_client.completions.create(
            model=served.model,
            prompt=prompt,
            max_tokens=ANSWER_TOKENS,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].text
    assert len(chunks) > 2
    usage = chunks[-1].usage
    assert usage is not None
    assert whole.usage is not None
    assert usage == whole.usage
    assert usage.completion_tokens <= ANSWER_TOKENS


def test_the_official_client_streams_a_chat(served: Served, openai_client: openai.OpenAI) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model=served.model,
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Where is Paris?"},
            ],
            max_tokens=ANSWER_TOKENS,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] in ("stop", "length")
    assert set(reasons[:-1]) == {None}
    usage = chunks[-1].usage
    assert usage is not None
    assert 0 < usage.completion_tokens <= ANSWER_TOKENS


def test_many_clients_at_once_all_get_the_greedy_answer(served: Served, directory: Path) -> None:
    prompts = reference.load(directory).prompts

    async def one(number: int) -> GreedyCheck:
        asked = reference.Reference(prompts=(prompts[number % len(prompts)],))
        async with Client(served.url, api_key=API_KEY) as client:
            return await check_greedy(client, served.model, asked, NEAR_TIE_LOGITS)

    async def go() -> list[GreedyCheck]:
        return list(await asyncio.gather(*map(one, range(CLIENTS))))

    checks = asyncio.run(go())
    assert len(checks) == CLIENTS
    compared = sum(check.compared_tokens for check in checks)
    # a near-tie ends a comparison: more than a few would mean that little was compared
    assert compared >= 0.9 * CLIENTS * reference.GREEDY_TOKENS


def test_malformed_requests_are_refused_and_harm_nobody(
    served: Served, malformed: Callable[[str], list[Malformed]]
) -> None:
    processes = {process.pid for process in served.tree()}
    wrong = []
    with httpx.Client(base_url=served.url, timeout=60) as http:
        for path, headers, body in malformed(served.model):
            response = http.post(path, headers=headers, content=body)
            if not 400 <= response.status_code < 500:
                wrong.append((response.status_code, path, headers, body[:200], response.text[:200]))
        assert wrong == []
        assert http.get("/health").status_code == 200
    assert {process.pid for process in served.tree()} == processes
    assert ask(served, 2).ok


def test_a_client_that_leaves_does_not_hold_up_the_next(served: Served, long_answer_tokens: int) -> None:
    async def leave() -> None:
        def stop(_: str) -> None:
            task.cancel()

        async with Client(served.url, api_key=API_KEY) as client:
            sampling = Sampling(max_tokens=long_answer_tokens, ignore_eos=True)
            endless = client.complete("Once", model=served.model, sampling=sampling, on_text=stop)
            task = asyncio.create_task(endless)
            await task

    for _ in range(3):
        with pytest.raises(asyncio.CancelledError, match="^$"):
            asyncio.run(leave())
    record = ask(served, 2)
    assert record.ok
    # three whole answers of a real model would take longer
    assert record.ttft_seconds is not None
    assert record.ttft_seconds < 5


def test_the_api_key_is_nowhere_to_be_seen(served: Served) -> None:
    for process in (psutil.Process(served.process.pid), *served.tree()):
        assert API_KEY not in " ".join(process.cmdline())
    assert API_KEY not in served.log.read_text(errors="replace")
    assert API_KEY not in served.errors.read_text()


def test_it_listens_on_loopback_only(served: Served) -> None:
    listening = [
        connection.laddr.ip
        for process in served.tree()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == served.port
    ]
    assert set(listening) == {"127.0.0.1"}


def test_an_engine_killed_under_a_stream_is_reported_and_cleaned_up(
    served: Served, long_answer_tokens: int
) -> None:
    tree = served.tree()
    (engine,) = [process for process in tree if is_engine(process)]

    def kill(_: str) -> None:
        with suppress(ProcessLookupError):  # every piece of text that was on its way calls this
            os.kill(engine.pid, signal.SIGKILL)

    record = ask(served, long_answer_tokens, on_text=kill)
    assert record.outcome in ("engine_error", "disconnected")
    assert record.error
    assert 0 < record.tokens < long_answer_tokens
    assert served.process.wait(30) == 4
    errors = " ".join(served.errors.read_text().split())
    assert "error: the engine ended: " in errors
    assert "killed" in errors
    assert str(served.log) in errors.replace(" ", "")
    assert_nothing_is_left(tree, served.port)


def is_vllm_checkpoint(directory: Path) -> bool:
    return not (directory / "genai_config.json").exists()


def is_engine(process: psutil.Process) -> bool:
    """The process that computes, or whose death ends the computation."""
    return process.name().startswith("VLLM::EngineCor") or "onnx_server.app" in "".join(process.cmdline()[:4])


def ask(served: Served, max_tokens: int, on_text: Callable[[str], None] | None = None) -> RequestRecord:
    sampling = Sampling(max_tokens=max_tokens, ignore_eos=True)

    async def go() -> RequestRecord:
        async with Client(served.url, api_key=API_KEY) as client:
            return await client.complete("Once", model=served.model, sampling=sampling, on_text=on_text)

    return asyncio.run(go())
