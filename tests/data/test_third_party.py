from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnas.data import load_table, save_table, verify_table
from gnas.errors import DataError, GraphError
from gnas.graphs import graph_hash
from gnas.spaces import NASBench101, NASBench201
from gnas.spaces.nasbench201.tables import cells_from_strings

ACCURACIES = [f"{split}_acc_108_run{run}" for split in ("val", "test") for run in (1, 2, 3)]


def cells101(count: int = 8) -> dict[str, list[object]]:
    """Columns of a NAS-Bench-101 table as others write it; cells of five vertices."""
    graphs = NASBench101().enumerate()[list(range(100, 100 + count))]
    columns: dict[str, list[object]] = {"hash": [], "adjacency": [], "ops": []}
    for row in range(count):
        n = int(graphs.num_nodes[row])
        columns["hash"].append(graph_hash(graphs.data(row)))
        columns["adjacency"].append(
            "".join(map(str, graphs.adjacency[row, :n, :n].flatten().tolist()))
        )
        columns["ops"].append(
            ",".join(NASBench101().vocabulary.ops[op] for op in graphs.ops[row, :n].tolist())
        )
    return columns | {name: [0.9 + row / 100 for row in range(count)] for name in ACCURACIES}


def write(path: Path, columns: dict[str, list[object]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_the_partial_nasbench101_table(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    path = shared_data("nasbench101/nasbench101_partial.parquet")
    table = load_table(path)
    raw = pq.read_table(path).to_pydict()
    assert (len(table), table.provenance.kind, table.provenance.rows) == (4400, "partial", 4400)
    assert "4400 of the 423624 cells" in table.provenance.note
    assert table.hashes == raw["hash"]
    for row in range(0, 4400, 200):
        assert graph_hash(table[row]) == raw["hash"][row]
        runs = [raw[f"test_acc_108_run{run}"][row] for run in (1, 2, 3)]
        assert table.test_acc()[row] == pytest.approx(np.mean(runs), rel=1e-15)
    assert table.val_acc(1).min() < 0.1  # the diverged runs stay
    save_table(table, tmp_path / "own.parquet")
    own = load_table(tmp_path / "own.parquet")
    np.testing.assert_array_equal(own.val_acc(), table.val_acc())


def test_the_nasbench201_table(shared_data: Callable[[str], Path]) -> None:
    """Published bests, and the official order of the strings."""
    path = shared_data("nasbench201/nasbench201_cifar.parquet")
    table = load_table(path)
    assert (len(table), table.provenance.kind) == (15_625, "official")
    assert 100 * table.test_acc(dataset="cifar10").max() == pytest.approx(94.373, abs=5e-4)
    assert 100 * table.val_acc(dataset="cifar10-valid").max() == pytest.approx(91.607, abs=5e-4)
    assert 100 * table.test_acc(dataset="cifar100").max() == pytest.approx(73.513, abs=5e-4)
    assert 100 * table.val_acc(dataset="cifar100").max() == pytest.approx(73.493, abs=5e-4)
    macs = table.metric("macs", dataset="cifar10")  # in millions there, and yet whole
    assert macs.max() == 220_119_690 and (macs % 1 == 0).all()
    texts = pq.read_table(path, columns=["arch_str"])["arch_str"].to_pylist()
    space = NASBench201()
    assert all(space.to_str(table[row]) == texts[row] for row in range(0, 15_625, 125))
    runs = table.runs("test_acc", dataset="cifar10")
    assert np.isnan(runs).sum(0).tolist() == [0, 2225, 7664]
    np.testing.assert_allclose(np.nanmean(runs, 1), table.test_acc(dataset="cifar10"), atol=1e-6)


def test_a_table_by_hand(tmp_path: Path) -> None:
    table = load_table(write(tmp_path / "t.parquet", cells101()))
    verify_table(table)
    assert table.val_acc()[3] == pytest.approx(0.93)
    assert table.provenance.kind == "partial"


Change = Callable[[dict[str, list[object]]], None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("ops"), "or have the columns hash.* FILE --notation"),
        (lambda c: [c.pop(name) for name in ACCURACIES[:3]], "at least one of .*val_acc_108_run1"),
        (lambda c: c["hash"].__setitem__(2, c["hash"][1]), r"occur once.*rows \[1, 2\]"),
        (lambda c: c["hash"].__setitem__(2, "0" * 32), "hash of row 2 must be its graph's"),
        (lambda c: c["hash"].__setitem__(2, "abc"), "32 hex digits, but row 2 has 'abc'"),
        (lambda c: c["hash"].__setitem__(2, "z" * 32), "must be hexadecimal"),
        (lambda c: c["hash"].__setitem__(2, None), "must be text without gaps"),
        (lambda c: c["ops"].__setitem__(2, "input,relu,output"), "row 2 has 'input,relu,output'"),
        (lambda c: c["ops"].__setitem__(2, "input" + ",output" * 9), "must be at most 7 of"),
        (lambda c: c["adjacency"].__setitem__(2, "01"), "digits for .*row 2 has 2"),
        (lambda c: c["adjacency"].__setitem__(2, "x" * 25), "digits 0 and 1 only"),
        (lambda c: c["adjacency"].__setitem__(2, "é" * 25), "digits 0 and 1 only"),
        (lambda c: c["adjacency"].__setitem__(2, "1" * 25), "lower to a higher node"),
        (lambda c: c["adjacency"].__setitem__(2, "0" * 25), "on a path from input to output"),
        (lambda c: c[ACCURACIES[1]].__setitem__(2, 91.5), r"fractions in \[0, 1\].*percent"),
        (lambda c: c[ACCURACIES[1]].__setitem__(2, np.nan), "must be complete, but row 2 is NaN"),
        (lambda c: c.update({ACCURACIES[0]: ["a"] * 8}), "must be numbers, but is string"),
    ],
)
def test_damaged_nasbench101_tables(tmp_path: Path, change: Change, message: str) -> None:
    columns = cells101()
    change(columns)
    with pytest.raises(DataError, match=message) as caught:
        load_table(write(tmp_path / "bad.parquet", columns))
    assert "\n" not in str(caught.value)
    assert "bad.parquet" in str(caught.value)


def test_a_table_without_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table(cells101()).slice(0, 0), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="at least one row"):
        load_table(tmp_path / "bad.parquet")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table(cells101())
    pq.write_table(
        table.append_column(ACCURACIES[1], table[ACCURACIES[0]]), tmp_path / "bad.parquet"
    )
    with pytest.raises(DataError, match=f"several are named .'{ACCURACIES[1]}'"):
        load_table(tmp_path / "bad.parquet")


