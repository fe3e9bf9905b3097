"""Names of a package that load their module on first use, so that packages cost nothing to import.

Configurations and other light modules of a package can then be used without PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.util import find_spec


def on_first_use(
    package: str, homes: Mapping[str, str], modules: Collection[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and the ``__dir__`` of a package (PEP 562).

    Args:
        package: The package's name.
        homes: The module that defines each public name. No name may be that of a module of the
            package, which would hide it.
        modules: Modules of the package that its ``dir`` lists; all of them need no import of
            their own.

    Examples:
        >>> getattr_, dir_ = on_first_use("gnas", {"ConfigError": "gnas.errors"})
        >>> getattr_("ConfigError")
        <class 'gnas.errors.ConfigError'>
    """

    def load(name: str) -> object:
        if name not in homes:
            inner = f"{package}.{name}"
            if name.startswith("_") or find_spec(inner) is None:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            return import_module(inner)
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *modules})

    return load, names
