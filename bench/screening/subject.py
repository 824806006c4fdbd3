"""One photograph and one model in this process: its plans, and scores of any rows of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from bench.screening.models import load
from bench.screening.photographs import png

from wavescope.core.adaptive.factor_features import FactorFeatures
from wavescope.core.partition import Partition
from wavescope.engine.adaptive import factor_features
from wavescope.engine.plan import Plan, make_plan
from wavescope.engine.protocols import AnyRows, Classifier
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scorer import Scorer
from wavescope.imaging.source import ImageSource

# What an adaptive plan is held against the truth by: the default of a model that gives logits.
SCORE = "logit"
LEVELS = make_request().levels


SCALARS = ("probability", "logit", "log_probability", "margin", "contrast", "centred", "median")


def scalar(answers: np.ndarray, score: str) -> np.ndarray:
    """(...,) the score that is asked, from (..., 6) answers.

    ``contrast`` is the logit less that of the runner-up of the clean image; ``centred`` the logit less the mean of all
    logits, ``median`` less their median, which softmax outputs give as well.
    """
    own, against, other, whole, mean, middle = np.moveaxis(answers.astype(np.float64), -1, 0)
    return {
        "probability": lambda: np.exp(own - whole),
        "logit": lambda: own,
        "log_probability": lambda: own - whole,
        "margin": lambda: own - other,
        "contrast": lambda: own - against,
        "centred": lambda: own - mean,
        "median": lambda: own - middle,
    }[score]()


@dataclass(frozen=True)
class Given:
    """Mask rows as they are; :class:`wavescope.engine.protocols.Rows`."""

    rows: np.ndarray

    @property
    def count(self) -> int:
        return len(self.rows)

    def masks(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` (excluded)."""
        return self.rows[start:stop]


class Subject:
    """A photograph under a model.

    Args:
        photograph: its name.
        classifier: the model.
    """

    def __init__(self, photograph: str, classifier: Classifier) -> None:
        self.photograph = photograph
        self.classifier = classifier
        self.image = png(photograph)
        self._scorer: tuple[str, Scorer] | None = None

    def plan(self, rows: int, seed: int) -> Plan:
        """The full plan of the defaults, with ``rows`` design rows."""
        picture = ImageSource(self.image, self.classifier.details.preprocessing).picture(1)
        request = make_request(kind="wcam", plan="full", nb_design=rows, seed=seed)
        return make_plan(picture, request, max_forwards=10**7)

    @cached_property
    def target(self) -> int:
        """The predicted class."""
        return int(np.argmax(self._of(self.plan(1, 0)).predict()))

    @cached_property
    def against(self) -> int:
        """The most probable class but the predicted one."""
        outputs = np.array(self._of(self.plan(1, 0)).predict())
        outputs[self.target] = -np.inf
        return int(np.argmax(outputs))

    @cached_property
    def features(self) -> FactorFeatures:
        """What is known of the factors before anything is scored."""
        return factor_features(self.plan(1, 0))

    @cached_property
    def partition(self) -> Partition:
        """The factors."""
        return self.plan(1, 0).make_partition()

    def score(
        self,
        plan: Plan,
        rows: AnyRows | None,
        start: int,
        stop: int,
        score: str = SCORE,
    ) -> np.ndarray:
        """(stop - start,) scores of the predicted class; ``None`` for the rows of the full plan."""
        target, scorer = self.target, self._of(plan)
        parts = [scorer.score(rows, *part, score, (target,)) for part in scorer.batches(start, stop)]
        return np.concatenate([part.values[:, 0] for part in parts])

    def answers(self, plan: Plan, rows: AnyRows | None, start: int, stop: int) -> np.ndarray:
        """(stop - start, 6) of every row's logits what all scores follow from; see :func:`scalar`."""
        scorer, details = self._of(plan), self.classifier.details
        classes = tuple(range(len(details.labels)))
        found: list[np.ndarray] = []
        for part in scorer.batches(start, stop):
            logits = scorer.score(rows, *part, "logit", classes).values.astype(np.float64)
            others = np.delete(logits, self.target, axis=1)
            found.append(
                np.stack(
                    [
                        logits[:, self.target],
                        logits[:, self.against],
                        others.max(axis=1),
                        np.logaddexp.reduce(logits, axis=1),
                        logits.mean(axis=1),
                        np.median(logits, axis=1),
                    ],
                    axis=1,
                )
            )
        return np.concatenate(found).astype(np.float32)

    def _of(self, plan: Plan) -> Scorer:
        if self._scorer is None or self._scorer[0] != plan.digest:
            self._scorer = (plan.digest, Scorer(plan, self.classifier))
        return self._scorer[1]


@lru_cache(maxsize=1)  # a scorer keeps 64 MB
def subject(photograph: str, model: str) -> Subject:
    """The photograph under the model on one thread, once a process."""
    return Subject(photograph, load(model))
