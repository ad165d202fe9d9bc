"""The faults, one function for each kind. Each breaks one thing and leaves the rest alone.

A fault that lasts returns what ends it and after how long; one that destroys entries by hand says
so, for then the janitor is right to repair.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from parallax.broker.store.intake import Intake
from parallax.core.errors import ParallaxError, StoreFault
from parallax.core.model import Job
from parallax.drills import junk
from parallax.drills.proxy import Mode
from parallax.drills.stage import POISON, Stage

Undo = Callable[[], None]
Deed = Callable[[Stage, Random], tuple[float, Undo] | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind: what it does, how often beside others, and what it may leave behind."""

    name: str
    deed: Deed
    weight: int = 2
    destroys: bool = False  # entries of streams are gone: what the janitor is for
    needs: str = ""  # what there must be: `disk` or `crowd` in the shape, or `gateways`


FAULTS: dict[str, Fault] = {}


def fault(weight: int = 2, *, destroys: bool = False, needs: str = "") -> Callable[[Deed], Deed]:
    """Register a kind of fault under the name of its function."""

    def add(deed: Deed) -> Deed:
        name = deed.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, deed, weight, destroys, needs)
        return deed

    return add


def _paused(pid: int, seconds: float) -> tuple[float, Undo]:
    _send(pid, signal.SIGSTOP)
    return seconds, lambda: _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # another fault has killed it


def _leader(stage: Stage) -> str | None:
    try:
        return stage.system.leader()
    except ParallaxError:
        return None


@fault(4)
def kill_a_worker(stage: Stage, random: Random) -> None:
    """SIGKILL, in the middle of whatever it does."""
    if stage.workers:
        stage.system.processes.kill(random.choice(stage.workers))


