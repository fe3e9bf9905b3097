"""Searches: who is asked for the next architecture, and who finds the best one."""

from gnas.search.bootstrap import Best, bootstrap, sample_pool

__all__ = ["Best", "bootstrap", "sample_pool"]
