"""The topology distribution of one cell type, learned by gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnas.errors import ConfigError
from gnas.topology.codes import TopologyCodes
from gnas.topology_options import NUM_INPUTS, Mode, TopologySpace


class TopologyDistribution(nn.Module):
    """One categorical distribution over codes for every choosing node of a cell.

    Plugs into any supernet that can weight its edges: multiply what runs over edge (i, j) by
    `edge_scales`, add `regulariser` to the loss of ``logits``, read `best_valid` at the end.

    Differences from the paper: `regulariser` is computed from differences of logits (the same
    function, exact where probabilities are nearly equal), and an edge that the most probable code
    has, ties included, contributes neither value nor gradient.

    Args:
        num_nodes: Nodes of the cell, inputs and output included.
        space: "fixed" or "arbitrary" number of edges of a node.
        k: Edges of a node in "fixed".
        mode: "output" or, the paper's weaker variant, "input".
        num_inputs: Nodes that no edge enters.

    Shapes:
        E = candidate edges, in the order of `candidate_edges`; ``logits`` (beta) is flat,
        node by node.

    Source: Huang et al., Explicitly Learning Topology for Differentiable Neural Architecture
    Search, 2020, eq. 3-15.

    Examples:
        >>> distribution = TopologyDistribution(7, space="arbitrary")
        >>> distribution.edge_scales().shape
        torch.Size([14])
    """

    incidence: Tensor
    scaled_incidence: Tensor
    owner: Tensor

    def __init__(
        self,
        num_nodes: int = 7,
        *,
        space: TopologySpace = "arbitrary",
        k: int = 2,
        mode: Mode = "output",
        num_inputs: int = NUM_INPUTS,
    ) -> None:
        super().__init__()
        self.codes = TopologyCodes(
            num_nodes=num_nodes, space=space, k=k, mode=mode, num_inputs=num_inputs
        )
        self.logits = nn.Parameter(torch.zeros(sum(self.codes.sizes)))
        incidence = self.codes.incidence  # [codes of all deciding nodes, E]
        # Number of codes of the deciding node of the edge, by number of those that have the edge
        # (eq. 10, 13)
        side = 0 if mode == "output" else 1
        owner = torch.tensor([self.codes.deciding_nodes.index(e[side]) for e in self.codes.edges])
        factor = torch.tensor(self.codes.sizes)[owner] / incidence.sum(0)  # [E]
        self.register_buffer("incidence", incidence, persistent=False)
        self.register_buffer("scaled_incidence", incidence * factor, persistent=False)
        self.register_buffer("owner", owner, persistent=False)

    def forward(self) -> Tensor:
        """`edge_scales`."""
        return self.edge_scales()

    def probabilities(self) -> list[Tensor]:
        """For every choosing node p over its codes, [codes]; sums to 1 (eq. 8, 12)."""
        return [logits.softmax(0) for logits in self._split(self.logits)]

    def edge_scales(self) -> Tensor:
        """s(i, j) [E]: probability that the edge is chosen, over that of a uniform p (eq. 10, 13).

        A uniform p gives 1 on every edge.
        """
        return self._over_codes(self.scaled_incidence)

    def edge_probabilities(self) -> Tensor:
        """Probability that each edge is chosen, [E]."""
        return self._over_codes(self.incidence)

    def _over_codes(self, weights: Tensor) -> Tensor:
        # A sum of products, not a matrix product: autocast would take that to half precision.
        return (torch.cat(self.probabilities())[:, None] * weights).sum(0)

    def regulariser(self) -> Tensor:
        """r(beta), scalar: 0 when the per-node argmax topology is valid, else positive (eq. 14).

        Between codes of one node with equal logits any may count as the argmax.
        """
        largest = torch.stack([logits.amax() for logits in self._split(self.logits)])[self.owner]
        with_edge = self.logits[:, None].masked_fill(~self.incidence, -torch.inf).amax(0)  # [E]
        behind = with_edge - largest  # log of the ratio in eq. 14, [E], at most 0
        missing = torch.where(behind < 0, -torch.expm1(behind), torch.zeros_like(behind))  # [E]
        by_target = torch.split(
            missing, list(range(self.codes.num_inputs, self.codes.num_nodes - 1))
        )
        return torch.stack([part.prod() for part in by_target]).sum()

    def entropy(self) -> Tensor:
        """Mean over the choosing nodes of the entropy of p, in nats, scalar."""
        logs = [logits.log_softmax(0) for logits in self._split(self.logits)]  # [codes] each
        return -torch.stack([(log.exp() * log).sum() for log in logs]).mean()

    def invalid_mass(self) -> Tensor:
        """Exact probability that an independent draw of all codes is invalid, scalar."""
        incomplete = self.logits.new_ones(2**self.codes.num_intermediate)  # [sets]
        incomplete[-1] = 0
        if self.codes.mode == "input":
            return incomplete[-1]
        p = self.probabilities()  # [codes] each
        tables = self.codes.tables(
            incomplete, lambda c, after: (after * p[c]).sum(1), self.logits.device
        )
        return tables[0][0]

    @torch.no_grad()
    def argmax(self) -> Tensor:
        """The topology of every node's most probable code (the first of equals), bool [E].

        It may be invalid.

        Raises:
            ConfigError: a logit is not finite.
        """
        return self.codes.mask([int(logits.argmax()) for logits in self._finite()])

    @torch.no_grad()
    def best_valid(self) -> Tensor:
        """The most probable valid joint topology, exact, bool [E]; `argmax` where that is valid.

        Raises:
            ConfigError: a logit is not finite.
        """
        mask = self.argmax()
        if bool(self.codes.is_valid(mask)):
            return mask
        logits = self._finite()
        complete = torch.full((2**self.codes.num_intermediate,), -torch.inf, dtype=torch.float64)
        complete[-1] = 0
        tables = self.codes.tables(complete, lambda c, after: (after + logits[c]).amax(1), "cpu")
        covered, choice = 0, []
        for c, cover in enumerate(self.codes.covers):
            choice.append(int((logits[c] + tables[c + 1][covered | cover]).argmax()))
            covered |= int(cover[choice[-1]])
        return self.codes.mask(choice)

    def _split(self, flat: Tensor) -> tuple[Tensor, ...]:
        return torch.split(flat, list(self.codes.sizes))

    def _finite(self) -> tuple[Tensor, ...]:
        if not bool(self.logits.isfinite().all()):
            raise ConfigError("topology logits must be finite, but the search has diverged")
        return self._split(self.logits.detach().double().cpu())

    def extra_repr(self) -> str:
        """Choices, for ``print(module)``."""
        c = self.codes
        return f"num_nodes={c.num_nodes}, space={c.space!r}, k={c.k}, mode={c.mode!r}"
