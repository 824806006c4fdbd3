"""The composition root: plain classes become deployments here, and only here.

``build`` and ``build_model`` are the import paths of serve configs; ``applications`` is the same for a local start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import LoggingConfig

from wavescope.errors import RegistryInvalid
from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.serving.gateway import Gateway
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.replica import ModelReplica
from wavescope.serving.reporting import MetricsHub
from wavescope.settings import Settings, load_registry, load_settings

# One line per call would drown everything else; requests are counted in the metrics.
LOGGING = LoggingConfig(encoding="JSON", log_level="WARNING", enable_access_log=False)
CONSTRUCTOR_TRIES = 2  # missing weights stay missing: tell it soon instead of trying twenty times
# Coroutines that wait: what they hold is bounded by the limits on bodies and rows, not by this number.
CONCURRENT_REQUESTS = 64


def build(args: dict[str, Any]) -> Application:
    """The application ``wavescope``.

    Args:
        args: ``models_file``, path of the registry; absent or null for the embedded default model.
    """
    return service(load_settings(), load_registry(_path(args)))


def build_model(args: dict[str, Any]) -> Application:
    """The application of one model.

    Args:
        args: ``model``, its name in the registry, and ``models_file`` as in :func:`build`.

    Raises:
        RegistryInvalid: no such model in the registry.
    """
    registry = load_registry(_path(args))
    wanted = args.get("model", registry[0].name)
    for spec in registry:
        if spec.name == wanted:
            return model(load_settings(), spec)
    known = ", ".join(spec.name for spec in registry)
    raise RegistryInvalid(f"model {wanted!r} is not in the registry, which has: {known}", field="model")


def service(
    settings: Settings, registry: tuple[ModelSpec, ...], *, loopback_only: bool = False
) -> Application:
    """Gateway, aggregator, generator and metrics hub, bound together.

    Args:
        settings: limits and replicas.
        registry: the models.
        loopback_only: refuse RPCs from other hosts, which Ray Serve's gRPC proxy would let in.
    """
    # No CPUs are set aside for them: on a small machine the model replica needs every core it can get.
    light = {"num_cpus": 0}
    hub = serve.deployment(name=names.HUB, ray_actor_options=light, logging_config=LOGGING)(MetricsHub).bind()
    generator = serve.deployment(
        name=names.GENERATOR,
        num_replicas=settings.generator_replicas,
        max_ongoing_requests=CONCURRENT_REQUESTS,
        ray_actor_options=light,
        logging_config=LOGGING,
    )(PerturbationGenerator).bind(settings)
    aggregator = serve.deployment(
        name=names.AGGREGATOR,
        num_replicas=settings.aggregator_replicas,
        max_ongoing_requests=CONCURRENT_REQUESTS,
        ray_actor_options=light,
        logging_config=LOGGING,
    )(EstimatorAggregator).bind(settings, registry, generator)
    return serve.deployment(
        name=names.GATEWAY,
        num_replicas=settings.gateway_replicas,
        max_ongoing_requests=CONCURRENT_REQUESTS,
        ray_actor_options=light,
        logging_config=LOGGING,
    )(serve.ingress()(Gateway)).bind(settings, registry, aggregator, hub, loopback_only=loopback_only)


def model(settings: Settings, spec: ModelSpec) -> Application:
    """One model as an application of its own."""
    autoscaling = AutoscalingConfig(
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        target_ongoing_requests=settings.target_ongoing_chunks,
        upscale_delay_s=settings.upscale_delay_s,
        downscale_delay_s=settings.downscale_delay_s,
        look_back_period_s=settings.look_back_period_s,
        metrics_interval_s=settings.look_back_period_s / 5,
    )
    return serve.deployment(
        name=names.MODEL_REPLICA,
        autoscaling_config=autoscaling,
        max_ongoing_requests=spec.max_ongoing_chunks,
        ray_actor_options={"num_cpus": spec.num_cpus, "num_gpus": spec.num_gpus},
        graceful_shutdown_timeout_s=settings.drain_s,
        max_constructor_retry_count=CONSTRUCTOR_TRIES,
        logging_config=LOGGING,
    )(ModelReplica).bind(spec, settings.cache_dir, settings.log_level)


def _path(args: dict[str, Any]) -> Path | None:
    return Path(args["models_file"]) if args.get("models_file") else None
