"""What the tool that holds the service with slow clients calls a failure."""

from __future__ import annotations

import pytest
from tools.faults.slow import BAR_S, Asked, failures


def asked(name: str, taken_s: list[float], failed: list[str] | None = None) -> Asked:
    return Asked(name, lambda: None, taken_s, failed or [])


def test_all_that_were_answered_in_time_are_no_failure() -> None:
    slow_but_answered = asked("an explanation", [50 * BAR_S])
    assert failures([asked("`GET /livez`", [BAR_S] * 100), slow_but_answered]) == []


@pytest.mark.parametrize(("late", "fails"), [(0, False), (1, False), (2, True), (100, True)])
def test_more_than_one_late_answer_of_a_hundred_is_a_failure(late: int, fails: bool) -> None:
    live = asked("`GET /livez`", [0.01] * (200 - 2 * late) + [2 * BAR_S] * 2 * late)
    told = failures([live])
    assert [why.startswith("`GET /livez`: 99% took up to 0.400 s") for why in told] == [True] * fails


def test_whoever_was_not_answered_is_a_failure() -> None:
    found = failures([asked("`GET /livez`", []), asked("`GET /readyz`", [0.1], ["503 full"])])
    assert found == ["`GET /readyz`: 503 full", "`GET /livez`: never answered"]
