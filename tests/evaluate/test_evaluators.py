"""What evaluators return, against the tables, trainings and functions behind them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.data import BenchmarkTable, Column, Provenance, load_table
from gnas.data.images import open_candidate_images
from gnas.errors import ConfigError, DataError, GraphError, MissingDataError
from gnas.evaluate import (
    EvaluationJob,
    FunctionEvaluator,
    TableEvaluator,
    TrainingEvaluator,
)
from gnas.evaluate.base import check_measures
from gnas.models import NasgemNetworkConfig, nasgem_network, num_macs, num_params
from gnas.search import run_search
from gnas.spaces import NASGEM, SPACES, NASBench201, Space, load_space
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import fresh_network, train_proxy


@pytest.fixture(scope="module")
def table() -> BenchmarkTable:
    """All NAS-Bench-201 cells, with measures that follow from the row."""
    graphs = NASBench201().enumerate()
    rows = np.arange(len(graphs), dtype=np.float64)
    columns = {
        Column.of("val_acc", dataset="cifar10-valid", epochs=12): rows / 1e6,
        Column.of("val_acc", dataset="cifar10-valid", epochs=200): rows / 2e4,
        Column.of("val_acc", dataset="cifar100", epochs=200): rows / 3e4,
        Column.of("test_acc", dataset="cifar10", epochs=200): rows / 4e4,
        Column.of("test_acc", dataset="cifar100", epochs=200): rows / 5e4,
        Column.of("macs", dataset="cifar10"): 1e6 + rows,
        Column.of("edge_latency_ms"): 1 + rows % 7,
    }
    facts = Provenance("made", "nasbench201", "a test", "self-made")
    values = {column.name: array for column, array in columns.items()}
    return BenchmarkTable(graphs, list(columns), facts, values)


def test_networks_of_a_table_have_the_mean_measures_of_their_rows(table: BenchmarkTable) -> None:
    space = NASBench201()
    found = TableEvaluator.from_table(space, table, ["edge_latency_ms"], dataset="cifar10")
    assert found.measures == ("edge_latency_ms", "val_acc", "test_acc", "macs")
    assert found.counted == ("macs",) and len(found) < len(table)
    keys = found.space.keys(table.graphs)
    rng = np.random.default_rng(0)
    for row in rng.integers(len(table), size=20).tolist():
        twins = np.flatnonzero(keys == keys[row])
        measures = found.evaluate(table.graphs.data(row), seed=0)
        assert measures["val_acc"] == pytest.approx(twins.mean() / 2e4)
        assert measures["test_acc"] == pytest.approx(twins.mean() / 4e4)
        assert measures["edge_latency_ms"] == pytest.approx((1 + twins % 7).mean())
        assert measures["macs"] == 1e6 + row  # of the cell as drawn, as its network is built
        counted = found.count(table.graphs[twins.tolist()])
        assert set(counted) == {"macs"} and counted["macs"].tolist() == (1e6 + twins).tolist()


def test_what_a_joined_table_counts_is_of_the_same_row(table: BenchmarkTable) -> None:
    space, rows = NASBench201(), np.arange(300)
    order = np.random.default_rng(0).permutation(300)
    first = TableEvaluator(space, table.graphs[:300], {"val_acc": rows / 300})
    counts = {"macs": 1e6 + order}
    other = TableEvaluator(space, table.graphs[order.tolist()], counts, counted=["macs"])
    joined = first.join(other)
    assert joined.measures == ("macs", "val_acc") and joined.counted == ("macs",)
    assert joined.count(table.graphs[:300])["macs"].tolist() == (1e6 + rows).tolist()
    assert joined.evaluate(table.graphs.data(7), seed=0)["macs"] == 1e6 + 7


def test_masked_values_are_missing(table: BenchmarkTable) -> None:
    values = np.ma.masked_array(np.full(300, 0.5), mask=np.arange(300) == 7)
    evaluator = TableEvaluator(NASBench201(), table.graphs[:300], {"val_acc": values})
    assert np.isnan(evaluator.evaluate(table.graphs.data(7), seed=0)["val_acc"])


def test_which_columns_of_a_table(table: BenchmarkTable) -> None:
    space = NASBench201()
    make = partial(TableEvaluator.from_table, space, table)
    assert make(dataset="cifar100").values["val_acc"].max() == pytest.approx(15_624 / 3e4)
    assert make(dataset="cifar10", epochs=200).counts["macs"].max() > 1e6
    with pytest.raises(ConfigError, match="dataset must be chosen for 'val_acc'"):
        make()
    with pytest.raises(ConfigError, match="the table has no 'joy'; choose from"):
        make(["joy"], dataset="cifar10")
    with pytest.raises(ConfigError, match=r"'x' has shape \(3,\) for 15625 rows"):
        TableEvaluator(space, table.graphs, {"x": [1, 2, 3]})
    with pytest.raises(ConfigError, match="at least one measure"):
        TableEvaluator(space, table.graphs, {})


def test_accuracies_are_of_the_images_that_were_asked_for(table: BenchmarkTable) -> None:
    space, few = NASBench201(), table.graphs[:3]
    facts = Provenance("made", "nasbench201", "a test", "self-made")

    def made(*columns: Column) -> BenchmarkTable:
        values = {column.name: np.array([0.1, 0.2, 0.3]) for column in columns}
        return BenchmarkTable(few, list(columns), facts, values)

    val, size = Column.of("val_acc"), Column.of("macs")
    for name in ("val_acc", "test_acc", "train_acc"):
        unnamed = made(Column.of(name, epochs=5), size)
        assert name in TableEvaluator.from_table(space, unnamed, [name]).measures
        with pytest.raises(ConfigError, match=f"columns of '{name}' name no images .*'cifar100'"):
            TableEvaluator.from_table(space, unnamed, [name], dataset="cifar100")
    with pytest.raises(ConfigError, match="name no images to choose from"):
        TableEvaluator.from_table(space, made(val), dataset="cifar100")
    both = made(val, *(Column.of("test_acc", dataset=name) for name in ("cifar10", "cifar100")))
    assert TableEvaluator.from_table(space, both, dataset="cifar100").measures[0] == "val_acc"
    with pytest.raises(ConfigError, match="'val_acc' name no images to choose from"):
        TableEvaluator.from_table(space, both, dataset="imagenet16-120")
    shipped = load_table("nasbench101-mini")  # NAS-Bench-101 is of CIFAR-10, and says so nowhere
    assert TableEvaluator.from_table(SPACES["nasbench101"](), shipped, dataset="cifar10").measures
    with pytest.raises(ConfigError, match="but got dataset 'cifar100'; leave it out"):
        TableEvaluator.from_table(SPACES["nasbench101"](), shipped, dataset="cifar100")
    hardware = made(Column.of("edge_latency_ms"))
    found = TableEvaluator.from_table(space, hardware, ["edge_latency_ms"], dataset="cifar100")
    assert found.measures == ("edge_latency_ms",)


def test_a_part_of_a_table_refuses_other_cells(table: BenchmarkTable) -> None:
    space = NASBench201()
    part = TableEvaluator(space, table.graphs[:3], {"x": [1.0, 2.0, 3.0]})
    assert part.reachable(space) is part.space and part.space.size == 3
    outside = space.from_str(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
        "|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    )
    with pytest.raises(GraphError, match=r"table.s, but .* `evaluator.reachable\(space\)`"):
        part.evaluate(outside, seed=0)


def test_a_training_is_the_short_training_of_the_space_s_network() -> None:
    space, recipe = NASGEM(6), ProxyRecipe(epochs=1, batch_size=128)
    evaluator = TrainingEvaluator("digits", recipe, network={"channels": 4}, latency=True)
    with pytest.raises(ConfigError, match="must be opened before it evaluates"):
        evaluator.evaluate(space.sample(np.random.default_rng(0)), seed=0)
    evaluator.open(space)
    graph = space.sample(np.random.default_rng(3))
    found = evaluator.evaluate(graph, seed=5)
    assert set(found) == set(evaluator.measures)
    config = NasgemNetworkConfig(in_channels=1, num_classes=10, channels=4, cells_per_stage=1)
    network = fresh_network(partial(nasgem_network, graph, config), 5)
    images = open_candidate_images(evaluator.images)
    expected = train_proxy(network, images, recipe, seed=5)
    assert (found["val_acc"], found["test_acc"]) == (expected.val_acc, expected.test_acc)
    assert found["macs"] == num_macs(network, (1, 8, 8))
    assert found["num_params"] == num_params(network)
    assert 0 < found["latency_ms"] < 1000
    # what other processes make of it
    again = TrainingEvaluator.from_metadata(evaluator.metadata())
    again.open(space)
    assert again.evaluate(graph, seed=5)["val_acc"] == found["val_acc"]
    moved = pickle.loads(pickle.dumps(evaluator))
    moved.open(space)
    assert moved.evaluate(graph, seed=5)["val_loss"] == found["val_loss"]
    again.images_sha256 = "0" * 64
    with pytest.raises(DataError, match="the images must be those that the search was begun with"):
        again.open(space)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_counted_measures_are_those_of_the_networks(name: str) -> None:
    space: Space = NASGEM(6) if name == "nasgem" else SPACES[name]()
    evaluator = TrainingEvaluator("digits", ProxyRecipe(epochs=1))
    evaluator.open(space)
    graphs = space.sample_batch(3, np.random.default_rng(0))
    counted = evaluator.count(graphs)
    for row, graph in enumerate(graphs):
        network = evaluator.build(graph)
        assert counted["macs"][row] == num_macs(network, (1, 8, 8))
        assert counted["num_params"][row] == num_params(network)


def worth(graph: Data, *, seed: int) -> float:
    return float(graph.num_edges + seed)


def test_a_function_of_python() -> None:
    space = NASBench201()
    graph = space.sample(np.random.default_rng(0))
    assert FunctionEvaluator(worth).evaluate(graph, seed=2) == {"score": graph.num_edges + 2.0}

    def several(graph: Data, *, seed: int) -> Mapping[str, Any]:
        graph.x[:] = 9  # a copy of its own
        return {"depth": np.int64(3), "width": graph.x.max()}

    assert FunctionEvaluator(several).evaluate(graph, seed=0) == {"depth": 3.0, "width": 9.0}
    assert graph.x.max() == 1

    def broken(graph: Data, *, seed: int) -> float:
        raise KeyError("nothing here")

    with pytest.raises(DataError, match="KeyError: 'nothing here'"):
        FunctionEvaluator(broken).evaluate(graph, seed=0)
    for value, reason in (
        (float("nan"), "must be finite, but got nan"),
        ("x", "must be a number"),
        ("0.9", "must be a number, but got '0.9'"),
        (True, "must be a number, but got True"),
    ):
        with pytest.raises(DataError, match=f"the measure 'score' {reason}"):
            FunctionEvaluator(lambda graph, *, seed, v=value: v).evaluate(graph, seed=0)
    with pytest.raises(ConfigError, match="an evaluation must be a function"):
        FunctionEvaluator(3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="must return the measure 'macs', but returned"):
        check_measures({"score": 1}, ["macs"])
    for wrong in (True, np.True_, torch.tensor(True), np.complex128(1 + 2j), "1"):
        with pytest.raises(DataError, match="'score' must be a number, but got"):
            check_measures({"score": wrong})


def test_arguments_of_a_function_are_recorded(tmp_path: Path) -> None:
    """Or a search would go on with other ones."""

    def worth(graph: Data, *, seed: int, weight: float) -> float:
        return weight * float(graph.num_edges)

    space, out = NASBench201(), tmp_path / "run"
    run_search(space, "random", partial(worth, weight=1.0), budget=1, out=out)
    with pytest.raises(ConfigError, match=r"its evaluator was .*'weight': 1\.0.* is now"):
        run_search(space, "random", partial(worth, weight=2.0), budget=2, out=out, resume=True)
    run_search(space, "random", partial(worth, weight=1.0), budget=2, out=out, resume=True)


def test_a_function_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def worth(graph, *, seed):\n    return 7\nnumber = 1\n")
    evaluator = FunctionEvaluator(f"{file}:worth")
    again: FunctionEvaluator = pickle.loads(pickle.dumps(evaluator))
    space = NASBench201()
    graph = space.sample(np.random.default_rng(0))
    for one in (evaluator, again):
        with pytest.raises(ConfigError, match="must be opened"):
            one.evaluate(graph, seed=0)
        one.open(space)
        assert one.evaluate(graph, seed=0) == {"score": 7.0}
    with pytest.raises(ConfigError, match=r"must be a function \(graph, \*, seed\), but is 1"):
        FunctionEvaluator(f"{file}:number").open(space)
    with pytest.raises(ConfigError, match="must define 'other', but does not"):
        FunctionEvaluator(f"{file}:other").open(space)
    with pytest.raises(MissingDataError, match=r"absent\.py must be a Python file"):
        FunctionEvaluator(f"{tmp_path}/absent.py:worth")
    for text in ("mine", "mine.py", "mine.txt:worth", "mine.py:a b"):
        with pytest.raises(ConfigError, match=r"must be named FILE\.py:NAME"):
            FunctionEvaluator(text)
    late = FunctionEvaluator(f"{file}:worth")
    file.write_text("1 / 0\n")
    with pytest.raises(
        ConfigError, match="but it changed, or a module beside it; begin a new search"
    ):
        late.open(space)
    with pytest.raises(ConfigError, match="must be a Python program, but: ZeroDivisionError"):
        FunctionEvaluator(f"{file}:worth").open(space)


def test_a_function_whose_file_imports_others_beside_it(tmp_path: Path) -> None:
    """At its top and in the function itself, in this process and in workers."""
    (tmp_path / "named_x.py").write_text("value = 0\n")
    (tmp_path / "early_x.py").write_text("value = 3\n")
    (tmp_path / "late_x.py").write_text("value = 4\n")
    (tmp_path / "mine.py").write_text(
        "import early_x, importlib\ndef worth(graph, *, seed):\n    import late_x\n"
        "    named_x = importlib.import_module('named_x')\n"
        "    return early_x.value + late_x.value + named_x.value\n"
    )
    evaluator, space = FunctionEvaluator(f"{tmp_path}/mine.py:worth"), NASBench201()
    found = run_search(space, "random", evaluator, budget=2, workers=1, out=tmp_path / "run")
    assert found.metrics == {"score": 7.0}
    evaluator.open(space)
    assert evaluator.evaluate(space.sample(np.random.default_rng(0)), seed=0) == {"score": 7.0}


def test_spaces_by_name_and_from_files(tmp_path: Path) -> None:
    assert load_space("nasgem").name == "nasgem"
    with pytest.raises(ConfigError, match="unknown space 'mars'; choose from"):
        load_space("mars")
    file = tmp_path / "spaces.py"
    file.write_text(
        "from gnas.spaces import NASGEM\nsmall = NASGEM(5)\n"
        "def make(nodes=4):\n    return NASGEM(nodes)\n"
        "text = 'x'\n"
    )
    assert load_space(f"{file}:small").max_nodes == 5
    made = load_space(f"{file}:make(nodes=6)")
    assert load_space(f"{file}:make").max_nodes == 4 and made.max_nodes == 6
    assert pickle.loads(pickle.dumps(made)).max_nodes == 6  # as workers get it
    with pytest.raises(ConfigError, match=r"must be a gnas\.spaces\.Space, but is str"):
        load_space(f"{file}:text")


def test_a_worker_runs_only_the_files_that_its_starter_names(tmp_path: Path) -> None:
    file, other = tmp_path / "mine.py", tmp_path / "other.py"
    file.write_text("from gnas.spaces import NASGEM\nclass Mine(NASGEM):\n"
                    "    def __init__(self, nodes=3):\n        super().__init__(nodes)\n"
                    "def worth(graph, *, seed):\n    return 7\n")  # fmt: skip
    other.write_text("Mine = worth = None\n")
    own = f"{file}:Mine(nodes=5)"
    evaluator = FunctionEvaluator(f"{file}:worth")
    space = load_space(own)
    facts = EvaluationJob(space, evaluator, ("score",)).metadata()
    assert str(tmp_path) not in str(facts)
    with pytest.raises(ConfigError, match=r"must be told which file to run; give --space FILE"):
        EvaluationJob.from_metadata(facts, evaluate=f"{file}:worth")
    with pytest.raises(ConfigError, match=r"give --evaluate FILE\.py:FUNCTION"):
        EvaluationJob.from_metadata(facts, space=own)
    with pytest.raises(ConfigError, match="must be the file that the search was begun with"):
        EvaluationJob.from_metadata(facts, space=own, evaluate=f"{other}:worth")
    job = EvaluationJob.from_metadata(facts, space=own, evaluate=f"{file}:worth")
    assert job.metadata() == facts and job.space.max_nodes == 5
    graph = NASGEM(5).sample(np.random.default_rng(0))
    candidate = {"number": 0, "architecture": NASGEM(5).to_str(graph), "seed": 0}
    assert job.open()(candidate)["measures"] == {"score": 7.0}
    facts["evaluator"] = {"kind": "own"}
    with pytest.raises(ConfigError, match="this search does by 'own', which its own command"):
        EvaluationJob.from_metadata(facts, space=own)
    with pytest.raises(ConfigError, match="must be one of this version of gnas, but lacks"):
        EvaluationJob.from_metadata({})
