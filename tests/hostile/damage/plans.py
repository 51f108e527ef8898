"""plan.json: widths that somebody else may have edited, cut off, or made for another model."""

import json
from pathlib import Path
from random import Random
from typing import Any

from ..case import Attempt, Sandbox
from ..operations import WINDOWS
from .json_damage import ABSURD, damage_file, mutate_file, set_fields

__all__ = ["BASES", "damage"]

BASES = ("llama", "mistral", "plan.json")
AXES = ("hidden", "mlp", "kv_groups", "layers", "experts")
ODD_WIDTHS: list[Any] = [*ABSURD, 7, 65, 4096, 10**30, -64, 0.5, "48", 2**63]


def damage(box: Sandbox) -> Attempt:
    plan = box.copy("plan.json", "plan.json")
    model = box.rng.choices(["llama", "mistral"], [9, 1])[0]
    box.copy(model)
    what = "of another model" if model == "mistral" else _damage(plan, box.rng)
    if box.rng.random() < 0.15:
        return _replaced(box, what)
    how = ["--dry-run"] if box.rng.random() < 0.5 else []
    texts = ["--calibration", "text.txt", "--evaluation", "none"]
    return Attempt(
        arguments=["compress", "model", "-o", "out", "--plan", "plan.json", *WINDOWS, *texts, *how],
        damage=what,
        model=None if how else "model",
        output=None if how else "out",
        must_fail="the plan is of another model" if model == "mistral" else "",
    )


def _damage(plan: Path, rng: Random) -> str:
    act = rng.random()
    if act < 0.4:
        return mutate_file(plan, rng)
    if act < 0.65:
        return damage_file(plan, rng)
    if act < 0.75:
        version = rng.choice([0, -1, 2, 99, "1", None, 1.0, True, 10**30])
        set_fields(plan, {"dotresize_plan": version})
        return f"dotresize_plan {version!r}"
    return _odd_widths(plan, rng)


def _odd_widths(plan: Path, rng: Random) -> str:
    """Widths of the chosen point: of another type, not a number, absurd, none, or too many."""
    chosen = json.loads(plan.read_text())["chosen"]
    axis = rng.choice([*AXES, "depth"])
    if rng.random() < 0.2:
        chosen["widths"].pop(axis, None)
        shown = "gone"
    else:
        chosen["widths"][axis] = rng.choice(ODD_WIDTHS)
        shown = repr(chosen["widths"][axis])[:40]
    set_fields(plan, {"chosen": chosen})
    return f"chosen.widths.{axis} = {shown}"


def _replaced(box: Sandbox, what: str) -> Attempt:
    """A new plan where the damaged one lies: replaced when it is a plan, refused when it is anything else."""
    texts = ["--calibration", "text.txt", "--effort", "quick"]
    budget = ["--params", "0.7", "--force"]
    return Attempt(
        arguments=["plan", "model", "-o", "plan.json", *budget, *WINDOWS, *texts],
        damage=f"in the way: {what}",
        output="plan.json",
        replaced=["home/plan.json"],
    )
