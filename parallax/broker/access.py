"""Users of Redis, one for each role: what a process need not do, it cannot do.

Written to the rules of Redis 6.2, which every later server and Valkey understand: commands and key
patterns, no selectors. Scripts are held to the same rules as commands, key by key and call by call.

What this does not do: a worker sees every job of its cell, since a sibling's work may become its
own; a producer can cancel jobs of any tenant, since it names them. Tenants never get any of these
users, they get a gateway; a cell is the smallest thing that a stolen password opens.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from parallax.broker.keys import Keys

_CONNECTING = ("ping", "auth", "hello", "select", "time", "cluster|slots")
_SCRIPTS = ("eval", "evalsha")
_READING = (
    "exists", "get", "hexists", "hget", "hgetall", "hkeys", "hmget", "pttl", "scard", "sismember",
    "smembers", "type", "xlen", "xrange", "xread", "xrevrange", "zcard", "zrange", "zscore",
)  # fmt: skip
_WRITING = (
    "del", "hdel", "hincrby", "hset", "pexpire", "sadd", "set", "srem", "xadd", "xdel", "xtrim",
    "zadd", "zrem",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Role:
    """What a role may do: commands, and keys of the cell by the last part of their names."""

    name: str
    commands: tuple[str, ...]
    keys: tuple[str, ...]

    def rules(self, cell: str) -> list[str]:
        """Return the rules of its user, without a password."""
        prefix = Keys(cell).prefix
        patterns = [f"~{prefix}{key}" for key in self.keys]
        return ["reset", "on", "-@all", *patterns, *(f"+{command}" for command in self.commands)]


_JOBS = ("in:*", "work:*", "job:*", "body:*", "out:*", "ctl:*")
_TOTALS = ("active", "bell", "events", "open", "due", "counts", "dead")

ROLES = {
    role.name: role
    for role in (
        Role("producer", (*_CONNECTING, *_SCRIPTS, *_READING, *_WRITING),
             (*_JOBS, *_TOTALS, "leader")),
        Role("scheduler", (*_CONNECTING, *_SCRIPTS, *_READING, *_WRITING, "scan"), ("*",)),
        Role("worker", (*_CONNECTING, *_SCRIPTS, *_READING, *_WRITING),
             (*_JOBS, *_TOTALS, "hb:*", "stat:*", "workers", "leader")),
        Role("operator", (*_CONNECTING, *_SCRIPTS, *_READING, *_WRITING),
             (*_JOBS, *_TOTALS, "tenants", "policy", "memory", "record", "recording", "workers",
              "hb:*", "stat:*", "leader")),
        Role("observer", (*_CONNECTING, *_READING, "info", "cluster|info"),
             ("in:*", "work:*", "job:*", "ctl:*", "hb:*", "stat:*", *_TOTALS, "workers", "tenants",
              "policy", "leader", "epoch", "ledger", "memory", "suspects")),
    )
}  # fmt: skip


def user_name(role: str, cell: str) -> str:
    """Return the name of a role's user."""
    return f"parallax-{role}-{cell}"


def user_line(role: str, cell: str, password: str) -> str:
    """Return the line of an ACL file; it has the hash of the password, never the password."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    first, second, *rest = ROLES[role].rules(cell)
    return " ".join(["user", user_name(role, cell), first, second, f"#{digest}", *rest])


def acl_file(cell: str, passwords: dict[str, str]) -> str:
    """Return a whole ACL file: one user for each role, and nothing for who names none."""
    lines = ["user default off", *(user_line(role, cell, passwords[role]) for role in ROLES)]
    return "\n".join(lines) + "\n"
