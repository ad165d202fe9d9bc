"""The policies in force and their learnt estimates: chosen, followed, kept, recorded."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.keys import Keys
from parallax.broker.store.policies import Choice, PolicyDocument, PolicyStore
from parallax.broker.store.recording import Beginning, Recorder
from parallax.core.errors import Conflict, InvalidInput, StoreFull, UnknownPolicy
from parallax.core.settings import Policies
from parallax.scheduling.actions import Action
from parallax.scheduling.events import Event
from parallax.scheduling.scheduler import Scheduler
from parallax.services import choices

log = logging.getLogger(__name__)


class PolicyWatch:
    """Builds the scheduler that was chosen, and says when another one was."""

    def __init__(self, link: Link, keys: Keys, started: Policies, seed: int) -> None:
        self._store, self._recorder = PolicyStore(link, keys), Recorder(link, keys)
        self._started, self._seed = started, seed
        self._document, self._recalled = PolicyDocument(), dict[str, Any]()
        self._serial = b""

    @property
    def recording(self) -> bytes:
        """The name of the recording that the leader writes; b"" if nobody records."""
        return self._recorder.recording

    @property
    def serial(self) -> str:
        """The serial of the document that is in force."""
        return self._document.serial

    def in_force(self) -> dict[str, tuple[Choice, choices.Source]]:
        """Return for each kind the policy in use, and the source of that choice."""
        return choices.in_force(choices.told(self._started), self._document)

    def names(self) -> dict[str, str]:
        """Return the name of what is used for each kind."""
        return {kind: choice.name for kind, (choice, _) in self.in_force().items()}

    def usual(self) -> Scheduler:
        """Return a scheduler with the policies that the process was started with."""
        return choices.built(self._started, self._document, self._seed)

    def chosen(self) -> Scheduler:
        """Return a scheduler with the policies in force and their learnt estimates."""
        scheduler = self._built()
        learnt_under, self._recalled = self._store.memory()
        if learnt_under != self._document.serial:
            self._recalled.pop("rollout", None)  # that of another canary
        for part in scheduler.memory.recall(self._recalled):
            log.warning("what was learnt by %s cannot be understood; it begins anew", part)
        return scheduler

    def _built(self) -> Scheduler:
        self._serial = self._store.serial()
        try:
            self._document = self._store.read()
            return choices.built(self._started, self._document, self._seed)
        except (InvalidInput, UnknownPolicy) as error:
            log.warning("the policies that were chosen cannot be used: %s", error)
            self._document = PolicyDocument(self._serial.decode("ascii", "replace"))
            return self.usual()

    def changed(self, serial: bytes, recording: bytes) -> bool:
        """Whether the policies were changed, or somebody begins to record."""
        if not recording:
            self._recorder.recording = b""
        return serial != self._serial or recording != self._recorder.recording

    def conclude(self, scheduler: Scheduler) -> bool:
        """Note how a canary has ended, if it has; say whether that was noted."""
        verdict = scheduler.rollout_ended
        if not verdict or self._document.rollout is None:
            return False
        changes = choices.ended(self._document, verdict, choices.arms_of(scheduler))
        log.warning("the canary has ended: %s", verdict)
        try:
            self._store.replace(self._document, **changes)
        except Conflict as error:
            log.warning("the end of the canary was not noted: %s", error)
        return True

    def keep(self, lease: Lease, scheduler: Scheduler) -> None:
        """Keep the learnt estimates for the next leader. Raises Fenced."""
        try:
            learnt = scheduler.memory.remember()
            self._store.keep(lease, self._document.serial, learnt, choices.told(self._started))
        except StoreFull as error:
            log.warning("what was learnt is not kept just now: %s", error)

    def begin_record(self, accounts: Mapping[str, float]) -> None:
        """If somebody records: note all that we know now."""
        recording = self._store.recording()
        if recording:
            policies, slo = choices.chosen(self._started, self._document)
            begin = Beginning(
                secrets.token_hex(4), policies, self._seed, _finite(slo.ttft_s),
                _finite(slo.tpot_s), dict(accounts), self._recalled,
            )  # fmt: skip
            self._recorder.begin(recording, begin)

    def record(self, events: Sequence[Event], now: float, actions: Sequence[Action]) -> None:
        """Append a turn, if somebody records."""
        try:
            self._recorder.turn(events, now, actions)
        except StoreFull as error:
            log.warning("nothing is recorded just now: %s", error)
            self._recorder.recording = b""


def _finite(limit: float) -> float | None:
    return None if limit == inf else limit
