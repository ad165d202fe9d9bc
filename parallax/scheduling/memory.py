"""Hands the estimates that a leader has learnt to its successor.

Accounts are kept exactly, with the dispatches that they rest on (`FairnessPolicy.accounts`). What
is here is kept now and then: losing the last seconds of it costs a little accuracy and nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parallax.policies.interfaces import Remembering

#: The parts of a scheduler that learn.
LEARNING = ("predictor", "fleet", "hedging", "rollout")


@dataclass(frozen=True, slots=True)
class Memory:
    """The parts of a scheduler that may have learnt something, by name."""

    parts: Mapping[str, object]

    def remember(self) -> dict[str, Any]:
        """Return the policies' learnt estimates, each beside its kind. O(their size)."""
        return {
            name: [type(part).__name__, part.remember()]
            for name, part in self.parts.items()
            if isinstance(part, Remembering)
        }

    def recall(self, memory: Mapping[str, Any]) -> list[str]:
        """Restore the policies' estimates; return the names of those that could not be restored.

        What another kind of part has learnt is left alone: another policy was chosen meanwhile.
        """
        failed = []
        for name, part in self.parts.items():
            try:
                kind, learnt = memory.get(name, (None, None))
                if isinstance(part, Remembering) and kind == type(part).__name__:
                    part.recall(learnt)
            except (KeyError, TypeError, ValueError, AttributeError):
                failed.append(name)
        return failed
