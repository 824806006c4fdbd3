"""Loading of a model from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wavescope.engine.protocols import Classifier
from wavescope.errors import WeightsUnavailable
from wavescope.models.files import Identity, files_beside, given_file, identity
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
        WeightsUnavailable: the weights are neither in a file, nor cached, nor reachable; or their file was replaced or
            written to while it was read.
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
    before = _identities(spec)
    model = loader(spec, LoadOptions(cache_dir, threads, tuple(remote_hosts)))
    for path, found in before.items():
        if identity(path) != found:  # the revision may be that of another content than was loaded
            getattr(model, "close", lambda: None)()
            raise WeightsUnavailable(
                f"model {spec.name!r}: {path.name!r} was replaced or written to while it was loaded: load it again",
                field="source" if spec.source_kind.whole_file else "weights",
                model=spec.name,
            )
    return model


def _identities(spec: ModelSpec) -> dict[Path, Identity]:
    """Identities of the files that the registry names for a model, and of those beside an ONNX file; none unread."""
    given = given_file(spec)
    if given is None or not given.is_file():
        return {}
    beside = files_beside(spec)
    try:
        return {path: identity(path) for path in (given, *(beside(given) if beside else ()))}
    except OSError:  # which the loader explains
        return {}
