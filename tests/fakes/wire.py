"""Handles to objects of this process that count every call and its bytes, and a cheap model behind one of them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import cloudpickle
import numpy as np
from tests.fakes.classifiers import details
from tests.fakes.recorders import Tally

from wavescope.engine.types import ModelDetails

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


class Reference:
    """Stands for an object in the store: a few bytes on the wire, whatever it stands for."""

    store: ClassVar[dict[bytes, bytes]] = {}

    def __init__(self, key: bytes) -> None:
        self.key = key

    def __await__(self) -> Any:
        async def fetch() -> Any:
            return cloudpickle.loads(self.store[self.key])

        return fetch().__await__()


class Sent:
    """A call on its way; the reply is serialised as the call was."""

    def __init__(self, wire: Wire, method: str, call: Callable[[], Any]) -> None:
        self._wire, self._method, self._call = wire, method, call
        self._reply: bytes | None = None

    async def _bytes(self) -> bytes:
        if self._reply is None:
            self._reply = cloudpickle.dumps(await self._call())
            self._wire.replies[self._method] += len(self._reply)
        return self._reply

    def __await__(self) -> Any:
        async def reply() -> Any:
            return cloudpickle.loads(await self._bytes())

        return reply().__await__()

    async def _to_object_ref(self) -> Reference:
        key = secrets.token_bytes(28)  # as long as Ray's
        Reference.store[key] = await self._bytes()
        return Reference(key)


class Remote:
    """One method of a :class:`Wire`."""

    def __init__(self, wire: Wire, target: Any, method: str) -> None:
        self._wire, self._target, self._method = wire, target, method

    def remote(self, *args: Any) -> Sent:
        sent = cloudpickle.dumps(args)
        self._wire.calls[self._method] += 1
        self._wire.messages[self._method] += len(sent)
        return Sent(
            self._wire, self._method, lambda: getattr(self._target, self._method)(*cloudpickle.loads(sent))
        )


class Wire:
    """A handle to objects of this process that counts the bytes of every call and reply, as they would be sent."""

    def __init__(self, *targets: Any) -> None:
        self._targets = targets
        self.calls: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()

    def __getattr__(self, method: str) -> Remote:
        target = next(target for target in self._targets if hasattr(target, method))
        return Remote(self, target, method)


class Quiet:
    """A reporter that has no hub to report to."""

    def __init__(self, deployment: str, model: str = "", **where: object) -> None:
        self.counters = Tally()

    def start_once(self) -> None:
        return None
