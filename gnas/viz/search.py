"""Figures of a supernet search: its cells, and how it got to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from gnas.geometric import Data
from gnas.search.toponas import ToponasConfig, search_space, supernets_of
from gnas.search.toponas.arch import uniform_entropies
from gnas.search.toponas.relaxations import RELAXATIONS
from gnas.spaces.supernets import Supernets
from gnas.spaces.toponas import CELL_TYPES
from gnas.spaces.toponas.figure import LABELS, OP_COLOURS, TITLES, cell_figures, node_name
from gnas.spaces.toponas.genotype import Genotype
from gnas.style import COLOURS
from gnas.topology import NUM_INPUTS, TopologyCodes, TopologyDistribution, TopologySpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure


class SearchSummary(Protocol):
    """Data of a finished or running search for the figures."""

    @property
    def config(self) -> ToponasConfig:
        """Settings of the search."""
        ...

    @property
    def architecture(self) -> Data:
        """Results of the search."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch, from 1, that has found it."""
        ...

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """Metrics of every epoch."""
        ...

    @property
    def history(self) -> dict[str, Tensor]:
        """alpha, beta and s by epoch; see `gnas.search.toponas.SupernetSearchResult`."""
        ...


def search_figures(search: SearchSummary) -> dict[str, Figure]:
    """Figures by name.

    The cells are "normal" and "reduce", or what the space draws; "metrics" is loss, accuracy,
    entropies and skip share by epoch; "variables" is alpha, beta and s by epoch.

    Args:
        search: A supernet search.

    Examples:
        >>> from gnas.search import search_toponas
        >>> from gnas.search.toponas.plan import plan_search
        >>> from gnas.data.images import open_search_images, search_loaders
        >>> from gnas.spaces import NASBench201
        >>> plan = plan_search(
        ...     "digits", space="nasbench201",
        ...     epochs=1, channels=2, num_cells=1, batch_size=400, image_size=8,
        ... )
        >>> loaders = search_loaders(open_search_images(plan.images), plan.config.batch_size)
        >>> list(search_figures(search_toponas(NASBench201(), loaders, plan.config)))
        ['architecture', 'metrics', 'variables']
    """
    cells = supernets_of(search.config).cells
    figures = found_cells(search)
    figures["metrics"] = _metrics(search.epochs, cells, uniform_entropies(search.config))
    figures["variables"] = _variables(search)
    return figures


def found_cells(search: SearchSummary) -> dict[str, Figure]:
    """The cells of `search_figures` alone.

    Args:
        search: A supernet search.
    """
    space = search_space(search.config)
    if supernets_of(search.config, space).cells == CELL_TYPES:  # edges show how probable they are
        genotype = Genotype.from_graph(search.architecture)
        return cell_figures(genotype, _edge_probabilities(search))
    return space.draw(search.architecture)


def _edge_probabilities(search: SearchSummary) -> dict[str, Tensor] | None:
    if not search.config.learns_topology:
        return None
    return {
        cell: _distribution(
            search.config, search.history[f"beta.{cell}"][search.epoch]
        ).edge_probabilities()
        for cell in supernets_of(search.config).cells
    }


def _codes(config: ToponasConfig) -> TopologyCodes:
    """The sets of edges that beta is over."""
    space: TopologySpace = "arbitrary" if config.topology == "arbitrary" else "fixed"
    return supernets_of(config).codes(space, config.k, config.mode)


@torch.no_grad()
def _distribution(config: ToponasConfig, logits: Tensor) -> TopologyDistribution:
    codes = _codes(config)
    distribution = TopologyDistribution(
        codes.num_nodes,
        space=codes.space,
        k=codes.k,
        mode=codes.mode,
        num_inputs=codes.num_inputs,
    ).requires_grad_(False)
    distribution.logits.copy_(logits)
    return distribution


