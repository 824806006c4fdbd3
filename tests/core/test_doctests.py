"""Every public class and function of the Sobol indices has an example, and the examples hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from wavescope.core import sobol

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# The formulas' types describe signatures alone.
WITHOUT = {"TotalIndices", "FirstOrderIndices"}


def documented() -> dict[str, tuple[str, dict[str, object]]]:
    """Name to docstring and module; doctest's own finder misses functions that the import hook has wrapped."""
    found = {}
    for entry in pkgutil.iter_modules(sobol.__path__, f"{sobol.__name__}."):
        module = importlib.import_module(entry.name)
        for name, value in vars(module).items():
            public = callable(value) and not name.startswith("_") and name not in WITHOUT
            if public and getattr(value, "__module__", None) == entry.name:
                found[f"{entry.name.rpartition('.')[2]}.{name}"] = (value.__doc__ or "", vars(module))
    return found


DOCUMENTED = documented()


def test_every_module_of_the_package_is_looked_at() -> None:
    assert {name.partition(".")[0] for name in DOCUMENTED} == {
        "bootstrap",
        "design",
        "diagnostics",
        "estimators",
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_in_the_docstring_holds(name: str) -> None:
    docstring, module = DOCUMENTED[name]
    examples = doctest.DocTestParser().get_doctest(docstring, dict(module), name, None, None)
    assert examples.examples, f"{name} has no example"
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=report.append)
    assert not report, "".join(report)
