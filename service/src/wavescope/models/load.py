"""Loading of a model from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wavescope.engine.protocols import Classifier
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec


def load(
    spec: ModelSpec, *, cache_dir: Path, threads: int | None = None, remote_hosts: Sequence[str] = ()
) -> Classifier:
    """Load the classifier that ``spec`` names, on its device, ready to run.

    Args:
        spec: of the model.
        cache_dir: where the embedded model's exported file is kept.
        threads: of the CPU runtime; ``None`` takes the spec's own.
        remote_hosts: that a model served elsewhere may be on; of none listed, it may be on none.

    Raises:
        WeightsUnavailable: the weights are neither in a file, nor cached, nor reachable.
        RegistryInvalid: a field is wrong for this model, or the runtime it needs is not installed.
        ModelUnavailable, RemoteFailure: it is served elsewhere, and its server does not answer, or refuses.
    """
    extra = spec.source_kind.extra
    try:
        loader = spec.source_kind.import_loader()
    except ImportError as error:
        raise spec.invalid(
            "source",
            f"{spec.source!r} needs wavescope[{extra}], which is not installed: {error}",
            extra=extra,
        ) from error
    return loader(spec, LoadOptions(cache_dir, threads, tuple(remote_hosts)))
