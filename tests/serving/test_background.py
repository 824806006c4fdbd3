"""Tasks that outlive a request do not belong to it: Ray Serve cancels what does when its client leaves."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest
from ray.serve.context import _get_serve_request_context, _serve_request_context, _set_request_context
from tests.fakes.handles import FakeHandle
from tests.polling import until

from wavescope import serving
from wavescope.admission.policy import AdmissionRequest
from wavescope.serving.admission.desk import AdmissionClient

# Of one request each: what they start ends with it, or is cancelled by it.
OF_A_REQUEST = {"local_handle.py", "runner.py"}
STARTS = {"create_task", "ensure_future"}


def test_tasks_that_are_kept_are_started_in_the_background() -> None:
    kept: list[str] = []
    for path in sorted(Path(serving.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Assign | ast.AnnAssign) or path.name in OF_A_REQUEST:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            on_self = any("self." in ast.unparse(target) for target in targets)
            calls = {
                call.func.attr
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            }
            if on_self and calls & STARTS:
                kept.append(f"{path.name}:{node.lineno}")
    assert kept == []


class Desk:
    """Notes as what part of which request it was called."""

    def __init__(self) -> None:
        self.called: dict[str, str] = {}

    async def enter(self, ask: AdmissionRequest) -> float:
        del ask
        self.called["enter"] = _get_serve_request_context()._internal_request_id
        return 0.0

    async def leave(self, *_: object) -> None:
        self.called["leave"] = _get_serve_request_context()._internal_request_id


@pytest.mark.parametrize("ends", ["finished", "cancelled"])
def test_who_leaves_is_not_taken_for_part_of_the_request_that_is_cancelled(ends: str) -> None:
    """The message would be cancelled with it, and its place be taken until it lapses."""

    async def run() -> dict[str, str]:
        desk = Desk()
        client = AdmissionClient(FakeHandle(desk))  # type: ignore[arg-type]
        token = _serve_request_context.set(_get_serve_request_context())
        _set_request_context(_internal_request_id="one")
        entered = asyncio.Event()

        async def ask() -> None:
            async with client.through(AdmissionRequest("one", "", "interactive", 1, 1.0)):
                entered.set()
                if ends == "cancelled":
                    await asyncio.Event().wait()

        asking = asyncio.create_task(ask())
        await entered.wait()
        asking.cancel()
        await asyncio.wait((asking,))
        _serve_request_context.reset(token)
        await until(lambda: "leave" in desk.called)
        return desk.called

    assert asyncio.run(run()) == {"enter": "one", "leave": ""}
