"""Registry entry of one model that a KServe predictor serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wavescope.cli.options import PREDICTOR_PROTOCOLS
from wavescope.engine.types import Preprocessing
from wavescope.errors import InvalidRequest
from wavescope.models.remote.address import parse
from wavescope.models.spec import REMOTE_NUM_CPUS, ModelSpec
from wavescope.settings import load_registry, load_settings

if TYPE_CHECKING:
    from wavescope.settings import Settings


def build_predictor_spec(
    name: str, host: str, *, protocol: str, secure: bool, models_file: Path | None
) -> tuple[ModelSpec, str]:
    """Build the model's specification, and find the ``host:port`` that serves it.

    Without an entry of its name it takes images as ImageNet models do, and gives logits.

    Args:
        name: of the model, at the predictor and in this service.
        host: of the predictor, with or without a port.
        protocol: a key of ``PREDICTOR_PROTOCOLS``.
        secure: with TLS.
        models_file: a registry whose entry of this name gives what the predictor does not: preprocessing, outputs,
            labels. Its source is replaced.

    Raises:
        InvalidRequest: no such host.
        RegistryInvalid: no such entry, or a wrong one.
    """
    spoken = PREDICTOR_PROTOCOLS[protocol]
    if spoken.default_port is not None and ":" not in host.rpartition("]")[2]:
        host = f"{host}:{spoken.default_port}"
    url = spoken.url.format(s="s" if secure else "", host=host, name=name)
    try:
        address = parse(spoken.source, url)
    except ValueError as error:
        raise InvalidRequest(f"{error}", field="predictor_host") from error
    source = f"{spoken.source}:{url}"
    if models_file is None:
        spec = ModelSpec(
            name=name,
            source=source,
            preprocessing=Preprocessing(),
            outputs="logits",
            num_cpus=REMOTE_NUM_CPUS,
        )
        return spec, address.authority
    entries = {entry.name: entry for entry in load_registry(models_file)}
    if name not in entries:
        raise InvalidRequest(
            f"--models has no entry of the name {name!r}", field="model_name", known=list(entries)
        )
    return replace(entries[name], source=source), address.authority


def allow_host(settings: Settings, authority: str) -> Settings:
    """Add a host to those that may serve models, in a copy of the settings."""
    known = settings.model_dump(exclude_unset=True)
    return load_settings(**{**known, "remote_hosts": (*settings.remote_hosts, authority)})
