"""Exact Gaussian processes: one length scale a column, or a Weisfeiler-Lehman kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from gnas.config import check_choice, check_count, check_number
from gnas.errors import ConfigError
from gnas.predictors.base import ColumnScale, Predictor
from gnas.predictors.features import FeatureMatrix, Features
from gnas.predictors.targets import NormalScores, Scores
from gnas.predictors.wl import WLLabels, exponentiated_wl, label_counts
from gnas.training.devices import own_settings

MaternKernel = Literal["matern32", "matern52"]
_Number = TypeVar("_Number", int, float)
HYPER_ROWS = 500
"""Choice: hyperparameters are fitted on at most this many rows; the fit is cubic in it."""
STEPS = 12
"""Choice: iterations of L-BFGS; more rank no better, and worse after 39 labels."""
SPREAD = 1.0
"""Choice: see `ARDGaussianProcess`."""
_LOG_NOISE, _WIDE = -3.0, 1.5  # prior mean of the log noise; deviation of it and of the log signal
_JITTER = 1e-6
_CHUNK_SIZE = 4_000


@dataclass(frozen=True)
class _Posterior:
    """Posterior of an exact Gaussian process given N targets."""

    factor: Tensor
    """Cholesky factor of the kernel with noise, [N, N]."""
    weights: Tensor
    """Inverse of that kernel times the centred targets, [N]."""
    mean: float

    @staticmethod
    def of(kernel: Tensor, noise: float, targets: Tensor, mean: float) -> _Posterior:
        noisy = kernel + noise * torch.eye(len(kernel), dtype=kernel.dtype)  # [N, N]
        factor = torch.linalg.cholesky(noisy)
        weights = torch.cholesky_solve((targets - mean)[:, None], factor)[:, 0]
        return _Posterior(factor, weights, mean)

    def predict(self, cross: Tensor, prior: Tensor | float) -> tuple[Tensor, Tensor]:
        """Mean and variance [M] from the kernel with the N rows [M, N] and one's own [M]."""
        solved = torch.linalg.solve_triangular(self.factor, cross.t(), upper=False)  # [N, M]
        return cross @ self.weights + self.mean, (prior - solved.square().sum(0)).clamp_min(0)


