from __future__ import annotations

import pytest


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the small searches of most tests."""
    from gnas import viz

    for name in ("search_figures", "search_result_figures", "nasgem_figures"):
        monkeypatch.setattr(viz, name, lambda result: {})
