"""Trains with two processes: python -m tests.retrain.ranks FOLDER.

Writes the weights that each experiment ended with: FOLDER/<experiment>-<rank>.safetensors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gnas.errors import ConfigError
from gnas.retrain import RetrainResult
from gnas.retrain.plan import plan_retrain
from gnas.retrain.run import run_retrain
from gnas.retrain.state import RetrainState
from gnas.spaces import NASBench201
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext, init_distributed
from gnas.training.recording import RunRecord
from tests.retrain.conftest import GENOTYPE, SPACE, tiny, train
from tests.search.toponas.ranks import fork_two

SLOW: dict[str, Any] = {"drop_path": 0.0, "lr": 1e-3}
"""So that rounding does not grow before it is compared."""
CONFIGS = {
    "halves": tiny(**SLOW),
    "quarters": tiny(**SLOW, accumulate=2, epochs=1),
    "drop_path": tiny(),
    "resumed": tiny(**SLOW),
    "dead_end": tiny(**SLOW, layers=1, epochs=2, auxiliary_weight=0.0),
}
DEAD_END = "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|"
"""No edge leaves the third node, so that the operation into it never has a gradient."""


class Stop(Exception):
    pass


def stop(progress: Any) -> None:
    if progress.step == 4:
        raise Stop


def resumed(context: DistributedContext, folder: Path) -> RetrainResult:
    """Stopped in the middle of an epoch, then resumed."""

    def record(resume: bool) -> RunRecord[RetrainState] | None:
        if not (context.is_main or resume):
            return None
        return RunRecord(folder / "run", {"config": CONFIGS["resumed"]}, resume=resume, every_s=0)

    try:
        train(CONFIGS["resumed"], context=context, record=record(False), report=stop)
    except Stop:
        torch.distributed.barrier()
    return train(CONFIGS["resumed"], context=context, record=record(True))


def options_of(name: str) -> dict[str, Any]:
    return {"space": NASBench201(), "architecture": DEAD_END} if name == "dead_end" else {}


def everything(folder: Path, context: DistributedContext = SINGLE_PROCESS) -> None:
    for name, config in CONFIGS.items():
        if name == "resumed":
            result = resumed(context, folder)
        else:
            result = train(config, context=context, **options_of(name))
        weights = {k: v.clone() for k, v in result.network.state_dict().items()}
        facts = torch.tensor([result.test.acc, result.test.loss, result.test.count])
        save_file({**weights, "test": facts}, folder / f"{name}-{context.rank}.safetensors")
    plan = plan_retrain(
        SPACE, GENOTYPE, repeats=2, layers=(3,), channels=2, epochs=1, batch_size=400,
        image_size=8,
    )  # fmt: skip
    for resume in (False, True):
        run_retrain(plan, out=folder / "digits", context=context, resume=resume)


def main() -> None:
    with init_distributed("cpu") as (context, _):
        everything(Path(sys.argv[1]), context)
        other = plan_retrain(
            SPACE, GENOTYPE, layers=(3,), channels=2, epochs=1, batch_size=400, image_size=8,
            seed=context.rank,
        )  # fmt: skip
        try:
            run_retrain(other, out=Path(sys.argv[1]) / "other", context=context)
        except ConfigError as error:
            (Path(sys.argv[1]) / f"refused-{context.rank}").write_text(str(error))


if __name__ == "__main__":
    fork_two(main)
