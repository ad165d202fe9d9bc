"""Every Redis key of a cell, in one place.

All keys of a cell share the hash tag `{cell}`, so every script is legal on Redis Cluster and a cell
lives in one slot. Names are validated where they enter (`core.model.check_name`), so no user text
can forge a key or move a slot.
"""

from __future__ import annotations

from binascii import crc_hqx

from parallax.core.model import check_name

DEFAULT_CELL = "main"

#: Types, by the part of a key's name after the cell's prefix and before the next colon.
_KINDS = {
    **dict.fromkeys(("in", "work", "out", "ctl", "bell", "events", "record", "dead"), "stream"),
    **dict.fromkeys(("job", "stat", "workers", "tenants", "suspects", "ledger", "policy", "counts",
                     "keys", "rate", "drained"), "hash"),
    **dict.fromkeys(("body", "answer", "hb", "leader", "epoch", "memory", "recording",
                     "figures", "load", "scaler", "scaling"), "string"),
    "active": "set", "open": "zset", "due": "zset",
}  # fmt: skip


def kind_of(key: str) -> str | None:
    """Return the type that a key of a cell must have; None for a key that no cell has."""
    if not key.startswith("plx:{") or "}:" not in key:
        return None
    return _KINDS.get(key.partition("}:")[2].partition(":")[0])


class Keys:
    """The keys of one cell.

    | key | type | holds |
    | --- | --- | --- |
    | `in:<tenant>` | stream | arrivals of a tenant, until routed or refused |
    | `active`, `bell` | set, stream | tenants with arrivals; wakes the scheduler |
    | `work:<worker>` | stream | attempts assigned to a worker; its length is its load |
    | `job:<id>` | hash | the job's record; TTL once terminal |
    | `body:<id>` | string | prompt or request body, if there is one |
    | `answer:<id>` | string, TTL | the answer, if somebody asked to keep it or it is long |
    | `out:<id>` | stream | progress and terminal entry for whoever waits; TTL |
    | `events` | stream | what workers tell the scheduler |
    | `ctl:<worker>` | stream | cancellations for a worker |
    | `hb:<worker>` | string, TTL | heartbeat: the worker's incarnation |
    | `stat:<worker>` | hash, TTL | what the worker reports beside it |
    | `workers`, `tenants` | hash | registrations; weights |
    | `suspects` | hash | how often in a row a worker was found without a heartbeat |
    | `leader`, `epoch`, `ledger` | string, counter, hash | lease, fencing, tenants' accounts |
    | `open` | zset job -> last touch | every accepted job without a terminal record |
    | `drained` | hash | workers and servers that are sent nothing new, and since when |
    | `keys` | hash | API keys: digests, and what each may do |
    | `rate:<key id>` | hash, TTL | what an API key has spent of its rates |
    | `due` | zset job -> deadline | those of them that have a deadline: what is due soon is found
    wherever it waits |
    | `policy`, `memory` | hash, string | which policies to use; what the leader has learnt |
    | `figures` | string, TTL | what the leader tells people who look, once a second |
    | `record`, `recording` | stream, string with TTL | what the leader was told and decided, while
    somebody records |
    | `dead` | stream | dead letters with their reason |
    | `counts` | hash | totals since the cell began |
    | `load` | string, TTL | what the leader tells of the load, once a second |
    | `scaler`, `scaling` | string, TTL | the autoscaler's lease; what it decided last, and why |
    """

    __slots__ = (
        "_answer",
        "_body",
        "_ctl",
        "_hb",
        "_in",
        "_job",
        "_out",
        "_rate",
        "_stat",
        "_work",
        "active",
        "bell",
        "cell",
        "counts",
        "dead",
        "drained",
        "due",
        "epoch",
        "events",
        "figures",
        "keyring",
        "leader",
        "ledger",
        "load",
        "memory",
        "open",
        "policy",
        "prefix",
        "record",
        "recording",
        "scaler",
        "scaling",
        "suspects",
        "tenants",
        "workers",
    )

    def __init__(self, cell: str = DEFAULT_CELL) -> None:
        check_name("cell", cell)
        prefix = self.prefix = f"plx:{{{cell}}}:"  # of every key of the cell, and of no other
        self.cell = cell
        self._in, self._work, self._job = prefix + "in:", prefix + "work:", prefix + "job:"
        self._body, self._out, self._ctl = prefix + "body:", prefix + "out:", prefix + "ctl:"
        self._answer = prefix + "answer:"
        self._rate = prefix + "rate:"
        self._hb, self._stat = prefix + "hb:", prefix + "stat:"
        self.active, self.bell, self.events = prefix + "active", prefix + "bell", prefix + "events"
        self.record, self.recording = prefix + "record", prefix + "recording"
        self.suspects, self.figures = prefix + "suspects", prefix + "figures"
        self.policy, self.memory = prefix + "policy", prefix + "memory"
        self.workers, self.tenants = prefix + "workers", prefix + "tenants"
        self.leader, self.epoch, self.ledger = (
            prefix + "leader",
            prefix + "epoch",
            prefix + "ledger",
        )
        self.due, self.keyring = prefix + "due", prefix + "keys"
        self.load, self.scaler = prefix + "load", prefix + "scaler"
        self.scaling, self.drained = prefix + "scaling", prefix + "drained"
        self.open, self.dead, self.counts = prefix + "open", prefix + "dead", prefix + "counts"

    @property
    def slot(self) -> int:
        """The slot of a Redis Cluster that holds all keys of the cell."""
        return crc_hqx(self.cell.encode(), 0) % 16_384

    def arrivals(self, tenant: str) -> str:
        """Stream of a tenant's arrivals."""
        return self._in + tenant

    def tenant_of(self, arrivals: str) -> str:
        """Return the tenant whose arrivals this stream holds."""
        return arrivals.removeprefix(self._in)

    def work(self, worker: str) -> str:
        """Stream of the attempts assigned to a worker."""
        return self._work + worker

    def job(self, job_id: str) -> str:
        """Record of a job."""
        return self._job + job_id

    def body(self, job_id: str) -> str:
        """Body of a job."""
        return self._body + job_id

    def answer(self, job_id: str) -> str:
        """Answer of a job."""
        return self._answer + job_id

    def out(self, reply: str) -> str:
        """The stream that tells the waiting client."""
        return self._out + reply

    def control(self, worker: str) -> str:
        """Stream of orders to a worker."""
        return self._ctl + worker

    def rate(self, key_id: str) -> str:
        """The key with the spent rates of an API key."""
        return self._rate + key_id

    def heartbeat(self, worker: str) -> str:
        """Heartbeat of a worker."""
        return self._hb + worker

    def status(self, worker: str) -> str:
        """Report of a worker."""
        return self._stat + worker
