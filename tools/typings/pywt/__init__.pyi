"""The part of PyWavelets that this repository uses; the package has no types of its own."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

_Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
_Details: TypeAlias = tuple[_Array, _Array, _Array]
_Mode: TypeAlias = str

class Wavelet:
    name: str
    dec_len: int
    rec_len: int
    orthogonal: bool
    biorthogonal: bool
    dec_lo: list[float]
    dec_hi: list[float]
    rec_lo: list[float]
    rec_hi: list[float]
    def __init__(self, name: str) -> None: ...

def wavelist(
    family: str | None = None, kind: Literal["all", "continuous", "discrete"] = "all"
) -> list[str]: ...
def families(short: bool = True) -> list[str]: ...
def dwt_max_level(data_len: int, filter_len: int | str | Wavelet) -> int: ...
def dwt(
    data: ArrayLike, wavelet: str | Wavelet, mode: _Mode = "symmetric", axis: int = -1
) -> tuple[_Array, _Array]: ...
def idwt(
    cA: ArrayLike | None,
    cD: ArrayLike | None,
    wavelet: str | Wavelet,
    mode: _Mode = "symmetric",
    axis: int = -1,
) -> _Array: ...
def dwt2(
    data: ArrayLike, wavelet: str | Wavelet, mode: _Mode = "symmetric", axes: tuple[int, int] = (-2, -1)
) -> tuple[_Array, _Details]: ...
def idwt2(
    coeffs: tuple[_Array, _Details],
    wavelet: str | Wavelet,
    mode: _Mode = "symmetric",
    axes: tuple[int, int] = (-2, -1),
) -> _Array: ...
def wavedec(
    data: ArrayLike,
    wavelet: str | Wavelet,
    mode: _Mode = "symmetric",
    level: int | None = None,
    axis: int = -1,
) -> list[_Array]: ...
def waverec(
    coeffs: Sequence[ArrayLike], wavelet: str | Wavelet, mode: _Mode = "symmetric", axis: int = -1
) -> _Array: ...
def wavedec2(
    data: ArrayLike,
    wavelet: str | Wavelet,
    mode: _Mode = "symmetric",
    level: int | None = None,
    axes: tuple[int, int] = (-2, -1),
) -> list[Any]: ...
def waverec2(
    coeffs: Sequence[Any], wavelet: str | Wavelet, mode: _Mode = "symmetric", axes: tuple[int, int] = (-2, -1)
) -> _Array: ...
def coeffs_to_array(
    coeffs: Sequence[Any], padding: float | None = 0, axes: tuple[int, ...] | None = None
) -> tuple[_Array, list[Any]]: ...
def array_to_coeffs(
    arr: ArrayLike, coeff_slices: Sequence[Any], output_format: str = "wavedecn"
) -> list[Any]: ...
