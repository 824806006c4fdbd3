"""Every public class and function of the Sobol indices has an example; ``tests/docs`` runs them."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from wavescope.core import sobol

# The formulas' types describe signatures alone.
WITHOUT = {"TotalIndices", "FirstOrderIndices"}


def documented() -> dict[str, str]:
    """Name to docstring."""
    found = {}
    for entry in pkgutil.iter_modules(sobol.__path__, f"{sobol.__name__}."):
        for name, value in vars(importlib.import_module(entry.name)).items():
            public = callable(value) and not name.startswith("_") and name not in WITHOUT
            if public and getattr(value, "__module__", None) == entry.name:
                found[f"{entry.name.rpartition('.')[2]}.{name}"] = value.__doc__ or ""
    return found


DOCUMENTED = documented()


def test_every_module_of_the_package_is_looked_at() -> None:
    assert {name.partition(".")[0] for name in DOCUMENTED} == {
        "bootstrap",
        "design",
        "diagnostics",
        "effects",
        "estimators",
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_docstring_has_an_example(name: str) -> None:
    assert "\n        >>> " in DOCUMENTED[name]
