"""Which policies a running cell is to use, and what its leader has learnt.

The key `policy` holds one document: replacements for the policies that the scheduler was started
with, the candidate that a canary tries, and how the last canary ended. Each write has a serial of
its own; the leader looks at it a few times a second.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import structs

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Lexicon
from parallax.broker.store.codec import Message, encode
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.keys import Keys
from parallax.core.errors import Conflict, InvalidInput
from parallax.core.settings import PolicyChoice
from parallax.core.words import Chosen, Done

_Word = Annotated[str, msgspec.Meta(max_length=200)]
_Value = str | int | float | bool


class Choice(Message, frozen=True):
    """A policy and its parameters."""

    name: _Word
    parameters: dict[_Word, _Value] = msgspec.field(default_factory=dict)

    def choice(self) -> PolicyChoice:
        """Return it as settings have it."""
        return PolicyChoice(self.name, dict(self.parameters))


class Rollout(Message, frozen=True):
    """A canary: the routing policy it tries, how, and what a job must keep to be well served."""

    candidate: Choice
    canary: Choice
    ttft_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    tpot_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Verdict(Message, frozen=True):
    """The end of the last canary, and the counts of each arm: jobs judged, and jobs missed."""

    candidate: _Word
    word: _Word  # promote, rollback, or "by hand: ..."
    arms: dict[_Word, tuple[int, int]] = msgspec.field(default_factory=dict)


class PolicyDocument(Message, frozen=True):
    """The policies that a running cell uses instead of its scheduler's options."""

    serial: _Word = ""
    overrides: dict[_Word, Choice] = msgspec.field(default_factory=dict)
    rollout: Rollout | None = None
    verdict: Verdict | None = None


class _Memory(msgspec.Struct, frozen=True):
    started: dict[_Word, Choice] = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(PolicyDocument)
_memory_decoder = msgspec.json.Decoder(_Memory)
_CHOSEN, _DONE = Lexicon(Chosen), Lexicon(Done)


def decode_policies(data: Reply) -> PolicyDocument:
    """Return the document for people who look; the empty one for none, and for junk."""
    try:
        return _decoder.decode(data) if isinstance(data, bytes) else PolicyDocument()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return PolicyDocument()


def choose_call(keys: Keys, before: str, after: PolicyDocument) -> Call[Chosen]:
    """Build what replaces the document, if that still has the serial `before`."""
    args: list[Argument] = [before, after.serial, encode(after)]
    return Call(script("choose"), [keys.policy], args, _CHOSEN.first)


def remember_call(keys: Keys, lease: Lease, memory: bytes) -> Call[Done]:
    """Build what keeps the leader's memory."""
    names = [keys.leader, keys.memory]
    return Call(script("remember"), names, [lease.token, memory], _DONE.first)


class PolicyStore:
    """Reads and replaces the document; keeps the learnt estimates."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def read(self) -> PolicyDocument:
        """Return the document; the empty one if there is none. Raises InvalidInput for junk."""
        data = self._link.call("HGET", self._keys.policy, "document")
        if data is None:
            return PolicyDocument()
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise InvalidInput("policy", data[:60], str(error)) from None

    def serial(self) -> bytes:
        """Return what changes with every write."""
        return self._link.call("HGET", self._keys.policy, "serial") or b""

    def recording(self) -> bytes:
        """Return the name of the recording that somebody wants; b"" if nobody does."""
        return self._link.call("GET", self._keys.recording) or b""

    def replace(self, before: PolicyDocument, **changes: Any) -> PolicyDocument:
        """Write the document with these changes; raises Conflict if somebody else changed it."""
        after = structs.replace(before, serial=secrets.token_hex(8), **changes)
        if self._link.do(choose_call(self._keys, before.serial, after)) is Chosen.CHANGED:
            raise Conflict("somebody else has just changed the policies; look, and try again")
        return after

    def keep(
        self, lease: Lease, serial: str, memory: Mapping[str, Any],
        started: Mapping[str, Choice] | None = None,
    ) -> None:  # fmt: skip
        """Keep what the leader has learnt under this document. Raises Fenced.

        `started`: the policies that its process was started with, for people who ask.
        """
        kept = {"serial": serial, "parts": memory, "started": started or {}}
        self._link.do(remember_call(self._keys, lease, encode(kept)))

    def memory(self) -> tuple[str, dict[str, Any]]:
        """Return the learnt estimates and their document; nothing if they cannot be read."""
        data = self._link.call("GET", self._keys.memory)
        try:
            kept = msgspec.json.decode(data or b"{}")
            return str(kept.get("serial", "")), dict(kept.get("parts", {}))
        except (msgspec.MsgspecError, AttributeError, TypeError, ValueError):
            return "", {}

    def started(self) -> dict[str, Choice]:
        """Return the policies that the last leader's process was started with, by kind.

        Empty if none has led for long enough to say so.
        """
        data = self._link.call("GET", self._keys.memory)
        try:
            return _memory_decoder.decode(data or b"{}").started
        except msgspec.MsgspecError:
            return {}
