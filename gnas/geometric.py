"""PyTorch Geometric's data classes, imported without the compiler of ``torch.compile``.

``torch_geometric`` imports ``torch._dynamo`` for a single ``isinstance``, and that takes several
times as long as the rest of it. ``torch`` itself loads ``torch._dynamo`` on first use, so it can
wait until something is compiled or an optimiser is made. It also warns that ``torch.jit`` is
deprecated, of its own use, which ends programs that take warnings for errors.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_COMPILER = "torch._dynamo"


@contextmanager
def _compiler_on_first_use() -> Iterator[None]:
    """Let ``import torch._dynamo`` load nothing, unless it is loaded already."""
    if _COMPILER in sys.modules:
        yield
        return
    sys.modules[_COMPILER] = ModuleType(_COMPILER)
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


with _compiler_on_first_use(), warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="`torch.jit")
    from torch_geometric.data import Batch as Batch
    from torch_geometric.data import Data as Data
    from torch_geometric.data import InMemoryDataset as InMemoryDataset
    from torch_geometric.transforms import BaseTransform as BaseTransform
