"""Who is let in, who waits, who is refused."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest

from wavescope.admission.policy import Admission, AdmissionRequest
from wavescope.admission.quotas import Budgets, Quota
from wavescope.errors import QueueFull, QuotaExceeded


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None, **given) -> Admission:
    settings = {"max_running": 2, "max_waiting": 4, "max_wait_s": 100.0, "clock": clock or Clock()}
    return Admission(**settings | given)


def ask(
    name: str, *, caller="", priority="interactive", forwards=100, seconds=1.0, patient=False
) -> AdmissionRequest:
    return AdmissionRequest(name, caller, priority, forwards, seconds, patient)


def test_requests_start_in_order_of_arrival_up_to_the_limit():
    admission = make()
    for name in "abc":
        admission.offer(ask(name))
    assert admission.begin() == ["a", "b"]
    assert (admission.running, admission.waiting) == (2, 1)
    admission.leave("a")
    assert admission.begin() == ["c"]


def test_the_same_ask_again_keeps_its_place():
    admission = make(max_running=1)
    for name in ("a", "b", "c", "b"):
        admission.offer(ask(name))
    started = []
    while begun := admission.begin():
        started += begun
        admission.leave(begun[0])
    assert started == ["a", "b", "c"]


def test_interactive_goes_before_batch_and_batch_is_not_starved():
    admission = make(max_running=1, max_waiting=100)
    for turn in range(3):
        admission.offer(ask(f"batch {turn}", priority="batch"))
    for turn in range(12):
        admission.offer(ask(f"interactive {turn}"))
    started = []
    while begun := admission.begin():
        started += begun
        admission.leave(begun[0])
    assert len(started) == 15
    assert [place for place, name in enumerate(started) if name.startswith("batch")] == [3, 7, 11]


def test_batch_takes_at_most_half_of_the_places():
    admission = make(max_running=4, max_waiting=100)
    for turn in range(6):
        admission.offer(ask(str(turn), priority="batch"))
    assert len(admission.begin()) == 2
    admission.offer(ask("now"))
    assert admission.begin() == ["now"]


def test_the_caller_with_the_fewest_running_goes_first():
    admission = make(max_running=2, max_waiting=100)
    for turn in range(3):
        admission.offer(ask(f"greedy {turn}", caller="greedy"))
    admission.offer(ask("modest", caller="modest"))
    assert admission.begin() == ["greedy 0", "modest"]


def test_a_callers_share_of_the_places_is_not_exceeded():
    admission = make(max_running=4, quota=lambda caller: Quota(max_running=1))
    for name in ("a", "b"):
        admission.offer(ask(name, caller="one"))
    assert admission.begin() == ["a"]
    admission.leave("a")
    assert admission.begin() == ["b"]


def test_a_full_queue_refuses_and_says_when_to_come_again():
    admission = make(max_running=1, max_waiting=1)
    admission.offer(ask("a", seconds=8))
    admission.begin()
    admission.offer(ask("b", seconds=6))
    with pytest.raises(QueueFull, match="at most 1 may") as refused:
        admission.offer(ask("c"))
    assert refused.value.limits == {"max_waiting": 1, "retry_after_s": 5}  # half of 8 / 2 + 6 s
    admission.offer(ask("patient", priority="batch", patient=True))


def test_a_long_wait_is_refused_before_the_queue_is_full():
    admission = make(max_running=1, max_wait_s=10.0)
    admission.offer(ask("a", seconds=6))
    admission.begin()
    admission.offer(ask("b", seconds=9))
    with pytest.raises(QueueFull, match="the wait would be about 12 s"):
        admission.offer(ask("c"))


def test_whatever_its_cost_a_request_is_let_in_where_nobody_waits():
    admission = make(max_running=1, max_wait_s=1.0)
    admission.offer(ask("a", seconds=1e6))
    admission.begin()
    admission.offer(ask("b", seconds=1e6))
    assert admission.waiting == 1


def test_a_budget_of_forwards_is_refilled_by_the_minute():
    clock = Clock()
    admission = make(clock, max_running=9, quota=lambda caller: Quota(forwards_per_minute=600))
    admission.offer(ask("a", forwards=500))
    with pytest.raises(QuotaExceeded, match="200 forwards are more") as refused:
        admission.offer(ask("b", forwards=200))
    assert refused.value.limits["retry_after_s"] == 10  # 100 forwards at 10 a second
    clock.now += 10
    admission.offer(ask("b", forwards=200))


def test_a_request_larger_than_a_minutes_budget_leaves_a_debt():
    clock = Clock()
    admission = make(clock, max_running=9, quota=lambda caller: Quota(forwards_per_minute=60))
    admission.offer(ask("large", forwards=180))
    with pytest.raises(QuotaExceeded) as refused:
        admission.offer(ask("small", forwards=1))
    assert refused.value.limits["retry_after_s"] == 121


def test_budgets_of_callers_are_their_own():
    admission = make(max_running=9, quota=lambda caller: Quota(forwards_per_minute=100))
    admission.offer(ask("a", caller="one"))
    admission.offer(ask("b", caller="other"))
    with pytest.raises(QuotaExceeded):
        admission.offer(ask("c", caller="one"))


def test_a_callers_quota_of_waiting_requests_is_counted_where_it_would_wait():
    admission = make(max_running=1, quota=lambda caller: Quota(max_waiting=0))
    admission.offer(ask("a", caller="one"))
    admission.begin()
    with pytest.raises(QuotaExceeded, match="its quota is 0"):
        admission.offer(ask("b", caller="one"))


def test_who_says_nothing_makes_room():
    clock = Clock()
    admission = make(clock, max_running=1, silent_s=30.0)
    admission.offer(ask("dead"))
    admission.begin()
    admission.offer(ask("alive"))
    clock.now += 31
    assert admission.heartbeat("alive")
    assert admission.evict_silent() == ["dead"]
    assert admission.begin() == ["alive"]


def test_what_a_lost_admission_had_let_in_runs_on_without_being_charged_again():
    admission = make(max_running=1, quota=lambda caller: Quota(forwards_per_minute=100))
    admission.offer(ask("old", forwards=100), running=True)
    admission.offer(ask("new", forwards=100))
    assert admission.begin() == []
    admission.leave("old")
    assert admission.begin() == ["new"]


def test_the_expected_wait_counts_what_goes_before():
    admission = make(max_running=1)
    assert admission.wait_s("interactive") == 0
    admission.offer(ask("a", seconds=10))
    admission.begin()
    admission.offer(ask("b", seconds=4))
    admission.offer(ask("c", seconds=7, priority="batch"))
    assert admission.wait_s("interactive") == 9
    assert admission.wait_s("batch") == 16


def test_long_batch_work_does_not_make_the_wait_of_interactive_requests_long():
    admission = make(max_running=8, max_waiting=100)
    for turn in range(4):
        admission.offer(ask(f"batch {turn}", priority="batch", seconds=1000))
        admission.offer(ask(f"interactive {turn}"))
    assert len(admission.begin()) == 8
    assert 1 <= admission.wait_s("interactive") <= 3  # four of 1 s, each on an eighth of the machine
    assert 400 <= admission.wait_s("batch") <= 2000
    admission.offer(ask("let in"))


def test_where_batch_has_its_half_the_next_batch_waits_for_batch():
    admission = make(max_running=4, max_waiting=100)
    for turn in range(2):
        admission.offer(ask(f"batch {turn}", priority="batch", seconds=10))
    admission.begin()
    assert admission.wait_s("interactive") == 0
    assert admission.wait_s("batch") == pytest.approx(
        2 * 10 / 3
    )  # of the first a third is left, on half the machine


class Lanes:
    """Planning and computing, charged to the same budgets, as at the desk."""

    def __init__(self, clock: Clock, **quota: int) -> None:
        def of(caller: str) -> Quota:
            return Quota(**quota)

        budgets = Budgets(of, clock)
        self.planning, self.computing = (make(clock, quota=of, budgets=budgets) for _ in range(2))

    def explain(self, name: str, *, planned: int, forwards: int) -> None:
        """A request that is planned and computed at once."""
        plan = AdmissionRequest(f"plan of {name}", "one", "interactive", planned, 0.1, lane="planning")
        self.planning.offer(plan)
        self.planning.begin()
        self.planning.leave(plan.id, finished=True)
        self.computing.offer(
            AdmissionRequest(name, "one", "interactive", forwards, 1.0, charged_forwards=planned)
        )
        self.computing.begin()
        self.computing.leave(name, finished=True)


def test_planning_is_charged_to_the_budget_of_forwards():
    lanes = Lanes(Clock(), forwards_per_minute=100)
    for turn in range(4):
        lanes.planning.offer(ask(str(turn), caller="one", forwards=25))
    with pytest.raises(QuotaExceeded, match="1 forwards are more than this key's quota of 100 a minute"):
        lanes.planning.offer(ask("estimate", caller="one", forwards=1))
    with pytest.raises(QuotaExceeded):
        lanes.computing.offer(ask("explanation", caller="one", forwards=1))


def test_a_further_turn_of_the_same_request_is_not_charged():
    lanes = Lanes(Clock(), forwards_per_minute=100)
    lanes.planning.offer(ask("first image", caller="one", forwards=100))
    lanes.planning.offer(ask("second image", caller="one", forwards=0))


def test_what_planning_was_charged_does_not_stand_in_the_way_of_its_own_request():
    lanes = Lanes(Clock(), forwards_per_minute=100)
    lanes.explain("all of a minute", planned=3, forwards=97)
    with pytest.raises(QuotaExceeded):
        lanes.explain("more", planned=1, forwards=1)


def test_a_request_of_more_than_a_minutes_forwards_is_let_in_by_a_whole_budget():
    clock = Clock()
    lanes = Lanes(clock, forwards_per_minute=100)
    lanes.explain("large", planned=2, forwards=628)
    clock.now += 60 * 6.30 - 1
    with pytest.raises(QuotaExceeded):
        lanes.explain("again", planned=2, forwards=628)


def test_who_comes_again_when_told_is_let_in():
    """Planning is charged for the refused request too: what the caller is told must allow for that."""
    clock = Clock()
    lanes = Lanes(clock, forwards_per_minute=100)
    lanes.explain("first", planned=2, forwards=50)
    with pytest.raises(QuotaExceeded) as refused:
        lanes.explain("large", planned=2, forwards=628)
    clock.now += refused.value.limits["retry_after_s"]
    lanes.explain("large, again", planned=2, forwards=628)


def test_the_expected_wait_learns_from_what_was_computed():
    clock = Clock()
    admission = make(clock, max_running=1)
    for turn in range(60):  # each takes three times what was expected
        admission.offer(ask(str(turn), seconds=2))
        admission.begin()
        clock.now += 6
        admission.leave(str(turn), finished=True)
        clock.now += 100  # nothing is computed: that says nothing
    assert admission.pace == pytest.approx(3, rel=0.1)
    admission.offer(ask("long", seconds=10))
    admission.begin()
    assert admission.wait_s("interactive") == pytest.approx(15, rel=0.1)


def test_what_was_given_up_does_not_look_quick():
    clock = Clock()
    admission = make(clock, max_running=1)
    for turn in range(20):
        admission.offer(ask(str(turn), seconds=2))
        admission.begin()
        clock.now += 1
        admission.leave(str(turn))
    assert admission.pace > 1


def test_a_new_desk_learns_nothing_from_the_time_before_it():
    clock = Clock()
    admission = make(clock, max_running=1)
    admission.offer(ask("running since long", seconds=2), running=True)
    clock.now += 2
    admission.begin()
    assert admission.pace == pytest.approx(1, abs=0.2)


def test_the_wait_expected_of_a_stream_of_requests_is_the_wait_that_they_have():
    """Against the admission itself, played with a clock: mixed lengths, a queue, and jobs that never end coming."""
    clock = Clock()
    admission = make(clock, max_running=8, max_waiting=1000, max_wait_s=math.inf)
    draw = random.Random(0)
    left: dict[str, float] = {}
    asks: dict[str, AdmissionRequest] = {}
    came: dict[str, tuple[float, float]] = {}
    expected: list[float] = []
    waited: list[float] = []
    numbers = itertools.count()

    def come(priority: str) -> None:
        name = f"{priority} {next(numbers)}"
        asks[name] = ask(name, priority=priority, seconds=draw.choice((1, 2, 5)), patient=priority == "batch")
        came[name] = (clock.now, admission.wait_s(priority))
        admission.offer(asks[name])

    for _ in range(3):
        come("batch")
    for _ in range(600):
        while admission.waiting < 30:
            come("interactive")
        for name in admission.begin():
            left[name] = asks[name].seconds
            then, told = came[name]
            if name.startswith("interactive"):
                expected.append(told)
                waited.append(clock.now - then)
        ended = min(left, key=lambda name: left[name])
        least = left.pop(ended)
        clock.now += least * (len(left) + 1)
        left = {name: seconds - least for name, seconds in left.items()}
        admission.leave(ended, finished=True)
        if ended.startswith("batch"):
            come("batch")
    late = slice(len(waited) // 4, None)  # once the queue is as long as it stays
    assert statistics.mean(expected[late]) == pytest.approx(statistics.mean(waited[late]), rel=0.1)