def test_lists_in_place_of_texts(tmp_path: Path) -> None:
    path = cells201(tmp_path, arch_str=[[0], [1], [2]])
    with pytest.raises(DataError, match=r"'arch_str' .* must be text without gaps, but is list"):
        load_table(path)


def cells201(tmp_path: Path, **columns: list[object]) -> Path:
    graphs = NASBench201().enumerate()
    texts: list[object] = [NASBench201().to_str(graphs.data(row)) for row in (0, 777, 9999)]
    base: dict[str, list[object]] = {
        "arch_str": texts,
        "cifar10_val_acc_200": [80.0, 85.0, 90.0],
        "cifar10_test_acc_200": [81.0, 86.0, 91.0],
        "cifar10_test_acc_200_seed0": [81.0, 86.0, 91.0],
        "cifar10_test_acc_200_seed1": [None, 86.0, np.nan],
    }
    return write(tmp_path / "bad.parquet", base | columns)


def test_nasbench201_values_are_fractions_on_the_right_dataset(tmp_path: Path) -> None:
    table = load_table(cells201(tmp_path))
    assert table.val_acc(dataset="cifar10-valid").tolist() == [0.8, 0.85, 0.9]
    assert table.val_acc().tolist() == [0.8, 0.85, 0.9]
    np.testing.assert_array_equal(table.test_acc(888), [np.nan, 0.86, np.nan])
    assert (table.provenance.kind, len(table)) == ("partial", 3)


