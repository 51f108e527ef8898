"""Reading an engine's log: the lines worth showing while it starts, and the cause when it does not."""

import re
import signal
from pathlib import Path

__all__ = ["LogFollower", "explain_failure", "useful"]

# "(EngineCore pid=12) INFO 11-22 00:52:45 [cpu_worker.py:260] text", or "INFO text" from our own server
PREFIX = re.compile(
    r"^(?:\([\w-]+(?:[ _]\w+)* pid=\d+\) )?"
    r"(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?:\d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] )?)?"
)
USEFUL = re.compile(
    r"Resolved architecture|Using max model len|Loading weights took|Model loading took|KV cache size|"
    r"Maximum concurrency|Starting vLLM server|Capturing|torch\.compile takes|init engine|serving .* on"
)
EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*(?P<name>[A-Z]\w*(?:Error|Exception))(?:: (?P<text>.*))?$")
ARGUMENT_ERROR = re.compile(r"^\S+: error: (?P<text>.+)$")
# what an outer process says of an inner one: never the cause
ECHOES = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|EngineCore encountered an issue|"
    r"cancelled|KeyboardInterrupt|SystemExit"
)
DEATH = re.compile(r"engine core exited unexpectedly|EngineDeadError|died unexpectedly")
# (what the log says, what to tell the user)
KNOWN = (
    (
        r"out of memory|OutOfMemoryError|Cannot allocate memory|MemoryError",
        "out of memory: {cause}; lower --max-model-len or --gpu-memory-utilization, or free memory",
    ),
    (
        r"Available memory .* is less than|less than desired (?:GPU|CPU) memory|"
        r"No available memory for the cache|KV cache is needed, which is larger than",
        "out of memory: {cause}",
    ),
    (
        r"Address already in use",
        "the port was taken while the engine started; choose another, or --port 0 for a free one",
    ),
    (
        r"safetensor|PytorchStreamReader|size mismatch|not initialized from checkpoint",
        "the weights cannot be loaded: {cause}; copy or make the model again",
    ),
)
SHOWN_CHARACTERS = 400


class LogFollower:
    """Reads what is added to a log after this object is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = path.stat().st_size if path.exists() else 0
        self._offset = self._start
        self._partial = b""

    def new_lines(self) -> list[str]:
        """Complete lines that were added since the last look."""
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        self._offset += len(data)
        *lines, self._partial = re.split(rb"[\r\n]+", self._partial + data)
        return [line.decode(errors="replace") for line in lines]

    def everything(self) -> str:
        """All that was added."""
        with self.path.open("rb") as stream:
            stream.seek(self._start)
            return stream.read().decode(errors="replace")


def useful(line: str) -> str | None:
    """The text of a log line that a user wants to see, or None."""
    match = PREFIX.match(line)
    assert match is not None  # every part is optional
    text = line[match.end() :].strip()
    if match["level"] in ("ERROR", "CRITICAL") and EXCEPTION.match(text) and not ECHOES.search(text):
        return text
    return text if USEFUL.search(text) else None


def explain_failure(log: str, exit_code: int) -> str:
    """One line that names the cause.

    Args:
        log: Everything the engine wrote.
        exit_code: Of the engine, 128 + N for signal N.
    """
    cause = _first_cause(log)
    if cause is None:
        if DEATH.search(log):
            return "one of its processes was killed, perhaps because memory ran out"
        if exit_code == 128 + signal.SIGKILL:
            return "it was killed by SIGKILL, which is how Linux ends a process when memory runs out"
        return f"it ended with exit code {exit_code} and named no cause"
    cause = cause[:SHOWN_CHARACTERS]
    for pattern, message in KNOWN:
        if re.search(pattern, cause, re.IGNORECASE):
            return message.format(cause=cause)
    return cause


def _first_cause(log: str) -> str | None:
    """The first exception that is not an echo of another one."""
    lines = [line[match.end() :].strip() for line in log.splitlines() if (match := PREFIX.match(line))]
    for index, line in enumerate(lines):
        if match := ARGUMENT_ERROR.match(line):
            return match["text"]
        match = EXCEPTION.match(line)
        if match is None or ECHOES.search(line):
            continue
        text = match["text"] or ""
        if "validation error" in text and index + 1 < len(lines):  # pydantic puts the message below
            text = lines[index + 1].removeprefix("Value error, ").partition(" [type=")[0]
        return f"{match['name']}: {text}" if text else match["name"]
    return None
