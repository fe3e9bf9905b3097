"""Networks in the forms that other programs read."""

from gnas.export.forms import FORMS, Exported, export
from gnas.export.metadata import metadata
from gnas.export.source import python_source

__all__ = ["FORMS", "Exported", "export", "metadata", "python_source"]
