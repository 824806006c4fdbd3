"""From the JSON of an explanation to the types of a result.

Whatever is missing or of another type stumbles (``KeyError``, ``TypeError``, ``ValueError``), and is told as an
invalid reply by the caller.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from wavescope_client._types import (
    Band,
    Comparison,
    Corrupted,
    Crop,
    Explanation,
    Faithfulness,
    Indices,
    Kept,
    Level,
    Maps,
    Prediction,
    ProfileBand,
    Ring,
    Robustness,
    Round,
    ScaleChange,
    Screening,
    Sufficiency,
    Worth,
    Zoom,
    ZoomLevel,
)

Result = TypeVar("Result")
_DTYPES = {"float32": "<f4", "int32": "<i4"}


def read_explanation(content: dict[str, Any], request_id: str | None) -> Explanation:
    """An explanation; those within it have the request's id as well."""

    def nested(inner: dict[str, Any]) -> Explanation:
        return read_explanation(inner, request_id)

    return Explanation(
        id=content["id"],
        kind=content["kind"],
        model=content["model"],
        precision=content.get("precision"),
        outcome=content["outcome"],
        target=read_prediction(content["target"]),
        prediction=_every(read_prediction, content["prediction"]),
        indices=_maybe(read_indices, content.get("indices")),
        maps=_maybe(_maps, content.get("maps")),
        levels=_each(_level, content.get("levels")),
        worth=_maybe(_worth, content.get("worth")),
        radial=_each(_ring, content.get("radial")),
        profile=_each(_profile_band, content.get("profile")),
        sufficiency=None if content.get("sufficiency") is None else _sufficiency(content),
        comparison=_maybe(lambda found: _comparison(found, nested), content.get("comparison")),
        robustness=_maybe(_robustness, content.get("robustness")),
        zoom=_maybe(lambda found: _zoom(found, nested), content.get("zoom")),
        faithfulness=_each(_faithfulness, content.get("faithfulness")),
        screening=_maybe(_screening, content.get("screening")),
        crop=made(Crop, content["crop"]),
        forwards=content["forwards"],
        timing=content["timing"],
        parameters=content["parameters"],
        warnings=tuple(content["warnings"]),
        # A service older than the deadline and the cache has neither.
        partial=content.get("partial", False),
        cached=content.get("cached", False),
        figure=_maybe(lambda figure: _bytes(figure["base64"]), content.get("figure")),
        request_id=request_id,
    )


def _maybe(read: Callable[[Any], Result], content: Any) -> Result | None:
    return None if content is None else read(content)


def _every(read: Callable[[Any], Result], content: list[Any]) -> tuple[Result, ...]:
    return tuple(read(entry) for entry in content)


def _each(read: Callable[[Any], Result], content: list[Any] | None) -> tuple[Result, ...] | None:
    return None if content is None else _every(read, content)


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _numbers(values: list[Any], dtype: type[np.generic] = np.float64) -> np.ndarray:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def _tensor(content: dict[str, Any]) -> np.ndarray:
    # frombuffer gives a view of immutable bytes: read-only, and no copy.
    array = np.frombuffer(_bytes(content["data"]), dtype=_DTYPES[content["dtype"]]).reshape(content["shape"])
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def made(kind: type[Result], content: dict[str, Any], **read: Any) -> Result:
    """A dataclass from the keys of its names, some of them ``read`` already; keys younger than this client pass."""
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: read[name] if name in read else content[name] for name in names})


def read_prediction(content: dict[str, Any]) -> Prediction:
    return made(Prediction, content)


def read_indices(content: dict[str, Any]) -> Indices:
    return Indices(
        total=_numbers(content["total"]),
        first=_maybe(_numbers, content["first"]),
        standard_error=_maybe(_numbers, content["standard_error"]),
        interval_95=_maybe(_numbers, content["interval_95"]),
        # A service older than the adaptive plan has neither.
        resolved=_maybe(lambda values: _numbers(values, np.bool_), content.get("resolved")),
        upper_bound=_maybe(_numbers, content.get("upper_bound")),
    )


