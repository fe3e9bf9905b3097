"""Impossible values of options: one line, no traceback, no heavy import where none is due."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from gnas import cli
from gnas.cli.architectures import read_architecture
from gnas.data.places import table_path
from gnas.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
GENOTYPE = (
    "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat=[2], "
    "reduce=[('skip_connect', 0), ('skip_connect', 1)], reduce_concat=[2])"
)
STOPS = ["--set", "nonsense=1"]
"""What ends a command before any work, after its paths were looked at."""
BASE = {
    "bench": ["--samples", "1"],
    "bench darts": ["--table", "nowhere"],
    "bench search": ["nasbench201", "--searchers", "nonsense"],
    "bench supernet": ["nasbench201", "--methods", "nonsense"],
    "bench topology": ["--table", "nowhere"],
    "data list": [],
    "data subset": ["nowhere", "--out", "list.txt"],
    "data": ["no-such-table"],
    "encoder train": ["nonsense", "--out", "x.safetensors"],
    "encoder embed": ["nonsense", "--out", "x.npy"],
    "evaluate": ["nowhere"],
    "export": [GENOTYPE, "--to", "python", "--out", "x.py", *STOPS],
    "retrain": [GENOTYPE, *STOPS],
    "search": STOPS,
    "show": [GENOTYPE],
    "tabulate": ["nasbench101", "--out", "x.parquet", "--like", "nowhere", "--workers", "0"],
    "worker": ["--study", "s", "--storage", "nowhere/x"],
}
"""Arguments that end a command, or all commands of a group, before it works."""
NAMES = ["[/]", "\x1b[31mred", "a\nb", "x" * 200, "\udcff", "e\u202e", "$x$", "-x", "%s{0}"]
"""Of files and folders that are there, in ``f`` and in ``d``."""
VALUES = [
    "", "file", "folder", "/dev/full", "/dev/null", "file/below", "fifo", "fifo/x", "loop",
    "dangling", "/proc/x", "a\0b", "x" * 300, "y/" * 3000, "\udcff.json", "--", "..", "/",
    "~nobody/x", "nan", "-1", "1e400", "9" * 5000, "null", "[" * 5000, "{" * 100, "Genotype(",
    "|", "bad.py:x", "file:x", "p.py:\x1b[31m", "bad.parquet", "nasgem(num_nodes=[/])",
    *NAMES, *(f"f/{name}" for name in NAMES), *(f"d/{name}" for name in NAMES),
]  # fmt: skip
SHARE = int(os.environ.get("GNAS_FUZZ_SHARE", "16"))
"""Every option takes one value of so many, each option other ones; 1 takes all."""
SECONDS = 20.0
"""Processor time that no value may take: each ends its command before the work."""


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(words), command
    else:
        for name, below in inner.items():
            yield from leaves(below, (*words, name))


TREE = typer.main.get_command(cli.app)
LEAVES = dict(leaves(TREE))


def base(name: str, command: Any) -> list[str]:
    """Arguments that end a command; for one that is not in `BASE` names of nothing."""
    for key in (name, name.partition(" ")[0]):
        if key in BASE:
            return BASE[key]
    needed = [p for p in command.params if p.required]
    return [word for p in needed for word in ([p.opts[0]] if is_option(p) else []) + ["nowhere"]]


def is_option(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "option"


def calls(name: str) -> Iterator[tuple[str, list[str]]]:
    """A value and the words of a command with it, for every parameter that takes one."""
    command = LEAVES[name]
    words = base(name, command)
    given = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    taking = [p for p in command.params if not getattr(p, "is_flag", False)]
    places = [p for p in taking if not is_option(p)]
    for k, parameter in enumerate(taking):
        for value in VALUES[(k + zlib.crc32(name.encode())) % SHARE :: SHARE]:
            if is_option(parameter):
                found = [*words, parameter.opts[0], value]
            else:
                before = [*given, *["x"] * len(places)][: places.index(parameter)]
                found = [*words[len(given) :], "--", *before, value]
            yield f"{parameter.name} {value[:40]!r}", [*name.split(), *found]


@contextmanager
def hostile_folder(folder: Path) -> Iterator[None]:
    """Files, folders, pipes and links of all kinds, in a folder that is the working one inside."""
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("no/where")
    (folder / "bad.py").write_text("raise ValueError('\\x1b[31m[/]\\n')")
    (folder / "bad.parquet").write_bytes(b"PAR1xxxxPAR1")
    for name in NAMES:
        (folder / "d" / name).mkdir(parents=True)
        (folder / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "f" / name).write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("GNAS_DATA", str(folder / "data"))
        patch.setattr("typer.testing._get_command", lambda app: TREE)  # not made for each call
        yield


class TooLongError(BaseException):
    """A command that takes `SECONDS`."""


@contextmanager
def limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.filterwarnings("ignore")
def test_no_value_is_a_traceback(name: str, tmp_path: Path) -> None:
    with hostile_folder(tmp_path):
        for what, words in calls(name):
            with limited():
                result = CliRunner().invoke(cli.app, words)
            where = f"{what}: {result.exception!r}"
            assert result.exception is None or isinstance(result.exception, SystemExit), where
            assert result.exit_code in (0, 1, 2), where
            if result.exit_code == 1:
                lines = [x for x in result.stderr.splitlines() if not x.startswith("warning: ")]
                assert len(lines) == 1 and len("error: ") < len(lines[0]) < 2000, where
                assert lines[0].startswith("error: "), where
            assert "\x1b[31m" not in result.output, where


def test_every_command_takes_part() -> None:
    assert {"show", "bench supernet", "search bayes", "data convert"} <= LEAVES.keys()
    assert [word for _, words in calls("data convert") for word in words[:1]][:1] == ["data"]
    unknown = base("new thing", LEAVES["tabulate"])
    assert "nowhere" in unknown and "--out" in unknown


EARLY = {
    "search toponas --space nasbench101": "with a supernet, but 'nasbench101' has none",
    "leaderboard nowhere": "but there is no such file",
    "leaderboard file --json folder": "the output must be a file",
    "search random --space nasbench201 --log nonsense": "--log must be wandb or mlflow, or none",
    "search toponas --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "search toponas --out file": "a run's folder must be writable, but file: it is a file",
    "search toponas --json folder": "the output must be a file",
    "search toponas --set epochs": "--set must be NAME=VALUE",
    "search toponas --set nonsense=1": "unknown setting 'nonsense'",
    "search toponas --space nonsense": "unknown space 'nonsense'",
    "search random --space nasgem(x=1) --dataset digits": "unknown nasgem argument 'x'; choose",
    "search random --space nasgem(num_nodes=8,num_nodes=9) --dataset digits": "must be named NAME",
    "search random --space nasgem( --dataset digits": "must be named NAME or NAME(argument=value",
    "search evolution --space dag(ops=('a',)) --dataset digits": "must be given its max_nodes",
    "search nasgem --space nasgem(x=1)": "unknown nasgem argument 'x'; choose from",
    "search toponas --space nasgem(8)": "must be named NAME or NAME(argument=value",
    "encoder train --space nasgem(x=1) --out x.safetensors": "unknown nasgem argument 'x'",
    "tabulate nasgem(x=1) --out x.parquet": "unknown nasgem argument 'x'",
    "show file --space toponas(nodes=7)": "unknown toponas argument 'nodes'; did you mean num",
    "retrain file --space edge-ops": "must be given its num_nodes and edge_ops",
    "export file --to python --out x.py --space nasbench201(x=1)": "there is none to choose from",
    "evaluate file --space nasgem(x=1)": "unknown nasgem argument 'x'",
    "report file --space nasgem(x=1)": "unknown nasgem argument 'x'",
    "data verify nasgem-mini --space nasgem(x=1)": "unknown nasgem argument 'x'",
    "worker --study s --storage file --space nasgem(x=1)": "unknown nasgem argument 'x'",
    "search random --space nasgem(num_nodes=0) --dataset digits": "num_nodes must be at least 1",
    "search nasgem --space nasgem(densities=3)": "must take its arguments, but {'densities': 3}",
    "show file --space toponas(num_nodes=3)": "num_nodes must be at least 4, but got 3",
    "export file --to python --out x.py --space toponas(topology=1)": "topology must be one of",
    "tabulate dag(ops=('a',),max_nodes=2) --out x.parquet": "max_nodes must be in [3, 127], but",
    "retrain file --space edge-ops(num_nodes=2,edge_ops=('a',))": "must be at least two operati",
    "evaluate file --space random-wiring(num_nodes=4)": "must be at least 5 for watts-strogatz",
    "report file --space dag(ops=('a',),max_nodes=4,build='x')": "build must be a function that",
    "search random --space nasgem --dataset folder --data-dir folder": "folder has []",
    "search random --space nasgem --dataset cifar10 --data-dir folder": "must hold cifar-10-ba",
    "search random --space nasgem --dataset folder": "folder needs the folder of its images",
    "search nasgem --dataset folder --data-dir classless": "/classless has ['cat']",
    "search nasgem --dataset cifar10 --data-dir images": "images must hold cifar-10-batches-py",
    "search toponas --dataset folder --data-dir empty": "/dog has none; it has (dog/notes.txt)",
    "search toponas --dataset folder --data-dir arrays": "arrays/y_train.npy does not exist",
    "search toponas --dataset imagenet-3pct --data-dir folder": "folder has []",
    "retrain file --dataset folder --data-dir unlike": "they differ in ['dog', 'fox']",
    "retrain file --dataset imagenet --data-dir images": "must have train/<class>/* and val/<cl",
    "evaluate file --dataset folder --data-dir folder": "/folder has []",
    "evaluate run/weights": "folder has []",
    "evaluate file --dataset folder": "folder needs the folder of its images: give --data-dir",
    "evaluate net": "folder needs the folder of its images: give --data-dir",
    "evaluate file --image-size 4": "image_size must be at least 8, but got 4",
    "evaluate file --workers 2000": "'--workers': must be at most 1024, but got '2000'",
    "evaluate file --batch-size 1000000000": "'--batch-size': must be at most 4096, but got",
    "evaluate file --dataset imagenet --data-dir folder": "must have train/<class>/* and val/<c",
    "tabulate nasbench101 --out x.parquet --dataset folder": "classes, but folder has []",
    "bench supernet nasbench201 --table nasgem-mini --dataset folder --data-dir folder": "has []",
    "bench supernet nasbench201 --table nasgem-mini --dataset cifar10": "folder of its images",
    "search toponas --dataset folder --data-dir parts": "parts has ['Test', 'Train'] without them",
    "search toponas --dataset folder --data-dir part": "/part has ['Validation'] without them",
    "search toponas --dataset imagenet-3pct --data-dir parts": "parts of an image folder must be",
    "search toponas --dataset cifar10 --data-dir nowhere": "there is none at nowhere",
    "search toponas --out run": "run has a run of gnas retrain; choose another",
    "search toponas --select --out found": "found has a run of gnas search toponas; cho",
    "search toponas --out found": "own, but found has one; go on with --resume found, or choose",
    "search nasgem --out run": "run has a run of gnas retrain; choose another",
    "search random --space nasgem --dataset digits --out run": "run has a run of gnas retrain; ch",
    "retrain file --out found": "found has a run of gnas search toponas; choose another",
    "bench nasbench101 --table nasbench101-mini --out bench": "has those of gnas bench topology",
    "bench search nasbench101 --table nasbench101-mini --out bench": "those of gnas bench topo",
    "bench nasbench101 --table own.parquet --json own.parquet": "own.parquet is used otherwise in",
    "leaderboard file --json file": "must be a file of its own, but file is used otherwise",
    "leaderboard file --markdown file": "must be a file of its own, but file is used otherwise",
    "leaderboard file --markdown x --json x": "must be a file of its own, but x is used otherwise",
    "encoder embed e.safetensors --out e.safetensors": "e.safetensors is used otherwise",
    "encoder embed e.safetensors --out x.npy": "e.safetensors must be an encoder that gnas encod",
    "encoder train nasgem-30 --out x.safetensors --json x.safetensors": "is used otherwise",
    "export file --to python --out p.py --json p.py": "p.py is used otherwise in this command",
    "export p.py --to python --out p.py": "p.py is used otherwise in this command",
    "evaluate e.safetensors --json e.safetensors": "e.safetensors is used otherwise",
    "retrain file --json file": "file is used otherwise in this command",
    "tabulate nasbench101 --out own.parquet --like own.parquet": "own.parquet is used otherwise",
    "data convert nasbench101 own.parquet --out own.parquet": "own.parquet is used otherwise",
    "data verify own.parquet --json own.parquet": "own.parquet is used otherwise in this command",
    "data subset images --out images/cat/1.png": "must be a text file, but images/cat/1.png is na",
    "data subset images --out x.txt --json x.txt": "x.txt is used otherwise in this command",
    "search random --space nasgem --evaluate p.py:f --storage sqlite:/x.db": "with 'sqlite:'",
    "worker --study s --storage postgresql:/h/d": "begins with 'postgresql:'; write ./postgresql:",
    "search toponas --select --retrain nonsense=1": "unknown setting 'nonsense'",
    "search toponas --select --repeats 0": "'--repeats': must be at least 1, but got '0'",
    "search toponas --device tpu": "device must be auto, cpu, cuda or cuda:N",
    "search nasgem --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "search nasgem --json folder": "the output must be a file",
    "search nasgem --encoder nonsense": "unknown encoder 'nonsense'",
    "search random --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "search random --space nasgem --dataset nonsense": "unknown dataset 'nonsense'",
    "search evolution --space nasgem --table nowhere": "table 'nowhere' not found",
    "search bayes --space nasgem --evaluate nowhere.py:f": "must be a Python file",
    "search local --space nasgem --dataset digits --set x=1": "unknown setting 'x'",
    "search predictor --space nonsense --dataset digits": "unknown space 'nonsense'",
    "retrain --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "retrain file --json folder": "the output must be a file",
    "retrain nowhere": "there is no nowhere",
    "retrain file --set nonsense=1": "unknown setting 'nonsense'",
    "evaluate nowhere": "WEIGHTS must be a folder or a file, but there is no nowhere",
    "evaluate file --data-dir nowhere": "there is none at nowhere",
    "export file --to onnx --out x --json folder": "the output must be a file",
    "export file --to nonsense --out x": "the form must be one of",
    "export file --to python --out x.py --stem nonsense": "is not one of",
    "export file --to python --out x.py --set nonsense=1": "unknown setting 'nonsense'",
    "report nowhere": "there is no nowhere",
    "report folder": "a run's folder must have a config.json, but folder has none",
    "report file --out x.pdf": "the report must be an .html file",
    "report file --space nonsense": "unknown space 'nonsense'",
    "show nowhere": "there is no nowhere",
    "show folder": "a run's folder must have a config.json, but folder has none",
    "show file --out file": "a run's folder must be writable, but file: it is a file",
    "show file --space nonsense": "unknown space 'nonsense'",
    "show file --notation nonsense": "unknown notation 'nonsense'",
    "tabulate nonsense --out x.parquet": "unknown space 'nonsense'",
    "tabulate nasbench101 --out x": "must end in .parquet",
    "tabulate nasbench101 --out gone/../x.parquet": "gone/.. is not; write x.parquet",
    "tabulate nasbench101 --out x.parquet --like nowhere": "table 'nowhere' not found",
    "tabulate nasbench101 --out x.parquet --set nonsense=1": "unknown setting 'nonsense'",
    "tabulate nasbench101 --out x.parquet --set epochs=0": "epochs must be at least 1",
    "tabulate nasbench101 --out x.parquet --image-size 1": "must be at least 4, but got '1'",
    "worker --study s --storage nowhere": "a study's file must exist, but nowhere does not",
    "worker --study s --storage=": "--storage must have a value, but got an empty one",
    "search random --out=": "--out must have a value, but got an empty one",
    "search random --space nasgem --evaluate p.py:f --storage folder": "but 'folder' is a folder",
    "worker --study s --storage file --data-dir nowhere": "there is none at nowhere",
    "worker --study s --storage file --evaluate nowhere.py:f": "must be a Python file",
    "bench nasbench101 --json folder": "the output must be a file",
    "bench nasbench101 --samples 1": "at least 2",
    "bench nasbench201 --table nowhere": "table 'nowhere' not found",
    "bench nasgem --encoders nonsense": "unknown encoder 'nonsense'",
    "bench predictors nonsense --table nasgem-mini": "unknown space 'nonsense'",
    "bench predictors nasgem --table nasbench101-mini": "must hold architectures of nasgem, but",
    "bench predictors nasgem --table nasgem-mini --train-column x": "unknown column 'x'",
    "bench nasbench101 --predictors forrest": "unknown predictor 'forrest'; did you mean forest?",
    "bench nasgem --predictors nowhere.py:f": "must be a Python file",
    "bench darts --table nowhere": "table 'nowhere' not found",
    "bench search nasbench101 --searchers nonsense": "unknown searcher 'nonsense'; choose from",
    "bench supernet nasbench201 --table nasgem-mini --methods x": "methods must be different",
    "bench supernet nasbench201 --table nasgem-mini --set x=1": "unknown setting 'x'",
    "bench topology --table nowhere": "table 'nowhere' not found",
    "bench nasbench201 --table nasgem-mini --test-column nonsense": "unknown column 'nonsense'",
    "bench nasbench101 --table bad.parquet": "bad.parquet must be an intact Parquet file",
    "bench nasbench201 --table nasgem-mini": "must hold architectures of nasbench201, but holds",
    "bench nasbench101 --table nasgem-mini": "must hold architectures of nasbench101, but holds",
    "bench nasgem --table nasbench101-mini": "must hold architectures of nasgem, but holds those",
    "bench darts --table nasgem-mini": "must hold architectures of toponas, but holds those of",
    "bench search nasbench101 --table nasgem-mini": "must hold architectures of nasbench101, but",
    "bench supernet nasbench201 --table nasgem-mini": "must hold architectures of nasbench201",
    "bench topology --table nasgem-mini": "must hold architectures of nasbench201, but holds",
    "bench nasbench101 --out run": "run has a run of gnas retrain; choose another",
    "bench search nasbench101 --out run": "run has a run of gnas retrain; choose another",
    "search random --space nasbench201 --table nasgem-mini": "must hold architectures of nasb",
    "search random --space nasgem --dataset digits --data-dir folder": "digits are scikit-learn",
    "search nasgem --table nasbench101-mini": "must hold architectures of nasgem, but holds those",
    "search random --space nasgem --table nasgem-mini --study s": "on a --table keeps no study",
    "search nasgem --table nasgem-mini --storage x.db": "on a --table keeps no study",
    "search nasgem --data-dir folder": "digits are scikit-learn's and have no folder",
    "search toponas --data-dir folder": "digits are scikit-learn's and have no folder",
    "search toponas --k 3": "k does nothing in this search: it needs --topology fixed, or",
    "search toponas --set samples=2": "samples does nothing in this search: it needs --relax",
    "search toponas --set val_weight=2": "val_weight does nothing in this search: it needs --m",
    "search toponas --baseline darts --update joint": "update does nothing in this search: it",
    "search toponas --baseline gdas --relaxation softmax": "must be 'gumbel', but got 'softmax'",
    "search toponas --baseline darts --mode output": "a mode of its own, so mode must be 'input'",
    "search toponas --baseline darts --method milenas": "a method of its own, so method must be",
    "search toponas --epochs 1 --set lr_min=0": "lr_min does nothing in this search: it needs ep",
    "search toponas --epochs 3 --set warmup_share=0.3": "whole epoch, but is 0.3 of 3",
    "search toponas --epochs 5 --set stop_eigenvalue=0.7": "more than 5 epochs, which it comp",
    "search toponas --epochs 7 --baseline pc-darts --set stop_eigenvalue=0.7": (
        "after the 2 in which alpha does"
    ),
    "search toponas --set stem=imagenet --set stem_multiplier=2": "needs --space darts with stem",
    "search toponas --set percent=5": "percent does nothing in this search: it needs --dataset",
    "search toponas --set workers=2": "workers does nothing in this search: it needs --dataset",
    "search nasgem --table nasgem-mini --set epochs=9": "epochs does nothing in this search: it",
    "search nasgem --evaluate p.py:f --set percent=9": "percent does nothing in this search: it",
    "search nasgem --table nasgem-mini --prior erdos-renyi": "prior does nothing in this search",
    "search nasgem --objective val_acc --lambda 1": "lambda_ does nothing in this search: it",
    "search nasgem --predictor walks --set members=3": "members does nothing in this search",
    "search nasgem --no-embedding --set ops=false": "ops does nothing in this search: it needs",
    "search nasgem --table nasgem-mini --workers 2": "--workers 2 does nothing in this search",
    "search nasgem --table nasgem-mini --data-dir folder": "--table and --evaluate read no image",
    "search random --space nasgem --table nasgem-mini --workers 0": "--workers 0 does nothing in",
    f"search random --space nasgem --evaluate p.py:f --study={513 * 's'}": "1 to 512 characters",
    f"tabulate nasbench101 --out x.parquet --study={513 * 's'}": "1 to 512 characters",
    "search random --space nasgem --evaluate p.py:f --data-dir folder": "reads no --data-dir; lea",
    "retrain file --set workers=2": "workers does nothing in this training: it needs images that",
    "retrain file --set jitter=0.1": "jitter does nothing in this training: it needs images that",
    "retrain file --set split_seed=1": "split_seed does nothing in this training: it needs val_s",
    "retrain file --dataset imagenet --data-dir folder --set padding=2": "padding does nothing",
    "search toponas --baseline darts --topology fixed": "has no topology variables, so topology",
    "search toponas --baseline darts --regulariser 3": "regulariser does nothing in this search",
    "retrain file --epochs 2 --set warmup_epochs=3": "at most epochs, or the rate never reaches",
    "retrain file --data-dir folder": "digits are scikit-learn's and have no folder",
    "tabulate nasbench201 --out x.parquet --like nasgem-mini": "must hold architectures of nas",
    "tabulate nasbench201 --out x.parquet --cells-from nasgem-mini": "must hold architectures",
    "encoder embed nasgem-30 --out x.npy --table bad.parquet": "must be an intact Parquet file",
    "data list --json folder": "the output must be a file",
    "data fetch nonsense": "unknown source 'nonsense'",
    "data fetch nasbench101 --data-dir file": "--data-dir must be a folder, but file is a file",
    "data convert nasbench101 --data-dir file": "--data-dir must be a folder, but file is a file",
    "data convert nasbench101 file --out table.txt": "must end in .parquet, but got table.txt",
    "data list --data-dir nowhere": "--data-dir must be a folder, but there is none at nowhere",
    "data verify file --data-dir file": "--data-dir must be a folder, but there is none at file",
    "data convert nonsense": "unknown source 'nonsense'",
    "data convert nasbench101 nowhere": "nowhere not found",
    "data convert nasbench101 file --notation nonsense": "unknown notation 'nonsense'",
    "data verify nowhere": "table 'nowhere' not found",
    "data verify bad.parquet": "bad.parquet must be an intact Parquet file, but reading it failed",
    "data verify bad.tfrecord": "bad.tfrecord is truncated: it ends inside record 0",
    "data convert nasbench101 bad.parquet": "bad.parquet must be an intact Parquet file, but",
    "data convert nasbench101 bad.tfrecord": "bad.tfrecord is truncated: it ends inside record 0",
    "data subset nowhere --out x.txt": "found no folder nowhere",
    "data subset folder --out x.txt --percent 0": "percent must be in (0, 100]",
    "encoder train nonsense --out x.safetensors": "unknown encoder 'nonsense'",
    "encoder train nasgem-30 --out x": "must end in .safetensors",
    "encoder train --space nonsense --out x.safetensors": "unknown space 'nonsense'",
    "encoder embed nonsense --out x.npy": "unknown encoder 'nonsense'",
    "encoder embed nasgem-30 --out x": "go to a .npy or .safetensors file",
    "encoder embed nasgem-30 --out x.npy --table nowhere": "table 'nowhere' not found",
}
"""What a command can check of its words alone, and the message."""
LIGHT = """
import json, sys
from typer.testing import CliRunner

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torch_geometric", "optuna", "sklearn", "matplotlib", "scipy"):
            raise AssertionError(name + " is imported")

