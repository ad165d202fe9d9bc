"""Which jobs belong to one conversation: told by the trace, or found out from shared prefixes."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import Job


@dataclass(slots=True)
class Threads:
    """Names the conversation of each job, in order of arrival.

    Where a trace has no sessions, a prompt that goes through the last whole block of an earlier
    prompt is its next turn. First blocks do not count: a system prompt that all share would make
    one conversation of everything. O(blocks) per job; memory grows by one entry per job.
    """

    _ends: dict[int, str] = field(default_factory=dict)  # last block -> conversation

    def of(self, job: Job) -> str:
        """Return the name of the job's conversation: another one for each that begins."""
        if job.session:
            return f"{job.tenant}/{job.session}"
        found = (self._ends[name] for name in reversed(job.prefix[1:]) if name in self._ends)
        thread = next(found, job.id)
        if len(job.prefix) > 1:
            self._ends[job.prefix[-1]] = thread
        return thread
