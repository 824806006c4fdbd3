"""Delays of every feature under every detector, for one kind of change."""

from __future__ import annotations

from typing import Any

from bench.drift import delay, tables
from bench.drift.bank import Arrays
from bench.drift.streams import observations_of


def cells_of(
    values: Arrays, photograph: Any, thresholds: dict[tuple[str, str], float], which: tuple[str, str]
) -> dict[str, dict[str, Any]]:
    """Cells of one mode and condition, by feature and detector; a module of its own, as workers import it."""
    mode, condition = which
    of_bank = delay.firsts(values, photograph, thresholds, condition, mode)
    # Halves of the photographs are drawn anew for every stream already.
    again = mode == "step" and condition != tables.OTHERS
    of_banks = (
        delay.firsts(values, photograph, thresholds, condition, mode, resample=delay.BANKS) if again else {}
    )
    within = observations_of(mode)
    return {
        " | ".join(pair): delay.cell(first, of_banks.get(pair), within=within)
        for pair, first in of_bank.items()
    }
