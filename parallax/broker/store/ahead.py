"""A read that is under way while its reader works: it leaves with the commit of one turn, and what
it brings is taken in the next.

    turn n       ... decide -> commit and read in one write -> the commit's answer
    turn n + 1   duties -> what the read has brought -> decide ...

It has a connection of its own, since a read that waits for news keeps others waiting. It may be
given up at any time, and nothing is lost: what was read is known only once it was taken, and until
then the next read brings it again.
"""

from __future__ import annotations

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.dialogue import Command


class Ahead:
    """At most one read that is under way."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.under_way = False

    def send(self, call: Call[object], read: Command) -> Reply:
        """Send both in one write; return the reply to the first, an error as it is.

        Raises Unreachable: whether the first was carried out is not known then.
        """
        self._link.send([call.command, read])
        (reply,) = self._link.receive(1)
        self.under_way = True
        return reply

    def has_come(self, within_s: float) -> bool:
        """Wait for what the read brings, for so long; return whether it is here."""
        try:
            return self._link.has_reply(within_s)
        except BaseException:
            self.give_up()
            raise

    def take(self) -> Reply:
        """Return what it brings, an error as it is."""
        try:
            (reply,) = self._link.receive(1)
        except BaseException:
            self.give_up()
            raise
        self.under_way = False
        return reply

    def give_up(self) -> None:
        """Leave what is under way, if anything is, and the connection with it."""
        if self.under_way:
            self.close()

    def close(self) -> None:
        """Drop the connection: whoever had it before may have left something under way."""
        self._link.close()
        self.under_way = False
