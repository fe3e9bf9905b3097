"""The rules of the repository: layers, sizes, safety, and commands that exist."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import typer.main

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    {
        "command_line",
        "errors",
        "geometric",
        "graph_limits",
        "kernel_options",
        "lazy",
        "process_ids",
        "predictor_options",
        "printable",
        "fork_server",
        "processes",
        "style",
        "user_code",
    },
    {"figure", "locks"},
    {"locks"},
    {"fused", "graphs"},
    {"spaces", "kernels", "topology", "topology_options", "config", "metrics"},
    {
        "encoders",
        "models",
        "data",
        "runs",
        "loggers",
        "jsonl",
        "training",
    },
    {"proxies"},
    {"predictors", "studies"},
    {"evaluate"},
    {"tabulate", "search", "retrain", "export"},
    {"bench"},
    {"viz"},
    {"report"},
    {"cli", "__main__"},
)
"""Who may import whom: only lower layers, and without circles the own one."""
OF_DATA = {"nats", "pickles", "published", "tables", "tfrecord"}
"""Modules of a space's folder that join it to the layer of data: readers of its tables."""
MAX_FILE_LINES, MAX_FUNCTION_LINES = 800, 100
LIBRARY = sorted((ROOT / "gnas").rglob("*.py"))
INDIRECT = {"protobuf", "requests", "tensorboard", "tqdm"}
"""Dependencies that another one imports only when it needs them."""


@cache
def tracked() -> tuple[Path, ...]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("needs a git checkout")
    return tuple(ROOT / name for name in listing.stdout.split("\0") if (ROOT / name).is_file())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package(path: Path) -> str:
    """The part of gnas that a file belongs to: its folder or file directly under gnas/."""
    return part(path.relative_to(ROOT).with_suffix("").parts)


