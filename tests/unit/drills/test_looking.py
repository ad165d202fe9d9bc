"""What is looked at while a drill runs: bodies, memory, and two tenants that never stop asking."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.drills.bodies import Bodies
from parallax.drills.contention import LOW, Sample, windows
from parallax.drills.disk import SmallDisk
from parallax.drills.watching import Memory, resident_mb

KEYS = Keys("drill")


# -- bodies ---------------------------------------------------------------------------------------


def bodies(**lengths: int) -> Bodies:
    return Bodies(dict(lengths))


def test_bodies_are_of_every_length_and_come_back_from_their_names() -> None:
    drawn, random = Bodies(), Random(1)
    for n in range(2_000):
        drawn.make(f"j{n}", random, 1_000_000)
    assert 500 < len(drawn.lengths) < 700
    assert min(drawn.lengths.values()) < 60  # the shortest request there is
    assert max(drawn.lengths.values()) > 500_000
    assert all(len(drawn.of(name)) == length for name, length in drawn.lengths.items())
    assert drawn.of("nobody") == b""
    assert bodies(a=100).of("a") != bodies(b=100).of("b")


@pytest.mark.parametrize(
    ("state", "body", "wrong"),
    [
        ("queued", None, ["j1 is open and its body is gone"]),
        ("running", b"short", ["j1 is open and its body of 50 bytes is another one of 5"]),
        ("completed", None, []),
        ("dead", None, []),
    ],
)
def test_a_body_that_is_gone_or_another_one_is_seen_while_its_job_is_open(
    connect: Callable[[], Link], state: str, body: bytes | None, wrong: list[str]
) -> None:
    link = connect()
    link.call("HSET", KEYS.job("j1"), "at", f"{state} w1/1/1-1")
    if body is not None:
        link.call("SET", KEYS.body("j1"), body)
    assert bodies(j1=50).look(link, KEYS, ["j1"]) == wrong


def test_the_right_body_is_looked_at_and_found_right(connect: Callable[[], Link]) -> None:
    link, known = connect(), bodies(j1=50, j2=0)
    link.call("HSET", KEYS.job("j1"), "at", "queued queue/0/1-1")
    link.call("SET", KEYS.body("j1"), known.of("j1"))
    assert known.look(link, KEYS, ["j1", "j2", "j3"]) == []
    assert known.looked == 1


# -- memory ---------------------------------------------------------------------------------------


def test_memory_is_told_by_halves_of_a_life() -> None:
    samples = [(0.0, 50.0), (10.0, 90.0), (30.0, 80.0), (40.0, 100.0)]
    assert Memory.of(samples) == Memory(40.0, 100.0, 90.0, 100.0)
    assert Memory.of([(5.0, 70.0)]) == Memory(0.0, 70.0, 70.0, 70.0)


def test_our_own_memory_can_be_read_and_that_of_nobody_is_none() -> None:
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("there is no /proc here")
    assert 1.0 < (resident_mb(os.getpid()) or 0.0) < 10_000.0
    assert resident_mb(2**30) is None


# -- contention -----------------------------------------------------------------------------------


def sample(at: float, depth: int = 100, cheat: float = 0.0, honest: float = 0.0) -> Sample:
    return Sample(at, {"cheat": depth, "honest": 100}, {"cheat": cheat, "honest": honest})


def attempt(tenant: str, job: str, began: float, asked: float) -> list[dict[str, Any]]:
    """An attempt of 100 prompt tokens, 20 of them cached, and 10 of the answer: 100 in all."""
    name: dict[str, Any] = {"worker": "w1", "job": job, "attempt": 1}
    end = {"tenant": tenant, "prompt": 100, "cached": 20, "tokens": 10}
    return [
        {"what": "began", "at": began, **name}, {"what": "asked", "at": asked, **name, **end}
    ]  # fmt: skip


def test_what_ends_while_both_wait_is_counted_once() -> None:
    looks = [sample(float(t), cheat=100.0 + t, honest=10.0 + t) for t in range(11)]
    lines = attempt("cheat", "a", -1.0, 2.0) + attempt("honest", "b", 3.0, 5.0)
    lines += lines[-1:]  # a lost reply: asked again
    lines += attempt("honest", "c", 9.0, 12.0)  # afterwards
    lines += attempt("other", "d", 1.0, 2.0)
    (window,) = windows(looks, lines, most_flights=2)
    assert window.seconds == 10.0
    assert window.computed == {"cheat": 100.0, "honest": 100.0}
    assert window.busy_s == {"cheat": 2.0, "honest": 2.0}
    assert window.charged == {"cheat": 10.0, "honest": 40.0}  # the weights are 1 and 4
    assert window.in_flight == 2 * (200 + 2 * 60)


def test_only_times_in_which_both_waited_count() -> None:
    dry = [sample(float(t), LOW - 1 if t == 10 else 100) for t in range(21)]
    assert [window.seconds for window in windows(dry, [], 1)] == [9.0, 9.0]
    away = [sample(t) for t in (0.0, 1.0, 2.0, 9.0, 10.0)]
    assert windows(away, [], 1) == []
    assert windows([], [], 1) == []
    unknown = [Sample(float(t), {"cheat": 100, "honest": 100}, {}) for t in range(20)]
    assert windows(unknown, [], 1) == []


# -- disk -----------------------------------------------------------------------------------------


def test_a_small_disk_is_full_and_has_room_again(tmp_path: Any) -> None:
    if not SmallDisk.possible():
        pytest.skip("disks are filled by root, on Linux")
    try:
        disk = SmallDisk(tmp_path / "disk")
    except Exception as error:  # noqa: BLE001 - a container may forbid it to root as well
        pytest.skip(f"this machine mounts nothing: {error}")
    try:
        (disk.folder / "a").write_bytes(b"x" * 100_000)
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "b").write_bytes(b"x" * 100_000)
        disk.empty()
        assert (disk.folder / "b").write_bytes(b"x" * 100_000) == 100_000
    finally:
        disk.close()
    assert not (disk.folder / "a").exists()
