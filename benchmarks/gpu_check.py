"""Search and retrain steps of every kind on this machine's GPU, checked against the CPU.

Takes the same few steps from the same weights on the CPU in float32 and on the device in float32,
bfloat16, channels_last, through torch.compile and with two processes (one GPU each; without two
GPUs small and on the CPU), compares the losses, and prints speeds and memory as one table to send
back. Ends with exit code 1 if a step fails or differs. Without a GPU all is small and on the CPU.

    python benchmarks/gpu_check.py [--only float32 bfloat16 ...] [--save NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from record import command_line, save_record

from gnas.data.images.loading import Batch
from gnas.retrain import RetrainConfig
from gnas.retrain.plan import network_of
from gnas.retrain.state import RetrainState
from gnas.search.toponas import ArchParameters, ToponasConfig
from gnas.search.toponas.bilevel import BilevelOptimizer
from gnas.spaces import Genotype, TopoNAS
from gnas.spaces.supernets import SupernetConfig
from gnas.spaces.toponas.supernet import Supernet
from gnas.training.devices import device_name
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext, init_distributed

KINDS = ("search", "retrain")
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "channels_last": {"channels_last": True},
    "compile": {"compile": True},
    "two processes": {},
}
TOLERANCE = {"bfloat16": 0.05}
"""Largest relative difference of a loss; elsewhere `PLAIN_TOLERANCE`."""
PLAIN_TOLERANCE = 0.01
CHECKED_STEPS = 3
GENOTYPE = Genotype.parse(
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
"""DARTS' published second-order cells."""


@dataclass(frozen=True)
class Size:
    """What is run."""

    image: int
    channels: int
    cells: int
    batch: int


SMALL = {"search": Size(8, 4, 2, 8), "retrain": Size(16, 4, 3, 8)}
PAPER = {"search": Size(32, 16, 8, 64), "retrain": Size(32, 32, 12, 96)}
"""Of the paper's CIFAR-10 experiments."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=10, help="timed steps; their median counts")
    parser.add_argument("--small", action="store_true", help="as without a GPU")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    small = options.small or options.device == "cpu"
    sizes = SMALL if small else PAPER
    if options.into:
        one_rank(sizes, options)
        return
    rows = []
    both = Both(options, small or not two_gpus(options))
    for kind in KINDS:
        for variant in options.only:
            rows.append(checked(kind, variant, sizes[kind], options, both))
            print(line(rows[-1]), flush=True)
    text = table(rows, sizes)
    print(f"\n{text}")
    if options.save:
        save_record(
            options.save,
            "Search and retrain steps, checked against the CPU",
            "python benchmarks/gpu_check.py",
            text,
            rows=rows, sizes={kind: asdict(size) for kind, size in sizes.items()},
            device=device_name(options.device),
        )  # fmt: skip
    if not all(row["ok"] for row in rows):
        sys.exit(1)


def checked(
    kind: str, variant: str, size: Size, options: argparse.Namespace, both: Both
) -> dict[str, Any]:
    """One row of the table: a variant's speed, and how far its losses are from the CPU's."""
    pieces = 1
    if variant == "two processes":
        pieces = 2  # batch norm sees the same images
        if both.small:
            size = SMALL[kind]
    row: dict[str, Any] = {"what": kind, "variant": variant, "batch": size.batch}
    try:
        reference = measured(kind, size, "cpu", {"accumulate": pieces}, timed=0)
        if variant == "two processes":
            row |= both.row(kind)
        else:
            row |= measured(kind, size, options.device, VARIANTS[variant], timed=options.steps)
    except Exception as error:  # the table must tell of whatever goes wrong
        return row | {"ok": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
    pairs = zip(row["losses"], reference["losses"], strict=True)
    row["difference"] = max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)
    row["ok"] = row["difference"] <= TOLERANCE.get(variant, PLAIN_TOLERANCE)
    return row


def measured(
    kind: str,
    size: Size,
    device: str,
    changes: dict[str, Any],
    *,
    timed: int,
    context: DistributedContext = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Losses of the first steps, then the time of a step and the most memory in use."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    torch.manual_seed(0)
    step = {"search": search_step, "retrain": retrain_step}[kind](size, device, changes, context)
    losses = [step(batch(size, k, device, context)) for k in range(CHECKED_STEPS)]
    times = []
    for k in range(timed):
        images = batch(size, CHECKED_STEPS + k, device, context)
        start = time.perf_counter()
        step(images)  # waits for its loss
        times.append(1000 * (time.perf_counter() - start))
    memory = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None
    return {
        "device": device,
        "losses": losses,
        "step_ms": statistics.median(times) if times else None,
        "memory_mib": memory,
    }


def batch(size: Size, number: int, device: str, context: DistributedContext) -> Batch:
    """This process's share of a batch of noise, the same on every device."""
    generator = torch.Generator().manual_seed(number)
    x = torch.randn(size.batch, 3, size.image, size.image, generator=generator)
    y = torch.randint(0, 10, (size.batch,), generator=generator)
    share = size.batch // context.size
    own = slice(context.rank * share, (context.rank + 1) * share)
    return x[own].to(device), y[own].to(device)


