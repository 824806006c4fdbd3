"""The examples of the client's documentation run as they stand, against a service that answers with every kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.client.conftest import serving
from tests.ingress.fakes import IMAGE, FakePlane, adaptive, make_explanation

import wavescope_client
from wavescope.engine.types import Explanation
from wavescope.ingress.plane import CallContext, ExplainRequest

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@dataclass
class EveryKind(FakePlane):
    """Answers with an explanation of the kind that was asked for."""

    def _ask(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        self.explanation = make_explanation(request.request.kind)
        if request.request.plan == "adaptive":
            self.explanation = adaptive(self.explanation)
        return super()._ask(request, call)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("cat", "dog", "clean", "foggy"):
        (tmp_path / f"{name}.jpg").write_bytes(IMAGE)
    monkeypatch.chdir(tmp_path)
    with serving(EveryKind(make_explanation())) as address:
        yield address


def test_every_example_runs_after_those_before_it(url: str) -> None:
    names: dict[str, object] = {}
    for example in EXAMPLES:
        exec(compile(example.replace("http://127.0.0.1:8000", url), str(README), "exec"), names)
    assert len(EXAMPLES) >= 6
    assert Path("cat-explained.png").exists()


def test_every_method_of_the_client_is_shown() -> None:
    methods = [name for name in vars(wavescope_client.Client) if not name.startswith("_")]
    methods += [name for name in vars(wavescope_client.Job) if not name.startswith("_")]
    shown = "\n".join(EXAMPLES)
    assert [name for name in methods if f".{name}(" not in shown and name != "close"] == []
