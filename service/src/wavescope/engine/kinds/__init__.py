"""The registry of kinds: one record per kind of explanation, in the order in which they are documented."""

from __future__ import annotations

from typing import Any

from wavescope.engine.kinds import (
    compare,
    fam,
    profile,
    robustness,
    sobol,
    sufficient_image,
    wam,
    wcam,
    zoom,
)
from wavescope.engine.kinds.kind import Kind

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (wcam, fam, sobol, sufficient_image, profile, compare, robustness, zoom, wam)
}
# Kinds that perturb factors and have Sobol indices; the others differentiate the model.
PERTURBING: dict[str, Kind] = {name: kind for name, kind in KINDS.items() if not kind.gradients}
DEFAULT_KIND = wcam.KIND
# Names of the kinds that compare the image with ``other``, as error messages list them.
OTHER_KINDS = " or ".join(kind.name for kind in KINDS.values() if kind.takes_other)


def find_kind(name: Any) -> Kind:
    """The kind of that name; that of the defaults for a name that is none, which is refused later."""
    return KINDS.get(name, DEFAULT_KIND) if isinstance(name, str) else DEFAULT_KIND