def part(names: Sequence[str]) -> str:
    """The part of gnas that a module belongs to, given the parts of its name."""
    is_reader = names[1] == "spaces" and len(names) == 4 and names[3] in OF_DATA
    return "data" if is_reader else names[1]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: write absolute imports"
            assert node.module is not None
            names = [alias.name for alias in node.names]
            yield from (
                (f"gnas.{name}" for name in names) if node.module == "gnas" else [node.module]
            )


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@cache
def project() -> dict[str, list[str]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def normal(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_a_public_class_has_one_home() -> None:
    """Two classes of one name would give the name two meanings."""
    homes: dict[str, list[str]] = {}
    for path in LIBRARY:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name_of(path))
    assert not {name: found for name, found in homes.items() if len(found) > 1}


def test_every_module_has_a_layer() -> None:
    known = set().union(*LAYERS) | {"__init__"}
    assert {package(path) for path in LIBRARY} <= known, "add the new module to LAYERS"


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_imports_only_go_down(path: Path) -> None:
    if path == ROOT / "gnas" / "__init__.py":
        return  # the public names, loaded on use
    rank = {module: i for i, layer in enumerate(LAYERS) for module in layer}
    own = package(path)
    for name in imports(path):
        if name.startswith("gnas.") and name != "gnas.__version__":
            other = part(name.split("."))
            assert other in rank, f"{name}: import from the module that defines the name"
            assert rank[other] <= rank[own], f"{own} may not import {name}"


def test_layers_have_no_circles() -> None:
    uses: dict[str, set[str]] = {}
    for path in LIBRARY:
        if path != ROOT / "gnas" / "__init__.py":
            own = package(path)
            found = {part(n.split(".")) for n in imports(path) if n.startswith("gnas.")}
            uses.setdefault(own, set()).update(found - {own, "__version__"})
    while free := [module for module, needs in uses.items() if not needs & uses.keys()]:
        for module in free:
            del uses[module]
    assert not uses, f"these modules import each other in a circle: {sorted(uses)}"


def test_files_and_functions_are_short() -> None:
    for path in LIBRARY:
        lines = len(path.read_text().splitlines())
        assert lines <= MAX_FILE_LINES, f"{name_of(path)} has {lines} lines; split it"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                length = _code_lines(node)
                assert length <= MAX_FUNCTION_LINES, f"{name_of(path)}: {node.name} has {length}"


def test_examples_have_the_name_that_the_reference_knows() -> None:
    for path in LIBRARY:
        found = re.findall(r"^ +Example:$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not found, f"{name_of(path)} must say Examples:, or they are shown as text"


def _code_lines(node: ast.FunctionDef) -> int:
    assert node.end_lineno is not None
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) and node.body[0].end_lineno is not None:
        length -= node.body[0].end_lineno - node.body[0].lineno + 1
    return length


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_no_prints_exits_or_path_tricks_in_the_library(path: Path) -> None:
    forbidden = {"exit", "quit", "eval", "exec"}
    if name_of(path) != "gnas/user_code.py":  # where a file of a user imports those beside it
        forbidden |= {"sys.path.append", "sys.path.insert"}
    if package(path) != "cli":
        forbidden |= {"print", "sys.exit"}
    found = {name for name, _ in calls(path)} & forbidden
    assert not found, f"{name_of(path)} calls {found}"
    for node in ast.walk(tree(path)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None)
        assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*")


def test_nothing_reads_pickles_that_could_run_code() -> None:
    unsafe = re.compile(r"(^|\.)(pickle\.loads?|joblib\.load|read_pickle|shelve\.open)$")
    ours = (path for path in tracked() if path.suffix == ".py" and "tests" not in path.parts)
    for path in ours:
        for name, call in calls(path):
            options = {option.arg: ast.unparse(option.value) for option in call.keywords}
            where = f"{name_of(path)}:{call.lineno}"
            assert not unsafe.search(name), f"{where}: {name} runs code from the file"
            assert name != "pickle.Unpickler", f"{where}: use the restricted unpickler"
            if name.endswith(".load"):
                assert options.get("allow_pickle", "False") == "False", where
            if name == "torch.load":
                assert options.get("weights_only") == "True", where


OPTUNA_PRIVATES = re.compile(
    r"(?<![a-z])_?(?:study|trial|storage|backend|rdb|sampler|optuna(?:\.\w+)*)\._[a-z]\w*"
    r"|\b_(?:study|trial)_id\b|from optuna[\w.]* import (?:.*\W)?_\w|import optuna\.(?:\w+\.)*_"
)
OPTUNA_SQL = re.compile(
    r"(?i)\b(?:from|into|update|join|table)\s+(?:studies|trials|(?:study|trial)_\w+)\b.*[\"']"
)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_optuna_is_used_by_its_public_interface(path: Path) -> None:
    code = ast.unparse(_without_docstrings(tree(path)))
    for pattern in (OPTUNA_PRIVATES, OPTUNA_SQL):
        found = pattern.search(code)
        assert not found, f"{name_of(path)} reaches into Optuna: {found[0]}"


def test_reaching_into_optuna_would_be_seen() -> None:
    for line in (
        "study._storage", "self._study._study_id", "trial._trial_id", "optuna.trial._frozen",
        "from optuna.storages._rdb import models", "from optuna.trial import Trial, _base",
        "import optuna.storages._cached_storage", "self.sampler._rng", "self._rdb.backend._engine",
        "self._study._x()",
    ):  # fmt: skip
        assert OPTUNA_PRIVATES.search(line), line
    for line in ("'DELETE FROM trials'", "'select 1 from trial_values where x'"):
        assert OPTUNA_SQL.search(line), line


def _without_docstrings(module: ast.Module) -> ast.Module:
    found = ast.parse(ast.unparse(module))
    for node in ast.walk(found):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [x for x in body if not (isinstance(x, ast.Expr) and _is_text(x.value))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return found


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_folders_of_data_hold_no_code() -> None:
    for folder in (ROOT / "datasets", ROOT / "benchmarks" / "results"):
        assert not list(folder.rglob("*.py"))
    assert not (ROOT / "benchmarks" / "__init__.py").exists()


def test_no_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.~/:])/(work|root|home/\w+|Users/\w+)/")
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".sh", ""}:
            found = place.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name_of(path)} names {found and found[0]}"


def test_every_dependency_says_who_uses_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for requirements in project().values():
        for requirement in requirements:
            line = next(line for line in lines if line.strip().startswith(f'"{requirement}"'))
            assert re.search(r'",\s+# \w', line), f"{requirement} needs a comment: who uses it"


def test_imports_and_dependencies_agree() -> None:
    provides = packages_distributions()
    used: dict[str, str] = {}
    for path in LIBRARY:
        for name in imports(path):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names | {"gnas"}:
                used.setdefault(top, name_of(path))
    declared = {
        normal(requirement)
        for extra, requirements in project().items()
        for requirement in requirements
        if extra != "dev"
    }
    needed = set()
    for top, where in used.items():
        homes = {normal(home) for home in provides.get(top, [top])}
        assert homes & declared, f"{where} imports {top}: add it to the dependencies"
        needed |= homes
    assert declared - INDIRECT <= needed, "a dependency that nothing imports"


@pytest.mark.parametrize("command", [["-c", "import gnas"], ["-m", "gnas", "--help"]])
def test_the_start_is_light(command: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True
    )
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in result.stderr.splitlines()}
    heavy = {"torch", "torch_geometric", "numpy", "scipy", "sklearn", "pandas", "networkx"}
    heavy |= {"matplotlib", "pyarrow", "optuna", "grakel", "nasbench_pytorch"}
    assert not loaded & heavy


def test_graphs_need_no_compiler_and_warn_of_nothing() -> None:
    program = (
        "import sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "import gnas.search.run, gnas.predictors\n"
        "warnings.resetwarnings()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "import torch\n"
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)) == 2"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_pyg_is_imported_in_one_place(path: Path) -> None:
    at_the_top = [node for node in tree(path).body if isinstance(node, ast.ImportFrom)]
    found = [node.module for node in at_the_top if (node.module or "").startswith("torch_geom")]
    assert not found, "import from gnas.geometric, or the compiler is imported too"