class ARDGaussianProcess(Predictor):
    """A Gaussian process with a Matern kernel and a length scale for every column.

    Length scales, signal, noise and mean maximise the posterior: log length scales have a normal
    prior around ``length_scale`` sqrt(columns), which keeps few samples from switching columns
    off. Exact, in float64.

    Args:
        features: Columns are standardised by the training rows; those that do not change there
            are left out.
        columns: Indices of the columns to use; None for all.
        relevance: Divisor of the prior length scale of each column of ``features``;
            None treats all alike.
        kernel: Matern, of smoothness 3/2 or 5/2.
        length_scale: Median of the prior length scale, in units of sqrt(columns).
        length_std: Deviation of the prior logarithm of a length scale: how far labels may move it.
        tail_weight: Distance of the best and worst targets from the rest: 1 as the quantiles of a
            normal distribution, 0 as those of a uniform one, see `NormalScores.mix_with_uniform`.
        hyper_rows: Hyperparameters are fitted on at most this many rows (a seeded draw);
            predictions use all.
        random_state: See `Predictor`.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2, 5;
    Hvarfner et al., Vanilla Bayesian Optimization Performs Great in High Dimensions, ICML 2024,
    for a log-normal prior of length scales whose median grows with the square root of the number
    of columns. The medians and deviations here are choices of gnas.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import PathStatistics
        >>> model = ARDGaussianProcess(PathStatistics(NASBench101())).fit(cells[:30], edges[:30])
        >>> model.score(cells[30:], edges[30:]) > 0.5
        True
    """

    has_std = True

    def __init__(
        self,
        features: Features,
        *,
        columns: Sequence[int] | None = None,
        relevance: Sequence[float] | None = None,
        kernel: MaternKernel = "matern32",
        length_scale: float = 2.0,
        length_std: float = SPREAD,
        tail_weight: float = 1.0,
        hyper_rows: int = HYPER_ROWS,
        random_state: int = 0,
    ) -> None:
        check_choice(kernel, "kernel", get_args(MaternKernel))
        check_number(length_scale, "length_scale")
        check_number(length_std, "length_std")
        check_number(tail_weight, "tail_weight", zero=True, most=1)
        check_count(hyper_rows, "hyper_rows")
        super().__init__(features, random_state=random_state)
        self.name = "ARD GP"
        self.columns = None if columns is None else _listed(columns, "columns")
        self.relevance = None if relevance is None else _listed(relevance, "relevance")
        self.kernel = kernel
        self.length_scale = length_scale
        self.length_std = length_std
        self.tail_weight = tail_weight
        self.hyper_rows = hyper_rows
        self._scale_of_columns: ColumnScale | None = None
        self._inputs = torch.zeros(0, 0)
        self._signal = 1.0
        self._lengths = torch.zeros(0)
        self._posterior: _Posterior | None = None

    @own_settings()
    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        self._scale_of_columns = ColumnScale(self._chosen(rows))
        inputs = self._scaled(rows)  # [N, F']
        values = torch.from_numpy(NormalScores.mix_with_uniform(targets, self.tail_weight))
        part = np.random.default_rng(self.random_state).permutation(len(rows))[: self.hyper_rows]
        lengths = self._prior_lengths(rows, inputs.size(1))
        found = _most_probable(inputs[part], values[part], self.kernel, lengths, self.length_std)
        self._lengths, self._signal = found.lengths, found.signal
        self._inputs = inputs / found.lengths
        distance = _distance(self._inputs, self._inputs, self.kernel)
        kernel = found.signal * _matern(distance, self.kernel)  # [N, N]
        noise = found.noise + _JITTER * found.signal
        self._posterior = _Posterior.of(kernel, noise, values, found.mean)

    @own_settings()
    def _predict(self, rows: FeatureMatrix) -> Scores:
        return self._predict_std(rows)[0]

    @own_settings()
    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        assert self._posterior is not None
        means, variances = [], []
        for part in torch.split(self._scaled(rows) / self._lengths, _CHUNK_SIZE):
            distance = _distance(part, self._inputs, self.kernel)
            cross = self._signal * _matern(distance, self.kernel)  # [M, N]
            mean, variance = self._posterior.predict(cross, self._signal)
            means.append(mean)
            variances.append(variance)
        return torch.cat(means).numpy(), torch.cat(variances).sqrt().numpy()

    def learned_relevance(self) -> Scores:
        """Fitted relevance of each column of ``features``: [F].

        Columns that are not in use keep what they were given.

        Raises:
            ConfigError: `fit` was not called.
        """
        if self._scale_of_columns is None:
            raise ConfigError(f"predictor '{self.name}' must be fitted first; call `fit`")
        learned = self._given_relevance(self._width).copy()
        numbers = self._chosen(np.arange(float(self._width))[None])
        if self._scale_of_columns.some:
            used = self._scale_of_columns.of_columns(numbers)[0].astype(int)
            learned[used] = self.length_scale * math.sqrt(len(used)) / self._lengths.numpy()
        return learned

    def _given_relevance(self, width: int) -> Scores:
        return np.ones(width) if self.relevance is None else np.array(self.relevance)

    def _prior_lengths(self, rows: FeatureMatrix, width: int) -> Tensor:
        """Median of the prior length scale of every column in use: [F']."""
        relevance = self._given_relevance(rows.shape[1])
        if len(relevance) != rows.shape[1]:
            raise ConfigError(
                f"relevance must have one value for each of the {rows.shape[1]} columns, but got "
                f"{len(relevance)}"
            )
        assert self._scale_of_columns is not None
        kept = self._scale_of_columns.of_columns(self._chosen(relevance[None]))[0]
        return self.length_scale * math.sqrt(width) / torch.from_numpy(kept)

    def _chosen(self, rows: FeatureMatrix) -> FeatureMatrix:
        chosen: FeatureMatrix = rows if self.columns is None else rows[:, self.columns]
        return chosen

    def _scaled(self, rows: FeatureMatrix) -> Tensor:
        assert self._scale_of_columns is not None
        return torch.from_numpy(self._scale_of_columns(self._chosen(rows)))


@dataclass(frozen=True)
class _Hyper:
    lengths: Tensor
    signal: float
    noise: float
    mean: float


def _distance(left: Tensor, right: Tensor, kind: MaternKernel) -> Tensor:
    """Distances that `_matern` takes, of rows divided by their length scales: [N, F], [M, F]."""
    squares = left.square().sum(1)[:, None] + right.square().sum(1) - 2 * left @ right.t()
    return squares.clamp_min(1e-12).sqrt() * math.sqrt(5 if kind == "matern52" else 3)


