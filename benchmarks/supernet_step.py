"""Time and memory of a supernet's training step, ours against the plain edge-by-edge supernet.

Every side runs in a process of its own, with the same allocator settings and the same steps:
one SGD step on the weights, as in a search (forward, backward, update). Peak memory is the growth
of the process's largest resident size over what it was before the network existed.

    python benchmarks/supernet_step.py [--batch 16 64] [--steps 3] [--threads 2]

`--counts` times nothing and counts instead what one image costs the plain supernet's layers going
forward: multiply-accumulates, and numbers read and written if each layer touches memory once.
`--profile` says which operators our native step spends its time in, beside the rates that these
cores reach at most: of multiplying large matrices, and of copying memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from record import command_line, save_record
from torch import nn

from gnas.spaces.supernets import MixedWeights, SupernetConfig
from gnas.spaces.toponas.supernet import Supernet
from gnas.topology import candidate_edges

SIDES = ("plain", "plain channels_last", "gnas torch", "gnas native")
LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d)
"""What `counts` counts."""
REFERENCE = Path(__file__).parents[1] / "tests" / "models" / "plain_supernet.py"
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
"""Freed memory is kept for the next tensor: no side pays the system for pages at every step."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--steps", type=int, default=3, help="timed steps; the fastest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--recompute", action="store_true", help="of our two sides")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--counts", action="store_true", help="count operations, time nothing")
    parser.add_argument("--profile", action="store_true", help="time our operators, one by one")
    arguments = parser.parse_args()
    if arguments.counts:
        config = SupernetConfig(channels=arguments.channels, num_cells=arguments.cells)
        print(counts_table(counts(config)))
        return
    if arguments.profile:
        text = profile_table(arguments)
        print(text)
        if arguments.save:
            save_record(
                arguments.save,
                f"Operators of our supernet's step at batch {arguments.batch[0]}, "
                f"{arguments.cells} cells and {arguments.channels} channels",
                f"python benchmarks/supernet_step.py --profile --batch {arguments.batch[0]}",
                text,
            )
        return
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    found = []
    for batch in arguments.batch:
        rows = {side: run(side, batch, sys.argv[1:]) for side in SIDES}
        found += [{"side": side, "batch": batch, **row} for side, row in rows.items()]
    text = table(found)
    print(text)
    if arguments.save:
        save_record(
            arguments.save,
            f"One training step of a supernet of {arguments.cells} cells and "
            f"{arguments.channels} channels at 32x32 pixels, {arguments.threads} threads",
            "python benchmarks/supernet_step.py",
            text,
            rows=found,
        )


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: every side's figures, and how it compares with the two plain ones."""
    lines = [
        "| batch | side | seconds | peak MiB | times as fast as plain, plain channels_last "
        "| share of their memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        plain = [r for r in rows if r["batch"] == row["batch"] and r["side"] in SIDES[:2]]
        faster = ", ".join(f"{other['seconds'] / row['seconds']:.2f}" for other in plain)
        share = ", ".join(f"{row['peak_mib'] / other['peak_mib']:.2f}" for other in plain)
        lines.append(
            f"| {row['batch']} | {row['side']} | {row['seconds']:.3f} | {row['peak_mib']:.0f} "
            f"| {faster} | {share} |"
        )
    return "\n".join(lines)


def run(side: str, batch: int, options: list[str]) -> dict[str, float]:
    """One side's figures, from its own process."""
    command = [sys.executable, __file__, *options, "--side", side, "--batch", str(batch)]
    done = subprocess.run(
        command, env={**os.environ, **ALLOCATOR}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of the fastest step and peak memory of this process."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = stepper(arguments.side, arguments)
    seconds = []
    for _ in range(arguments.steps + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": min(seconds[1:]), "peak_mib": peak / 1024}


def stepper(side: str, arguments: argparse.Namespace) -> Callable[[], None]:
    """A function that trains one side's network by one step, always on the same images."""
    config = SupernetConfig(
        channels=arguments.channels,
        num_cells=arguments.cells,
        kernels="native" if side == "gnas native" else "torch",
        recompute=arguments.recompute,
    )
    weights = even_weights(config)
    images, labels = torch.randn(arguments.batch[0], 3, 32, 32), torch.arange(arguments.batch[0])
    network: Any
    if side.startswith("plain"):
        network = reference().PlainSupernet(config)
        if side.endswith("channels_last"):
            network = network.to(memory_format=torch.channels_last)
            images = images.to(memory_format=torch.channels_last)
    else:
        network = Supernet(config)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, 0.9, weight_decay=3e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images, *weights), labels % 10)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()

    return step


def profile_table(arguments: argparse.Namespace) -> str:
    """Markdown: milliseconds of each operator of a native step, after two that warm up."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    flops, moved = most_flops(), most_moved()
    step = stepper("gnas native", arguments)
    for _ in range(2):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    found = profile.key_averages()
    total = sum(row.self_cpu_time_total for row in found)
    lines = [
        f"{arguments.threads} threads multiply large matrices at {flops / 1e9:.0f} billion "
        f"floating-point operations a second and copy memory at {moved / 1e9:.1f} GB/s (read and "
        "written).",
        "",
        "| operator | calls | ms | share |",
        "|---|---|---|---|",
    ]
    shown = 0.0
    for row in sorted(found, key=lambda row: -row.self_cpu_time_total)[:12]:
        shown += row.self_cpu_time_total
        lines.append(
            f"| `{row.key}` | {row.count} | {row.self_cpu_time_total / 1e3:.1f} "
            f"| {row.self_cpu_time_total / total:.1%} |"
        )
    lines.append(f"| all others | | {(total - shown) / 1e3:.1f} | {1 - shown / total:.1%} |")
    return "\n".join(lines)


def most_flops() -> float:
    """Floating-point operations a second of the fastest of some products of large matrices."""
    side = 2048
    a, b = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / min(timed(lambda: torch.mm(a, b)) for _ in range(10))


def most_moved() -> float:
    """Bytes a second, read and written, of the fastest of some copies of 256 MiB."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    return 2 * 4 * 2**26 / min(timed(lambda: target.copy_(source)) for _ in range(10))


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@dataclass
class Count:
    """Of one kind of layers and one image."""

    macs: int = 0
    read: int = 0
    """Numbers of the layers' inputs."""
    written: int = 0
    """Numbers of their outputs."""


def counts(config: SupernetConfig) -> dict[str, Count]:
    """What each kind of the plain supernet's layers does for one image of 32x32 pixels."""
    found: dict[str, Count] = {}

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        kind, macs = type(layer).__name__, 0
        if isinstance(layer, nn.Conv2d):
            kernel = layer.kernel_size[0]
            macs = output.numel() * kernel**2 * layer.in_channels // layer.groups
            kind = f"{'depthwise' if layer.groups > 1 else 'dense'} {kernel}x{kernel}"
        count = found.setdefault(kind, Count())
        count.macs += macs
        count.read += inputs[0].numel()
        count.written += output.numel()

    network = reference().PlainSupernet(config)
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32), *even_weights(config))
    return found


def counts_table(found: dict[str, Count]) -> str:
    """Markdown: millions a kind of layers, and floating-point operations a byte that moves."""
    fields = ("macs", "read", "written")
    total = Count(*(sum(getattr(count, name) for count in found.values()) for name in fields))
    lines = [
        "| layers | M multiply-accumulates | M numbers read | written | operations a byte |",
        "|---|---|---|---|---|",
    ]
    for kind, own in (*sorted(found.items()), ("all", total)):
        a_byte = 2 * own.macs / (4 * (own.read + own.written))
        values = " | ".join(f"{getattr(own, name) / 1e6:.1f}" for name in fields)
        lines.append(f"| {kind} | {values} | {a_byte:.1f} |")
    return "\n".join(lines)


def even_weights(config: SupernetConfig) -> list[MixedWeights]:
    """Of both kinds of cells: all operations alike, all edges whole."""
    num_edges = len(candidate_edges(config.num_nodes))
    one = MixedWeights(torch.full((num_edges, 7), 1 / 7), torch.ones(num_edges))
    return [one, one]


def reference() -> ModuleType:
    """The plain supernet that the tests compare with."""
    spec = importlib.util.spec_from_file_location("plain_supernet", REFERENCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
