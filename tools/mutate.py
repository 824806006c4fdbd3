"""Mutation check of the numeric core: every small change of a formula must fail a test.

    python tools/mutate.py [--only estimators] [--jobs 4]

Each mutant is a copy of the package with one operator changed (+ and -, * and /, // and * or +, a power dropped, a
comparison moved by one, a whole number one larger: divisors, slices, axes). The tests of that module run against it
until one fails. Survivors are printed, and the exit status is 1, unless they are listed below with the reason why no
test can tell them from the original. The unchanged copy goes first: it must pass.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MEMORY_BYTES = 4 * 2**30  # of one mutant's tests
ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "service" / "src"

# Module of core to the tests that must notice.
TARGETS: dict[str, list[str]] = {
    "sobol/estimators": ["test_estimators.py", "test_convergence.py", "test_bootstrap.py"],
    "partition": ["test_partition.py", "test_fourier.py", "test_transforms_property.py"],
}

# (module, function, mutated code) to why no test can tell it from the original.
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("partition", "partition", "factors[context.slices] = -2"): "any negative number sorts first, as -1 does",
    (
        "partition",
        "pixel_partition",
        "factors = grid(height, width, 1, grid_size)",
    ): "a grid does not look at the number of levels",
    (
        "partition",
        "fourier_grid",
        "cells = grid(height, width, 1, grid_size)",
    ): "a grid does not look at levels",
    (
        "partition",
        "mirrored",
        "return np.roll(centred[::-1, ::-1], [(side - 1) % 2 for side in centred.shape], axis=(0, 1))",
    ): "one more and one less have the same parity",
}

SWAPS: dict[type[ast.operator], list[type[ast.operator]]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult, ast.Add],
    ast.Mod: [ast.FloorDiv],
    ast.MatMult: [],
    ast.Pow: [],
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


@dataclass(frozen=True)
class Mutant:
    """One change: in which module, function and line, the statement before and after, and the whole new source."""

    module: str
    function: str
    line: int
    before: str
    after: str
    source: str


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """(attribute, new value) of every small change of one node; a ``None`` attribute replaces the node."""
    if isinstance(node, ast.BinOp):
        for operator in SWAPS.get(type(node.op), []):
            yield "op", operator()
        if isinstance(node.op, ast.Pow):
            yield "right", ast.Constant(1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "op", ast.UAdd()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "ops", [COMPARISONS[type(node.ops[0])](), *node.ops[1:]]
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        yield "op", ast.Sub()
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "value", node.value + 1


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module: only inside functions, and never in annotations, defaults or messages."""
    path = SOURCE / "wavescope" / "core" / f"{module}.py"
    tree = ast.parse(path.read_text())
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for statement in function.body:
            for node in _nodes(statement):
                for attribute, value in changes(node):
                    yield _apply(module, tree, function, statement, node, attribute, value)


def _nodes(statement: ast.AST) -> Iterator[ast.AST]:
    """The statement's nodes but for inner functions (visited by themselves), raised errors and annotations."""
    if isinstance(statement, ast.FunctionDef | ast.Raise | ast.JoinedStr):
        return
    yield statement
    for name, value in ast.iter_fields(statement):
        for child in value if isinstance(value, list) else [value]:
            if name != "annotation" and isinstance(child, ast.AST):
                yield from _nodes(child)


def _apply(
    module: str,
    tree: ast.Module,
    function: ast.FunctionDef,
    statement: ast.stmt,
    node: ast.AST,
    attribute: str,
    value: object,
) -> Mutant:
    before, kept = _shown(statement, node), getattr(node, attribute)
    setattr(node, attribute, value)
    try:
        after, source = _shown(statement, node), ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
    finally:
        setattr(node, attribute, kept)
    return Mutant(module, function.name, getattr(node, "lineno", statement.lineno), before, after, source)


def _shown(statement: ast.stmt, node: ast.AST) -> str:
    return ast.unparse(_smallest(statement, node)).splitlines()[0]


def _smallest(statement: ast.stmt, node: ast.AST) -> ast.AST:
    """The innermost statement that holds the node: what a reader needs to see of a loop."""
    for child in ast.walk(statement):
        if isinstance(child, ast.stmt) and child is not statement and node in ast.walk(child):
            return _smallest(child, node)
    return statement


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass with the mutant in place of the package's module."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        shutil.copytree(
            SOURCE / "wavescope", Path(folder, "wavescope"), ignore=shutil.ignore_patterns("__pycache__")
        )
        Path(folder, "wavescope", "core", f"{mutant.module}.py").write_text(mutant.source)
        tests = [ROOT / "tests" / "core" / name for name in TARGETS[mutant.module]]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=120"]
        environment = os.environ | {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *(str(test) for test in tests if test.exists())],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_bounded,  # before any thread of the child
        )
        # 1: a test failed; 2: the mutant cannot even be imported; negative: the system ended it.
        if done.returncode > 2:
            raise RuntimeError(
                f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.returncode == 0


def _bounded() -> None:
    """A mutant may ask for arrays without end: that is an error of its own, and not the machine's."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def reason(mutant: Mutant) -> str | None:
    """Why an equivalent mutant is one."""
    return EQUIVALENT.get((mutant.module, mutant.function, mutant.after))


def main() -> int:
    """Runs every mutant; 1 where one survives, or where one listed as equivalent dies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=TARGETS, action="append", help="module of core; all of them by default"
    )
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    arguments = parser.parse_args()
    found = [mutant for module in arguments.only or TARGETS for mutant in mutants(module)]
    if arguments.list:
        for mutant in found:
            print(f"{mutant.module}.{mutant.function}:{mutant.line}  {mutant.before}  ->  {mutant.after}")
        return 0
    for module in arguments.only or TARGETS:
        original = (SOURCE / "wavescope" / "core" / f"{module}.py").read_text()
        if not survives(Mutant(module, "", 0, "", "", ast.unparse(ast.parse(original)))):
            print(f"the tests of {module} fail without any change")
            return 1
    survivors: list[Mutant] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for mutant, alive in zip(found, pool.map(survives, found), strict=True):
            if alive:
                survivors.append(mutant)
                print(f"{mutant.module}.{mutant.function}, line {mutant.line}: {reason(mutant) or 'ALIVE'}")
                print(f"    {mutant.before}\n    {mutant.after}", flush=True)
    unexplained = [mutant for mutant in survivors if reason(mutant) is None]
    print(f"{'module':<12} {'mutants':>8} {'died':>8} {'equivalent':>11} {'alive':>8}")
    for module in arguments.only or TARGETS:
        of_module, kept, alive = (
            sum(m.module == module for m in group) for group in (found, survivors, unexplained)
        )
        print(f"{module:<12} {of_module:>8} {of_module - kept:>8} {kept - alive:>11} {alive:>8}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