def _matern(distance: Tensor, kind: MaternKernel) -> Tensor:
    """Matern kernel of distances, of the same shape."""
    smooth = kind == "matern52"
    near = 1 + distance + (distance.square() / 3 if smooth else 0)
    return near * torch.exp(-distance)


def _slope(distance: Tensor, kind: MaternKernel) -> Tensor:
    """-2 times the kernel's derivative by the squared distance of rows: of the same shape."""
    near = 5 / 3 * (1 + distance) if kind == "matern52" else 3.0
    return near * torch.exp(-distance)


def _most_probable(
    inputs: Tensor, targets: Tensor, kind: MaternKernel, prior_lengths: Tensor, length_std: float
) -> _Hyper:
    """Maximum a posteriori of every column's length scale, the signal, the noise and the mean."""
    from scipy.optimize import minimize

    width = inputs.size(1)
    start = np.zeros(width + 3)
    start[-2] = _LOG_NOISE
    best = minimize(
        partial(_negative_log_posterior, inputs, targets, kind, prior_lengths, length_std),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-6.0, 6.0)] * width + [(-5.0, 5.0), (-10.0, 2.0), (-3.0, 3.0)],
        options={"maxiter": STEPS},
    ).x
    lengths = prior_lengths * torch.from_numpy(best[:width]).exp()
    return _Hyper(lengths, math.exp(best[-3]), math.exp(best[-2]), float(best[-1]))


def _negative_log_posterior(
    inputs: Tensor,
    targets: Tensor,
    kind: MaternKernel,
    prior_lengths: Tensor,
    length_std: float,
    point: Scores,
) -> tuple[float, Scores]:
    """Its value up to a constant, and its gradient.

    The gradient is written out: the products with the inverse kernel are shared by all columns,
    which automatic differentiation cannot know.

    Args:
        inputs: Standardised columns [N, F].
        targets: Training targets [N].
        kind: The kernel.
        prior_lengths: Medians of the length scales [F].
        length_std: Deviation of their logarithms.
        point: Logarithms of the length scales over their medians, of the signal and of the
            noise, then the mean: [F + 3].
    """
    width = inputs.size(1)
    shift = torch.from_numpy(point[:width])
    log_signal, log_noise, mean = point[width:].tolist()
    signal, noise = math.exp(log_signal), math.exp(log_noise)
    scaled = inputs / (prior_lengths * shift.exp())  # [N, F]
    distance = _distance(scaled, scaled, kind)  # [N, N]
    kernel = signal * _matern(distance, kind)
    noisy = kernel.clone()
    noisy.diagonal().add_(noise + _JITTER * signal)
    factor = torch.linalg.cholesky(noisy)
    inverse = torch.cholesky_inverse(factor)
    rest = targets - mean
    weights = inverse @ rest  # [N]
    value = 0.5 * float(rest @ weights) + float(factor.diagonal().log().sum())
    value += 0.5 * (
        float((shift / length_std).square().sum())
        + (log_signal / _WIDE) ** 2
        + ((log_noise - _LOG_NOISE) / _WIDE) ** 2
    )
    # twice the derivative by every element of the noisy kernel
    outer = inverse - torch.outer(weights, weights)  # [N, N]
    trace = float(outer.diagonal().sum())
    pull = signal * _slope(distance, kind) * outer
    by_shift = scaled.square().t() @ pull.sum(1) - (scaled * (pull @ scaled)).sum(0)
    by_signal = 0.5 * (float((outer * kernel).sum()) + _JITTER * signal * trace)
    by_signal += log_signal / _WIDE**2
    by_noise = 0.5 * noise * trace + (log_noise - _LOG_NOISE) / _WIDE**2
    by_mean = -float(weights.sum())
    columns = by_shift + shift / length_std**2
    return value, np.concatenate([columns.numpy(), [by_signal, by_noise, by_mean]])


def _listed(values: Sequence[_Number], name: str) -> tuple[_Number, ...]:
    """Numbers as a tuple; ConfigError if they are no list of numbers."""
    try:
        found = tuple(values)
    except TypeError:
        found = ("",)  # type: ignore[assignment]
    if not all(isinstance(value, Real) for value in found):
        raise ConfigError(f"{name} must be a list of numbers, but got {values!r:.80}")
    return found


