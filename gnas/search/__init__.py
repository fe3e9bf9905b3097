"""Searches: who is asked for the next architecture, and who finds the best one.

`bootstrap` lets a predictor choose from a pool; `search_toponas` learns operations and topology in
a supernet, and is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gnas.search.bootstrap import Best, bootstrap, sample_pool

if TYPE_CHECKING:
    from gnas.search.toponas.config import ToponasConfig as ToponasConfig
    from gnas.search.toponas.loop import SearchResult as SearchResult
    from gnas.search.toponas.loop import search_toponas as search_toponas

_LATER = ("SearchResult", "ToponasConfig", "search_toponas")
__all__ = ["Best", "SearchResult", "ToponasConfig", "bootstrap", "sample_pool", "search_toponas"]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'gnas.search' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("gnas.search.toponas"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
