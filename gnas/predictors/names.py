"""Names of the predictors that ship with gnas, checked without importing PyTorch."""

from __future__ import annotations

from gnas.config import check_named

PREDICTOR_NAMES = {
    "mlp": "NASGEM's two-layer perceptron, on the raw adjacency matrix or on an embedding",
    "default": "`gnas.predictors.default_predictor` without graph networks",
    "default-networks": "`gnas.predictors.default_predictor` with pretrained graph networks",
    "default-prior": "`gnas.predictors.default_predictor` with the prior fitted to CIFAR-100",
    "ard-gp": "a Gaussian process on path statistics with a length scale for every column",
    "wl-gp": "a Gaussian process with the Weisfeiler-Lehman kernel",
    "gp": "a Gaussian process on the raw adjacency matrix",
    "forest": "a random forest on the raw adjacency matrix and counts of operations",
    "extra-trees": "extremely randomised trees on path statistics",
    "boosted-trees": "gradient-boosted trees on path statistics",
    "graph-network": "a graph network trained on the scored architectures",
    "mlp-walks": "the perceptron on statistics of random walks",
    "gp-walks": "a Matern Gaussian process on statistics of random walks",
}
"""Every key of `gnas.predictors.PREDICTORS`, with what it makes."""


def check_predictor(text: str) -> None:
    """Check that there is a predictor of this name, or such a file.

    Args:
        text: A key of `PREDICTOR_NAMES`, or ``FILE.py:NAME``; see
            `gnas.predictors.make_predictor`.

    Raises:
        ConfigError: There is no such predictor.
        MissingDataError: There is no such file.

    Examples:
        >>> check_predictor("forrest")
        Traceback (most recent call last):
        gnas.errors.ConfigError: unknown predictor 'forrest'; did you mean forest? choose from ...
    """
    check_named("predictor", text, PREDICTOR_NAMES)
