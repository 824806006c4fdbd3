"""What ``make bench`` says of a process tree counts every process in it, also those that have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from bench.trees import Meter, members, private_mb

# The system counts in ticks and cuts off the rest: of time in programs and in the kernel, of each of two processes.
ROUNDING_S = 4 / os.sysconf("SC_CLK_TCK")
BURN_S = 0.5
MEMORY_MB = 40
# Burns CPU time in a child, and ends that when it is told to.
PARENT = f"""
import subprocess, sys
child = '''
import sys, time
kept = bytearray({MEMORY_MB} * 10**6)
while time.process_time() < {BURN_S}:
    pass
print("burnt", flush=True)
sys.stdin.read()
'''
process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
sys.stdin.readline()
process.stdin.close()
process.wait()
print("ended", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_meter_counts_children_that_live_and_those_that_have_ended(
    parent: subprocess.Popen[bytes],
) -> None:
    meter = Meter(parent.pid)
    try:
        assert parent.stdout
        assert parent.stdout.readline() == b"burnt\n"
        living = sum(meter.read().values())
        assert living >= BURN_S - ROUNDING_S
        assert parent.stdin
        parent.stdin.write(b"end\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"ended\n"
    finally:
        meter.stop()
    assert sum(meter.read().values()) >= living - ROUNDING_S


def test_private_memory_is_that_of_the_whole_tree(parent: subprocess.Popen[bytes]) -> None:
    assert parent.stdout
    assert parent.stdout.readline() == b"burnt\n"
    assert len(members(parent.pid)) == 2
    assert sum(private_mb(parent.pid).values()) > MEMORY_MB
    alone = private_mb((members(parent.pid) - {parent.pid}).pop())
    assert sum(alone.values()) > MEMORY_MB
