"""API keys: hashing, comparing, and their file."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path

import pytest
import yaml

from wavescope.admission.quotas import Quota
from wavescope.auth.api_keys import ApiKey, KeySet, digest, new_key
from wavescope.auth.key_file import FileKeys, load_keys, load_quotas, make_authenticator
from wavescope.errors import InvalidRequest, Unauthenticated
from wavescope.ingress.plane import NullAuthenticator
from wavescope.settings import Settings

ALICE, BOB = "wsk_" + "a" * 43, "wsk_" + "b" * 43


def entry(name: str = "alice", key: str = ALICE, **fields) -> dict:
    return {"name": name, "sha256": digest(key), **fields}


@pytest.fixture
def write(tmp_path: Path):
    path = tmp_path / "keys.yaml"
    times = iter(range(1_000_000_000, 2_000_000_000))

    def write(*entries: dict, text: str | None = None) -> Path:
        path.write_text(yaml.safe_dump({"keys": list(entries)}) if text is None else text)
        os.utime(path, (next(times),) * 2)  # whatever the clock's resolution
        return path

    return write


def test_new_keys_have_the_stated_form_and_are_never_the_same():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"wsk_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_digest_is_the_sha256_that_other_tools_give():
    assert digest(ALICE) == hashlib.sha256(ALICE.encode()).hexdigest()


def test_each_key_has_its_name_priority_and_quota():
    keys = KeySet([ApiKey("alice", digest(ALICE)), ApiKey("bob", digest(BOB), "batch", Quota(max_jobs=2))])
    assert (keys.caller(ALICE), keys.caller(BOB)) == ("alice", "bob")
    assert (keys.priority("alice"), keys.priority("bob")) == ("interactive", "batch")
    assert (keys.quota("alice"), keys.quota("bob")) == (Quota(), Quota(max_jobs=2))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "is needed"),
        ("", "is needed"),
        (ALICE[:-1], "no such"),
        (ALICE + "a", "no such"),
        (ALICE.upper(), "no such"),
        (digest(ALICE), "no such"),
        ("hunter2", "at least 32 characters"),
        ("\udcff" * 40, "no such"),
    ],
)
def test_any_other_key_is_refused_and_not_repeated(key, said):
    with pytest.raises(Unauthenticated, match=said) as refused:
        KeySet([ApiKey("alice", digest(ALICE))]).caller(key)
    assert "Authorization: Bearer" in refused.value.message
    assert "X-API-Key" in refused.value.message
    assert not key or key not in refused.value.message


def test_a_key_is_compared_with_all_of_them(monkeypatch):
    compared: list[str] = []
    monkeypatch.setattr(
        "wavescope.auth.api_keys.hmac.compare_digest", lambda a, b: compared.append(a) is None and a == b
    )
    keys = KeySet([ApiKey("alice", digest(ALICE)), ApiKey("bob", digest(BOB))])
    assert keys.caller(ALICE) == "alice"
    assert compared == [digest(ALICE), digest(BOB)]


def test_neither_key_nor_hash_shows_in_a_log():
    assert digest(ALICE) not in repr(ApiKey("alice", digest(ALICE)))


def test_file_gives_every_field(write):
    path = write(
        entry(priority="batch", max_running=1, max_waiting=2, max_forwards_per_minute=3, max_jobs=4),
        entry("bob", BOB) | {"sha256": digest(BOB).upper()},
    )
    assert load_keys(path) == (
        ApiKey("alice", digest(ALICE), "batch", Quota(1, 2, 3, 4)),
        ApiKey("bob", digest(BOB)),
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [entry() | {"sha256": ALICE}],
            "key 'alice': sha256 must be 64 hexadecimal digits.*not the key itself",
        ),
        ([{"name": "alice", "key": ALICE}], "key 'alice'.*sha256"),
        ([entry(**{ALICE: 1})], "key 'alice' has a field that is none of name, sha256"),
        ([entry(), entry("bob")], "keys 'alice' and 'bob' have the same sha256"),
        ([entry(), entry(key=BOB)], "name 'alice' is used by two keys"),
        ([entry(priority="urgent")], "key 'alice': priority: .*interactive.*batch"),
        ([entry(max_running=0)], "key 'alice': max_running"),
        ([entry(max_jobs=True)], "key 'alice': max_jobs"),
        ([entry(name="")], "name"),
        ([entry(name="two words")], "name"),
        ([{"sha256": digest(ALICE)}], "key number 1: name"),
        ([entry(), ALICE], "key number 2"),
    ],
)
def test_mistakes_are_refused_by_name_and_secrets_not_repeated(write, entries, message):
    with pytest.raises(InvalidRequest, match=message) as refused:
        load_keys(write(*entries))
    assert ALICE not in refused.value.message
    assert refused.value.field == "api_keys_file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"keys: [{ALICE}: {{", "is not YAML: see line 1"),
        ("keys:\n- name: a\n  name: b\n", "is not YAML: see line 2"),
        (f"{ALICE}: []", "must hold the one key 'keys'"),
        ("keys: {}", "must hold the one key 'keys', a list"),
        ("", "must hold the one key 'keys'"),
    ],
)
def test_other_files_are_refused_and_not_quoted(write, text, message):
    with pytest.raises(InvalidRequest, match=message) as refused:
        load_keys(write(text=text))
    assert ALICE not in refused.value.message


def test_missing_file_is_told(tmp_path):
    with pytest.raises(InvalidRequest, match="No such file"):
        load_keys(tmp_path / "keys.yaml")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_withdrawn_key_stops_working_without_a_restart(write):
    clock = Clock()
    keys = FileKeys(write(entry(), entry("bob", BOB, priority="batch")), clock=clock, poll_s=1.0)
    assert keys.caller(ALICE) == "alice"
    write(entry("bob", BOB, max_jobs=7))
    assert keys.caller(ALICE) == "alice", "not looked at yet"
    clock.now = 1.0
    with pytest.raises(Unauthenticated, match="no such API key"):
        keys.caller(ALICE)
    assert keys.priority("bob") == "interactive"
    assert keys.quota("bob") == Quota(max_jobs=7)
    assert (keys.priority("alice"), keys.quota("alice")) == ("batch", Quota()), "its jobs may still run"


@pytest.mark.parametrize("text", ["keys: [", "keys: [{}]", None])
def test_a_broken_or_removed_file_keeps_the_keys_and_is_logged_once(write, caplog, text):
    clock = Clock()
    path = write(entry())
    keys = FileKeys(path, clock=clock, poll_s=1.0)
    path.unlink() if text is None else write(text=text)
    with caplog.at_level(logging.ERROR, "wavescope.auth.key_file"):
        for clock.now in (1.0, 2.0, 3.0):
            assert keys.caller(ALICE) == "alice"
    assert len(caplog.records) == 1
    assert "kept" in caplog.text
    write(entry("bob", BOB))
    clock.now = 4.0
    assert keys.caller(BOB) == "bob"


@pytest.mark.parametrize("text", ["keys: [", "keys: [{}]", None])
def test_a_process_that_begins_with_a_broken_file_lets_nobody_in_until_it_is_repaired(
    write, tmp_path, caplog, text
):
    clock = Clock()
    path = tmp_path / "keys.yaml" if text is None else write(text=text)
    with caplog.at_level(logging.ERROR, "wavescope.auth.key_file"):
        keys = FileKeys(path, clock=clock, poll_s=1.0)
        for clock.now in (0.0, 1.0, 2.0):
            with pytest.raises(Unauthenticated, match="no such API key"):
                keys.caller(ALICE)
            assert (keys.priority("alice"), keys.quota("alice")) == ("batch", Quota())
    [told] = caplog.records
    assert told.getMessage().startswith("nobody is let in: API keys file: ")
    write(entry(max_jobs=2))
    clock.now = 3.0
    assert keys.caller(ALICE) == "alice"
    assert keys.quota("alice") == Quota(max_jobs=2)


def test_a_file_that_could_not_be_read_for_a_moment_is_tried_again(write, monkeypatch):
    clock = Clock()
    path = write(entry())
    with monkeypatch.context() as broken:
        broken.setattr("wavescope.auth.key_file.load_keys", lambda path: load_keys(path / "elsewhere"))
        keys = FileKeys(path, clock=clock, poll_s=1.0)
    clock.now = 1.0
    assert keys.caller(ALICE) == "alice", "the file itself did not change"


def test_a_file_that_did_not_change_is_not_read_again(write, monkeypatch):
    clock = Clock()
    keys = FileKeys(write(entry()), clock=clock, poll_s=1.0)
    monkeypatch.setattr("wavescope.auth.key_file.load_keys", None)
    clock.now = 1.0
    assert keys.caller(ALICE) == "alice"


def test_an_empty_list_lets_nobody_in(write):
    with pytest.raises(Unauthenticated, match="no such API key"):
        FileKeys(write()).caller(ALICE)


def test_settings_say_who_keeps_the_door(write):
    assert isinstance(make_authenticator(Settings()), NullAuthenticator)
    assert make_authenticator(Settings(api_keys_file=write(entry()))).caller(ALICE) == "alice"
    with pytest.raises(Unauthenticated, match="no such API key"):
        make_authenticator(Settings(api_keys_file=Path("/nonexistent/keys.yaml"))).caller(ALICE)
    assert load_quotas(Settings())("alice") == Quota()
    assert load_quotas(Settings(api_keys_file=write(entry(max_jobs=3))))("alice") == Quota(max_jobs=3)
    assert load_quotas(Settings(api_keys_file=write(text="keys: [")))("alice") == Quota()
