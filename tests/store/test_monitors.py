"""What both stores do with monitors: logs without gaps, leases, checkpoints of the holder alone."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.store.servers import Clock, Place

from wavescope.errors import TooManyMonitors, UnknownMonitor
from wavescope.store.monitors import MonitorRecord, Monitors, NewEntry

THREADS = 8
ALL_BYTES = bytes(range(256)) * 3


def record(name: str = "birds", **fields: Any) -> MonitorRecord:
    given = {"owner": "ann", "created_at": 0.0, "token_digest": "digest", "config": b"config"}
    return MonitorRecord(name=name, **(given | fields))


def seen(key: str, **fields: Any) -> NewEntry:
    return NewEntry(**({"kind": "observation", "key": key, "payload": b"image"} | fields))


def ordered(key: str) -> NewEntry:
    return NewEntry(kind="command", key=key, content=b"an order")


def make(monitors: Monitors, *names: str) -> None:
    for name in names or ("birds",):
        monitors.create_monitor(record(name), max_monitors=100)


def claim(
    monitors: Monitors, worker: str = "w1", lease_s: float = 15.0, wake_after_s: float = 0.0
) -> str | None:
    found = monitors.claim_monitor(worker, lease_s, wake_after_s=wake_after_s)
    return None if found is None else found.name


# ---- registry --------------------------------------------------------------------------------------------------------
def test_a_monitor_is_created_once_and_only_its_own_fields_are_read(monitors: Monitors, clock: Clock) -> None:
    given = record(
        config=ALL_BYTES,
        paused=True,
        last_seq=7,
        folded=3,
        pending=2,
        pending_bytes=9,
        status=b"x",
        events={"busy": 1},
    )
    found, new = monitors.create_monitor(given, max_monitors=1)
    assert new
    assert found == record(created_at=clock.now, config=ALL_BYTES)
    clock.pass_s(5.0)
    again, new = monitors.create_monitor(record(owner="bob", config=b"other"), max_monitors=0)
    assert not new
    assert again == found == monitors.get_monitor("birds")


def test_no_more_monitors_than_the_limit(monitors: Monitors) -> None:
    make(monitors, "a", "b")
    with pytest.raises(TooManyMonitors, match=r"2 monitors already.*WAVESCOPE_MAX_MONITORS") as caught:
        monitors.create_monitor(record("c"), max_monitors=2)
    assert caught.value.limits["max_monitors"] == 2
    monitors.delete_monitor("a")
    assert monitors.create_monitor(record("c"), max_monitors=2)[1]


def test_many_that_create_at_once_stay_within_the_limit_and_make_each_once(place: Place) -> None:
    stores = [place.open() for _ in range(2)]

    def create(number: int) -> bool | None:
        try:
            return stores[number % 2].create_monitor(record(f"m{number // 4}"), max_monitors=3)[1]
        except TooManyMonitors:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(create, range(24)))
    assert Counter(made)[True] == 3
    assert len(stores[0].list_monitors()) == 3
    for store in stores:
        store.close()


def test_configuring_changes_what_is_given_alone(monitors: Monitors) -> None:
    make(monitors)
    before = monitors.get_monitor("birds")
    assert monitors.configure_monitor("birds") == before
    assert monitors.configure_monitor("birds", config=ALL_BYTES).config == ALL_BYTES
    assert monitors.configure_monitor("birds", paused=True).paused
    changed = monitors.configure_monitor("birds", token_digest="another")
    assert (changed.config, changed.paused, changed.token_digest) == (ALL_BYTES, True, "another")
    assert not monitors.configure_monitor("birds", paused=False).paused
    assert monitors.configure_monitor("birds", config=b"").config == b""


def test_an_unknown_monitor_is_named_where_it_matters_and_nothing_elsewhere(monitors: Monitors) -> None:
    for call in (
        lambda: monitors.get_monitor("nowhere"),
        lambda: monitors.configure_monitor("nowhere", paused=True),
        lambda: monitors.delete_monitor("nowhere"),
        lambda: monitors.append_entries("nowhere", [seen("1")]),
        lambda: monitors.append_entries("nowhere", []),
    ):
        with pytest.raises(UnknownMonitor, match="'nowhere'"):
            call()
    monitors.count_events("nowhere", {"invalid": 1})
    monitors.drop_payloads("nowhere", [1])
    monitors.release_monitor("nowhere", "w1")
    assert monitors.read_entries("nowhere", after=0, limit=10) == []
    assert monitors.read_results("nowhere", since=0.0, until=1e12, limit=10) == []
    assert monitors.get_payload("nowhere", 1) is None
    assert monitors.purge_entries("nowhere", before=10) == 0
    assert monitors.load_checkpoint("nowhere") == (0, None, None)
    assert not monitors.end_observation("nowhere", 1, "w1", b"")
    assert not monitors.renew_monitor("nowhere", "w1", 1.0)
    assert not monitors.save_checkpoint("nowhere", "w1", folded=0, state=b"", status=b"")
    assert not monitors.save_effects("nowhere", "w1", b"")
    assert monitors.list_monitors() == []
    make(monitors, "nowhere")  # nothing of all this is found by a monitor of that name
    assert monitors.get_monitor("nowhere").events == {}
    assert monitors.load_checkpoint("nowhere") == (0, None, None)


def test_monitors_are_listed_by_name_and_do_not_meet_whatever_their_names_hold(monitors: Monitors) -> None:
    names = ["b", "a:b", "a", "ü 1", "*", "1:a", "2"]
    make(monitors, *names)
    for number, name in enumerate(names):
        for key in range(number + 1):
            monitors.append_entries(name, [seen(f"{key}", payload=name.encode())])
    listed = monitors.list_monitors()
    assert [one.name for one in listed] == sorted(names)
    assert [one.last_seq for one in listed] == [names.index(one.name) + 1 for one in listed]
    monitors.delete_monitor("a")
    assert monitors.get_payload("1:a", 1) == b"1:a"
    assert monitors.get_payload("a:b", 1) == b"a:b"


def test_a_deleted_monitor_leaves_nothing_to_one_of_its_name(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1"), seen("2"), ordered("3")])
    assert claim(monitors) == "birds"
    assert monitors.end_observation("birds", 1, "w1", b"result", keep=True)
    assert monitors.save_checkpoint("birds", "w1", folded=1, state=b"state", status=b"status")
    assert monitors.save_effects("birds", "w1", b"effects")
    monitors.delete_monitor("birds")
    assert not monitors.renew_monitor("birds", "w1", 15.0)
    make(monitors)
    assert monitors.get_monitor("birds") == record(created_at=monitors.get_monitor("birds").created_at)
    assert monitors.read_entries("birds", after=0, limit=10) == []
    assert monitors.load_checkpoint("birds") == (0, None, None)
    assert (monitors.get_payload("birds", 1), monitors.get_payload("birds", 2)) == (None, None)
    assert monitors.append_entries("birds", [seen("2")]) == [("accepted", 1)]
    # The worker of the former one may write nothing here.
    assert not monitors.end_observation("birds", 1, "w1", b"result")
    assert not monitors.save_checkpoint("birds", "w1", folded=1, state=b"", status=b"")
    assert not monitors.save_effects("birds", "w1", b"")
    assert claim(monitors, "w2") == "birds"  # nobody has its lease


# ---- appending -------------------------------------------------------------------------------------------------------
def test_entries_are_read_as_they_were_given_to_the_bit(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    given = [seen("1", content=ALL_BYTES, payload=ALL_BYTES[::-1]), ordered("2"), seen("3", payload=None)]
    given += [seen("4", content=b"", payload=b"")]
    assert monitors.append_entries("birds", given) == [("accepted", seq) for seq in (1, 2, 3, 4)]
    read = monitors.read_entries("birds", after=0, limit=10, payloads=True)
    assert [(one.seq, one.at, one.kind, one.content, one.payload, one.result) for one in read] == [
        (seq, clock.now, one.kind, one.content, one.payload, None) for seq, one in enumerate(given, 1)
    ]
    bare = monitors.read_entries("birds", after=1, limit=2)
    assert [(one.seq, one.payload) for one in bare] == [(2, None), (3, None)]
    assert monitors.read_entries("birds", after=0, limit=0) == []
    assert monitors.read_entries("birds", after=4, limit=5) == []
    assert [monitors.get_payload("birds", seq) for seq in range(6)] == [
        None,
        ALL_BYTES[::-1],
        None,
        None,
        b"",
        None,
    ]


def test_an_entry_that_comes_ten_times_is_appended_once(monitors: Monitors) -> None:
    make(monitors)
    for key in "abc":
        monitors.append_entries("birds", [seen(key)])
    first = monitors.append_entries("birds", [seen("again")])
    repeated = [monitors.append_entries("birds", [seen("again", payload=b"other")]) for _ in range(10)]
    assert first == [("accepted", 4)]
    assert repeated == [[("duplicate", 4)]] * 10
    found = monitors.get_monitor("birds")
    assert (found.last_seq, found.pending, found.events) == (4, 4, {"accepted": 4, "duplicate": 10})
    assert monitors.get_payload("birds", 4) == b"image"


def test_entries_of_a_call_are_judged_after_those_before_them(monitors: Monitors) -> None:
    make(monitors)
    assert monitors.append_entries(
        "birds", [seen("a"), seen("a"), ordered("c"), ordered("c"), seen("b")]
    ) == [*(("accepted", 1), ("duplicate", 1), ("accepted", 2), ("duplicate", 2), ("accepted", 3))]
    found = monitors.get_monitor("birds")
    assert found.events == {"accepted": 2, "duplicate": 1}  # commands are not counted
    assert monitors.append_entries("birds", []) == []


def test_an_observation_beyond_the_number_that_may_wait_is_busy(monitors: Monitors) -> None:
    make(monitors)
    assert monitors.append_entries(
        "birds", [seen("1"), seen("2"), ordered("c"), seen("3")], max_pending=2
    ) == [*(("accepted", 1), ("accepted", 2), ("accepted", 3), ("busy", 0))]
    assert monitors.append_entries("birds", [seen("1"), seen("4")], max_pending=2) == [
        ("duplicate", 1),
        ("busy", 0),
    ]
    claim(monitors)
    assert monitors.end_observation("birds", 1, "w1", b"")
    assert monitors.append_entries("birds", [seen("4"), seen("5")], max_pending=2) == [
        ("accepted", 4),
        ("busy", 0),
    ]
    assert monitors.get_monitor("birds").events == {"accepted": 3, "busy": 3, "duplicate": 1}


def test_an_observation_beyond_the_bytes_that_may_wait_is_busy_and_a_smaller_one_is_not(
    monitors: Monitors,
) -> None:
    make(monitors)
    sizes = {"1": 60, "2": 41, "3": 40, "4": 1, "5": 0}
    entries = [seen(key, payload=bytes(size)) for key, size in sizes.items()]
    outcomes = monitors.append_entries("birds", entries, max_pending_bytes=100)
    assert outcomes == [("accepted", 1), ("busy", 0), ("accepted", 2), ("busy", 0), ("accepted", 3)]
    assert monitors.get_monitor("birds").pending_bytes == 100
    claim(monitors)
    assert monitors.end_observation("birds", 1, "w1", b"", keep=True)  # a kept image does not wait
    assert monitors.get_monitor("birds").pending_bytes == 40
    assert monitors.append_entries("birds", [seen("2", payload=bytes(60))], max_pending_bytes=100) == [
        ("accepted", 4)
    ]


def test_a_paused_monitor_turns_observations_away_and_takes_commands(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1")])
    monitors.configure_monitor("birds", paused=True)
    outcomes = monitors.append_entries(
        "birds", [seen("1"), seen("2"), ordered("c")], max_pending=0, thin_s=9.0
    )
    assert outcomes == [("duplicate", 1), ("paused", 0), ("accepted", 2)]
    monitors.configure_monitor("birds", paused=False)
    assert monitors.append_entries("birds", [seen("2")]) == [("accepted", 3)]


def test_observations_too_soon_after_the_last_one_are_sampled_out(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    assert monitors.append_entries("birds", [seen("1"), seen("2")], thin_s=10.0) == [
        ("accepted", 1),
        ("accepted", 2),
    ]
    clock.pass_s(9.5)
    outcomes = monitors.append_entries(
        "birds", [seen("3"), ordered("c"), seen("4"), seen("1")], thin_s=10.0, max_pending=0
    )
    assert outcomes == [("sampled_out", 0), ("accepted", 3), ("sampled_out", 0), ("duplicate", 1)]
    clock.pass_s(0.5)
    outcomes = monitors.append_entries("birds", [seen("1"), seen("3"), seen("4")], thin_s=10.0)
    assert outcomes == [("duplicate", 1), ("accepted", 4), ("accepted", 5)]  # of one event all are taken
    clock.pass_s(1.0)
    assert monitors.append_entries("birds", [seen("5")]) == [("accepted", 6)]
    assert monitors.get_monitor("birds").last_observation_at == clock.now


def test_a_clock_set_back_stops_no_observation_and_no_time_goes_back(
    monitors: Monitors, clock: Clock
) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1")])
    clock.pass_s(-3600.0)
    assert monitors.append_entries("birds", [seen("2"), ordered("c")], thin_s=10.0) == [
        ("accepted", 2),
        ("accepted", 3),
    ]
    times = [one.at for one in monitors.read_entries("birds", after=0, limit=10)]
    assert times == sorted(times)


def test_events_are_counted_and_add_up_to_what_arrived(monitors: Monitors) -> None:
    make(monitors)
    monitors.count_events("birds", {"invalid": 2, "ignored": 3, "sampled_out": 0})
    monitors.count_events("birds", {"invalid": 1})
    monitors.append_entries("birds", [seen("1"), seen("1"), seen("2")], max_pending=1)
    assert monitors.get_monitor("birds").events == {
        "invalid": 3,
        "ignored": 3,
        "accepted": 1,
        "duplicate": 1,
        "busy": 1,
    }


@pytest.mark.parametrize("kind", ["observations", "commands"])
def test_numbers_have_no_gap_and_keys_no_second_entry_where_many_append_at_once(
    place: Place, kind: str
) -> None:
    stores: list[Any] = [place.open() for _ in range(2)]
    make(stores[0])
    sent = 160

    def append(number: int) -> tuple[str, int]:
        key = f"key {number % (sent // 2)}"  # each twice
        entry = (
            seen(key, content=key.encode())
            if kind == "observations"
            else NewEntry(kind="command", key=key, content=key.encode())
        )
        stores[number % 2].count_events("birds", {"invalid": 1})
        return stores[number // 2 % 2].append_entries("birds", [entry])[0]

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(append, range(sent)))
    assert Counter(outcome for outcome, _ in outcomes) == {"accepted": sent // 2, "duplicate": sent // 2}
    assert sorted(seq for outcome, seq in outcomes if outcome == "accepted") == list(range(1, sent // 2 + 1))
    assert {seq for outcome, seq in outcomes if outcome == "duplicate"} == set(range(1, sent // 2 + 1))
    read = stores[1].read_entries("birds", after=0, limit=sent)
    assert [one.seq for one in read] == list(range(1, sent // 2 + 1))
    by_key = {f"key {number % (sent // 2)}".encode(): seq for number, (_, seq) in enumerate(outcomes)}
    assert {one.content: one.seq for one in read} == by_key
    counted = {"accepted": sent // 2, "duplicate": sent // 2} if kind == "observations" else {}
    assert stores[0].get_monitor("birds").events == counted | {"invalid": sent}
    for store in stores:
        store.close()


# ---- observations that end -------------------------------------------------------------------------------------------
def test_an_observation_ends_once_and_its_image_goes(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1"), seen("2"), ordered("c")])
    claim(monitors)
    assert monitors.end_observation("birds", 1, "w1", ALL_BYTES)
    assert monitors.end_observation("birds", 1, "w1", b"another", keep=True)
    assert monitors.read_entries("birds", after=0, limit=1)[0].result == ALL_BYTES
    assert monitors.get_payload("birds", 1) is None
    assert monitors.end_observation("birds", 2, "w1", b"", keep=True)
    assert monitors.end_observation("birds", 2, "w1", b"another")
    assert monitors.read_entries("birds", after=1, limit=1)[0].result == b""
    assert monitors.get_payload("birds", 2) == b"image"
    assert not monitors.end_observation("birds", 3, "w1", b"")  # a command
    assert not monitors.end_observation("birds", 4, "w1", b"")
    found = monitors.get_monitor("birds")
    assert (found.pending, found.pending_bytes) == (0, 0)


def test_only_kept_images_of_ended_observations_are_dropped(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1"), seen("2"), seen("3")])
    claim(monitors)
    for seq in (1, 2):
        monitors.end_observation("birds", seq, "w1", b"", keep=True)
    for _ in range(2):
        monitors.drop_payloads("birds", [1, 3, 9])
        assert [monitors.get_payload("birds", seq) for seq in (1, 2, 3)] == [None, b"image", b"image"]
    monitors.drop_payloads("birds", [])
    assert monitors.get_monitor("birds").pending_bytes == 5


def test_results_are_read_by_time_the_last_ones_in_order_to_the_bit(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    claim(monitors, lease_s=1e6)
    times: list[float] = []
    for number in range(12):
        monitors.append_entries("birds", [seen(str(number), content=str(number).encode())])
        times.append(clock.now)
        if number % 2:
            clock.pass_s(0.1)  # pairs have one time
    monitors.append_entries("birds", [ordered("c")])
    for seq in (11, 3, 1, 10, 2, 9, 4):
        assert monitors.end_observation("birds", seq, "w1", ALL_BYTES + bytes([seq]), keep=True)

    def read(since: float, until: float, limit: int = 100) -> list[int]:
        found = monitors.read_results("birds", since=since, until=until, limit=limit)
        assert all(one.result == ALL_BYTES + bytes([one.seq]) and one.payload is None for one in found)
        assert [(one.at, one.content) for one in found] == [
            (times[one.seq - 1], str(one.seq - 1).encode()) for one in found
        ]
        return [one.seq for one in found]

    assert read(0.0, 1e12) == [1, 2, 3, 4, 9, 10, 11]
    assert read(0.0, 1e12, limit=3) == [9, 10, 11]
    assert read(times[2], times[8]) == [3, 4]
    assert read(times[2], times[10]) == [3, 4, 9, 10]
    assert read(times[0], times[0]) == []
    assert read(0.0, 1e12, limit=0) == []


# ---- purging ---------------------------------------------------------------------------------------------------------
def test_entries_that_are_folded_are_purged_and_their_keys_are_free(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen(str(key)) for key in range(1, 7)])
    claim(monitors)
    for seq in (1, 2, 3, 4):
        monitors.end_observation("birds", seq, "w1", b"r", keep=True)
    assert monitors.purge_entries("birds", before=4) == 0  # nothing is folded
    monitors.save_checkpoint("birds", "w1", folded=3, state=b"s", status=b"s")
    assert monitors.purge_entries("birds", before=3) == 2
    assert monitors.purge_entries("birds", before=3) == 0
    assert monitors.purge_entries("birds", before=100) == 1
    assert [one.seq for one in monitors.read_entries("birds", after=0, limit=10)] == [4, 5, 6]
    assert [one.seq for one in monitors.read_results("birds", since=0.0, until=1e12, limit=9)] == [4]
    assert [monitors.get_payload("birds", seq) for seq in (1, 3, 4)] == [None, None, b"image"]
    assert not monitors.end_observation("birds", 1, "w1", b"")
    assert monitors.append_entries("birds", [seen("4"), seen("1")]) == [("duplicate", 4), ("accepted", 7)]
    found = monitors.get_monitor("birds")
    assert (found.last_seq, found.pending, found.folded) == (7, 3, 3)


def test_a_purge_of_many_entries_takes_all_and_those_that_never_ended_wait_no_more(
    monitors: Monitors,
) -> None:
    make(monitors)
    many = 2500
    monitors.append_entries("birds", [seen(str(key)) for key in range(many)])
    claim(monitors)
    monitors.save_checkpoint("birds", "w1", folded=many - 10, state=b"", status=b"")
    assert monitors.purge_entries("birds", before=many + 1) == many - 10
    found = monitors.get_monitor("birds")
    assert (found.pending, found.pending_bytes, found.last_seq) == (10, 50, many)
    assert [one.seq for one in monitors.read_entries("birds", after=0, limit=99)] == list(
        range(many - 9, many + 1)
    )


# ---- leases ----------------------------------------------------------------------------------------------------------
def test_one_worker_has_a_monitor_until_its_lease_has_expired(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1")])
    assert claim(monitors, "w1") == "birds"
    for worker in ("w1", "w2"):
        assert claim(monitors, worker) is None
    clock.pass_s(14.9)
    assert claim(monitors, "w2") is None
    assert monitors.renew_monitor("birds", "w1", 15.0)
    clock.pass_s(14.9)
    assert claim(monitors, "w2") is None
    clock.pass_s(0.2)
    assert monitors.save_effects("birds", "w1", b"late")  # nobody has claimed it yet
    assert claim(monitors, "w2") == "birds"
    assert not monitors.renew_monitor("birds", "w1", 15.0)


def test_a_claim_returns_the_record(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1"), seen("1")])
    assert monitors.claim_monitor("w1", 15.0, wake_after_s=9.0) == monitors.get_monitor("birds")


def test_a_lost_lease_is_renewed_while_nobody_has_claimed_the_monitor(
    monitors: Monitors, clock: Clock
) -> None:
    make(monitors)
    claim(monitors, "w1")
    clock.pass_s(60.0)
    assert monitors.renew_monitor("birds", "w1", 15.0)
    assert claim(monitors, "w2") is None


def test_a_monitor_is_woken_a_while_after_its_last_lease_ended(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    assert claim(monitors, wake_after_s=30.0) == "birds"  # never claimed before: at once
    monitors.release_monitor("birds", "w1")
    assert claim(monitors, wake_after_s=30.0) is None
    clock.pass_s(29.9)
    assert claim(monitors, wake_after_s=30.0) is None
    assert claim(monitors, wake_after_s=29.0) == "birds"
    clock.pass_s(15.0 + 29.9)  # that lease ended by itself
    assert claim(monitors, wake_after_s=30.0) is None
    clock.pass_s(0.2)
    assert claim(monitors, wake_after_s=30.0) == "birds"


def test_a_release_of_an_expired_lease_leaves_the_time_it_ended(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    claim(monitors, "w1")
    clock.pass_s(30.0)
    monitors.release_monitor("birds", "w1")
    assert claim(monitors, "w2", wake_after_s=14.0) == "birds"


def test_unfolded_entries_are_something_to_do_at_once(monitors: Monitors) -> None:
    make(monitors)
    claim(monitors)
    monitors.release_monitor("birds", "w1")
    assert claim(monitors, wake_after_s=1e6) is None
    monitors.append_entries("birds", [ordered("c")])
    assert claim(monitors, wake_after_s=1e6) == "birds"
    assert monitors.save_checkpoint("birds", "w1", folded=1, state=b"", status=b"")
    monitors.release_monitor("birds", "w1")
    assert claim(monitors, wake_after_s=1e6) is None


def test_the_monitor_whose_lease_ended_first_goes_first(monitors: Monitors, clock: Clock) -> None:
    make(monitors, "c", "a", "b")
    assert [claim(monitors, f"w-{one}", lease_s=5.0) for one in "abc"] == ["a", "b", "c"]
    clock.pass_s(1.0)
    monitors.release_monitor("b", "w-b")
    clock.pass_s(1.0)
    monitors.release_monitor("a", "w-a")
    clock.pass_s(10.0)
    make(monitors, "d")
    assert [claim(monitors, "w") for _ in range(5)] == ["d", "b", "a", "c", None]


def test_a_released_monitor_is_handed_over_and_only_its_holder_releases_it(monitors: Monitors) -> None:
    make(monitors)
    claim(monitors, "w1")
    monitors.release_monitor("birds", "w2")
    assert claim(monitors, "w2") is None
    monitors.release_monitor("birds", "w1")
    assert not monitors.renew_monitor("birds", "w1", 15.0)
    assert claim(monitors, "w2") == "birds"
    monitors.release_monitor("birds", "w1")
    assert claim(monitors, "w3") is None


def test_nothing_is_saved_by_a_worker_that_lost_the_monitor(monitors: Monitors, clock: Clock) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1"), seen("2")])
    claim(monitors, "w1")
    assert monitors.save_checkpoint("birds", "w1", folded=1, state=b"of w1", status=b"of w1")
    assert monitors.save_effects("birds", "w1", b"of w1")
    clock.pass_s(20.0)
    assert claim(monitors, "w2") == "birds"
    before = monitors.get_monitor("birds")
    for worker in ("w1", "w3", ""):
        assert not monitors.save_checkpoint("birds", worker, folded=2, state=b"late", status=b"late")
        assert not monitors.save_effects("birds", worker, b"late")
        assert not monitors.end_observation("birds", 1, worker, b"late")
    assert monitors.get_monitor("birds") == before
    assert monitors.load_checkpoint("birds") == (1, b"of w1", b"of w1")
    assert monitors.get_payload("birds", 1) == b"image"
    assert monitors.save_checkpoint("birds", "w2", folded=2, state=ALL_BYTES, status=b"")
    assert monitors.load_checkpoint("birds") == (2, ALL_BYTES, b"of w1")
    assert monitors.get_monitor("birds").status == b""


def test_a_checkpoint_never_goes_back_nor_beyond_the_log(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [ordered("1"), ordered("2")])
    claim(monitors)
    assert monitors.load_checkpoint("birds") == (0, None, None)
    assert monitors.save_checkpoint("birds", "w1", folded=2, state=b"two", status=b"two")
    assert monitors.save_checkpoint("birds", "w1", folded=1, state=b"one", status=b"one")
    assert not monitors.save_checkpoint("birds", "w1", folded=3, state=b"three", status=b"three")
    assert monitors.load_checkpoint("birds") == (2, b"two", None)
    assert monitors.get_monitor("birds").status == b"two"
    assert monitors.save_checkpoint("birds", "w1", folded=2, state=b"again", status=b"again")
    assert monitors.load_checkpoint("birds") == (2, b"again", None)


def test_a_deleted_monitor_is_nobodys(monitors: Monitors) -> None:
    make(monitors)
    monitors.append_entries("birds", [seen("1")])
    claim(monitors)
    monitors.delete_monitor("birds")
    assert not monitors.renew_monitor("birds", "w1", 15.0)
    assert not monitors.save_checkpoint("birds", "w1", folded=0, state=b"", status=b"")
    assert not monitors.save_effects("birds", "w1", b"")
    assert not monitors.end_observation("birds", 1, "w1", b"")
    monitors.release_monitor("birds", "w1")
    assert claim(monitors) is None


def test_workers_that_claim_at_once_share_the_monitors_and_fold_every_entry_once(place: Place) -> None:
    stores: list[Any] = [place.open() for _ in range(2)]
    names = [f"m{number}" for number in range(3)]
    make(stores[0], *names)
    each = 20

    def append(number: int) -> None:
        stores[number % 2].append_entries(names[number % 3], [seen(str(number))])

    def fold(worker: str) -> int:
        """Folds one entry a claim: the state lists the numbers that were folded."""
        store, claims = stores[len(worker) % 2], 0
        while True:
            found = store.claim_monitor(worker, 600.0, wake_after_s=1e9)
            if found is None:
                return claims
            claims += 1
            folded, state, _ = store.load_checkpoint(found.name)
            for entry in store.read_entries(found.name, after=folded, limit=1):
                assert store.end_observation(found.name, entry.seq, worker, b"r")
                seqs = [*json.loads(state or b"[]"), entry.seq]
                assert store.save_checkpoint(
                    found.name, worker, folded=entry.seq, state=json.dumps(seqs).encode(), status=b""
                )
            store.release_monitor(found.name, worker)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(append, range(3 * each)))
        list(pool.map(fold, [f"w{'x' * number}" for number in range(THREADS)]))
    fold("last")  # what was released while the others found nothing
    for name in names:
        found = stores[0].get_monitor(name)
        assert (found.folded, found.last_seq, found.pending) == (each, each, 0)
        assert json.loads(stores[1].load_checkpoint(name)[1]) == list(range(1, each + 1))
    for store in stores:
        store.close()
