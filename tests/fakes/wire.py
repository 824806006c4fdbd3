"""Handles to objects of this process that count every call and its bytes, and a cheap model behind one of them."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

import cloudpickle
import numpy as np
from tests.fakes.classifiers import details
from tests.fakes.handles import FakeCall, FakeHandle
from tests.fakes.recorders import Tally

from wavescope.engine.types import ModelDetails
from wavescope.errors import ModelUnavailable

SIDE = 224


class Cheap:
    """Ten classes from thirty pixels of an image, so that the defaults of the service run in a second."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self._weights = np.random.default_rng(0).normal(size=(30, 10)).astype(np.float32)

    @property
    def details(self) -> ModelDetails:
        return details((3, SIDE, SIDE), classes=10, batch_size=16)

    def to_device(self, array: np.ndarray) -> np.ndarray:
        return array

    def forward(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        step = images[0].size // 30
        return images.reshape(len(images), -1)[:, : 30 * step : step] @ self._weights


class Steep(Cheap):
    """The same model, which has gradients."""

    @property
    def details(self) -> ModelDetails:
        return replace(super().details, no_gradients=None)

    def gradients(self, images: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count, step = len(images), images[0].size // 30
        found = np.zeros((count, images[0].size), dtype=np.float32)
        found[:, : 30 * step : step] = (
            weights @ self._weights.T / np.float32(self.details.preprocessing.std[0])
        )
        outputs = images.reshape(count, -1)[:, : 30 * step : step] @ self._weights
        return outputs, found.reshape(images.shape)


class Reference:
    """Stands for an object in the store: a few bytes on the wire, whatever it stands for."""

    store: ClassVar[dict[bytes, bytes]] = {}

    def __init__(self, key: bytes) -> None:
        self.key = key

    def __await__(self) -> Any:
        async def fetch() -> Any:
            return cloudpickle.loads(self.store[self.key])

        return fetch().__await__()


class Sent(FakeCall):
    """A call on its way; the reply is serialised as the call was."""

    async def _result(self) -> Any:
        return cloudpickle.loads(await super()._result())

    async def _to_object_ref(self) -> Reference:
        key = secrets.token_bytes(28)  # as long as Ray's
        Reference.store[key] = await super()._result()
        return Reference(key)


class Wire(FakeHandle):
    """A handle to objects of this process that counts the bytes of every call and reply, as they would be sent."""

    def __init__(self, *targets: Any) -> None:
        super().__init__(targets)
        self.messages: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()

    def send(self, method: str, args: tuple[Any, ...]) -> Sent:
        message = cloudpickle.dumps(args)
        self.messages[method] += len(message)
        call = Sent(method, args, self._answer(method, message))
        self.record(call)
        return call

    async def _answer(self, method: str, message: bytes) -> bytes:
        target = next(target for target in self.target if hasattr(target, method))
        reply = cloudpickle.dumps(await getattr(target, method)(*cloudpickle.loads(message)))
        self.replies[method] += len(reply)
        return reply


class DyingModel(FakeHandle):
    """Sits before another handle: the model is gone after so many chunks."""

    def __init__(self, handle: FakeHandle, after: int) -> None:
        super().__init__(handle)
        self._left = after

    def send(self, method: str, args: tuple[Any, ...]) -> FakeCall:
        if method == "score":
            self._left -= 1
            if self._left < 0:
                raise ModelUnavailable("gone")
        return self.record(self.target.send(method, args))


class Quiet:
    """A reporter that has no hub to report to."""

    def __init__(self, deployment: str, model: str = "", **where: object) -> None:
        self.counters = Tally()

    def start_once(self) -> None:
        return None
