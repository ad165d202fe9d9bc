"""Junk, written to every key there is: whatever `Keys` names, today's and tomorrow's.

What is written is added, so that nothing true is lost: an entry, a field, a member, a value where
there was none or where what stands there may be lost (the lease, say). `spoil` overwrites what is
true of one job, and says of which.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from random import Random
from typing import Any

from parallax.broker.store.keys import Keys

Send = Callable[..., Any]

#: Names that are no names: what follows the prefix of a key or stands where a name should.
ODD = (b"\xff\xfe", b"", b"a b", b"\x00", b"caf\xc3\xa9", b"{x}", b"-1", b"*changes", b"nan")
#: Single values that may be lost: who reads junk there must begin anew.
_LOSABLE = frozenset({"leader", "epoch", "memory", "figures", "load", "scaler", "scaling", "hb:"})
#: How a single key comes into being; one that is not here is left alone until it is there.
_USUAL = {
    "active": "SADD", "bell": "XADD", "events": "XADD", "dead": "XADD", "record": "XADD",
    "workers": "HSET", "tenants": "HSET", "ledger": "HSET", "policy": "HSET", "suspects": "HSET",
    "counts": "HSET", "open": "ZADD", "leader": "SET", "epoch": "SET", "memory": "SET",
    "recording": "SET", "figures": "SET", "load": "SET", "scaler": "SET", "scaling": "SET",
    "drained": "HSET",
}  # fmt: skip
#: Runs a command on the key, and lets the key go after a while.
_WITH_TTL = """
redis.call(ARGV[2], KEYS[1], unpack(ARGV, 3))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
#: What a job's record is made of.
_FIELDS = ("at", "about", "deadline", "limit", "hedge", "result", "prefilled")


def single_keys(keys: Keys) -> dict[str, str]:
    """Return the keys that a cell has once, by name."""
    names = [n for kind in type(keys).__mro__ for n in getattr(kind, "__slots__", ())]
    found = {name: getattr(keys, name) for name in names if not name.startswith("_")}
    return {n: k for n, k in found.items() if k.startswith(keys.prefix) and k != keys.prefix}


def families(keys: Keys) -> dict[str, Callable[[str], str]]:
    """Return the keys that a cell has once for each tenant, worker or job, by what precedes it."""
    found: dict[str, Callable[[str], str]] = {}
    for name, _ in inspect.getmembers(type(keys), inspect.isfunction):
        make = getattr(keys, name)
        if name.startswith("_") or len(inspect.signature(make).parameters) != 1:
            continue
        key = make("x")
        if key.startswith(keys.prefix) and key.endswith(":x"):
            found[key.removeprefix(keys.prefix).removesuffix("x")] = make
    return found


def write(send: Send, keys: Keys, random: Random) -> str:
    """Add junk to one key of the cell; return which of them it was, or of which family."""
    single, many = single_keys(keys), families(keys)
    name = random.choice([*single, *many])
    if name in single:
        _add(send, single[name], name, random)
        return name
    found = sorted(send("KEYS", f"{keys.prefix}{name}*") or ())
    made = many[name](f"junk{random.randrange(50)}")
    _add(send, random.choice(found) if found and random.random() < 0.7 else made, name, random)
    return name


def _add(send: Send, key: str | bytes, name: str, random: Random) -> None:
    kind = send("TYPE", key)
    junk = _bytes(random)
    if kind == b"none":
        _make(send, key, name, random)
    elif kind == b"stream":
        fields = [random.choice((b"j", b"t", junk)), junk]
        send("XADD", key, "*", *fields, *(_bytes(random) for _ in range(2 * random.randrange(2))))
    elif kind == b"hash":
        send("HSET", key, b"junk" + junk, _bytes(random))
    elif kind == b"set":
        send("SADD", key, junk)
    elif kind == b"zset":
        send("ZADD", key, random.choice(("-inf", "0", "1e300", "inf")), b"junk" + junk)
    elif kind == b"string" and name in _LOSABLE:
        send("SET", key, junk, "KEEPTTL")


def _make(send: Send, key: str | bytes, name: str, random: Random) -> None:
    """Make a key that is not there: a single one as what it should be, others as anything."""
    junk = _bytes(random)
    word = _USUAL.get(name, random.choice(("SET", "HSET", "SADD", "XADD", "ZADD", "RPUSH")))
    rest = {"HSET": (junk, junk), "XADD": ("*", junk, junk), "ZADD": ("1", b"junk" + junk)}
    if name not in _USUAL or word == "SET":
        # In one step: a server that is killed between two would keep a key that stays for ever.
        ttl_ms = random.choice((500, 2_000))
        send("EVAL", _WITH_TTL, 1, key, ttl_ms, word, *rest.get(word, (junk,)))
    else:
        send(word, key, *rest.get(word, (junk,)))


def spoil(send: Send, keys: Keys, job: str, random: Random) -> None:
    """Overwrite a field of a job's record, or all of it: whatever becomes of the job is right."""
    key = keys.job(job)
    if random.random() < 0.2:
        send("DEL", key)
        send("SET", key, _bytes(random), "PX", 60_000)
    else:
        send("HSET", key, random.choice(_FIELDS), _bytes(random))


def _bytes(random: Random) -> bytes:
    if random.random() < 0.4:
        return random.choice(ODD)
    return random.randbytes(random.randint(1, 20))
