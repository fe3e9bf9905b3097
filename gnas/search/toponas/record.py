"""The run folder of a search while it runs: what every run has, and the history of a search."""

from __future__ import annotations

from safetensors.torch import save

from gnas.data.files import replacing
from gnas.search.toponas.state import SearchState
from gnas.training.recording import RunRecord

HISTORY = "history.safetensors"


class SearchRecord(RunRecord[SearchState]):
    """As any run's, and ``history.safetensors``.

    That file has alpha, beta and s before the first and after every epoch.
    """

    def epoch(self, state: SearchState) -> None:
        """Adds the epoch that just ended."""
        super().epoch(state)
        with replacing(self.folder / HISTORY) as temporary:
            temporary.write_bytes(save(state.history()))
