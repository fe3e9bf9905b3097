from __future__ import annotations

import bz2
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnas.data import load_table, save_table, verify_table
from gnas.errors import DataError, MissingDataError
from gnas.spaces import NASBench201
from gnas.spaces.nasbench201 import pickles
from gnas.spaces.nasbench201.nats import read_nats_folder
from gnas.spaces.nasbench201.pickles import load_plain_pickle

REAL = "nasbench201/NATS-tss-v1_0-3ffb9-simple"


def test_real_files_agree_with_the_published_table(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Architectures 0 and 11, against a table that others made from the same benchmark."""
    table = read_nats_folder(shared_data(REAL))
    other = load_table(shared_data("nasbench201/nasbench201_cifar.parquet")).subset([0, 11])
    assert table.hashes == other.hashes
    compared = 0
    for column in other.columns:
        if column.run is None and column.epochs is not None:
            wanted = {"dataset": column.dataset, "epochs": column.epochs}
            found = table.metric(column.quantity, **wanted)  # type: ignore[arg-type]
            np.testing.assert_allclose(found, other.values(column.name), rtol=0, atol=2e-6)
            compared += 1
    assert compared == 10
    for seed in (777, 888, 999):
        found = table.test_acc(seed, dataset="cifar10")
        np.testing.assert_allclose(found, other.test_acc(seed, dataset="cifar10"), atol=1e-9)
    for quantity in ("num_params", "macs"):
        found = table.metric(quantity, dataset="cifar10")
        np.testing.assert_allclose(found, other.metric(quantity), rtol=1e-6)
    assert (table.provenance.kind, len(table)) == ("partial", 2)
    save_table(table, tmp_path / "t.parquet")
    verify_table(load_table(tmp_path / "t.parquet"))


def result(dataset: str, seed: int, epochs: int, percent: float) -> dict[str, Any]:
    images = {"cifar10-valid": ["x-valid", "ori-test"], "cifar10": ["ori-test"]}
    names = images.get(dataset, ["x-valid", "x-test"])
    return {
        "name": dataset,
        "epochs": epochs,
        "seed": f"{seed:04d}",
        "train_acc1es": {epochs - 1: 99.0},
        "eval_acc1es": {f"{name}@{epochs - 1}": percent + k for k, name in enumerate(names)},
        "train_times": OrderedDict((epoch, 2.0) for epoch in range(epochs)),
        "params": np.float64(0.5),
        "flop": 10.5,
        "latency": [np.float64(0.01), np.float64(0.03)],
    }


def architecture(index: int, seeds: tuple[int, ...] = (777,)) -> dict[str, Any]:
    text = NASBench201().to_str(NASBench201().enumerate().data(index))
    results = {
        (dataset, seed): result(dataset, seed, 200, 50.0 + index)
        for dataset in ("cifar10-valid", "cifar10", "cifar100")
        for seed in seeds
    }
    part = {"arch_index": index, "arch_str": text, "all_results": results}
    return OrderedDict([("200", part)])


def write(folder: Path, index: int, content: object, protocol: int = 4) -> Path:
    path = folder / f"{index:06d}.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(content, protocol)))
    return path


@pytest.mark.parametrize("protocol", [4, 5])
def test_values_land_in_their_columns(tmp_path: Path, protocol: int) -> None:
    write(tmp_path, 3, architecture(3, (888, 777)), protocol)
    write(tmp_path, 1, architecture(1), protocol)
    (tmp_path / "meta.pickle.pbz2").write_bytes(b"not read")
    table = read_nats_folder(tmp_path)
    assert table.val_acc(dataset="cifar10-valid").tolist() == [0.51, 0.53]
    assert table.test_acc(dataset="cifar10-valid").tolist() == [0.52, 0.54]
    assert table.test_acc(dataset="cifar10").tolist() == [0.51, 0.53]
    assert table.val_acc(dataset="cifar100").tolist() == [0.51, 0.53]
    assert table.test_acc(dataset="cifar100").tolist() == [0.52, 0.54]
    np.testing.assert_array_equal(table.test_acc(888, dataset="cifar10"), [np.nan, 0.53])
    assert table.metric("train_time_s", dataset="cifar10").tolist() == [400, 400]
    assert table.metric("num_params", dataset="cifar10").tolist() == [500_000] * 2
    assert table.metric("macs", dataset="cifar10").tolist() == [10_500_000] * 2
    assert table.metric("latency_s", dataset="cifar10")[0] == pytest.approx(0.02)
    cells = NASBench201().enumerate()
    assert [table.index_of(cells.data(index)) for index in (1, 3)] == [0, 1]


class Evil:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, Any]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_never_runs(tmp_path: Path, protocol: int) -> None:
    import os

    mark = tmp_path / "was-here"
    for content in (
        Evil(os.system, f"touch {mark}"),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        {"200": {"arch_str": Evil(open, str(mark), "w")}},
        Evil(getattr, OrderedDict, "fromkeys"),
        Evil(np.load, str(mark)),
    ):
        path = write(tmp_path, 0, content, protocol)
        with pytest.raises(DataError, match=r"000000.*asks for .*; it was not executed"):
            read_nats_folder(tmp_path)
        assert not mark.exists()
        path.unlink()


def test_the_attack_would_work_on_the_plain_unpickler(tmp_path: Path) -> None:
    import os

    mark = tmp_path / "was-here"
    path = write(tmp_path, 0, Evil(os.system, f"touch {mark}"))
    pickle.loads(bz2.decompress(path.read_bytes()))
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        np.zeros(3),
        np.float64(1).astype(">f8"),
        np.array("2020-01-01", dtype="datetime64[D]")[()],
        complex(1, 2),
        {1, frozenset([2]), Path("x")},
        slice(1),
    ],
)
def test_other_classes_are_refused(tmp_path: Path, content: object) -> None:
    path = write(tmp_path, 0, [content])
    if isinstance(content, np.float64):  # numpy writes its own byte order
        assert load_plain_pickle(path) == [1.0]
        return
    with pytest.raises(DataError, match=r"must hold plain|must be little-endian"):
        load_plain_pickle(path)


def test_numbers_and_containers_pass(tmp_path: Path) -> None:
    content = {
        "a": [1, 2.5, True, None, "x", b"y", (1, 2), {3}],
        ("cifar10", 777): OrderedDict([(0, np.float32(0.5)), (1, np.int64(-7))]),
    }
    assert load_plain_pickle(write(tmp_path, 0, content)) == content


def test_damaged_files(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path, 0, architecture(0))
    whole = path.read_bytes()
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"intact (bz2 file|pickle)"):
            read_nats_folder(tmp_path)
    for position in rng.integers(len(whole), size=60).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            read_nats_folder(tmp_path)


def test_damaged_pickles_inside_a_sound_bz2(tmp_path: Path, rng: np.random.Generator) -> None:
    """Every outcome is a table or a DataError."""
    content = pickle.dumps(architecture(0), 4)
    path = tmp_path / "000000.pickle.pbz2"
    failed = 0
    for position in rng.integers(len(content), size=150).tolist():
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bz2.compress(bytes(damaged), 1))
        try:
            read_nats_folder(tmp_path)
        except DataError as error:
            failed += 1
            assert "\n" not in str(error)
    assert failed > 25


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_FILE_BYTES", 1 << 20)
    path = tmp_path / "000000.pickle.pbz2"
    path.write_bytes(bz2.compress(b"\0" * (1 << 22)))
    with pytest.raises(DataError, match="must unpack to at most 1048576 bytes"):
        load_plain_pickle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("200"), "must be one arch_str"),
        (lambda c: c["200"].pop("all_results"), "KeyError: 'all_results'"),
        (lambda c: c["200"].update(arch_index=5), "arch_index must be 0, but is 5"),
        (lambda c: c["200"].update(all_results=[1]), "must be laid out"),
        (lambda c: c["200"].update(arch_str="|x|"), "row 0 must be a cell"),
        (lambda c: c["200"].update(arch_str=["x"]), "must be laid out"),
        (lambda c: c["200"]["all_results"]["cifar10", 777].update(epochs=12), "epochs must be"),
        (
            lambda c: c["200"]["all_results"]["cifar10", 777]["eval_acc1es"].clear(),
            "KeyError: 'ori-test@199'",
        ),
        (
            lambda c: c["200"]["all_results"]["cifar10", 777]["train_acc1es"].update({199: 9900}),
            "must be fractions",
        ),
    ],
)
def test_files_laid_out_otherwise(
    tmp_path: Path, change: Callable[[Any], object], message: str
) -> None:
    content = architecture(0)
    change(content)
    write(tmp_path, 0, content)
    with pytest.raises(DataError, match=message):
        read_nats_folder(tmp_path)


def test_folders_without_files(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    with pytest.raises(MissingDataError, match=r"like 000000.pickle.pbz2, but has none"):
        read_nats_folder(tmp_path)
    with pytest.raises(MissingDataError, match="must be a NATS-tss 'simple' folder"):
        read_nats_folder(tmp_path / "none")
    shutil.copy(shared_data(REAL) / "meta.pickle.pbz2", tmp_path)
    with pytest.raises(MissingDataError, match="has none"):
        read_nats_folder(tmp_path)
