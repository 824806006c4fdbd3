"""The composition root: plain classes become deployments here, and only here.

``build`` and ``build_model`` are the import paths of serve configs; ``applications`` is the same for a local start.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.schema import LoggingConfig

from wavescope.errors import InvalidRequest, RegistryInvalid
from wavescope.models.spec import ModelSpec
from wavescope.serving import names, scaling
from wavescope.serving.admission.desk import AdmissionDesk
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.serving.gateway import Gateway
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.one_process import OneProcess
from wavescope.serving.replica import ModelReplica
from wavescope.serving.reporting import MetricsHub
from wavescope.settings import Settings, build_model_spec, load_registry, load_settings

# One line per call would drown everything else; requests are counted in the metrics.
LOGGING = LoggingConfig(encoding="JSON", log_level="WARNING", enable_access_log=False)
CONSTRUCTOR_TRIES = 2  # missing weights stay missing: report it soon instead of trying twenty times
# Coroutines that wait: what they hold is bounded by the limits on bodies and rows, not by this number.
CONCURRENT_REQUESTS = 64
WAITING_REQUESTS = 10_000  # at the admission desk and in the gateway, which bound them themselves


def build(args: dict[str, Any]) -> Application:
    """The application ``wavescope``.

    Args:
        args: ``models_file``, path of the registry; absent or null for the embedded default model.

    Raises:
        InvalidRequest: an argument that there is not, or the settings want one process.
        RegistryInvalid: a wrong registry.
    """
    settings, path = load_settings(), _models_file(args, "build", ("models_file",))
    if settings.one_process:
        raise InvalidRequest(
            "one_process (WAVESCOPE_ONE_PROCESS) is for `wavescope serve`: a serve config names the deployments",
            field="one_process",
        )
    loopback_only = not (settings.no_auth or settings.api_keys_file)
    return service(settings, load_registry(path), models_file=path, loopback_only=loopback_only)


def build_model(args: dict[str, Any]) -> Application:
    """The application of one model.

    Args:
        args: ``model``, its name in the registry ``models_file``, which is as in :func:`build`; or the entry itself,
            whose paths are relative to that file. With the entry a serve config says all of a model: Ray Serve deploys
            it anew when the entry changes, and leaves the others alone.

    Raises:
        InvalidRequest: an argument that there is not.
        RegistryInvalid: no such model in the registry, or a wrong entry.
    """
    path = _models_file(args, "build_model", ("model", "models_file"))
    wanted = args.get("model")
    if isinstance(wanted, dict):
        return model(load_settings(), build_model_spec(wanted, path.parent if path else Path()))
    registry = load_registry(path)
    wanted = wanted or registry[0].name
    for spec in registry:
        if spec.name == wanted:
            return model(load_settings(), spec)
    known = ", ".join(spec.name for spec in registry)
    raise RegistryInvalid(f"model {wanted!r} is not in the registry, which has: {known}", field="model")


def service(
    settings: Settings,
    registry: tuple[ModelSpec, ...],
    *,
    models_file: Path | None = None,
    loopback_only: bool = False,
) -> Application:
    """Gateway, aggregator, generator, admission desk and metrics hub, bound together or in one process.

    Args:
        settings: limits and replicas.
        registry: the models.
        models_file: the file they are of, looked at for changes; ``None`` where there is none.
        loopback_only: refuse RPCs from other hosts, which Ray Serve's gRPC proxy would let in.
    """
    models = RegistryFile(models_file, registry)
    # Far more than it serves: probes are let in, and the others refused because it is full, instead of waiting unseen.
    most = {"max_ongoing_requests": WAITING_REQUESTS}
    if settings.one_process:
        whole = _light(serve.ingress()(OneProcess), names.GATEWAY, **most)
        return whole.bind(settings, models, loopback_only=loopback_only)
    hub = _light(MetricsHub, names.HUB).bind(settings)
    desk = _light(AdmissionDesk, names.ADMISSION, max_ongoing_requests=WAITING_REQUESTS).bind(settings)
    generator = _light(PerturbationGenerator, names.GENERATOR, num_replicas=settings.generator_replicas).bind(
        settings
    )
    # What Ray Serve holds back before the desk is neither refused by it nor let in by priority.
    aggregator = _light(
        EstimatorAggregator,
        names.AGGREGATOR,
        num_replicas=settings.aggregator_replicas,
        max_ongoing_requests=settings.max_ongoing,
    ).bind(settings, models, generator, desk)
    gateway = _light(serve.ingress()(Gateway), names.GATEWAY, num_replicas=settings.gateway_replicas, **most)
    return gateway.bind(settings, models, aggregator, hub, loopback_only=loopback_only)


def _light(cls: type, name: str, **options: Any) -> serve.Deployment:
    """A deployment of coroutines that wait.

    No CPUs are set aside for it: on a small machine the model replica needs every core it can get.
    """
    return serve.deployment(
        name=name,
        ray_actor_options={"num_cpus": 0},
        logging_config=LOGGING,
        **{"max_ongoing_requests": CONCURRENT_REQUESTS, **options},
    )(cls)


def model(settings: Settings, spec: ModelSpec, *, attempt: int = 0) -> Application:
    """One model as an application of its own.

    Args:
        settings: of the service.
        spec: of the model. Deployed again with other replicas alone, the processes that run stay; with anything else
            changed they are replaced one by one.
        attempt: another number replaces them even where nothing changed, and starts what had failed to start.
    """
    autoscaling = AutoscalingConfig(
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        policy=AutoscalingPolicy(
            policy_function=scaling.POLICY,
            policy_kwargs={"target": settings.target_queued_images, "chunk_rows": settings.chunk_rows},
        ),
        upscale_delay_s=settings.upscale_delay_s,
        downscale_delay_s=settings.downscale_delay_s,
        look_back_period_s=settings.look_back_period_s,
        # Of a model whose replicas are given there is nothing to decide, as often as Ray Serve would look.
        metrics_interval_s=settings.look_back_period_s / (5 if spec.max_replicas > spec.min_replicas else 2),
    )
    deployment = serve.deployment(
        name=names.MODEL_REPLICA,
        autoscaling_config=autoscaling,
        max_ongoing_requests=spec.max_ongoing_chunks,
        ray_actor_options={"num_cpus": spec.num_cpus, "num_gpus": spec.num_gpus},
        graceful_shutdown_timeout_s=settings.drain_s,
        max_constructor_retry_count=CONSTRUCTOR_TRIES,
        max_surge_percent=settings.surge_percent,
        logging_config=LOGGING,
    )(ModelReplica)
    # Without a version of ours Ray Serve makes one up each time, and replaces every process for a changed bound. It has
    # no public way to say one; serve configs have versions of their own, made of the arguments.
    deployment = deployment.options(version=_version(spec, attempt), _internal=True)
    return deployment.bind(spec, settings, attempt)


def _version(spec: ModelSpec, attempt: int) -> str:
    """Digest of all that a replica's process depends on: Ray Serve applies the rest to running ones."""
    return hashlib.sha256(f"{spec.of_one_process()!r} {attempt}".encode()).hexdigest()


def _models_file(args: dict[str, Any], builder: str, known: tuple[str, ...]) -> Path | None:
    """The registry that a serve config names; refuses arguments that would be read by nobody."""
    unknown = sorted(set(args) - set(known))
    if unknown:
        raise InvalidRequest(
            f"{builder} has no argument {unknown[0]!r}, only {' and '.join(known)}: correct args in the serve config",
            field=unknown[0],
        )
    named = args.get("models_file")
    if not isinstance(named, str | Path | None):
        raise InvalidRequest(
            f"models_file is {named!r}: give the path of the registry as text", field="models_file"
        )
    return Path(named) if named else None
