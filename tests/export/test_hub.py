"""Pushing: what cannot succeed is refused before anything is computed, and what was written is pushed.

The server speaks the requests of huggingface_hub that a push makes; it keeps what it got.
"""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dotresize.cli.asked.push import checked_target
from dotresize.cli.options.hub import HubOptions
from dotresize.compress.text.documents import read_documents
from dotresize.compress.weights.source import open_model
from dotresize.errors import InputError, ModelError, OptionError, OutputError, TextError
from dotresize.export.checkpoint.hub import HubTarget, check_target, push
from dotresize.export.contract.card import HERE

CLOSED = "http://127.0.0.1:9"  # nobody listens on the discard port


class Hub(BaseHTTPRequestHandler):
    user: dict[str, Any]
    created: list[dict[str, Any]]
    files: dict[str, bytes]
    refuses_commits = False

    def log_message(self, *words: Any) -> None:
        """Say nothing."""

    def _answer(self, data: Any, status: int = 200) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer hf_right"
        self._answer(self.user if known else {"error": "no"}, 200 if known else 401)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            return self._answer({"url": "https://huggingface.co/me/narrow"})
        if "/preupload/" in self.path:
            named = [file["path"] for file in json.loads(body)["files"]]
            found = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in named]
            return self._answer({"files": found})
        if self.path == "/api/validate-yaml":  # of the card
            return self._answer({"errors": [], "warnings": []})
        if self.refuses_commits:
            return self._answer({"error": "quota"}, 403)
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        url = "https://huggingface.co/me/narrow/commit/0"
        return self._answer({"commitUrl": url, "commitOid": "0" * 40, "success": True})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    class Mine(Hub):
        user = {"name": "me", "orgs": [{"name": "us"}], "auth": {"accessToken": {"role": "write"}}}
        created, files = [], {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    yield Mine
    server.shutdown()
    server.server_close()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "reference").mkdir()
    (tmp_path / "README.md").write_text(f"vllm serve {HERE}\n")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "reference" / "prompts.json").write_text("{}")
    return tmp_path


def test_what_is_pushed_is_what_was_written(hub: type[Hub], checkpoint: Path) -> None:
    target = check_target("narrow", public=False)
    assert target == HubTarget(name="me/narrow", private=True)
    push(checkpoint, target)
    assert [(each["name"], each["organization"], each["visibility"]) for each in hub.created] == [
        ("narrow", "me", "private")
    ]
    assert hub.files == {
        "README.md": b"vllm serve me/narrow\n",
        "model.safetensors": bytes(range(256)),
        "reference/prompts.json": b"{}",
    }
    assert check_target("us/narrow", public=True) == HubTarget(name="us/narrow", private=False)


def test_a_refused_push_says_where_everything_is(hub: type[Hub], checkpoint: Path) -> None:
    hub.refuses_commits = True
    with pytest.raises(
        OutputError, match=r"was written, but not pushed: .*`hf upload me/narrow .*` pushes it"
    ):
        push(checkpoint, HubTarget(name="me/narrow", private=True))


def test_who_may_not_push_is_told_before_anything_is_computed(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="me may push to me, us, not to them"):
        check_target("them/narrow", public=False)
    with pytest.raises(OptionError, match="--push-to-hub cannot be read: .*; expected OWNER/NAME"):
        check_target("a/b/c", public=False)
    hub.user = hub.user | {"auth": {"accessToken": {"role": "read"}}}
    with pytest.raises(OptionError, match="the token may only read"):
        check_target("narrow", public=False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="the token is not accepted: `hf auth login` again"):
        check_target("narrow", public=False)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(OptionError, match="`hf auth login` with a token that may write"):
        check_target("narrow", public=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OptionError, match="HF_HUB_OFFLINE is set; unset it"):
        check_target("narrow", public=False)
    with pytest.raises(OptionError, match="--public has no effect without --push-to-hub"):
        checked_target(HubOptions(public=True))


def test_without_a_hub_models_and_texts_say_at_once_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", CLOSED)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(
        TextError, match="hf:wikitext cannot be read: the hub does not answer; .*use `builtin`"
    ):
        read_documents("hf:wikitext", "calibration")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TextError, match="read from the hub, and HF_HUB_OFFLINE is set; unset it, or use"):
        read_documents("hf:wikitext", "calibration")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set, and it is not in the cache; unset it"):
        open_model("nobody/none")
