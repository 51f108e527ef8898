"""Run a completed function where it can do no harm, and say whether its calls give what they should.

A process of its own for each, without the user's environment and site packages, in an empty folder, with
limits on time, memory, files and processes. Before the function runs, a hook that cannot be taken out again
refuses every audited event (files, sockets, processes, imports, foreign code). This holds what a language
model writes by accident; it is no prison for somebody who means harm.
"""

import json
import secrets
import subprocess
import sys
import tempfile
from typing import Any

__all__ = ["UNTIL", "completed", "passes", "process_results"]

UNTIL = ("\n",)
_SECONDS = 2  # of the processor
_PATIENCE_SECONDS = 60.0  # of a busy machine
_MEMORY_BYTES = 512 * 2**20
_RUNNER = """
import json, resource, sys
asked = json.loads(sys.stdin.read())
for limit, most in asked["limits"].items():
    resource.setrlimit(getattr(resource, limit), (most, most))
write, harmless = sys.stdout.write, {"exec", "compile"}
def guard(event, arguments):
    if event not in harmless:
        raise PermissionError(event)
sys.addaudithook(guard)
names = {}
exec(compile(asked["source"], "completion", "exec"), names)
function = names[asked["function"]]
for argument, expected in asked["calls"]:
    found = function(argument)
    if type(found) is not type(expected) or found != expected:
        break
else:
    write(asked["token"])
"""


def completed(prompt: str, completion: str) -> str:
    """The whole function: the line that the model went on with, whatever its tokenizer did to spaces."""
    return f"{prompt} {completion.partition(UNTIL[0])[0].strip()}\n"


def passes(source: str, function: str, calls: list[list[Any]]) -> bool:
    """Whether a function gives the expected result, of the expected type, for every argument.

    Args:
        source: defines the function and nothing that it needs is missing.
        function: its name.
        calls: argument and result of each.
    """
    token = secrets.token_hex(16)
    limits = {"RLIMIT_CPU": _SECONDS, "RLIMIT_AS": _MEMORY_BYTES, "RLIMIT_FSIZE": 2**16, "RLIMIT_CORE": 0}
    request = {"source": source, "function": function, "calls": calls, "token": token, "limits": limits}
    with tempfile.TemporaryDirectory(prefix="dotresize-completion-") as folder:
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", _RUNNER],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                cwd=folder,
                env={},
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return ended.stdout.endswith(token)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """What lm-eval calls for every document: pass@1 of a greedy completion."""
    source = completed(doc["prompt"], results[0])
    return {"pass_at_1": float(passes(source, doc["function"], json.loads(doc["calls"])))}
