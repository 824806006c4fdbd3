"""Measurement of one image: the same numbers as the parts it is made of, and an outcome for every image there is."""

from __future__ import annotations

import io
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.fakes.classifiers import FunctionClassifier, details
from tests.fakes.photographs import photograph

import wavescope
from wavescope.engine.local import LocalRunner, drive
from wavescope.engine.monitors.config import profile_request
from wavescope.engine.monitors.measure import measure, plan_measurement
from wavescope.engine.monitors.observation import Observed, revision_of
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import InvalidRequest, ModelFailure
from wavescope.imaging.source import ImageSource

SHAPE = (3, 32, 32)
REQUEST = profile_request(levels=2)
RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(2, *SHAPE)) * 0.02


def outputs(image: np.ndarray) -> np.ndarray:
    """Logits that grow with products of filters, so that scales interact."""
    pixels = image.astype(np.float64)
    return np.array([np.sum(WEIGHTS[0] * pixels), np.sum(WEIGHTS[1] * pixels**2)])


CLASSIFIER = FunctionClassifier(outputs, details(SHAPE))


def png(pixels: np.ndarray) -> bytes:
    """A file of (3, h, w) pixels in [0, 1]."""
    held = io.BytesIO()
    Image.fromarray(np.rint(pixels.transpose(1, 2, 0) * 255).astype(np.uint8)).save(held, "PNG")
    return held.getvalue()


CAT = png(photograph("chelsea", 32))


def measured(
    image: bytes, *, profile: bool, classifier: Classifier = CLASSIFIER, request: ExplanationRequest = REQUEST
) -> Observed:
    source = ImageSource(image, classifier.details.preprocessing)
    runner = LocalRunner([source], classifier, max_forwards=1000, recorder=None, clock=time.perf_counter)

    async def both() -> Observed:
        planned = await plan_measurement(runner, request)
        return planned if isinstance(planned, Observed) else await measure(planned, request, profile=profile)

    return drive(both())


def test_a_measurement_is_that_of_the_energies_and_of_the_explanation_of_kind_profile() -> None:
    found = measured(CAT, profile=True)
    expected = wavescope.explain(CAT, model=CLASSIFIER, kind="profile", levels=2, nb_design=4)
    assert expected.profile is not None
    shares = np.maximum([band.share for band in expected.profile], 0)
    assert found.shares is not None
    np.testing.assert_array_equal(found.shares, shares / shares.sum())
    assert math.isclose(found.shares.sum(), 1, abs_tol=1e-12)
    assert found.confidence == expected.prediction[0].probability
    assert found.predicted == expected.prediction[0].index
    assert found.forwards == expected.forwards + 1
    assert (found.outcome, found.profiled, found.reason) == ("observed", True, "")


def test_its_energies_are_those_of_the_image_by_an_independent_transform() -> None:
    import pywt

    found = measured(CAT, profile=False)
    pixels = ImageSource(CAT, CLASSIFIER.details.preprocessing).picture(1).pixels.astype(np.float64)
    coarse, *finer = pywt.wavedec2(pixels, "haar", level=2, mode="periodization", axes=(1, 2))
    expected = [np.mean(coarse**2)] + [np.mean(part**2) for level in finer for part in level]
    assert found.energies is not None
    np.testing.assert_allclose(found.energies, expected, rtol=1e-4)


def test_without_a_profile_it_costs_one_forward_and_the_rest_is_the_same() -> None:
    batches = len(CLASSIFIER.batches)
    found, profiled = measured(CAT, profile=False), measured(CAT, profile=True)
    assert CLASSIFIER.batches[batches] == 1
    assert (found.forwards, found.shares, found.profiled) == (1, None, False)
    assert found.confidence == profiled.confidence
    assert np.array_equal(found.energies, profiled.energies)  # type: ignore[arg-type]
    assert found.revision == profiled.revision
    assert found.measurement.failed == ()


def test_a_black_image_has_a_constant_score_and_is_an_observation_whose_profile_failed() -> None:
    found = measured(png(np.zeros(SHAPE)), profile=True)
    assert (found.outcome, found.shares) == ("constant_score", None)
    assert "does not vary" in found.reason
    assert found.energies is not None
    assert found.energies.max() < 1e-12
    assert found.measurement.failed == ("reliance", "fineness")
    assert measured(png(np.zeros(SHAPE)), profile=False).outcome == "observed"


@pytest.mark.parametrize(
    "image", [b"", b"not an image", CAT[:60], png(np.zeros((3, 4, 4)))], ids=["empty", "text", "cut", "tiny"]
)
@pytest.mark.parametrize("profile", [True, False])
def test_a_file_that_cannot_be_read_is_an_observation_too(image: bytes, profile: bool) -> None:
    found = measured(image, profile=profile)
    assert (found.outcome, found.forwards, found.energies, found.confidence) == ("undecodable", 0, None, None)
    assert found.reason
    assert found.revision == revision_of(CLASSIFIER.details, REQUEST)
    assert set(found.measurement.failed) == {"input", "confidence", "reliance", "fineness"}


@pytest.mark.parametrize("profile", [True, False])
def test_a_model_that_returns_no_number_has_failed_on_the_image(profile: bool) -> None:
    broken = FunctionClassifier(lambda image: np.full(2, np.nan), details(SHAPE))
    found = measured(CAT, profile=profile, classifier=broken)
    assert (found.outcome, found.confidence) == ("failed", None)
    assert found.energies is not None
    assert set(found.measurement.failed) == {"confidence", *(("reliance", "fineness") if profile else ())}


def test_a_request_that_does_not_suit_the_model_is_the_callers_error_and_no_observation() -> None:
    with pytest.raises(InvalidRequest, match="levels"):
        measured(CAT, profile=True, request=profile_request(levels=6))


def test_a_model_that_is_away_is_no_observation() -> None:
    def away(image: np.ndarray) -> np.ndarray:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError, match="away"):
        measured(CAT, profile=False, classifier=FunctionClassifier(away, details(SHAPE)))
    assert issubclass(ModelFailure, Exception)


def test_the_revision_changes_with_model_preprocessing_and_profile_and_with_nothing_else() -> None:
    of = details(SHAPE)
    own = revision_of(of, REQUEST)
    assert own == revision_of(details(SHAPE, batch_size=64), REQUEST)
    others = [
        revision_of(replace(of, name="other"), REQUEST),
        revision_of(replace(of, revision="sha256:1"), REQUEST),
        revision_of(replace(of, preprocessing=replace(of.preprocessing, mean=(0.5,) * 3)), REQUEST),
        revision_of(of, profile_request(levels=2, seed=1)),
        revision_of(of, profile_request(levels=2, partition="levels")),
        revision_of(of, profile_request(levels=3)),
    ]
    assert len({own, *others}) == 7