def search_step(
    size: Size, device: str, changes: dict[str, Any], context: DistributedContext
) -> Callable[[Batch], float]:
    """One step of a search: alpha, beta and w on one batch; its training loss."""
    own = {name: value for name, value in changes.items() if name != "channels_last"}
    config = ToponasConfig(
        channels=size.channels, num_cells=size.cells, batch_size=size.batch, arch_lr=3e-3, **own
    )
    supernet = Supernet(SupernetConfig(channels=size.channels, num_cells=size.cells)).to(device)
    form = torch.channels_last if changes.get("channels_last") else torch.contiguous_format
    supernet = supernet.to(memory_format=form)
    arch = ArchParameters(config).to(device)
    if config.compile:
        supernet.compile()
    bilevel = BilevelOptimizer(supernet.train(), arch, config, context)

    def step(images: Batch) -> float:
        images = images[0].to(memory_format=form), images[1]
        return bilevel.step(images, images, images, lr=0.01).train.loss

    return step


def retrain_step(
    size: Size, device: str, changes: dict[str, Any], context: DistributedContext
) -> Callable[[Batch], float]:
    """One step of a training; its loss."""
    config = RetrainConfig(
        layers=size.cells, channels=size.channels, batch_size=size.batch, lr=0.01, drop_path=0.0,
        **changes,
    )  # fmt: skip
    space = TopoNAS(mode="input")
    size_of = network_of(space, config, in_channels=3, num_classes=10)
    network = space.network(GENOTYPE.to_graph(), size_of)
    training = RetrainState(network.to(device), config, device, context)

    def step(images: Batch) -> float:
        training.learn(images, 0)
        return training.take_means(1)["train_loss"]

    return step


def two_gpus(options: argparse.Namespace) -> bool:
    return options.device.startswith("cuda") and torch.cuda.device_count() > 1


class Both:
    """What two processes measure, which torchrun starts once for all kinds of steps.

    Args:
        options: Of the command.
        small: As without a GPU.
    """

    def __init__(self, options: argparse.Namespace, small: bool) -> None:
        self.options = options
        self.small = small
        self._found: tuple[dict[str, Any], str] | None = None

    def row(self, kind: str) -> dict[str, Any]:
        """The measurements of one kind of steps.

        Raises:
            RuntimeError: a process failed before it had them.
        """
        self._found = self._found or self._measured()
        rows, errors = self._found
        if kind not in rows:
            raise RuntimeError(errors)
        row: dict[str, Any] = rows[kind]
        return row

    def _measured(self) -> tuple[dict[str, Any], str]:
        """Rows by kind, and the end of what was printed to stderr."""
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder) / "rows.json"
            command = [
                sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node=2", __file__, "--into", str(into),
                "--steps", str(self.options.steps),
                "--device", "cuda" if two_gpus(self.options) else "cpu",
            ]  # fmt: skip
            environment = {"OMP_NUM_THREADS": "1", **os.environ}
            done = subprocess.run(
                [*command, "--small"] if self.small else command,
                capture_output=True, text=True, env=environment, timeout=900, check=False,
            )  # fmt: skip
            return json.loads(into.read_text()) if into.exists() else {}, done.stderr[-300:]


def one_rank(sizes: dict[str, Size], options: argparse.Namespace) -> None:
    """The work of one of the two processes; the main one writes the rows, each once it has it."""
    rows: dict[str, Any] = {}
    with init_distributed(options.device) as (context, device):
        for kind in KINDS:
            row = measured(kind, sizes[kind], device, {}, timed=options.steps, context=context)
            rows[kind] = {**row, "device": f"2 x {options.device}"}
            if context.is_main:
                options.into.write_text(json.dumps(rows))


def line(row: dict[str, Any]) -> str:
    name = f"{row['what']:8}{row['variant']:15}"
    if "error" in row:
        return f"{name} FAILED {row['error']}"
    return f"{name} {row['step_ms']:9.1f} ms  {'ok' if row['ok'] else 'DIFFERS'}"


def table(rows: list[dict[str, Any]], sizes: dict[str, Size]) -> str:
    """The result in Markdown: what was run where, then one line a variant."""
    names = {device_name(row["device"]) for row in rows if row.get("device", "2")[0] != "2"}
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    lines = [
        f"{', '.join(sorted(names))}; torch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {cudnn}, {torch.cuda.device_count()} GPUs, "
        f"{torch.get_num_threads()} threads",
        "",
        *(
            f"{kind}: {size.cells} cells, {size.channels} channels, batch {size.batch} of "
            f"{size.image}x{size.image}"
            for kind, size in sizes.items()
        ),
        "",
        "| step | variant | device | ms | images/s | GPU MiB | difference from the CPU | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "error" in row:
            error = row["error"].replace("\n", " ").replace("|", "/")
            lines.append(f"| {row['what']} | {row['variant']} | | | | | | FAILED {error} |")
            continue
        memory = "-" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}"
        lines.append(
            f"| {row['what']} | {row['variant']} | {row['device']} | {row['step_ms']:.1f} | "
            f"{1000 * row['batch'] / row['step_ms']:.0f} | {memory} | {row['difference']:.1e} | "
            f"{'ok' if row['ok'] else 'DIFFERS'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
