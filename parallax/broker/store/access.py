"""Users of Redis, one for each role: what a process need not do, it cannot do.

Written to the rules of Redis 6.2, which every later server and Valkey understand: commands and key
patterns, no selectors, no keys that may be read only. A script may do what its caller may do, so:

* Only the scheduler and the operator bring scripts. All others run, by its digest, what these have
  brought: nobody else can make the server do what no script of ours does, or keep it busy for ever.
  The operator may kill a script.
* A producer submits, and looks; who cancels is a `gateway`. So a producer has neither the events
  nor the workers' streams, nothing that deletes a key, and nothing that writes over one: bodies are
  put by SETNX.
* Nobody but the scheduler has `leader`, but for operators and observers, who look at it.
* Which workers live and whose API keys are good a gateway reads as an `observer`: a user that may
  write can not be kept from writing what it reads.
* A worker's user may be bound to its name (`parallax acl --worker NAME`): then only its own
  heartbeat, report and streams are in reach. One user for all workers can end a sibling's.

What this does not do: a worker sees every job of its cell, since any may become its own; a producer
can write into any record and any tenant's arrivals, and a gateway can end any job. Tenants never
get any of these users, they get a gateway; a cell is the smallest thing that a stolen password
opens. `SCAN` tells the names of keys of all cells on a server, so nobody has it: what only a scan
would find, streams of workers that nobody registered, stays until somebody looks who has it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from parallax.broker.store.keys import Keys
from parallax.core.model import check_name

_CONNECTING = ("ping", "auth", "hello", "select", "time", "cluster|slots")
_RUNNING = ("evalsha",)
_BRINGING = ("evalsha", "script|load")
_READING = (
    "exists", "get", "hexists", "hget", "hgetall", "hkeys", "hlen", "hmget", "hscan", "pttl",
    "scard", "sismember", "smembers", "sscan", "type", "xlen", "xrange", "xread", "xrevrange",
    "zcard", "zrange", "zrangebyscore", "zscore",
)  # fmt: skip
_SUBMITTING = ("hincrby", "hset", "sadd", "setnx", "wait", "xadd", "xtrim", "zadd")
_WRITING = (
    "del", "getrange", "hdel", "hincrby", "hset", "pexpire", "sadd", "set", "setnx", "srem", "xadd",
    "wait", "xdel", "xtrim", "zadd", "zrem",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Role:
    """A role's permissions: commands, and keys of the cell by the last part of their names."""

    name: str
    commands: tuple[str, ...]
    keys: tuple[str, ...]

    def rules(self, cell: str) -> list[str]:
        """Return the rules of its user, without a password."""
        prefix = Keys(cell).prefix
        patterns = [f"~{prefix}{key}" for key in self.keys]
        return ["reset", "on", "-@all", *patterns, *(f"+{command}" for command in self.commands)]


_ENTRIES = ("in:*", "job:*", "body:*", "answer:*", "out:*")
_JOBS = (*_ENTRIES, "work:*", "ctl:*")
_DOOR = ("active", "bell", "open", "due", "counts")
_TOTALS = (*_DOOR, "events", "dead")
_OWN = ("work:", "ctl:", "hb:", "stat:")  # of a worker

ROLES = {
    role.name: role
    for role in (
        Role("producer", (*_CONNECTING, *_RUNNING, *_READING, *_SUBMITTING),
             (*_ENTRIES, *_DOOR)),
        Role("gateway", (*_CONNECTING, *_RUNNING, *_READING, *_WRITING),
             (*_JOBS, *_TOTALS, "rate:*")),
        Role("scheduler", (*_CONNECTING, "eval", *_BRINGING, *_READING, *_WRITING), ("*",)),
        Role("worker", (*_CONNECTING, *_RUNNING, *_READING, *_WRITING),
             (*_JOBS, *_TOTALS, "hb:*", "stat:*", "workers")),
        Role("operator", (*_CONNECTING, *_BRINGING, "script|kill", *_READING, *_WRITING),
             (*_JOBS, *_TOTALS, "tenants", "policy", "memory", "record", "recording", "workers",
              "hb:*", "stat:*", "leader", "keys", "figures", "scaling", "drained")),
        Role("autoscaler", (*_CONNECTING, *_RUNNING, "get", "set", "pexpire", "del"),
             ("load", "scaler", "scaling")),
        Role("observer", (*_CONNECTING, *_READING, "info", "cluster|info"),
             ("in:*", "work:*", "job:*", "ctl:*", "hb:*", "stat:*", *_TOTALS, "workers", "tenants",
              "policy", "leader", "epoch", "ledger", "memory", "suspects", "keys", "figures",
              "load", "scaling", "drained")),
    )
}  # fmt: skip


def worker_role(name: str) -> Role:
    """Return the role of the workers of one name: of others' keys they have none.

    A worker's id is its name, a dash and six digits that are drawn anew with each start.
    """
    check_name("--worker", name)
    role = ROLES["worker"]
    shared = tuple(key for key in role.keys if not key.startswith(_OWN))
    own = tuple(f"{key}{name}-??????" for key in _OWN)
    return Role(f"worker-{name}", role.commands, (*shared, *own))


def user_name(role: str, cell: str) -> str:
    """Return the name of a role's user."""
    return f"parallax-{role}-{cell}"


def user_line(role: str, cell: str, password: str) -> str:
    """Return the line of an ACL file; it has the hash of the password, never the password."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    known = ROLES.get(role) or worker_role(role.removeprefix("worker-"))
    first, second, *rest = known.rules(cell)
    return " ".join(["user", user_name(role, cell), first, second, f"#{digest}", *rest])


def acl_file(cell: str, passwords: dict[str, str]) -> str:
    """Return a whole ACL file: one user for each password, and nothing for who names none.

    Roles are those of `ROLES`, and `worker-NAME` for the workers of one name.
    """
    lines = ["user default off", *(user_line(role, cell, one) for role, one in passwords.items())]
    return "\n".join(lines) + "\n"
