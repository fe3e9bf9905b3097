"""How well encoders' cosines agree with the WL kernel on held-out pairs, kind by kind.

Beside the shipped encoders: the constant predictor (R2 = 0 by definition), an encoder that sees
degree histograms only, the flattened adjacency matrix plain, in canonical order and trained with
renumbered copies. These are trained here, with the same number of steps each. What a predictor
gains by an encoder is measured by `encoder_gain.py`, and need not go with this.
Run from the repository's root:
python benchmarks/encoder_quality.py [--steps N] [--save NAME]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import torch
from record import command_line, save_record

from gnas.encoders import (
    PRESETS,
    EncoderQuality,
    NASGEMEncoder,
    encoder_quality,
    fit_encoder,
    load_encoder,
)
from gnas.encoders.recipes import HELD_OUT_PAIRS, HELD_OUT_SEED

NOTE = """
ind.: independent pairs; near: the same graph after 1 to 40 edge flips (30 nodes; 20 for
`nasgem-30`) or 1 to 3 mutations. const.: loss of the best constant, R2 = 1 - loss / const. cosine
of copies: isomorphic graphs numbered otherwise; the kernel says 1.
"""


def shipped(name: str) -> NASGEMEncoder:
    encoder = load_encoder(name)
    assert isinstance(encoder, NASGEMEncoder)
    return encoder


def compared_encoders(steps: int) -> Iterator[tuple[str, str, NASGEMEncoder]]:
    """Space, what it is, and the encoder."""
    large = "30-node cells: degree, out, h = 3"
    plain = replace(PRESETS["nasgem-30-paper"](), steps=steps)
    yield large, "degree histograms only", fit_encoder(replace(plain, features=("degrees",)))
    yield large, "adjacency, plain", fit_encoder(plain)
    yield large, "adjacency, canonical order", fit_encoder(replace(plain, canonical=True))
    yield large, "adjacency, augmentation", fit_encoder(replace(plain, augment=True))
    kernels = {"nasgem": "30-node cells", "nasbench101": "NAS-Bench-101"}
    kernels |= {"nasbench201": "NAS-Bench-201", "toponas": "pairs of DARTS cells"}
    for name, make in PRESETS.items():
        config = make()
        kernel = f"{config.labels}, {config.direction}, h = {config.n_iter}"
        yield f"{kernels[config.space]}: {kernel}", f"shipped {name}", shipped(name)


def line(space: str, what: str, quality: EncoderQuality) -> str:
    cells = [space, what]
    for pairs in (quality.independent, quality.near):
        cells += [f"{pairs.r2:.3f}", f"{pairs.correlation:.3f}", f"{pairs.loss:.5f}"]
        cells += [f"{pairs.constant_loss:.5f}"]
    return f"| {' | '.join(cells)} | {quality.permuted_cosine:.4f} |"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="of the encoders trained here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [f"{k} {what}" for k in ("ind.", "near") for what in ("R2", "corr.", "loss", "const.")]
    lines = [f"| pairs of | encoder | {' | '.join(kinds)} | cosine of copies |"]
    lines.append("|---" * (len(kinds) + 3) + "|")
    print("\n".join(lines))
    rows = []
    for space, what, encoder in compared_encoders(options.steps):
        rng = np.random.default_rng(HELD_OUT_SEED)
        quality = encoder_quality(encoder, encoder.config, rng, HELD_OUT_PAIRS)
        rows.append({"pairs_of": space, "encoder": what, **asdict(quality)})
        lines.append(line(space, what, quality))
        print(lines[-1], flush=True)
    if options.save:
        save_record(
            options.save,
            "agreement of encoders with their WL kernels (labels, direction, rounds h), "
            "held-out pairs",
            f"python benchmarks/encoder_quality.py --steps {options.steps}",
            "\n".join([*lines, NOTE]),
            pairs_of_each_kind=HELD_OUT_PAIRS,
            seed=HELD_OUT_SEED,
            rows=rows,
        )


if __name__ == "__main__":
    main()
