from __future__ import annotations

from functools import cache

from torch.onnx._internal.exporter._registration import ONNXRegistry

# slow: every export parses the source of all 500 operators anew
ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
