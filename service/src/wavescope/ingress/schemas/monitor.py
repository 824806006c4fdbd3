"""Bodies of monitors: their configuration, commands, and observations beside image files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from wavescope.core.monitoring.scores import SIGNALS
from wavescope.engine.monitors.config import (
    MAX_KEPT_IMAGES,
    MAX_MEAN_OBSERVATIONS,
    MAX_THIN_S,
    NB_DESIGN,
    AlarmHook,
    EventMatch,
    MonitorConfig,
    ReferencePlan,
    Sampling,
    TestPlan,
    check_config,
    profile_request,
)
from wavescope.engine.monitors.state import Judgement
from wavescope.errors import InvalidRequest
from wavescope.ingress.plane import IngressLimits, Observation
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.parsing import Files, load_json, validate
from wavescope.ingress.schemas.request import ImageBody, Strict

MAX_TEXT_CHARS = 256
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]


class ProfileBody(Strict):
    """The profile that is made of images."""

    model_config = ConfigDict(title="MonitorProfile")

    kind: Literal["profile"] = "profile"
    partition: Literal["subbands", "levels"] = Field(
        default="subbands", description="Factors of the profile: sub-bands, or whole levels, which cost less."
    )
    nb_design: int = Field(
        default=NB_DESIGN, ge=1, description="Rows N of the design: a profile costs N(K + 2) forwards."
    )
    seed: int = Field(
        default=0, ge=0, description="Of designs, ties and draws; another one is another reference."
    )
    wavelet: str = Field(default="haar", min_length=1, max_length=32)
    levels: int = Field(default=3, ge=1)
    score: str = Field(default="auto", min_length=1, max_length=32)


class MatchBody(Strict):
    """Attributes that an event sent to ``/v1/events`` must have to be of the monitor."""

    model_config = ConfigDict(title="MonitorMatch")

    namespace: Text | None = None
    inferenceservice: Text | None = None
    component: Text | None = None


class SampleBody(Strict):
    """Sampling of the images, and the share of the model that it may take."""

    model_config = ConfigDict(title="MonitorSample")

    rate: Number = Field(
        default=1.0, gt=0, le=1, description="Share of the events that are observed, by a hash of their id."
    )
    thin_s: Number = Field(
        default=0.0, ge=0, le=MAX_THIN_S, description="Least time between two observations, s."
    )
    profile_rate: Number = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of the observations that get a profile; 0 for none at all.",
    )
    max_share_of_model: Number = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Share of the model's measured speed that the monitor takes at most.",
    )


class ReferenceBody(Strict):
    """Reference that the stream is held against."""

    model_config = ConfigDict(title="MonitorReference")

    fit: int = Field(
        default=100, ge=1, description="Images that the scores are fitted to; at least three a dimension."
    )
    calibrate: int = Field(
        default=200, ge=1, description="Images after these that the stream is ranked among; 100 or more."
    )
    source: Literal["stream", "given"] = Field(
        default="stream", description="The first of the stream, or only images sent with reference: true."
    )


class FalseAlarmBody(Strict):
    """False alarms that are accepted."""

    model_config = ConfigDict(title="MonitorFalseAlarm")

    mean_observations: Number = Field(
        default=1e6,
        ge=1,
        le=MAX_MEAN_OBSERVATIONS,
        description="Mean number of observations to a false alarm, at least this.",
    )


class TestBody(Strict):
    """Test for change."""

    __test__ = False
    model_config = ConfigDict(title="MonitorTest")

    method: Literal["conformal", "bounded-mean"] = Field(
        default="conformal",
        description="Has anything changed; or has a mean risen by more than the tolerance.",
    )
    false_alarm: FalseAlarmBody = Field(default_factory=FalseAlarmBody)
    tolerance: Number | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Rise of a mean that is no change; of bounded-mean alone, where it is 0.03.",
    )
    weights: dict[str, Number] | None = Field(
        default=None,
        description=f"Of the signals in the false alarms, with the sum 1: {', '.join(SIGNALS)}; equal ones.",
    )


class SecretBody(Strict):
    """Key of the signature, where the service reads it."""

    model_config = ConfigDict(title="MonitorSecret")

    file: Text | None = None
    env: Text | None = None


class WebhookBody(Strict):
    """Webhook that alarms are sent to."""

    model_config = ConfigDict(title="MonitorWebhook")

    url: Annotated[str, Field(min_length=1, max_length=2048)]
    secret: SecretBody


class MonitorBody(Strict):
    """Configuration of a monitor."""

    model_config = ConfigDict(title="Monitor")

    model: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Name of a registered model."
    )
    request: ProfileBody = Field(default_factory=ProfileBody)
    match: MatchBody | None = None
    values: Literal["pixels", "unit", "normalized"] = Field(
        default="pixels", description="Tensors of events: 0 to 255, 0 to 1, or as the model takes them."
    )
    sample: SampleBody = Field(default_factory=SampleBody)
    reference: ReferenceBody = Field(default_factory=ReferenceBody)
    test: TestBody = Field(default_factory=TestBody)
    keep_images: int = Field(
        default=0,
        ge=0,
        le=MAX_KEPT_IMAGES,
        description="Images of the most shifted observations that are kept for a diagnosis, and ten times as many of "
        "the reference; 0 deletes every image once it is measured.",
    )
    webhook: WebhookBody | None = None

    def to_config(self) -> MonitorConfig:
        """The engine's configuration.

        Raises:
            InvalidRequest: a value that cannot be; names the field.
        """
        webhook = None if self.webhook is None else _hook(self.webhook)
        config = MonitorConfig(
            model=self.model,
            request=profile_request(**self.request.model_dump()),
            match=None if self.match is None else EventMatch(**self.match.model_dump()),
            values=self.values,
            sample=Sampling(**self.sample.model_dump()),
            reference=ReferencePlan(**self.reference.model_dump()),
            test=TestPlan(
                method=self.test.method,
                mean_observations=self.test.false_alarm.mean_observations,
                tolerance=self.test.tolerance,
                weights=dict(self.test.weights or {}),
            ),
            keep_images=self.keep_images,
            webhook=webhook,
        )
        check_config(config)
        return config


class AcknowledgeBody(Strict):
    """Acknowledgement of an alarm."""

    model_config = ConfigDict(title="Acknowledge")

    alarm: int = Field(ge=1, description="Number of the alarm.")
    verdict: Judgement = Field(description="What it was.")


class RebaselineBody(Strict):
    """A new reference."""

    model_config = ConfigDict(title="Rebaseline", populate_by_name=True)

    source: Literal["stream", "new"] = Field(
        alias="from", description="The next images of the stream, or only images sent with reference: true."
    )


class ObservationFields(Strict):
    """Fields of observations but the images."""

    model_config = ConfigDict(title="ObservationFields")

    reference: bool = Field(default=False, description="Whether the images are of the reference.")
    ids: list[Text] | None = Field(
        default=None,
        description="Identity of every image: one that came before is a duplicate, and is not observed again.",
    )
    labels: list[Text] | None = Field(default=None, description="Name of every image, for reports.")


class ObservationsBody(ObservationFields):
    """Images to observe."""

    model_config = ConfigDict(title="Observations")

    image: ImageBody | None = Field(default=None, description="The image; required where images is absent.")
    images: Annotated[list[ImageBody], Field(min_length=1)] | None = Field(
        default=None, description="Several images."
    )


def parse_monitor(body: bytes) -> MonitorConfig:
    """Read the configuration of a monitor.

    Raises:
        InvalidRequest: no JSON object; or a field is missing, unknown, of a wrong type, out of range or at odds with
            another.
    """
    return validate(MonitorBody, load_json(body, "the body")).to_config()


def parse_observations(body: bytes, limits: IngressLimits) -> tuple[Observation, ...]:
    """Read a JSON body of observations; raises as :func:`parse_monitor`."""
    valid = validate(ObservationsBody, load_json(body, "the body"))
    image = None if valid.image is None else decode_base64(valid.image.base64, "image")
    images = None
    if valid.images is not None:
        images = tuple(decode_base64(one.base64, f"images[{at}]") for at, one in enumerate(valid.images))
    return settle_observations(valid, Files(image, images), limits)


def parse_observation_parts(
    files: Files, request_json: bytes | None, limits: IngressLimits
) -> tuple[Observation, ...]:
    """Read a multipart body of observations; raises as :func:`parse_monitor`."""
    content = {} if request_json is None else load_json(request_json, "the part 'request'")
    return settle_observations(validate(ObservationFields, content), files, limits)


def settle_observations(
    fields: ObservationFields, files: Files, limits: IngressLimits
) -> tuple[Observation, ...]:
    """Hold the fields of observations and their images against each other.

    Raises:
        InvalidRequest: they do not go together, or there are too many images.
    """
    if files.other is not None:
        raise InvalidRequest("other is for explanations of kind compare alone", field="other")
    if (files.image is None) == (files.images is None):
        raise InvalidRequest("image is required, or images for several: give one of them", field="image")
    images = (files.image,) if files.image is not None else files.images or ()
    if len(images) > limits.max_images:
        raise InvalidRequest(
            f"images holds {len(images)} images; at most {limits.max_images} are taken in one request",
            field="images",
            max_images=limits.max_images,
        )
    keys = _of_each("ids", fields.ids, len(images))
    labels = _of_each("labels", fields.labels, len(images))
    return tuple(
        Observation(image=image, reference=fields.reference, key=key and f"id:{key}", label=label or key)
        for image, key, label in zip(images, keys, labels, strict=True)
    )


def _of_each(name: str, given: list[str] | None, count: int) -> list[str]:
    if given is not None and len(given) != count:
        raise InvalidRequest(
            f"{name} must have one entry for each image: it has {len(given)}, and there are {count} images",
            field=name,
            images=count,
        )
    return given or [""] * count


def _hook(body: WebhookBody) -> AlarmHook:
    secret = {name: value for name, value in body.secret.model_dump().items() if value is not None}
    if len(secret) != 1:
        raise InvalidRequest(
            "webhook.secret has one of file, a path, and env, the name of a variable, where the service reads the key",
            field="webhook.secret",
        )
    return AlarmHook(url=body.url, secret=secret)


def config_json(config: MonitorConfig) -> dict[str, Any]:
    """The configuration as the body that it would be made of."""
    request, test, webhook = config.request, config.test, config.webhook
    return {
        "model": config.model,
        "request": {name: getattr(request, name) for name in ProfileBody.model_fields},
        "match": None
        if config.match is None
        else {name: getattr(config.match, name) for name in MatchBody.model_fields},
        "values": config.values,
        "sample": {name: getattr(config.sample, name) for name in SampleBody.model_fields},
        "reference": {name: getattr(config.reference, name) for name in ReferenceBody.model_fields},
        "test": {
            "method": test.method,
            "false_alarm": {"mean_observations": test.mean_observations},
            "tolerance": test.tolerance,
            "weights": config.weights,
        },
        "keep_images": config.keep_images,
        "webhook": None if webhook is None else {"url": webhook.url, "secret": webhook.secret},
    }
