from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure


@contextmanager
def without_pictures() -> Iterator[None]:
    """Drawing takes longer than the small searches of most tests."""
    from gnas import viz
    from gnas.viz import nasgem

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (viz, "search_figures"), (viz, "search_result_figures"), (nasgem, "result_figures"),
        ):  # fmt: skip
            patch.setattr(module, name, lambda result: {})
        patch.setattr(nasgem, "surface_figure", None)
        yield


@pytest.fixture
def no_pictures() -> Iterator[None]:
    with without_pictures():
        yield


@pytest.fixture(autouse=True)
def sketches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write empty pictures, but in tests marked ``pictures``: rendering takes longer."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: None)