def _screening(content: dict[str, Any]) -> Screening:
    return made(Screening, content, rounds=_every(_round, content["rounds"]))


def _round(content: dict[str, Any]) -> Round:
    return made(Round, content)


def _maps(content: dict[str, Any]) -> Maps:
    return Maps(
        factors=_tensor(content["factors"]),
        wcam=_maybe(_tensor, content["wcam"]),
        spatial_wcam=_maybe(_tensor, content["spatial_wcam"]),
        fam=_maybe(_tensor, content["fam"]),
        sobol=_maybe(_tensor, content["sobol"]),
    )


def _pair(content: list[Any]) -> tuple[Any, Any]:
    start, end = content
    return start, end


def _level(content: dict[str, Any]) -> Level:
    bands = {name: _maybe(_band, content[name]) for name in ("horizontal", "vertical", "diagonal")}
    return made(Level, content, scale_px=_pair(content["scale_px"]), **bands)


def _band(content: dict[str, Any]) -> Band:
    return made(Band, content)


def _worth(content: dict[str, Any]) -> Worth:
    return made(Worth, content, runner_up=_maybe(read_prediction, content["runner_up"]))


def _ring(content: dict[str, Any]) -> Ring:
    return made(Ring, content, frequency=_pair(content["frequency"]))


def _profile_band(content: dict[str, Any]) -> ProfileBand:
    interval = _maybe(_pair, content["interval_95"])
    return made(ProfileBand, content, scale_px=_pair(content["scale_px"]), interval_95=interval)


def _sufficiency(content: dict[str, Any]) -> Sufficiency:
    """From the section of that name and the keys beside it."""
    section, curve = content["sufficiency"], content["curve"]
    return Sufficiency(
        outcome=section["outcome"],
        depth=content["reconstruction_depth"],
        order=_numbers(section["order"], np.int64),
        probability=_numbers(curve["probability"]),
        predicted=_numbers(curve["predicted"], np.int64),
        positive_factors=section["positive_factors"],
        image=_maybe(_bytes, content["sufficient_image"]),
        top_image=_bytes(section["top_factor_image"]),
        positive_image=_bytes(section["positive_image"]),
        kept=_maybe(_kept, section["kept"]),
    )


def _kept(content: dict[str, Any]) -> Kept:
    return made(Kept, content)


def _comparison(content: dict[str, Any], nested: Callable[[dict[str, Any]], Explanation]) -> Comparison:
    return made(
        Comparison,
        content,
        scales=_every(_scale_change, content["scales"]),
        place_change=_tensor(content["place_change"]),
        other=nested(content["other"]),
    )


def _scale_change(content: dict[str, Any]) -> ScaleChange:
    return made(ScaleChange, content, scale_px=_pair(content["scale_px"]))


def _robustness(content: dict[str, Any]) -> Robustness:
    return made(Robustness, content, corrupted=_every(_corrupted, content["corrupted"]))


def _corrupted(content: dict[str, Any]) -> Corrupted:
    return made(Corrupted, content, predicted=read_prediction(content["predicted"]))


def _zoom(content: dict[str, Any], nested: Callable[[dict[str, Any]], Explanation]) -> Zoom:
    levels = _every(_zoom_level, content["levels"])
    return made(Zoom, content, levels=levels, zoomed=nested(content["zoomed"]))


def _zoom_level(content: dict[str, Any]) -> ZoomLevel:
    return made(ZoomLevel, content, scale_px=_pair(content["scale_px"]))


def _faithfulness(content: dict[str, Any]) -> Faithfulness:
    curves = ("fraction", "insertion_curve", "deletion_curve")
    return made(Faithfulness, content, **{name: _numbers(content[name]) for name in curves})
