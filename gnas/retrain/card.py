"""The folder of a trained network: weights, what is needed to build it, and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gnas.data.files import atomic_write
from gnas.data.images.parts import ImageParts
from gnas.models.saved import NetworkMetadata, save_network
from gnas.printable import amount
from gnas.runs import to_jsonable
from gnas.spaces import Space
from gnas.spaces.networks import NetworkConfig

MAX_CLASSES = 20
"""More names of classes than this are left to ``config.json``."""
LISTS = ("parts", "mean", "std", "class_names")
"""Facts of the data that are told otherwise."""
USE = (
    "## Use",
    "",
    "```python",
    "from pathlib import Path",
    "",
    "from gnas.models import load_network",
    "",
    'network, facts = load_network(Path("."))',
    "# images: float32 [B, C, H, W], (pixels / 255 - facts.mean) / facts.std",
    "logits = network(images)",
    "```",
)


def save_trained(
    folder: Path,
    network: nn.Module,
    space: Space,
    config: NetworkConfig,
    images: ImageParts,
    result: Mapping[str, Any],
) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md``.

    Args:
        folder: Made if need be; "best" says that the weights are those of the best epoch.
        network: The trained network.
        space: Its architecture's.
        config: Its size and form.
        images: What it was trained and tested on.
        result: Of its training, as in ``result.json``.

    Raises:
        DataError: writing failed.
    """
    details = {
        "recipe": result["config"]["retrain"],
        "data": result["data"],
        "result": {name: result[name] for name in ("metrics", "params", "macs", "seconds")},
        "versions": result["versions"],
        "git_commit": result["git_commit"],
        "device": result["device"],
        "weights": "best validation epoch" if folder.name == "best" else "last epoch",
    }
    facts = NetworkMetadata(
        space=space,
        architecture=result["architecture"],
        config=config,
        image_size=images.image_size,
        mean=tuple(value / 255 for value in images.normalization.mean),
        std=tuple(value / 255 for value in images.normalization.std),
        classes=images.classes,
        details=to_jsonable(details),
    )
    save_network(folder, network, facts)
    with atomic_write(folder / "README.md") as temporary:
        temporary.write_text(model_card(facts), encoding="utf-8")


def model_card(facts: NetworkMetadata) -> str:
    """Model card of the folder: contents, origin and use."""
    details = facts.details
    data, metrics = details["data"], details["result"]["metrics"]
    best = details["weights"].startswith("best")
    prefix = "best_test" if best else "test"
    shape = f"{facts.config.in_channels} x {facts.image_size} x {facts.image_size}"
    lines = [
        "---",
        "library_name: gnas",
        "pipeline_tag: image-classification",
        "---",
        "",
        f"# Image classifier for {data['dataset']}",
        "",
        f"Weights of the {details['weights']}. Nothing was chosen by the test images.",
        "",
        "## Architecture",
        "",
        "```text",
        facts.architecture,
        "```",
        "",
        *_table({**to_jsonable(facts.config), "images": shape}),
        *_table(
            {
                "parameters": f"{details['result']['params']:,}",
                "multiply-accumulates": f"{details['result']['macs']:,}",
            }
        ),
        "## Result",
        "",
        *_table(
            {
                "test accuracy": _percent(metrics[f"{prefix}_acc"]),
                "top-5": _percent(metrics[f"{prefix}_top5"]),
                "test images": metrics[f"{prefix}_images"],
                "epoch": metrics["best_epoch"] if best else metrics["epoch"],
                "training time": f"{details['result']['seconds']:.0f} s on {details['device']}",
            }
        ),
        "## Data",
        "",
        *_table({k: v for k, v in data.items() if k not in LISTS}),
        *_table({part["name"]: amount(part["images"], "image") for part in data["parts"]}),
    ]
    if len(facts.classes) <= MAX_CLASSES:
        lines += ["Classes: " + ", ".join(facts.classes) + ".", ""]
    lines += ["## Recipe", "", *_table(details["recipe"])]
    lines += ["## Versions", "", *_table({**details["versions"], "git": details["git_commit"]})]
    return "\n".join([*lines, *USE]) + "\n"


def _table(values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {name} | {value} |" for name, value in values.items() if value is not None]
    return ["| | |", "|---|---|", *rows, ""]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"
