"""The write actions of the dashboard: weights, workers, policies, canary, letters, jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from parallax.broker.store.cancelling import cancel
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import order_drain
from parallax.broker.store.policies import Choice, PolicyDocument, PolicyStore, Rollout
from parallax.broker.store.tenancy import Tenancy
from parallax.core.errors import Conflict, InvalidInput
from parallax.core.model import check_name, check_number
from parallax.core.settings import Policies
from parallax.core.words import Cancelled
from parallax.dashboard.problems import Problem
from parallax.dashboard.reading import Reading
from parallax.services.choices import CHANGEABLE, built, ended

_Word = Annotated[str, msgspec.Meta(max_length=200)]
_Parameters = dict[_Word, str | int | float | bool]


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the bodies that browsers send."""


class _Empty(_Asked):
    pass


class _Weight(_Asked):
    weight: float


class _Policy(_Asked):
    kind: _Word
    name: _Word
    parameters: _Parameters = msgspec.field(default_factory=dict)
    serial: _Word | None = None


class _Canary(_Asked):
    candidate: _Word
    parameters: _Parameters = msgspec.field(default_factory=dict)
    percent: float = 5.0
    slo_ttft_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    slo_tpot_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


A = TypeVar("A", bound=msgspec.Struct)


def read_body(kind: type[A], body: bytes) -> A:
    """Decode a body; raises Problem that names the field."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".")
        raise Problem("invalid", f"{where or 'body'}: {what}", where or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad_json", f"the body must be JSON ({str(error)[:100]})") from None


class Writing:
    """Changes something over the connection of `reading`; every method may block."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self._link, self._keys = reading, reading.link, reading.keys
        self._policies = PolicyStore(reading.link, reading.keys)

    def weight(self, path: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Set the weight of a tenant."""
        name, weight = path["name"], read_body(_Weight, body).weight
        Tenancy(self._link, self._keys).set_weights({name: weight})
        return {"name": name, "weight": weight}

    def drain(self, path: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Ask a worker to end what runs, give back the rest, and leave."""
        read_body(_Empty, body)
        name = path["name"]
        known = {one.name: one for one in self._reading.overview.read().workers}
        if name not in known:
            raise Problem("not_found", f"there is no worker {name}")
        if not known[name].member.alive:
            raise Problem("conflict", f"{name} is dead: it hears no orders any more")
        order_drain(self._link, self._keys, name)
        return {"name": name, "state": "draining"}

    # -- policies

    def policy(self, _: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Let the cell use another policy."""
        asked = read_body(_Policy, body)
        if asked.kind not in CHANGEABLE:
            raise Problem("invalid", f"kind: one of {', '.join(CHANGEABLE)}", "kind")
        choice = Choice(asked.name, asked.parameters)
        built(Policies(), PolicyDocument(overrides={asked.kind: choice}), 0)
        before = self._policies.read()
        if asked.serial is not None and asked.serial != before.serial:
            raise Conflict("somebody else has changed the policies; look, and try again")
        self._policies.replace(before, overrides=before.overrides | {asked.kind: choice})
        return self._reading.policies({})

    def reset(self, _: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Let the cell use the policies again that its scheduler was started with."""
        read_body(_Empty, body)
        self._policies.replace(self._policies.read(), overrides={})
        return self._reading.policies({})

    def canary(self, _: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Begin a canary."""
        asked = read_body(_Canary, body)
        check_number("percent", asked.percent, 0.1, 99.9)
        before = self._policies.read()
        if before.rollout is not None:
            running = before.rollout.candidate.name
            raise Conflict(f"a canary of {running} runs: promote it or roll it back first")
        test = Choice("canary", {"percent": asked.percent})
        new = Choice(asked.candidate, asked.parameters)
        rollout = Rollout(new, test, asked.slo_ttft_s, asked.slo_tpot_s)
        built(Policies(), PolicyDocument(rollout=rollout), 0)
        self._policies.replace(before, rollout=rollout, verdict=None)
        return self._reading.policies({})

    def promote(self, _: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """End the canary: everything goes to the new policy."""
        return self._end("promote", body)

    def rollback(self, _: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """End the canary: everything goes to the old policy."""
        return self._end("rollback", body)

    def _end(self, word: str, body: bytes) -> dict[str, Any]:
        read_body(_Empty, body)
        before = self._policies.read()
        if before.rollout is None:
            raise Conflict("no canary runs")
        figures = self._reading.overview.read().figures
        same = figures is not None and figures.policies_serial == before.serial
        arms = dict(figures.arms) if figures and same else {}
        self._policies.replace(before, **ended(before, f"by hand: {word}", arms))
        return self._reading.policies({})

    # -- dead letters and jobs

    def requeue(self, path: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Offer the job of a dead letter once more."""
        read_body(_Empty, body)
        letters = DeadLetters(self._link, self._keys)
        try:
            (letter,) = letters.find([path["entry"]])[:1]
        except InvalidInput:
            raise Problem("not_found", "there is no such dead letter (any more)") from None
        try:
            receipt = letters.requeue(letter)
        except InvalidInput as error:
            raise Problem("conflict", str(error)) from None
        refused = receipt.error()
        if refused is not None:
            raise refused
        return {"entry": letter.entry, "job": letter.job, "successor": letter.successor}

    def remove(self, path: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Remove a dead letter."""
        read_body(_Empty, body)
        letters = DeadLetters(self._link, self._keys)
        try:
            return {"removed": letters.purge(letters.find([path["entry"]]))}
        except InvalidInput:
            raise Problem("not_found", "there is no such dead letter (any more)") from None

    def cancel(self, path: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Cancel a job."""
        read_body(_Empty, body)
        job_id = path["id"]
        check_name("id", job_id)
        (answer,) = self._link.carry(cancel(self._keys, Limits(), [job_id]))
        if answer is Cancelled.UNKNOWN:
            raise Problem("not_found", f"there is no job {job_id} (any more)")
        return {"id": job_id, "answer": answer.value}
