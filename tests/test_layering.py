"""Imports go errors <- compress <- export <- recover <- serve <- bench <- plan <- cli; no other arrow.

Inside a stage its folders go one way, too, as `RANKS` has them, and no two modules of a stage import each
other, not even over others. Imports under `if TYPE_CHECKING` and inside functions count too: they tie modules
together all the same.
"""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("compress", "export", "recover", "serve", "bench", "plan")
# A module may import from its own rank and from lower ones. `dotresize/__init__.py` only re-exports, so it
# ranks above every stage, and no stage may import from it.
FOLDERS = {  # of a stage, each may import from those before it
    "compress": "record maths families weights output streams text widths layers",
    "export": "process disk contract checkpoint for_vllm for_gguf proof",
    "recover": "ask losses models forecast training adapters",
    "serve": "client engine onnx_server",
    "bench": "record process roofline quality measure drafting judge report sweep",
    "plan": "run_cost",
}
RANKS: dict[str, float] = {
    "dotresize.version": 0,
    "dotresize.errors": 0,
    "dotresize.foreign": 0,
    "dotresize.json_files": 0,
    "dotresize.locks": 0,
    "dotresize.paths": 0,
    "dotresize": 7,
    "dotresize.cli": 8,
    "dotresize.__main__": 8,
}
for _rank, (_stage, _folders) in enumerate(FOLDERS.items(), 1):
    RANKS |= {f"dotresize.{_stage}.{name}": _rank + i / 10 for i, name in enumerate(_folders.split())}
    RANKS[f"dotresize.{_stage}"] = _rank + 0.9
FILES_OF_A_FOLDER = 20
# Importing one of these takes from a tenth of a second to many seconds.
HEAVY = {"accelerate", "datasets", "gguf", "onnx", "onnx_ir", "onnxruntime", "onnxruntime_genai", "ot"}
HEAVY |= {"pandas", "peft", "pyarrow", "safetensors", "scipy", "tokenizers", "torch", "transformers", "vllm"}


class Import(NamedTuple):
    target: str  # absolute module name
    line: int
    runs_at_import: bool  # neither in a function nor under `if TYPE_CHECKING`


