"""One vocabulary: an option means the same in every command, and what it was called before still works."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from typer.main import get_command
from typer.models import OptionInfo
from typer.testing import CliRunner

from dotresize.cli import app, options, soak
from dotresize.cli.options.dtypes import canonical, gguf_type, onnx_precision
from dotresize.cli.options.old_names import old_names_of
from dotresize.errors import OptionError, WidthError

RENAMED = ("compress", "sweep", "bench", "perplexity", "recover", "onnx", "gguf")


def commands(group: Any = None) -> Iterator[Any]:
    """Every command, those of `export` and `make soak` included."""
    if group is None:
        yield get_command(soak.program)
    root: Any = group or get_command(app)
    for command in root.commands.values():
        if hasattr(command, "commands"):
            yield from commands(command)
        else:
            yield command


def command_of(name: str) -> Any:
    return next(command for command in commands() if command.name == name)


def written_once() -> set[int]:
    """Identities of the options that the package holds."""
    found = set()
    for module in pkgutil.iter_modules(options.__path__):
        for value in vars(importlib.import_module(f"{options.__name__}.{module.name}")).values():
            if get_origin(value) is Annotated:
                found |= {id(part) for part in get_args(value) if isinstance(part, OptionInfo)}
            elif isinstance(value, OptionInfo):
                found.add(id(value))
    return found


def registered(group: Any = app) -> Iterator[Any]:
    yield from (each.callback for each in group.registered_commands)
    for inner in group.registered_groups:
        yield from registered(inner.typer_instance)


def test_every_option_of_every_command_comes_from_the_one_package() -> None:
    ours = written_once()
    callbacks = [*registered(), *registered(soak.program)]
    assert len(callbacks) > 14
    for callback in callbacks:
        for name, parameter in inspect.signature(callback, eval_str=True).parameters.items():
            strange = [
                part
                for part in get_args(parameter.annotation)
                if isinstance(part, OptionInfo) and id(part) not in ours
            ]
            assert not strange, f"--{name} of {callback.__name__} is written where nobody else finds it"


def test_no_name_means_two_things() -> None:
    meanings: dict[str, set[tuple[str, ...]]] = {}
    for command in commands():
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                kind = str(parameter.type_descriptor.annotation)
                meaning = (str(parameter.help), kind, str(parameter.is_flag), str(parameter.multiple))
                for name in parameter.opts:
                    meanings.setdefault(name, set()).add((*meaning, *parameter.opts))
    assert len(meanings) > 80
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_a_parameter_is_called_as_its_option() -> None:
    """`bench --compare` and the errors of the gate work names out from it."""
    for command in commands():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in ("as_json", "help"):
                assert f"--{parameter.name.replace('_', '-')}" in parameter.opts


@pytest.mark.parametrize("name", RENAMED)
def test_old_names_are_hidden_and_give_what_the_new_ones_give(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_of(name)
    help_text = CliRunner().invoke(app, [*(["export"] if name in ("onnx", "gguf") else []), name, "--help"])
    words = {"perplexity": ["m"], "bench": ["m", "n"], "recover": ["m", "--teacher", "t", "--text", "x"]}
    needed = words.get(name, ["m"]) + ([] if name == "perplexity" else ["-o", "o"])
    assert old_names_of(name)
    for old, new in old_names_of(name).items():
        assert f"{old} " not in help_text.stdout
        value = "5" if new.option in ("--evaluation-windows", "--limit", "--warmup-steps") else "0.5"
        expected = command.make_context(name, [*needed, new.option, value]).params
        assert capsys.readouterr().err == ""
        assert command.make_context(name, [*needed, f"{old}={value}"]).params == expected
        said = capsys.readouterr().err.splitlines()
        assert said == [f"{old} is called {new.option} now; the old name goes with the next release"]


def test_an_old_fraction_of_one_is_no_width_of_one() -> None:
    found = command_of("compress").make_context("compress", ["m", "-o", "o", "--mlp-width", "1"]).params
    assert found["intermediate_size"] == "1.0"
    found = command_of("sweep").make_context("sweep", ["m", "-o", "o", "--mlp", "0.5,1"]).params
    assert found["intermediate_size"] == "0.5,1.0"


def test_an_old_name_is_a_value_where_a_value_stands() -> None:
    found = command_of("bench").make_context("bench", ["m", "n", "--vllm-flags", "--precision"]).params
    assert (found["vllm_flags"], found["dtype"]) == ("--precision", "auto")


def test_a_dtype_has_one_spelling_and_formats_have_theirs() -> None:
    assert [onnx_precision(name) for name in ("float32", "fp32", "bfloat16", "int4")] == [
        "fp32", "fp32", "bf16", "int4",
    ]  # fmt: skip
    assert [gguf_type(name) for name in ("float16", "f16", "fp16", "q4_1")] == ["f16", "f16", "f16", "q4_1"]
    assert canonical("bf16") == "bfloat16"


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (
            ["serve", "d", "--engine", "transformers"],
            OptionError,
            "--engine is 'transformers'; choose one of auto",
        ),
        (
            ["bench", "a", "b", "-o", "o", "--engine", "auto"],
            OptionError,
            "--engine is 'auto'; choose one of vllm",
        ),
        (
            ["plan", "m", "--params", "0.5", "--engine", "auto"],
            OptionError,
            "--engine is 'auto'; choose one of",
        ),
        (
            ["tasks", "m", "--tasks", "x", "--dtype", "int4"],
            OptionError,
            "--dtype is 'int4'; choose one of auto",
        ),
        (
            ["plan", "m", "--memory", "1GB", "--concurrency", "1,4"],
            OptionError,
            "expected one whole number here",
        ),
        (
            ["serve", "d", "--draft", "n", "--draft-tokens", "1,2"],
            OptionError,
            "expected one whole number here",
        ),
        (
            ["bench", "a", "b", "-o", "o", "--evaluation", "x.txt", "--evaluation", "y.txt"],
            OptionError,
            "bench measures on one text",
        ),
        (
            ["compress", "{model}", "-o", "{out}", "--hidden-size", "many"],
            OptionError,
            "give a whole number, or",
        ),
        (["compress", "{model}", "-o", "{out}", "--layers", "nan"], OptionError, "expected a finite number"),
        (
            ["compress", "{model}", "-o", "{out}", "--hidden-size", "50"],
            WidthError,
            "Nearest legal: 48 and 52",
        ),
    ],
)
def test_one_name_takes_what_each_command_can_use(
    pico_llama: Path, tmp_path: Path, words: list[str], kind: type[Exception], message: str
) -> None:
    places = {"{model}": str(pico_llama), "{out}": str(tmp_path / "out")}
    found = CliRunner().invoke(app, [places.get(word, word) for word in words]).exception
    assert isinstance(found, kind), found
    assert message in str(found)
