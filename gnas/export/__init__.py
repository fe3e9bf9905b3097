"""Export of networks to ONNX, torch.export, Python source and safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.export.facts import metadata as metadata
    from gnas.export.forms import Exported as Exported
    from gnas.export.forms import export as export
    from gnas.export.names import FORMS as FORMS
    from gnas.export.source import python_source as python_source

_HOME = {
    "Exported": "gnas.export.forms",
    "FORMS": "gnas.export.names",
    "export": "gnas.export.forms",
    "metadata": "gnas.export.facts",
    "python_source": "gnas.export.source",
}
__all__ = [
    "FORMS",
    "Exported",
    "export",
    "metadata",
    "python_source",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
