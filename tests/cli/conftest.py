from __future__ import annotations

import pytest


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the small searches of most tests."""
    from gnas import viz
    from gnas.viz import nasgem

    for module, name in (
        (viz, "search_figures"), (viz, "search_result_figures"), (nasgem, "nasgem_figures"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda result: {})