def test_further_columns_of_nasbench201_tables_are_kept(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "imagenet16-120_val_acc_200": [10.0, 20.0, 30.0],
        "imagenet_test_acc_200_seed1": [11.0, None, 31.0],
        "cifar10valid_val_acc_12": [1.0, 2.0, 3.0],
        "synflow": [1e6, np.nan, -3.0],
        "index": [0, 1, 2],
        "remark": ["a", "b", "c"],
    }
    path = cells201(tmp_path, **columns)
    table = load_table(path)
    assert table.val_acc(dataset="ImageNet16-120").tolist() == [0.1, 0.2, 0.3]
    np.testing.assert_array_equal(
        table.test_acc(888, dataset="ImageNet16-120"), [0.11, np.nan, 0.31]
    )
    assert table.val_acc(dataset="cifar10-valid", epochs=12).tolist() == [0.01, 0.02, 0.03]
    np.testing.assert_array_equal(table.values("synflow"), [1e6, np.nan, -3.0])
    assert not {"index", "remark"} & {column.name for column in table.columns}


def test_accuracies_of_nasbench201_tables_may_be_in_capitals_and_of_every_seed(
    tmp_path: Path,
) -> None:
    columns: dict[str, list[object]] = {
        "ImageNet16-120_test_acc_200": [10.0, 20.0, 30.0],
        "CIFAR100_val_acc_200": [40.0, 50.0, 60.0],
        "cifar10_val_acc_12_seed1": [60.0, 65.0, 80.0],
        "cifar10_test_acc_12_seed0": [61.0, 66.0, 71.0],
    }
    table = load_table(cells201(tmp_path, **columns))
    assert table.test_acc(dataset="ImageNet16-120").tolist() == [0.1, 0.2, 0.3]
    assert table.val_acc(dataset="cifar100").tolist() == [0.4, 0.5, 0.6]
    # what is called validation on CIFAR-10 is of trainings on half of the images
    assert table.val_acc(888, dataset="cifar10-valid", epochs=12).tolist() == [0.6, 0.65, 0.8]
    assert table.test_acc(777, dataset="cifar10", epochs=12).tolist() == [0.61, 0.66, 0.71]


def test_a_table_of_nasbench201_claims_what_it_holds(tmp_path: Path) -> None:
    """Not the index of a pandas frame as a measure, nor the benchmark for somebody's values."""
    graphs = NASBench201().enumerate()
    columns: dict[str, list[object]] = {
        "arch_str": [NASBench201().to_str(graphs.data(row)) for row in (0, 777)],
        "val_acc": [80.0, 85.0],
        "test_acc": [81.0, 86.0],
        "__index_level_0__": [7, 3],
    }
    own = load_table(write(tmp_path / "own.parquet", columns))
    assert [column.name for column in own.columns] == ["val_acc", "test_acc"]
    assert "Dong and Yang" not in own.provenance.source and not own.provenance.licence
    assert own.provenance.note == "2 architectures; accuracies were percent in the file"
    theirs = load_table(cells201(tmp_path)).provenance
    assert theirs.note == "CIFAR-10 only; 3 of the 15625 cells" and theirs.licence == "MIT"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"cifar10_val_acc_200": [0.8, 0.85, 0.9]}, "must be percent, but is all below 1"),
        ({"cifar10_val_acc_200": [80.0, 120.0, 90.0]}, r"fractions in \[0, 1\], but .*1.2"),
        ({"cifar10_val_acc_200": [80.0, np.nan, 90.0]}, "must be complete, but row 1 is NaN"),
        ({"cifar10_macs_M": [80.0, -1.0, 90.0]}, "must not be negative, but row 1 is -1e"),
        ({"arch_str": ["|a~0|", "", "x"]}, "row 0 must be a cell like"),
        ({"arch_str": [1, 2, 3]}, "must be text"),
    ],
)
def test_damaged_nasbench201_tables(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_table(cells201(tmp_path, **columns))


def test_the_same_cell_twice(tmp_path: Path) -> None:
    text = NASBench201().to_str(NASBench201().enumerate().data(5))
    with pytest.raises(DataError, match="must occur once"):
        load_table(cells201(tmp_path, arch_str=[text, text, text]))


@pytest.mark.parametrize(
    "text",
    [
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~3|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|",
        "none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|-|none~0|none~1|+|none~0|none~1|none~2|",
        "|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ],
)
def test_the_fast_parser_refuses_what_the_space_refuses(text: str) -> None:
    with pytest.raises(GraphError):
        NASBench201().from_str(text)
    with pytest.raises(DataError, match="row 0 must be a cell"):
        cells_from_strings([text], "here")