def _metrics(
    epochs: Sequence[dict[str, Any]], cells: Sequence[str], uniform: Mapping[str, float]
) -> Figure:
    """Panels by epoch; entropies from 0, where all is decided, to the uniform distribution's."""

    def of_cells(name: str) -> tuple[str, ...]:
        return tuple(f"{name}_{cell}" for cell in cells)

    panels = (
        ("Loss (nats)", ("train_loss", "val_loss")),
        ("Accuracy", ("train_acc", "val_acc")),
        ("Entropy of operations (nats)", of_cells("alpha_entropy")),
        ("Entropy of edge sets (nats)", of_cells("beta_entropy")),
        ("Probability of an invalid cell", of_cells("invalid_mass")),
        ("Share of skip connections", of_cells("skip_share")),
        ("Largest eigenvalue of the Hessian in alpha", ("eigenvalue",)),
    )
    shown = [(title, names) for title, names in panels if names[0] in epochs[-1]]
    figure, grid = _grid(-(-len(shown) // 2), 2)
    for axes, (title, names) in zip(grid, shown, strict=False):
        for k, name in enumerate(names):
            axes.plot(
                [epoch["epoch"] for epoch in epochs],
                [epoch[name] for epoch in epochs],
                label=_short(name),
                color=COLOURS[4 + k],
                marker="o" if len(epochs) == 1 else None,
            )
        if uniform.get(names[0]):  # 0 where there is nothing to choose
            axes.axhline(uniform[names[0]], color="#999999", linestyle=":", label="uniform")
            axes.set_ylim(0, 1.06 * uniform[names[0]])
        _finish(axes, title)
        axes.legend(fontsize=8, frameon=False)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    return figure


def _short(name: str) -> str:
    return {"train": "training", "val": "validation"}.get(
        name.split("_")[0], TITLES.get(name.rsplit("_", 1)[-1], name)
    )


def _variables(search: SearchSummary) -> Figure:
    """One row a cell type: alpha, and where a topology is learned beta and s."""
    columns = 3 if search.config.learns_topology else 1
    form = supernets_of(search.config)
    figure, grid = _grid(len(form.cells), columns)
    codes = _codes(search.config)
    for row, cell in enumerate(form.cells):
        own = grid[row * columns : (row + 1) * columns]
        title = TITLES.get(cell, cell.capitalize())
        _alpha(own[0], search, search.history[f"alpha.{cell}"], form)
        _finish(own[0], f"{title}: weights of operations")
        if columns == 3:
            _beta(own[1], search.config, search.history[f"beta.{cell}"], codes)
            _finish(own[1], f"{title}: probabilities of edge sets, over uniform")
            _scales(own[2], search.history[f"scale.{cell}"], codes)
            _finish(own[2], f"{title}: factors s(i, j)")
    return figure


def _alpha(axes: Axes, search: SearchSummary, history: Tensor, form: Supernets) -> None:
    """History [epochs + 1, E, O or O + 1]: a thin line an edge and operation, a thick mean.

    Weights are those that the relaxation means on average.
    """
    relaxation = RELAXATIONS[search.config.relaxation](search.config.samples)
    weights = torch.stack([relaxation.mean(alpha) for alpha in history])
    others = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(form.ops)}
    for k, name in enumerate((*form.ops, "none")[: weights.size(-1)]):
        colour = OP_COLOURS.get(name) or others.get(name, "black")
        axes.plot(weights[:, :, k], color=colour, linewidth=0.5, alpha=0.5)
        axes.plot(
            weights[:, :, k].mean(1), color=colour, linewidth=2.2, label=LABELS.get(name, name)
        )
    axes.legend(
        fontsize=7, frameon=False, ncols=2, title="thin: an edge each; thick: their mean",
        title_fontsize=7,
    )  # fmt: skip


def _beta(axes: Axes, config: ToponasConfig, history: Tensor, codes: TopologyCodes) -> None:
    """History [epochs + 1, codes]: a line a set of edges, in the colour of the node that chooses.

    Nodes have different numbers of sets, so probabilities are drawn in multiples of the uniform.
    """
    steps = [_distribution(config, logits).probabilities() for logits in history]
    for k, node in enumerate(codes.deciding_nodes):
        lines = torch.stack([step[k] * len(step[k]) for step in steps])
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(lines, color=colour, linewidth=0.8)
        axes.plot([], [], color=colour, label=_node_name(node, codes))
    axes.legend(
        fontsize=7, frameon=False, title="a line each set of edges of node", title_fontsize=7
    )


def _scales(axes: Axes, history: Tensor, codes: TopologyCodes) -> None:
    """History [epochs + 1, E]: a line an edge, in the colour of its source, named at its end."""
    count = len(codes.edges)
    for e, (i, _) in enumerate(codes.edges):
        axes.plot(history[:, e], color=COLOURS[i % len(COLOURS)], linewidth=1)
    for place, e in enumerate(history[-1].argsort(stable=True).tolist()):
        i, j = codes.edges[e]
        axes.annotate(
            f"{_node_name(i, codes)}→{j}",
            (len(history) - 1, float(history[-1, e])),
            (1.08, (place + 0.5) / count),
            textcoords="axes fraction",
            fontsize=min(7, 100 / count),
            va="center",
            color=COLOURS[i % len(COLOURS)],
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": COLOURS[i % len(COLOURS)]},
        )


def _node_name(node: int, codes: TopologyCodes) -> str:
    """The node as the pictures of its cell call it."""
    return node_name(node) if codes.num_inputs == NUM_INPUTS else str(node)


def _grid(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    from gnas.figure import Figure

    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flatten())


def _finish(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=10)
    axes.set_xlabel("Epoch", fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