def source_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every source file below `root` with its module name: bench/run.py is dotresize.bench.run."""
    for folder in ("dotresize", *STAGES):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts if folder == "dotresize" else ("dotresize", *parts)
            yield path, ".".join(parts)


def imports(path: Path, module: str) -> Iterator[Import]:
    """Every import in a file, relative ones resolved."""
    package = module.split(".")[:-1]  # also of a package: the module name of its file ends in __init__
    for node, runs in _walk(ast.parse(path.read_text(encoding="utf-8")), True):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, runs) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # `from . import fold` names a module, `from .fold import merge` a member: the rank is the same
            yield from (Import(f"{base}.{alias.name}", node.lineno, runs) for alias in node.names)
        elif isinstance(node, ast.Call) and _called_name(node) in ("import_module", "__import__"):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            yield from (Import(name, node.lineno, runs) for name in names if isinstance(name, str))


def _walk(node: ast.AST, runs: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, runs
    for child in ast.iter_child_nodes(node):
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        )
        yield from _walk(child, runs and not deferred)


def _called_name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def rank(module: str) -> float | None:
    """Rank of the longest known prefix, or None outside dotresize."""
    parts = module.split(".")
    for length in (3, 2, 1):
        if (prefix := ".".join(parts[:length])) in RANKS:
            return RANKS[prefix]
    return None


def violations(root: Path) -> list[str]:
    """Every broken rule below `root`, as `file:line: what`."""
    found = []
    for path, module in source_files(root):
        own = rank(module)
        assert own is not None
        for target, line, runs_at_import in imports(path, module):
            where = f"{path.relative_to(root)}:{line}"
            top = target.split(".")[0]
            if top in STAGES:
                found.append(f"{where}: bare import of {top}; use dotresize.{top}")
            if (other := rank(target)) is not None and other > own:
                found.append(f"{where}: {module} must not import {target}")
            if module.startswith("dotresize.cli") and runs_at_import and top in HEAVY:
                found.append(f"{where}: {top} makes `dotresize --help` slow; import it inside the command")
    return found


def circles(root: Path) -> list[list[str]]:
    """Groups of modules below `root` each of which imports itself by way of the others."""
    files = {module: path for path, module in source_files(root)}
    graph = {module: _imported(path, module, files) for module, path in files.items()}
    reached = {module: _reached(module, graph) for module in graph}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in graph
        if module in reached[module]
    }
    return [list(group) for group in sorted(groups)]


def _imported(path: Path, module: str, known: Mapping[str, Path]) -> set[str]:
    """Modules that a file imports, members of a package counted as its `__init__`."""
    found: set[str] = set()
    for target, _, _ in imports(path, module):
        outer = target.rpartition(".")[0]
        names = (target, outer, f"{target}.__init__", f"{outer}.__init__")
        found.update(name for name in names[:1] if name in known)
        found.update(name for name in names[1:] if name in known and target not in known)
    return found - {module}


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    new = set(graph[start])
    while new:
        found |= new
        new = {target for module in new for target in graph[module]} - found
    return found


def test_source_tree_obeys_the_layers() -> None:
    assert violations(ROOT) == []


def test_no_modules_import_each_other() -> None:
    assert circles(ROOT) == []


def test_a_folder_can_be_looked_through() -> None:
    held = Counter(path.parent for path, _ in source_files(ROOT))
    assert {str(folder): files for folder, files in held.items() if files > FILES_OF_A_FOLDER} == {}


def test_tests_import_no_stage_by_its_bare_name() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{found.line}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for found in imports(path, ".".join(path.relative_to(ROOT).with_suffix("").parts))
        if found.target.split(".")[0] in STAGES
    ]
    assert bare == []


def test_every_package_on_disk_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    on_disk = {
        name.removesuffix(".__init__") for path, name in source_files(ROOT) if path.name == "__init__.py"
    }
    assert on_disk == set(project["tool"]["setuptools"]["packages"])
    in_folders = {path.parent for path, _ in source_files(ROOT)}
    assert [folder for folder in sorted(in_folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        (
            "compress/a.py",
            "from ..export.manifest import read",
            "compress/a.py:1: dotresize.compress.a must not",
        ),
        (
            "compress/a.py",
            "from ..export import manifest",
            "must not import dotresize.export.manifest",
        ),
        (
            "compress/__init__.py",
            "from ..serve.client import stream",
            "must not import dotresize.serve.client.stream",
        ),
        (
            "export/a.py",
            "def f():\n    import dotresize.bench.speed",
            "export/a.py:2: dotresize.export.a must not",
        ),
        (
            "serve/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..cli import app",
            "serve/a.py:3: dotresize.serve.a must not import dotresize.cli.app",
        ),
        ("bench/a.py", "from .. import compress", None),
        (
            "bench/record/a.py",
            "from ..judge.wording import metric",
            "bench/record/a.py:1: dotresize.bench.record.a must not import dotresize.bench.judge.wording",
        ),
        ("bench/judge/a.py", "from ..record.results import read", None),
        ("bench/judge/a.py", "from .. import run", "must not import dotresize.bench.run"),
        ("bench/run.py", "from .report import page\nfrom ..serve import client", None),
        ("plan/a.py", "from ..bench.sweep import grid", None),
        (
            "serve/a.py",
            "from ..bench.record import results",
            "must not import dotresize.bench.record.results",
        ),
        ("bench/a.py", "from dotresize import __version__", "must not import dotresize.__version__"),
        ("dotresize/errors.py", "from .compress import plan", "dotresize.errors must not import"),
        ("export/a.py", "import importlib\nimportlib.import_module('dotresize.serve')", "export/a.py:2"),
        ("export/a.py", "import compress", "export/a.py:1: bare import of compress"),
        ("export/a.py", "from compress.fold import fold", "bare import of compress"),
        ("dotresize/cli/a.py", "import torch", "torch makes `dotresize --help` slow"),
        (
            "dotresize/cli/a.py",
            "try:\n    from transformers import AutoModel\nfinally:\n    pass",
            "transformers makes",
        ),
        ("dotresize/cli/a.py", "def command():\n    import torch", None),
        (
            "compress/a.py",
            "import torch\nfrom ..errors import InputError\nfrom ..version import __version__",
            None,
        ),
        ("dotresize/cli/a.py", "from ..bench import report\nfrom .. import __version__", None),
    ],
)
def test_the_rules_can_fail(tmp_path: Path, file: str, code: str, complaint: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    found = violations(tmp_path)
    if complaint is None:
        assert found == []
    else:
        assert len(found) == 1
        assert complaint in found[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"bench/a.py": "from .b import x", "bench/b.py": "from .a import y"}, [["a", "b"]]),
        ({"bench/a.py": "from .b import x", "bench/b.py": "def f():\n    from . import a"}, [["a", "b"]]),
        (
            {
                "bench/a.py": "from .b import x",
                "bench/b.py": "from .c import x",
                "bench/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import x",
            },
            [["a", "b", "c"]],
        ),
        ({"bench/__init__.py": "from .a import x", "bench/a.py": "from . import y"}, [["__init__", "a"]]),
        ({"bench/__init__.py": "", "bench/a.py": "from . import b", "bench/b.py": "x = 1"}, []),
        (
            {
                "bench/a.py": "from .b import x\nfrom .c import x",
                "bench/b.py": "from .c import x",
                "bench/c.py": "",
            },
            [],
        ),
    ],
)
def test_circles_are_found(tmp_path: Path, files: dict[str, str], expected: list[list[str]]) -> None:
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    assert circles(tmp_path) == [[f"dotresize.bench.{name}" for name in group] for group in expected]
