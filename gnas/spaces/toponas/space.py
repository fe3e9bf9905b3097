"""The TopoNAS space: pairs of DARTS cells whose wiring is chosen node by node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, graph_keys
from gnas.spaces.base import Space, check_draw
from gnas.spaces.networks import Networks
from gnas.spaces.suggestions import Trial, pick
from gnas.spaces.supernets import Supernets
from gnas.spaces.toponas.cells import (
    CELL_TYPES,
    EDGE_OPS,
    PRIMITIVES,
    ROLES,
    batch_codes,
    cell_roles,
    cells_batch,
    cells_graph,
    check_cells,
    concat_nodes,
    edge_codes,
    with_cell,
)
from gnas.spaces.toponas.config import check_toponas
from gnas.spaces.toponas.genotype import Genotype, calls
from gnas.spaces.vocabulary import Vocabulary
from gnas.topology import (
    Mode,
    TopologyCodes,
    TopologyDistribution,
    TopologySpace,
    candidate_edges,
    enumerate_joint,
    is_valid,
)

if TYPE_CHECKING:
    from gnas.figure import Figure

__all__ = ["CELL_TYPES", "EDGE_OPS", "PRIMITIVES", "ROLES", "TopoNAS", "candidate_edges"]


class TopoNAS(Space):
    """A normal and a reduction cell; every node of a cell chooses a set of edges.

    One graph holds both cells as two components, the normal one first; ``cell`` int64 [n] says
    which (graphs out of a dense batch come without it: the roles say the same, and
    `gnas.spaces.toponas.cells.with_cell` adds it). Nodes are feature maps, operations sit on the
    edges.

    The concatenation into a cell's output is written as edges of their own operation, "concat",
    from every node that is joined. So the output hangs together with the cell for hashes, kernels
    and networks; cells that join only some nodes, as published ones do, have a graph too; and
    no edge that computes nothing is counted as a learned skip connection. Drawn
    architectures join all intermediate nodes.

    ``topology="arbitrary", mode="input"`` holds every cell in which all intermediate nodes have
    an input; "fixed", k = 2, "input" is the space of DARTS' own cells.

    Args:
        num_nodes: Nodes of one cell: two inputs, the intermediate ones, the output.
        topology: Whether a node keeps a "fixed" or an "arbitrary" number of edges.
        k: Edges that a node keeps in "fixed".
        mode: Whether nodes choose the edges that leave ("output") or enter ("input") them.
        concat: Whether the output of a cell joins "all" intermediate nodes, as drawn cells do, or
            may join "some" of them, as some published cells do.

    Source: Huang et al., Explicitly Learning Topology for Differentiable Neural Architecture
    Search, 2020, section 3 (arXiv 2408.01311 is another method of the same name); operations and
    cells: Liu et al., DARTS, ICLR 2019.

    Examples:
        >>> import numpy as np
        >>> space = TopoNAS()
        >>> cell = space.sample(np.random.default_rng(0))
        >>> space.from_str(space.to_str(cell)).num_nodes == cell.num_nodes
        True
        >>> space.num_topologies
        3224
    """

    name = "toponas"
    wl_encoder = "nasgem-toponas"
    graph_networks = ("dag",)

    def __init__(
        self,
        num_nodes: int = 7,
        *,
        topology: TopologySpace = "arbitrary",
        k: int = 2,
        mode: Mode = "output",
        concat: Literal["all", "some"] = "all",
    ) -> None:
        check_toponas(num_nodes, topology=topology, k=k, mode=mode, concat=concat)
        self.codes = TopologyCodes(num_nodes=num_nodes, space=topology, k=k, mode=mode)
        self.num_nodes = num_nodes
        self.concat = concat
        self.vocabulary = Vocabulary(
            ops=ROLES,
            max_nodes=2 * num_nodes,
            edge_ops=EDGE_OPS,
            max_edges=2 * (len(self.codes.edges) + self.codes.num_intermediate),
            inputs=tuple(i for i, role in enumerate(ROLES) if "_c_" in role),
            outputs=tuple(i for i, role in enumerate(ROLES) if role.endswith("_output")),
            skip_ops=(EDGE_OPS.index("skip_connect"),),
            sum_roles=tuple(i for i, role in enumerate(ROLES) if role.endswith("_node")),
            strided_roles=tuple(i for i, role in enumerate(ROLES) if role.startswith("reduce_c_")),
            learned=tuple(op for op in PRIMITIVES if "conv" in op),
        )

    @property
    def networks(self) -> Networks:
        """DARTS' networks."""
        from gnas.spaces.toponas.config import DartsNetworkConfig
        from gnas.spaces.toponas.network import DartsNetwork, network_arguments

        return Networks(
            DartsNetworkConfig,
            DartsNetwork,
            network_arguments,
            depth="num_cells",
            width="channels",
            small={"num_cells": 3, "channels": 8},
        )

    @property
    def supernets(self) -> Supernets:
        """DARTS' supernet of a normal and a reduction cell."""
        from gnas.spaces.toponas.supernet import Supernet

        return Supernets(
            cells=CELL_TYPES,
            ops=PRIMITIVES,
            skip="skip_connect",
            learned=self.vocabulary.learned,
            num_nodes=self.num_nodes,
            build=Supernet,
            graph=cells_graph,
        )

    def draw(self, graph: Data) -> dict[str, Figure]:
        """Both cells."""
        from gnas.spaces.toponas.figure import cell_figures

        return cell_figures(Genotype.from_graph(graph))

    @classmethod
    def darts(cls) -> TopoNAS:
        """The space of DARTS' own cells: two edges enter each of four intermediate nodes."""
        return cls(topology="fixed", k=2, mode="input")

    @classmethod
    def of_text(cls, text: str) -> TopoNAS | None:
        """See `Space.of_text`; the notation is ``Genotype(normal=...)`` or its JSON.

        The space is the one of all cells of that size, by incoming edges.
        """
        if "Genotype(" not in text and not text.lstrip().startswith("{"):
            return None
        is_json = text.lstrip().startswith("{")
        genotype = Genotype.parse(text if is_json else calls(text)[-1])
        every = tuple(range(2, 2 + len(genotype.normal)))
        whole = all(
            sorted(concat) == list(every)
            for concat in (genotype.normal_concat, genotype.reduce_concat)
        )
        return cls(len(every) + 3, mode="input", concat="all" if whole else "some")

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` pairs of cells: wiring uniform over the valid ones, then uniform operations.

        Both cells and all operations are independent.
        """
        check_draw(count, rng)
        mask = self.codes.sample(2 * count, rng).view(count, 2, -1)
        ops = torch.from_numpy(rng.integers(1, len(PRIMITIVES) + 1, size=mask.shape))
        return cells_batch(mask * ops)

    def sample(self, rng: np.random.Generator) -> Data:
        """See `Space.sample`."""
        return with_cell(super().sample(rng))

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One cell changed, by another operation on an edge or another code of a node.

        Both kinds are equally likely. A node's new code is uniform among those that leave every
        intermediate node an input; edges that stay keep their operation, new ones draw one.
        """
        check_draw(1, rng)
        self.check_own(graph)
        return cells_graph(self._edited(edge_codes(graph), rng), concat_nodes(graph))

    def mutate_batch(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """See `Space.mutate_batch`; draws as `mutate` does, pair after pair."""
        check_draw(len(batch), rng)
        codes, joined = batch_codes(batch.pad_to(self.max_nodes))
        edited = [self._edited(pair, rng) for pair in codes]
        return cells_batch(torch.stack(edited) if edited else codes, joined)

    def _edited(self, codes: Tensor, rng: np.random.Generator) -> Tensor:
        """Codes [2, E] of both cells after one edit."""
        codes = codes.clone()
        cell = int(rng.integers(2))
        rewired = self._with_other_code(codes[cell], rng) if rng.random() < 0.5 else None
        if rewired is None:
            rewired = codes[cell].clone()
            edges = rewired.nonzero().flatten()
            edge = int(edges[int(rng.integers(len(edges)))])
            shift = int(rng.integers(1, len(PRIMITIVES)))
            rewired[edge] = (int(rewired[edge]) - 1 + shift) % len(PRIMITIVES) + 1
        codes[cell] = rewired
        return codes

    def _with_other_code(self, row: Tensor, rng: np.random.Generator) -> Tensor | None:
        """Edge codes [E] with another code of one node; None where no node has another one."""
        for c in rng.permutation(len(self._choosers)).tolist():
            masks = self._masks(row, c)
            if len(masks):
                chosen = int(rng.integers(len(masks)))
                return self._rewired(row, masks[chosen : chosen + 1], rng)[0]
        return None

    def neighbours(self, graph: Data) -> DenseBatch:
        """All pairs with one other operation, and one pair for every other code of a node.

        The operations of the edges that a code adds are drawn, the same ones for the same graph.
        """
        self.check_own(graph)
        rng = np.random.default_rng(0)
        codes = edge_codes(graph)
        edited = [codes]
        for cell, row in enumerate(codes):
            rows = [self._rewired(row, self._masks(row, c), rng) for c in self._choosers]
            for edge in row.nonzero().flatten().tolist():
                others = row.repeat(len(PRIMITIVES) - 1, 1)
                shifts = torch.arange(1, len(PRIMITIVES))
                others[:, edge] = (row[edge] - 1 + shifts) % len(PRIMITIVES) + 1
                rows.append(others)
            for changed in torch.cat(rows):
                edited.append(codes.clone())
                edited[-1][cell] = changed
        joined = torch.zeros(1, 2, self.codes.num_intermediate, dtype=torch.bool)
        for cell, nodes in enumerate(concat_nodes(graph)):
            joined[0, cell, [node - 2 for node in nodes]] = True
        batch = cells_batch(torch.stack(edited), joined.expand(len(edited), -1, -1))
        return self._others(batch)

    @property
    def _choosers(self) -> range:
        """Positions of the nodes that choose edges."""
        return range(len(self.codes.deciding_nodes))

    def _masks(self, row: Tensor, c: int) -> Tensor:
        """Valid wirings bool [k, E] of a cell of codes [E] after another choice of one node."""
        present = row > 0
        masks = present.repeat(self.codes.sizes[c], 1)
        masks[:, self.codes.edge_ids[c]] = self.codes.codes[c]
        return masks[(masks != present).any(1) & is_valid(masks, self.num_nodes)]

    def _rewired(self, row: Tensor, masks: Tensor, rng: np.random.Generator) -> Tensor:
        """Edge codes [k, E] of wirings bool [k, E]; new edges draw their operations."""
        drawn = torch.from_numpy(rng.integers(1, len(PRIMITIVES) + 1, size=masks.shape))
        return torch.where(row > 0, row, drawn) * masks

    def suggest(self, trial: Trial) -> Data:
        """An architecture by parameters of both cells, such as those of the normal one.

        ``normal_edge_0_2``, ... (0 or 1) and ``normal_op_0_2``, ... say which edges there are and
        what they compute, and, where ``concat`` is "some", ``normal_concat_2``, ... which nodes
        the output joins (all, if none is 1). The wiring is the valid one that differs from the
        parameters in the fewest edges.
        """
        rows, joined = [], []
        for cell in CELL_TYPES:
            edges = self.codes.edges
            wish = [trial.suggest_int(f"{cell}_edge_{i}_{j}", 0, 1) for i, j in edges]
            ops = [1 + pick(trial, f"{cell}_op_{i}_{j}", PRIMITIVES) for i, j in edges]
            rows.append(self._nearest(torch.tensor(wish, dtype=torch.bool)) * torch.tensor(ops))
            every = range(2, self.num_nodes - 1)
            chosen = [
                v
                for v in every
                if self.concat == "some" and trial.suggest_int(f"{cell}_concat_{v}", 0, 1)
            ]
            joined.append(chosen or every)
        return cells_graph(torch.stack(rows), joined)

    def _nearest(self, wish: Tensor) -> Tensor:
        """The valid wiring with the fewest edges other than in ``wish``; both bool [E]."""
        c = self.codes
        distribution = TopologyDistribution(c.num_nodes, space=c.space, k=c.k, mode=c.mode)
        distances = [
            (own != wish[ids]).sum(1) for ids, own in zip(c.edge_ids, c.codes, strict=True)
        ]
        with torch.no_grad():
            distribution.logits.copy_(-torch.cat(distances))
        return distribution.best_valid()

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        check_cells(graph)
        if len(graph.x) != self.max_nodes:
            raise GraphError(
                f"a cell of this space must have {self.num_nodes} nodes, "
                f"but got {len(graph.x) // 2}"
            )
        every = tuple(range(2, self.num_nodes - 1))
        pairs = zip(CELL_TYPES, edge_codes(graph), concat_nodes(graph), strict=True)
        for cell, row, concat in pairs:
            if concat != every and self.concat == "all":
                raise GraphError(
                    f"the output of the {cell} cell must join nodes {every}, but joins {concat}"
                )
            choice = self.codes.choice(row > 0).tolist()
            if -1 in choice:
                node = self.codes.deciding_nodes[choice.index(-1)]
                found = [edge for edge, code in zip(self.codes.edges, row, strict=True) if code]
                raise GraphError(
                    f"the {self.codes.mode} edges of node {node} must be one of its "
                    f"{len(self.codes.codes[choice.index(-1)])} codes in "
                    f"'{self.codes.space}' topologies, but the {cell} cell has {found}"
                )

    def to_str(self, graph: Data) -> str:
        """The text of its `Genotype`, which the DARTS family's code reads."""
        self.check_own(graph)
        return str(Genotype.from_graph(graph))

    def from_str(self, text: str) -> Data:
        """The architecture of a `Genotype`'s text or JSON, validated.

        Raises:
            GraphError: the text is malformed, or its graph is not of this space.
        """
        graph = Genotype.parse(text).to_graph()
        self.validate(graph)
        return graph

    @property
    def num_topologies(self) -> int:
        """Valid joint topologies of one cell."""
        return self.codes.num_valid

    def topologies(self, *, valid_only: bool = True, chunk: int = 65_536) -> Iterator[DenseBatch]:
        """Lazily every joint topology of one cell, once, as graphs without operations.

        Args:
            valid_only: Leave out topologies in which an intermediate node has no input.
            chunk: Joint topologies looked at for each batch.

        Yields:
            Graphs of ``num_nodes`` nodes with the normal cell's roles; the output joins all
            intermediate nodes. Iterate over a batch for single architectures.
        """
        n = self.num_nodes
        source, target = torch.tensor(self.codes.edges).unbind(1)
        roles = torch.tensor(cell_roles(n), dtype=torch.int8)
        for masks in enumerate_joint(self.codes, valid_only=valid_only, chunk=chunk):
            adjacency = torch.zeros(len(masks), n, n, dtype=torch.uint8)
            adjacency[:, source, target] = masks.to(torch.uint8)
            adjacency[:, 2:-1, -1] = 1
            sizes = torch.full((len(masks),), n, dtype=torch.int64)
            yield DenseBatch(adjacency, roles.repeat(len(masks), 1), sizes, len(ROLES))

    def count_isomorphism_classes(self, *, valid_only: bool = True) -> int:
        """Topologies of one cell that differ by more than the numbering of intermediate nodes."""
        keys = np.empty(0, dtype=np.uint64)
        for batch in self.topologies(valid_only=valid_only):
            keys = np.union1d(keys, graph_keys(batch))
        return len(keys)
