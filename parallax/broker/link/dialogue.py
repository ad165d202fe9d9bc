"""The protocol of a link without its connection: commands to send, and reactions to answers.

A dialogue is a generator: it yields commands and is given the replies. A `Link` waits for
them, an `AsyncLink` awaits them; the reaction to a slot that moved, a script that the server
does not have or a key of a wrong type is the same, and stands here once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from parallax.broker.link import refusals
from parallax.broker.link.call import Call, Commands
from parallax.broker.link.errors import ScriptMissing, WrongType
from parallax.broker.link.nodes import MOST_HOPS, Moved
from parallax.broker.link.scripts import Argument, names, script
from parallax.broker.store import misfits
from parallax.core.errors import ParallaxError, StoreFault, Unreachable

R = TypeVar("R")
Reply = Any
Command = Sequence[Argument]

_NO_SCRIPTS = "Redis does not have our scripts, and this user may not bring them: a scheduler does"


@dataclass(frozen=True, slots=True)
class Ask:
    """Commands to send in one write; after `moved`, to the node that it names, and from then on."""

    commands: Sequence[Command]
    moved: Moved | None = None


#: Yields commands and is sent the replies, errors among them; returns its result.
Dialogue = Generator[Ask, list[Reply], R]


def calls(commands: Sequence[Command]) -> Dialogue[list[Reply]]:
    """Send commands in one write and return their replies; the first error reply is raised."""
    replies = yield Ask(commands)
    for reply in replies:
        if isinstance(reply, ParallaxError):
            return (yield from _settled(commands, replies))
    return replies


def _settled(commands: Sequence[Command], replies: list[Reply]) -> Dialogue[list[Reply]]:
    """Send what another node must do there, and nothing else again; raise what stays wrong."""
    for _ in range(MOST_HOPS):
        moved = [n for n, reply in enumerate(replies) if isinstance(reply, Moved)]
        if not moved:
            break
        answers = yield Ask([commands[n] for n in moved], replies[moved[-1]])
        for n, reply in zip(moved, answers, strict=True):
            replies[n] = reply
    yield from _cleared(commands, replies)
    for reply in replies:
        if isinstance(reply, ParallaxError):
            raise reply
    return replies


def _cleared(commands: Sequence[Command], replies: list[Reply]) -> Dialogue[None]:
    """Set keys of a wrong type aside, and send what stumbled over them once more."""
    wrong = [n for n, reply in enumerate(replies) if isinstance(reply, WrongType)]
    if not wrong:
        return
    found = [key for n in wrong for key in misfits.keys_of(commands[n])]
    if (yield from misfits.set_aside(do, found)):
        answers = yield Ask([commands[n] for n in wrong])
        for n, reply in zip(wrong, answers, strict=True):
            replies[n] = reply


def do(call: Call[R]) -> Dialogue[R]:
    """Carry out an operation and return its decoded reply."""
    try:
        reply = (yield from calls([call.command]))[0]
    except ScriptMissing:  # a restart or SCRIPT FLUSH emptied the cache
        reply = yield from _brought(call)
    return call.decode(reply)


def ask(commands: Commands[R]) -> Dialogue[R]:
    """Send plain commands in one write and return what their replies say."""
    return commands.decode((yield from calls(commands.commands)))


def do_each(batch: Sequence[Call[R]]) -> Dialogue[list[R]]:
    """Carry out operations in one write and return their decoded replies, in order.

    When the server lacks a script all of it is sent again: scripts answer the same when they are
    run twice.
    """
    try:
        replies = yield from calls([call.command for call in batch])
    except ScriptMissing:
        replies = yield from calls(_with_texts(batch))
    return [call.decode(reply) for call, reply in zip(batch, replies, strict=True)]


def _with_texts(batch: Sequence[Call[Any]]) -> list[Command]:
    """Return the commands of these calls; the first run of each script brings its text."""
    brought: set[str] = set()
    commands: list[Command] = []
    for call in batch:
        known = call.script.digest in brought
        commands.append(call.command if known else call.command_with_text)
        brought.add(call.script.digest)
    return commands


def _brought(call: Call[Any]) -> Dialogue[Reply]:
    """Load the scripts and run one of them; a user that may not load them sends this one whole."""
    if (yield from bring_scripts()):
        with suppress(ScriptMissing):  # it may be emptied again
            return (yield from calls([call.command]))[0]
    try:
        return (yield from calls([call.command_with_text]))[0]
    except StoreFault as error:
        if not refusals.is_forbidden(error):
            raise
        raise Unreachable(_NO_SCRIPTS) from error


def bring_scripts() -> Dialogue[bool]:
    """Load all scripts, also for those whose users may only run them; False for such a user."""
    try:
        yield from calls([("SCRIPT", "LOAD", script(name).text) for name in names()])
    except StoreFault as error:
        if not refusals.is_forbidden(error):
            raise
        return False
    return True