@fault()
def pause_a_worker(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """SIGSTOP past its heartbeat: it wakes up as a zombie."""
    if not stage.workers:
        return None
    return _paused(stage.pid(random.choice(stage.workers)), stage.shape.heartbeat_s * 1.6)


@fault()
def stop_a_worker(stage: Stage, random: Random) -> None:
    """SIGTERM: it drains, and is started again."""
    if stage.workers:
        _send(stage.pid(random.choice(stage.workers)), signal.SIGTERM)


@fault(3)
def kill_the_leader(stage: Stage, random: Random) -> None:
    """SIGKILL of the scheduler that leads."""
    leader = _leader(stage)
    if leader is not None:
        stage.system.processes.kill(leader)


@fault(1)
def kill_workers_and_the_leader(stage: Stage, random: Random) -> None:
    """SIGKILL of the leader and of half of the workers, all at once."""
    leader = _leader(stage)
    kill_some_of_the_crew(stage, random)
    for worker in random.sample(stage.workers, len(stage.workers) // 2):
        stage.system.processes.kill(worker)
    if leader is not None:
        stage.system.processes.kill(leader)


@fault(2, needs="crowd")
def kill_some_of_the_crew(stage: Stage, random: Random) -> None:
    """A fifth of the workers that share a process die: rarely so many are gone at once."""
    if stage.crew is not None:
        stage.crew.send(signal.SIGUSR1)


@fault(1, needs="crowd")
def kill_the_crew(stage: Stage, random: Random) -> None:
    """SIGKILL of the process that holds most of the workers."""
    if stage.crew is not None:
        stage.crew.send(signal.SIGKILL)


@fault(1, needs="disk")
def fill_the_disk(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """No further byte can be written for a while; then there is room again."""
    disk = stage.disk
    if disk is None:
        return None
    try:
        disk.fill()
    except StoreFault:
        return None
    return random.choice((0.5, 2.0, 4.0)), disk.empty


@fault()
def pause_the_leader(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """SIGSTOP past its lease: it wakes up believing that it leads."""
    leader = _leader(stage)
    return None if leader is None else _paused(stage.pid(leader), stage.shape.lease_s * 1.8)


@fault(3, needs="gateways")
def kill_a_gateway(stage: Stage, random: Random) -> None:
    """SIGKILL: its clients are cut off, and nobody waits for their jobs any more."""
    running = stage.gateways.running
    if running:
        stage.gateways.kill(random.choice(running))


@fault(2, needs="gateways")
def pause_a_gateway(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """SIGSTOP: news of its jobs pile up, and clients that leave are not noticed."""
    running = stage.gateways.running
    if not running:
        return None
    seconds = random.choice((0.5, 3.0))
    pid = stage.gateways.pause(random.choice(running), seconds)
    return seconds, lambda: _send(pid, signal.SIGCONT)


@fault(1, needs="gateways")
def stop_a_gateway(stage: Stage, random: Random) -> None:
    """SIGTERM: it answers what it has read, and is started again."""
    running = stage.gateways.running
    if running:
        stage.gateways.stop(random.choice(running))


@fault(3)
def take_the_lease_away(stage: Stage, random: Random) -> None:
    """Delete the lease: for a moment there are two leaders."""
    _command(stage, "DEL", stage.keys.leader)


@fault(3)
def cut_all_connections(stage: Stage, random: Random) -> None:
    """Close the connections of all clients."""
    _command(stage, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@fault(3)
def lose_replies(stage: Stage, random: Random) -> None:
    """The server carries out what the far worker asks, and the worker never hears of it."""
    for _ in range(random.randint(1, 3)):
        stage.proxy.cut_reply()


@fault()
def partition_a_worker(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """Nothing passes between the far worker and the server, for longer than its heartbeat."""
    proxy = stage.proxy
    proxy.mode = random.choice((Mode.HANG, Mode.DOWN))

    def mend() -> None:
        proxy.mode = Mode.OPEN

    return stage.shape.heartbeat_s * random.choice((0.3, 1.6)), mend


@fault(1)
def kill_redis(stage: Stage, random: Random) -> None:
    """SIGKILL of the server; it is started again from its file."""
    stage.server.kill()


@fault(1)
def pause_redis(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """SIGSTOP of the server: every heartbeat may be over when it wakes up."""
    return _paused(stage.server_pid, random.choice((0.3, 2.0)))


@fault(1)
def fill_redis(stage: Stage, random: Random) -> tuple[float, Undo] | None:
    """Out of memory for longer than a heartbeat: no worker may be taken for dead."""
    _command(stage, "CONFIG", "SET", "maxmemory", "1")
    return stage.shape.heartbeat_s * 1.2, lambda: _insist(stage, "CONFIG", "SET", "maxmemory", "0")


@fault(3)
def flush_the_scripts(stage: Stage, random: Random) -> None:
    """The script cache is empty, as after a failover."""
    _command(stage, "SCRIPT", "FLUSH")


@fault(3)
def write_junk(stage: Stage, random: Random) -> None:
    """Things that nobody can understand, in every key there is; nothing true is overwritten."""
    for _ in range(3):
        name = junk.write(lambda *command: _command(stage, *command), stage.keys, random)
        stage.junk[name] += 1


@fault(1, destroys=True)
def spoil_a_record(stage: Stage, random: Random) -> None:
    """Junk where a job's record was: the job is lost, and no other may be."""
    for name in stage.some_open(random, 2):
        stage.spoiled.add(name)
        junk.spoil(lambda *command: _command(stage, *command), stage.keys, name, random)


@fault(2)
def submit_poison(stage: Stage, random: Random) -> None:
    """A job that kills every worker which begins it."""
    job = Job(f"{POISON}-{random.getrandbits(48):x}", "t0", 10, 10, output_tokens=5)
    link = stage.link()
    try:
        Intake(link, stage.keys).submit([job])
    except ParallaxError:
        return
    finally:
        link.close()


@fault(1, destroys=True)
def delete_a_workers_stream(stage: Stage, random: Random) -> None:
    """Delete a worker's stream of assignments."""
    streams = _streams(stage, "work")
    if streams:
        _command(stage, "DEL", random.choice(streams))


@fault(1, destroys=True)
def delete_a_tenants_stream(stage: Stage, random: Random) -> None:
    """Delete the stream of a tenant's waiting jobs."""
    _command(stage, "DEL", stage.keys.arrivals(f"t{random.randrange(3)}"))


@fault(1, destroys=True)
def delete_entries(stage: Stage, random: Random) -> None:
    """Some entries of some streams are gone."""
    for stream in _streams(stage, "work") + _streams(stage, "in"):
        _command(stage, "XTRIM", stream, "MAXLEN", random.randint(0, 3))


@fault(1)
def delete_the_events(stage: Stage, random: Random) -> None:
    """Delete the workers' messages to the leader, which are hints: no promise rests on them."""
    _command(stage, "DEL", stage.keys.events)


def _streams(stage: Stage, kind: str) -> list[str]:
    found = _command(stage, "KEYS", f"plx:{{{stage.keys.cell}}}:{kind}:*")
    return sorted(key.decode() for key in found or ())


def _command(stage: Stage, *command: str | bytes | int) -> list[bytes] | None:
    """Send a command; if another fault keeps it from arriving, this one does not happen."""
    link = stage.link()
    try:
        reply: list[bytes] = link.call(*command)
    except ParallaxError:
        return None
    else:
        return reply
    finally:
        link.close()


def _insist(stage: Stage, *command: str) -> None:
    """Send a command until it was answered: a fault must not outlast the drill."""
    while _command(stage, *command) is None:
        stage.clock.wait(0.05)
