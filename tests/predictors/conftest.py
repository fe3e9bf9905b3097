from __future__ import annotations

from functools import cache

from sklearn.base import BaseEstimator

# slow: every tree of a forest inspects its signature five times, a third of the time of small fits
names = cache(BaseEstimator._get_param_names.__func__)
BaseEstimator._get_param_names = classmethod(names)  # type: ignore[arg-type]
