"""What an explanation costs in forwards, renders and bytes between processes: guarded by counts, never by seconds.

Every number here follows from the method, and a change that raises one makes every explanation dearer.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from skimage import data
from tests.fakes.wire import SIDE, Cheap, Wire

from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.pixel import PixelSynthesis
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.engine.explain import ResolvedRequest, explain_all
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.imaging.source import ImageSource
from wavescope.serving.generator_client import GeneratorClient
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.telemetry.counters import Counters

ARRAY_BYTES = 3 * SIDE * SIDE * 4  # the only array that travels to replicas, and the crop that comes back
CHUNK_ROWS = 64


@pytest.fixture
def renders(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of every synthesis: ``clean``, ``plain`` (a full inverse transform of a mask), ``patches`` (one P_k)."""
    found: Counter[str] = Counter()

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any) -> Any:
            found[name] += 1
            return method(*args)

        return count

    for synthesis in (WaveletSynthesis, FourierSynthesis, PixelSynthesis):
        for name in ("clean", "plain", "patches"):
            monkeypatch.setattr(synthesis, name, counted(name, getattr(synthesis, name)))
    return found


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, "PNG")
    return buffer.getvalue()


PHOTOGRAPH = png()


def local(request: ExplanationRequest, model: Cheap) -> Explanation:
    sources = [ImageSource(image, model.details.preprocessing) for image in (data.chelsea(), data.coffee())]
    other = sources[1] if request.kind == "compare" else None
    return explain(sources[0], request, model, identity="", max_forwards=10**6, other=other)


SMALL: dict[str, Any] = {"grid_size": 6, "nb_design": 4, "levels": 3, "plan": "full"}
K = 36

# kind: (K of the sample, images, forwards beyond their samples, full inverses beyond 2N per image)
CASES = {
    "wcam": (K, 1, 0, 0),
    "fam": (6, 1, 0, 0),
    "sobol": (K, 1, 0, 0),
    "profile": (10, 1, 0, 0),
    # K + 1 nested sets are scored, and three of their images rendered once more for the reply.
    "sufficient-image": (K, 1, K + 1, K + 1 + 3),
    "compare": (K, 2, 0, 0),
}


@pytest.mark.parametrize("kind", CASES)
def test_forwards_and_renders_of_a_kind(kind: str, renders: Counter[str]) -> None:
    """N(K + 2) forwards and one of the clean image; a full inverse per row of A and B; each P_k once."""
    factors, images, further, inverses = CASES[kind]
    model, rows = Cheap(), SMALL["nb_design"]
    explanation = local(make_request(kind=kind, **SMALL), model)
    forwards = images * rows * (factors + 2) + further
    assert explanation.forwards == forwards
    assert sum(model.batches) == forwards + images
    assert renders == {
        "plain": images * 2 * rows + inverses,
        "patches": images * factors,
        "clean": images * 2,
    }


def test_forwards_and_renders_of_a_default_wcam(renders: Counter[str]) -> None:
    model = Cheap()
    explanation = local(make_request(plan="full"), model)
    assert explanation.forwards == 6288
    assert sum(model.batches) == 6289
    assert model.batches.count(16) == 6288 // 16
    assert renders == {"plain": 16, "patches": 784, "clean": 2}


def test_another_class_of_the_same_image_costs_no_forward(renders: Counter[str]) -> None:
    source = ImageSource(data.chelsea(), Cheap().details.preprocessing)
    model, request = Cheap(), make_request(**SMALL)
    resolved = ResolvedRequest(request, ((0, 3, 7),), ("a", "b", "c"))
    explain_many([source], resolved, model, max_forwards=10**6)
    assert sum(model.batches) == 4 * (K + 2) + 1
    assert renders["plain"] == 8


# ---- bytes between processes ---------------------------------------------------------------------
def through(wire: Wire, request: ExplanationRequest) -> Explanation:
    handles = Replicas(
        generator=GeneratorClient(wire), model=wire, name="cheap", window=2, chunk_rows=CHUNK_ROWS
    )
    runner = RayRunner([PHOTOGRAPH], Cheap().details, handles, Counters())
    (explanation,) = asyncio.run(explain_all(runner, ResolvedRequest(request, ((None,),), ("id",))))
    return explanation


# What one default explanation sends besides its arrays: (calls, bytes of all calls, bytes of all replies), at most.
BOUNDS = {
    "plan": (1, 500, 700),  # and the photograph, and the array
    "predict": (1, 250, 500),  # and the crop
    "steps": (1, 250, 500),  # and a number for each row of A and factor
    # A row: two scores, their contrast and whether that is a bound, its class and that one's probability.
    "score": (99, 99 * 250, 99 * (CHUNK_ROWS * 44 + 400)),
}
ARRAYS = {
    "plan": (len(PHOTOGRAPH), ARRAY_BYTES),
    "predict": (0, ARRAY_BYTES),
    "steps": (0, 784 * 8 * 4),
    "score": (0, 0),
}


def test_bytes_between_processes_of_a_default_wcam(wire: Wire) -> None:
    explanation = through(wire, make_request(plan="full"))
    assert explanation.forwards == 6288
    assert set(wire.methods) == set(BOUNDS)
    for method, (calls, sent, replied) in BOUNDS.items():
        more_sent, more_replied = ARRAYS[method]
        assert wire.methods.count(method) == calls
        assert wire.messages[method] <= sent + more_sent
        assert wire.replies[method] <= replied + more_replied
    images = explanation.forwards * ARRAY_BYTES
    assert sum(wire.messages.values()) + sum(wire.replies.values()) < images / 2_000


def test_a_chunk_of_mask_rows_costs_a_few_kilobytes_whatever_the_images(wire: Wire) -> None:
    """The nested sets travel as one order and their sizes, with every chunk."""
    explanation = through(wire, make_request(kind="sufficient-image", grid_size=16, nb_design=1, plan="full"))
    assert explanation.forwards == 258 + 257
    assert wire.methods.count("score") == 5 + 5
    assert wire.messages["score"] <= 5 * 250 + 5 * (2 * 4 * 257 + 600)