class WLGaussianProcess(Predictor):
    """A Gaussian process with the Weisfeiler-Lehman subtree kernel of functional forms.

    The kernel is exp(``sharpness`` (k - 1)) of the normalised kernel k. The number of relabelling
    rounds, the sharpness and the noise are those of the greatest marginal likelihood; the signal
    has its best value in closed form.

    Args:
        features: The labels that are compared.
        hyper_rows: As for `ARDGaussianProcess`.
        random_state: See `Predictor`.

    Source: Ru et al., Interpretable Neural Architecture Search via Bayesian Optimisation with
    Weisfeiler-Lehman Kernels, ICLR 2021; without its feature selection, and with the exponential.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> model = WLGaussianProcess(WLLabels(NASBench101())).fit(cells[:30], edges[:30])
        >>> model.score(cells[30:], edges[30:]) > 0
        True
    """

    has_std = True
    SHARPNESS = (1.0, 3.0, 8.0)
    NOISE = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)

    def __init__(
        self, features: WLLabels, *, hyper_rows: int = 500, random_state: int = 0
    ) -> None:
        check_count(hyper_rows, "hyper_rows")
        if not isinstance(features, WLLabels):
            raise ConfigError(f"features must be WLLabels, but got {features!r:.80}")
        super().__init__(features, random_state=random_state)
        self.name = "WL GP"
        self.labels = features
        self.hyper_rows = hyper_rows
        self.rounds = 0
        self.sharpness = 1.0
        self._rows: FeatureMatrix = np.zeros((0, 0))
        self._signal = 1.0
        self._posterior: _Posterior | None = None

    @own_settings()
    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        part = np.random.default_rng(self.random_state).permutation(len(rows))[: self.hyper_rows]
        best, noise = -math.inf, 0.0
        for rounds in range(self.labels.n_iter + 1):
            counts = label_counts(self._until(rows[part], rounds))
            for sharpness in self.SHARPNESS:
                kernel = exponentiated_wl(counts, counts, sharpness)
                found = self._noise(kernel, targets[part])
                if found[0] > best:
                    best, noise, self._signal = found
                    self.rounds, self.sharpness = rounds, sharpness
        self._rows = rows
        counts = label_counts(self._until(rows, self.rounds))
        whole = torch.from_numpy(exponentiated_wl(counts, counts, self.sharpness))
        noise = self._signal * (noise + _JITTER)
        self._posterior = _Posterior.of(
            self._signal * whole, noise, torch.from_numpy(targets), 0.0
        )

    @own_settings()
    def _predict(self, rows: FeatureMatrix) -> Scores:
        return self._predict_std(rows)[0]

    @own_settings()
    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        assert self._posterior is not None
        means, variances = [], []
        known = self._until(self._rows, self.rounds)
        for start in range(0, len(rows), _CHUNK_SIZE):
            part = self._until(rows[start : start + _CHUNK_SIZE], self.rounds)
            counts = label_counts(np.concatenate([part, known]))
            new, old = counts[: len(part)], counts[len(part) :]
            kernel = exponentiated_wl(new, old, self.sharpness)
            cross = self._signal * torch.from_numpy(kernel)
            mean, variance = self._posterior.predict(cross, self._signal)
            means.append(mean)
            variances.append(variance)
        return torch.cat(means).numpy(), torch.cat(variances).sqrt().numpy()

    def _until(self, rows: FeatureMatrix, rounds: int) -> FeatureMatrix:
        """The labels of rounds 0..``rounds`` alone."""
        nodes = rows.shape[1] // (self.labels.n_iter + 1)
        until: FeatureMatrix = rows[:, : (rounds + 1) * nodes]
        return until

    def _noise(self, kernel: FeatureMatrix, targets: Scores) -> tuple[float, float, float]:
        """Best log marginal likelihood, the noise it has (in signals) and the signal."""
        values, vectors = np.linalg.eigh(kernel)
        squares = (vectors.T @ targets) ** 2  # [N]
        found = []
        for noise in self.NOISE:
            total = values.clip(0) + noise
            signal = float((squares / total).mean())
            score = -0.5 * (len(targets) * math.log(signal) + float(np.log(total).sum()))
            found.append((score, noise, signal))
        return max(found)
