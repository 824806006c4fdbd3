"""A recorder that adds up, and a clock that ticks when it is read."""

from __future__ import annotations


class Ticks:
    """Seconds 0, 1, 2, … one per reading."""

    def __init__(self) -> None:
        self._now = -1

    def __call__(self) -> float:
        self._now += 1
        return float(self._now)


class Tally:
    """Images and seconds of rendering and scoring, per model."""

    def __init__(self) -> None:
        self.images_rendered: dict[str, int] = {}
        self.images_scored: dict[str, int] = {}
        self.images_differentiated: dict[str, int] = {}
        self.seconds: float = 0.0

    def rendered(self, model: str, image_count: int, seconds: float) -> None:
        self.images_rendered[model] = self.images_rendered.get(model, 0) + image_count
        self.seconds += seconds

    def scored(self, model: str, image_count: int, seconds: float) -> None:
        self.images_scored[model] = self.images_scored.get(model, 0) + image_count
        self.seconds += seconds

    def differentiated(self, model: str, image_count: int, seconds: float) -> None:
        self.images_differentiated[model] = self.images_differentiated.get(model, 0) + image_count
        self.seconds += seconds

    def set(self, metric: object, value: float, **labels: str) -> None:
        """A gauge, which nobody reads here."""
