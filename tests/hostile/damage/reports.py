"""Results of an earlier benchmark: compared with, and gone on with."""

from ..bases import MEASURE
from ..case import Attempt, Sandbox
from .json_damage import damage_file, mutate_file

__all__ = ["BASES", "damage"]

BASES = ("mistral", "narrow", "report")


def damage(box: Sandbox) -> Attempt:
    results = box.copy("report", "report") / "results.json"
    what = (mutate_file if box.rng.random() < 0.75 else damage_file)(results, box.rng)
    if box.rng.random() < 0.85:
        box.copy("report", "good")
        pair = box.rng.choice([["report", "good"], ["good", "report/results.json"], ["report", "report"]])
        limit = ["--fail-above", "5%"] if box.rng.random() < 0.3 else []
        return Attempt(arguments=["bench", *pair, "--compare", *limit], damage=what)
    box.copy("mistral", "mistral")
    box.copy("narrow", "narrow")
    how = box.rng.choice(["--resume", "--resume", ""])
    arguments = ["bench", "mistral", "narrow", "-o", "report", *MEASURE, *([how] if how else [])]
    return Attempt(
        arguments=arguments, damage=f"{what} {how}", output="report", touched=["home/report"], seconds=300
    )