def test_no_module_asks_for_the_name_of_a_space() -> None:
    """What differs between spaces are facts of theirs; a space of a user's own has them too."""
    names = "nasbench101|nasbench201|nasgem|toponas"
    kinds = "NASBench101|NASBench201|NASGEM|TopoNAS"
    asks = re.compile(
        r"space(\(\))?\.name *(==|!=|in\b)"
        rf"|(==|!=|\bin) *[(\[{{]?\"({names})\"|isinstance\([\w.]*space\w*, *\(?({kinds})"
    )
    folders = {ROOT / "gnas" / "spaces" / name for name in names.split("|")}
    for path in LIBRARY:
        if not folders & set(path.parents):
            found = asks.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name_of(path)}: {found and found[0]!r}; make it a fact"


def test_public_names_exist() -> None:
    import gnas

    for name in gnas.__all__:
        assert getattr(gnas, name) is not None
    assert set(gnas.__all__) <= set(dir(gnas))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = gnas.nonsense


def exported() -> set[str]:
    """Names that any package of the library exports."""
    found: set[str] = set()
    for path in (one for one in LIBRARY if one.name == "__init__.py"):
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
                found.update(text for text in texts if isinstance(text, str))
    return found


def test_exported_functions_and_classes_describe_their_arguments() -> None:
    names, silent = exported(), []
    for path in (one for one in LIBRARY if not one.is_relative_to(ROOT / "gnas" / "cli")):
        for node in tree(path).body:
            made: ast.AST | None = node
            if isinstance(node, ast.ClassDef):
                made = next((m for m in node.body if getattr(m, "name", "") == "__init__"), None)
            if not isinstance(made, ast.FunctionDef) or getattr(node, "name", "") not in names:
                continue
            assert isinstance(node, ast.ClassDef | ast.FunctionDef)
            variants = {ast.unparse(one) for one in made.decorator_list}
            taken = {*(one.arg for one in (*made.args.args, *made.args.kwonlyargs))} - {"self"}
            told = (ast.get_docstring(node) or "") + (ast.get_docstring(made) or "")
            if taken and "overload" not in variants and "Args:" not in told:
                silent.append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert not silent


def shell_commands() -> list[tuple[str, str]]:
    """Every (file, command) of the shell examples in the documentation."""
    found = []
    for path in sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")}) + sorted(
        [*(ROOT / "datasets").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    ):
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.removeprefix("$ ").split("  #")[0].strip()
                if command and not command.startswith("#"):
                    found.append((name_of(path), command))
        found += [(name_of(path), command) for command in re.findall(r"`(gnas \w[^`]*)`", text)]
    return found


COMMANDS = shell_commands()


def test_no_function_or_class_is_hidden_by_a_module() -> None:
    """Importing a module sets the attribute of that name of its package, before the first use."""
    packages = (ROOT / "gnas").rglob("__init__.py")
    lazy = [one for one in packages if "on_first_use" in one.read_text(encoding="utf-8")]
    assert ROOT / "gnas" / "spaces" / "__init__.py" in lazy
    for path in lazy:
        name = ".".join(path.parent.relative_to(ROOT).parts)
        for public in getattr(importlib.import_module(name), "__all__", ()):
            if (path.parent / f"{public}.py").exists():
                found = getattr(importlib.import_module(name), public)
                assert found is importlib.import_module(f"{name}.{public}"), f"{name}.{public}"


def test_the_readme_shows_the_two_commands() -> None:
    assert {("README.md", "make bench"), ("README.md", "make test")} <= set(COMMANDS)


@pytest.mark.parametrize(("file", "command"), COMMANDS, ids=[f"{f}: {c}" for f, c in COMMANDS])
def test_documented_commands_exist(file: str, command: str) -> None:
    words = [word for word in shlex.split(command) if "=" not in word or word.startswith("-")]
    if words[0] == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(words[1:]) <= targets
    elif words[0].endswith("gnas"):
        _check_gnas(words[1:])
    elif "python" in words[0]:
        scripts = [word for word in words if word.endswith(".py")]
        source = "".join((ROOT / script).read_text() for script in scripts)
        assert all(word in source for word in words if word.startswith("--"))


get_command = cache(typer.main.get_command)  # slow


def _check_gnas(words: list[str]) -> None:
    from gnas.cli import app

    command = get_command(app)
    options = {name for option in command.params for name in option.opts}
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            command = inner
            options |= {
                n for option in command.params for n in option.opts + option.secondary_opts
            }
        elif word.startswith("-") and word != "-":
            assert word.split("=")[0] in options | {"--help", "-h"}, f"no option {word}"
        else:
            assert not hasattr(command, "commands"), f"no command {word}"
