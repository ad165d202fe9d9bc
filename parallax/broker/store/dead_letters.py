"""Dead letters: jobs whose attempts are used up, and entries that nobody could understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import decode_about
from parallax.broker.store.intake import Intake, Receipt
from parallax.broker.store.keys import Keys
from parallax.broker.store.specs import joined
from parallax.core.errors import InvalidInput
from parallax.core.model import Job

_KEPT = 40  # characters of a job's id in the id of its successor: the entry's must fit, too
_PAGE = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry of the stream of dead letters. `job` is "" if it is not known to be a job."""

    entry: str
    job: str
    why: str
    stream: str
    sample: str

    @property
    def at(self) -> float:
        """When it was written, in seconds since the epoch by the server's clock."""
        return int(self.entry.partition("-")[0]) / 1000

    @property
    def successor(self) -> str:
        """The id under which the job is offered again: the same however often that is done."""
        return f"{self.job[:_KEPT]}.{self.entry}"


class DeadLetters:
    """Reads, removes, and offers again."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def newest(self, count: int) -> list[DeadLetter]:
        """Return the last ones, the newest first. O(count)."""
        entries = self._link.call("XREVRANGE", self._keys.dead, "+", "-", "COUNT", count)
        return [_letter(entry, fields) for entry, fields in entries]

    def find(self, names: Sequence[str]) -> list[DeadLetter]:
        """Return those with these entries or jobs, the newest first; O(all of them).

        Raises InvalidInput for a name that none has.
        """
        wanted, found, end = set(names), list[DeadLetter](), "+"
        while page := self._page(end):
            found += [letter for letter in page if {letter.entry, letter.job} & wanted]
            end = f"({page[-1].entry}"
        missing = wanted - {name for letter in found for name in (letter.entry, letter.job)}
        if missing:
            raise InvalidInput("dead letter", min(missing), "the entry or job of one that is there")
        return found

    def purge(self, letters: Sequence[DeadLetter] | None = None) -> int:
        """Remove these, or all; return how many. Records of jobs stay as long as they would."""
        if letters is None:
            return int(self._link.call("XTRIM", self._keys.dead, "MAXLEN", 0))
        if not letters:
            return 0
        entries = [one.entry for one in letters]
        pages = range(0, len(entries), _PAGE)
        return sum(
            self._link.call("XDEL", self._keys.dead, *entries[at : at + _PAGE]) for at in pages
        )

    def requeue(self, letter: DeadLetter) -> Receipt:
        """Offer the job once more, as a new one, and remove the letter if it was accepted.

        A job has one end, so its successor has an id of its own; it follows from the letter, and
        doing this twice gives one job. It has no deadline: that of the first one is past. Raises
        InvalidInput if there is nothing to offer: it was no job, or its record is gone.
        """
        receipt = Intake(self._link, self._keys).submit(*self._again(letter))[0]
        if receipt.accepted:
            self.purge([letter])
        return receipt

    def _again(self, letter: DeadLetter) -> tuple[list[Job], str, dict[str, bytes]]:
        if not letter.job:
            raise InvalidInput("dead letter", letter.entry, "a job, not an entry of a stream")
        (data, prefix), body = self._link.calls(
            [
                ("HMGET", self._keys.job(letter.job), "about", "prefix"),
                ("GET", self._keys.body(letter.job)),
            ]
        )
        if data is None:
            raise InvalidInput("dead letter", letter.job, "a job whose record has not expired")
        about = decode_about(joined(data, prefix))
        if about.body_bytes and body is None:
            raise InvalidInput("dead letter", letter.job, "a job whose prompt is still stored")
        spec = about.spec
        job = Job(
            letter.successor, spec.tenant, spec.prompt, spec.max, spec.session,
            about.output_tokens, None, spec.priority, prefix=spec.prefix,
            prefix_block=spec.prefix_block, stream=about.streams, keep=about.kept,
        )  # fmt: skip
        return [job], "", {job.id: body} if body is not None else {}

    def _page(self, end: str) -> list[DeadLetter]:
        entries = self._link.call("XREVRANGE", self._keys.dead, end, "-", "COUNT", _PAGE)
        return [_letter(entry, fields) for entry, fields in entries]


def _letter(entry: bytes, fields: Sequence[bytes]) -> DeadLetter:
    pairs = iter(fields)
    raw = {
        name.decode("ascii", "replace"): value.decode("utf-8", "replace")
        for name, value in zip(pairs, pairs, strict=False)
    }
    words = (raw.get(name, "") for name in ("job", "why", "stream", "sample"))
    return DeadLetter(entry.decode("ascii", "replace"), *words)
