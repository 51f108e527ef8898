"""`export/proof/checks/vllm_runner.py` in forks of a process that has vLLM imported, which alone takes 10 s.

    python -I vllm_forks.py RUNNER

Reads lines of JSON, {"arguments": [...], "log": path}, and answers each with the exit code of the run.
"""

import json
import os
import runpy
import sys
import traceback
from typing import NoReturn

FAILED = 1


def main(runner: str) -> None:
    """Run what is asked for, one after the other, until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM logs to stdout
    import vllm

    assert vllm.LLM, "what is loaded when it is first asked for, too"
    for line in sys.stdin:
        asked = json.loads(line)
        process = os.fork()
        if process == 0:
            _run(runner, asked["arguments"], asked["log"])
        _, status = os.waitpid(process, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _run(runner: str, arguments: list[str], log: str) -> NoReturn:
    code = FAILED
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.argv = [runner, *arguments]
        runpy.run_path(runner, run_name="__main__")
        code = 0
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
