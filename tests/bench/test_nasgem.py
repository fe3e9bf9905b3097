from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from gnas.bench.config import NASGEMBench
from gnas.bench.nasgem import at_equal_macs, bench_nasgem, untrained
from gnas.bench.setups import KernelMap, KnownValues
from gnas.data import BenchmarkTable, load_table, save_table
from gnas.data.columns import Column, Provenance
from gnas.encoders import PRESETS, NASGEMEncoder, load_encoder
from gnas.errors import ConfigError
from gnas.kernels import wl_kernel
from gnas.models import NasgemNetworkConfig, nasgem_macs
from gnas.predictors import RandomWalkStatistics
from gnas.spaces import NASGEM, NASBench101

COUNT = 120


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Accuracies that fall with the length of walks and rise with MACs, two noisy runs."""
    rng = np.random.default_rng(3)
    cells = NASGEM().sample_batch(COUNT, rng)
    macs = nasgem_macs(cells, NasgemNetworkConfig(), 16)
    truth = 0.5 - 0.02 * RandomWalkStatistics(2)(cells)[:, 11] + 0.02 * np.log(macs / macs.mean())
    values = {
        Column.of(f"{split}_acc", epochs=1, run=run): (truth + rng.normal(0, 0.003, COUNT)).clip(
            0, 1
        )
        for split in ("val", "test")
        for run in (1, 2)
    }
    values |= {Column.of("macs"): macs, Column.of("num_params"): 2 * macs}
    table = BenchmarkTable(
        cells,
        list(values),
        Provenance(name="made", space="nasgem", source="a test", kind="self-made"),
        {column.name: array for column, array in values.items()},
    )
    file = tmp_path_factory.mktemp("tables") / "made.parquet"
    save_table(table, file)
    return str(file)


def test_all_take_part_and_numbers_follow_from_the_table(path: str) -> None:
    encoder = "nasgem-30-paper"
    config = NASGEMBench(table=path, samples=(30,), seeds=2, encoders=(encoder,))
    result = bench_nasgem(config)
    assert (result.quantity, result.command) == ("test_acc", "bench nasgem")
    assert result.agreement_between_runs is not None and result.agreement_between_runs > 0.6
    table = load_table(path)
    rows = {(row.predictor, row.encoder): row for row in result.rows}
    assert {row.samples for row in result.rows} == {30}
    wanted = [encoder, f"{encoder} + ops", f"{encoder}, untrained", "adjacency + ops"]
    wanted += [f"exact kernel of {encoder}"]
    assert {("MLP", name) for name in wanted} <= set(rows)
    taus = []
    for repetition in range(2):
        order = np.random.default_rng([0, 1, repetition]).permutation(COUNT)[30:]
        taus.append(kendalltau(table.values("macs")[order], table.test_acc()[order])[0])
    for name in ("MACs", "number of parameters"):
        found = rows["none", name].kendall_tau
        assert found is not None and found.mean == pytest.approx(np.mean(taus))
    walks = next(row for (_, name), row in rows.items() if "walk" in name)
    raw = rows["MLP", "adjacency + ops"]
    assert walks.neighbours_r2 is not None and raw.neighbours_r2 is not None
    assert walks.neighbours_r2.mean > raw.neighbours_r2.mean


def test_any_number_of_workers_finds_the_same(path: str) -> None:
    config = NASGEMBench(table=path, samples=(30,), seeds=2, encoders=())
    assert bench_nasgem(config, workers=2).rows == bench_nasgem(config).rows


def test_equal_macs_leave_nothing_to_macs(path: str) -> None:
    config = NASGEMBench(table=path, samples=(40,), seeds=2, encoders=(), equal_macs=True)
    result = bench_nasgem(config)
    rows = {row.encoder: row for row in result.rows}
    macs = rows["MACs"].kendall_tau
    assert result.quantity == "residual_acc" and macs is not None and abs(macs.mean) < 0.15
    table = load_table(path)
    rest = at_equal_macs(table.test_acc(), table.values("macs"))
    assert np.corrcoef(rest, np.log(table.values("macs")))[0, 1] == pytest.approx(0, abs=1e-9)
    assert rest.mean() == pytest.approx(table.test_acc().mean())


def test_the_exact_map_is_the_kernel_as_nearly_as_can_be(rng: np.random.Generator) -> None:
    cells = NASGEM(12).sample_batch(40, rng)
    config = replace(PRESETS["nasgem-30"](), n_iter=2)
    rows = KernelMap(config, "nasgem-30")(cells)
    kernel = wl_kernel(cells, n_iter=2, labels="op", direction="both")
    rest = np.linalg.norm(rows @ rows.T - kernel.numpy(), 2)
    assert rest <= np.linalg.eigvalsh(kernel.numpy())[0] + 1e-6  # 39 coordinates can do no better
    deviations = rows.std(0)  # no column stands for a direction in which graphs hardly differ
    assert deviations.min() > 0.3 * deviations.max()


def test_columns_are_found_by_cell(path: str) -> None:
    table = load_table(path)
    rows = np.random.default_rng(0).permutation(COUNT)[:50]
    macs = KnownValues(table.graphs, table.values("macs"), "MACs")(
        table.graphs[torch.from_numpy(rows)]
    )
    assert np.array_equal(macs[:, 0], table.values("macs")[rows])


def test_controls_have_other_weights_and_the_same_inputs() -> None:
    for name in ("nasgem-30", "nasgem-30-paper"):
        encoder = load_encoder(name)
        assert isinstance(encoder, NASGEMEncoder)
        control = untrained(encoder)
        assert torch.equal(control.scale, encoder.scale)
        cells = NASGEM().sample_batch(30, np.random.default_rng(0))
        mine, theirs = control.encode(cells), encoder.encode(cells)
        assert mine.shape == theirs.shape and not torch.allclose(mine, theirs)
        assert float(mine.std(0).min()) >= 0 and float(mine.std()) > 0


def test_what_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="samples must be at most"):
        bench_nasgem(NASGEMBench(table=path, samples=(115,), seeds=1, encoders=()))
    with pytest.raises(ConfigError, match="must hold architectures of nasgem"):
        bench_nasgem(NASGEMBench(table=f"{NASBench101.name}-mini"))
    with pytest.raises(ConfigError, match="encoders must differ"):
        NASGEMBench(table=path, encoders=("nasgem-30", "nasgem-30"))


def test_the_command_prints_the_smoothness(path: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from gnas.cli import app

    arguments = ["bench", "nasgem", "--table", path, "--samples", "40", "--seeds", "2"]
    arguments += ["--encoders", "none", "--json", str(tmp_path / "result.json")]
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "140"})
    assert found.exit_code == 0, found.output
    assert "NN R2" in found.output and (tmp_path / "result.json").is_file()