sys.meta_path.insert(0, Finder())
import typer.main
import typer.testing
from gnas import cli

tree = typer.main.get_command(cli.app)
typer.testing._get_command = lambda app: tree  # not made for each call

found = {}
for words in json.load(sys.stdin):
    done = CliRunner().invoke(cli.app, words.split())
    found[words] = [done.exit_code, repr(done.exception), " ".join(done.stderr.split())]
json.dump(found, sys.stdout)
"""
"""One process for all: it has imported nothing heavy as long as none of them has."""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Exit code, exception and errors of every command in `EARLY`."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    (folder / "p.py").write_text("def f(graph, *, seed):\n    return 0.0\n")
    (folder / "bad.parquet").write_text("x")
    (folder / "bad.tfrecord").write_text("x")
    (folder / "net").mkdir()
    details = {"details": {"data": {"dataset": "folder"}}}
    (folder / "net" / "config.json").write_text(json.dumps(details))
    (folder / "run").mkdir()
    config = {
        "command": "retrain", "image_size": 32,
        "images": {"dataset": "folder", "data_dir": str(folder / "folder")},
    }  # fmt: skip
    (folder / "run" / "weights").mkdir()
    (folder / "run" / "config.json").write_text(json.dumps({"config": config}))
    for name, record, result in (
        ("found", {"command": "search toponas"}, {}), ("bench", {}, {"command": "bench topology"}),
    ):  # fmt: skip
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps({"config": record}))
        (folder / name / "result.json").write_text(json.dumps(result))
    shutil.copy(table_path("nasbench101-mini"), folder / "own.parquet")
    for name in (
        "classless/cat/1.png", "images/cat/1.png", "images/dog/1.png", "empty/cat/1.png",
        "empty/dog/notes.txt", "arrays/x_train.npy", "unlike/train/cat/1.png",
        "unlike/train/dog/1.png", "unlike/test/cat/1.png", "unlike/test/fox/1.png",
        "parts/Train/cat/1.png", "parts/Test/cat/1.png", "part/Validation/cat/1.png",
        "part/train/cat/1.png", "part/train/dog/1.png", "e.safetensors",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", LIGHT],
        input=json.dumps([*EARLY]),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "GNAS_DATA": str(folder)},
        check=True,
    )
    found: dict[str, tuple[int, str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", EARLY)
def test_what_is_wrong_is_said_before_anything_heavy_is_imported(
    command: str, light: dict[str, tuple[int, str, str]]
) -> None:
    code, exception, errors = light[command]
    assert code in (1, 2) and "SystemExit" in exception, exception
    assert EARLY[command] in errors.replace("│ ", "").replace(" │", "")


def test_every_command_has_something_to_check_early() -> None:
    assert [name for name in LEAVES if not any(c.startswith(f"{name} ") for c in EARLY)] == []


@pytest.mark.parametrize("name", ["cell (1).txt", "a{b}", "a|b", "a\nb"])
def test_files_whose_names_look_like_texts(name: str, tmp_path: Path) -> None:
    text = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
    (tmp_path / name).write_text(text)
    assert read_architecture(str(tmp_path / name)).text == text
    done = CliRunner().invoke(
        cli.app, ["show", str(tmp_path / name), "--out", str(tmp_path / "figures")]
    )
    assert done.exit_code == 0 and text in done.stdout


def test_members_are_of_searches_with_a_front(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {"command": "search toponas"}}')
    with pytest.raises(ConfigError, match="--member is of searches with a Pareto front"):
        read_architecture(str(tmp_path), member=0)
