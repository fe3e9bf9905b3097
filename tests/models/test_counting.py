"""Sizes of any network, which is left as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gnas.models import num_macs, num_params


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_networks_of_every_precision(dtype: torch.dtype) -> None:
    network = nn.Conv2d(4, 8, 3, groups=2, stride=2, padding=1, dilation=2).to(dtype)
    assert num_macs(network, (4, 17, 13)) == 8 * 8 * 6 * 2 * 9


def test_a_network_without_weights() -> None:
    network = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    assert (num_macs(network, (3, 8, 8)), num_params(network)) == (0, 0)


WIDTH, TOKENS = 16, 64
PROJECTIONS, PRODUCTS = 4 * TOKENS * WIDTH**2, 2 * TOKENS**2 * WIDTH


class Tokens(nn.Module):
    """A layer over the 64 pixels of an image of 16 channels."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        if isinstance(self.layer, nn.MultiheadAttention):
            out: Tensor = self.layer(tokens, tokens, tokens, need_weights=False)[0]
            return out
        if isinstance(self.layer, nn.LSTM):
            return torch.as_tensor(self.layer(tokens)[0])
        out = self.layer(tokens)
        return out


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        heads = x.reshape(len(x), -1, 4, 4).transpose(1, 2)  # [B, 4, 64, 4]
        return nn.functional.scaled_dot_product_attention(heads, heads, heads)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (Attention(), PRODUCTS),
        (nn.MultiheadAttention(WIDTH, 4, batch_first=True), PROJECTIONS + PRODUCTS),
        (nn.MultiheadAttention(WIDTH, 4), PROJECTIONS + 2 * TOKENS * WIDTH),
        (
            nn.TransformerEncoderLayer(WIDTH, 4, 24, batch_first=True),
            PROJECTIONS + PRODUCTS + 2 * TOKENS * WIDTH * 24,
        ),
        (nn.LSTM(WIDTH, 8, 2, bidirectional=True), TOKENS * 2 * 4 * 8 * (WIDTH + 8 + WIDTH + 8)),
    ],
)
def test_products_in_fused_layers_count(layer: nn.Module, macs: int) -> None:
    """In evaluation PyTorch runs them as one operation each."""
    assert num_macs(Tokens(layer), (WIDTH, 8, 8)) == macs


class Gate(nn.Module):
    """Products with vectors: a score of each position, and one of the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x.flatten(2)[0].t() @ x.mean((0, 2, 3))
        return x.sum() + scores @ scores


def test_products_with_vectors_count() -> None:
    assert num_macs(Gate(), (WIDTH, 8, 8)) == TOKENS * WIDTH + TOKENS
    added = nn.Linear(WIDTH, 3)  # of one vector
    assert num_macs(nn.Sequential(nn.Flatten(0), added), (WIDTH, 1, 1)) == 3 * WIDTH


class Sums(nn.Module):
    """Products of all values with themselves, and of every row's matrices, added up."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x[0].transpose(0, 1)  # [8, WIDTH, 8]
        added = torch.addbmm(x.new_zeros(WIDTH, WIDTH), rows, rows.transpose(1, 2))
        return torch.vdot(x.flatten(), x.flatten()) + added.sum()


def test_products_that_are_added_up_count() -> None:
    assert num_macs(Sums(), (WIDTH, 8, 8)) == TOKENS * WIDTH + TOKENS * WIDTH * WIDTH


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(WIDTH, 5, 7)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x.flatten(2).transpose(1, 2), x.new_zeros(1, 64, 5)))


def test_bilinear_layers_count() -> None:
    """A product with the first image, and one of what it gives with the second."""
    assert num_macs(Pairs(), (WIDTH, 8, 8)) == TOKENS * (WIDTH * 5 * 7 + 5 * 7)


def test_parts_keep_their_modes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    network[1].eval()
    num_macs(network, (3, 8, 8))
    assert [part.training for part in network.modules()] == [True, True, False]
