"""`parallax canary start | status | promote | rollback`: two routing policies on live traffic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.policies import Choice, PolicyDocument, PolicyStore, Rollout
from parallax.cli.documents import Arm, CanaryChange, CanaryStatus
from parallax.cli.names import PolicyName
from parallax.cli.options import parsed_choice, redis_options, server_url
from parallax.cli.output import facts, say, write_json
from parallax.core.errors import Conflict, InvalidInput
from parallax.core.settings import Policies
from parallax.services.choices import built, ended


@contextmanager
def store_of(redis: str | None, home: Path | None, cell: str) -> Iterator[PolicyStore]:
    """Yield the cell's policy store; close its connection afterwards."""
    link = Link.to(server_url(redis, home))
    try:
        yield PolicyStore(link, Keys(cell))
    finally:
        link.close()


@click.group()
def canary() -> None:
    """Try a routing policy on a share of the sessions, and let a test decide."""


@canary.command()
@redis_options
@click.argument("candidate", metavar="NEW", type=PolicyName("routing"))
@click.option("--set", "parameters", multiple=True, metavar="KEY=VALUE",
              help="Set a parameter of the new policy.")  # fmt: skip
@click.option("--percent", type=float, default=5.0, show_default=True, help="Of the sessions.")
@click.option("--slo-ttft", "ttft_s", type=float, help="Seconds to the first token, at most.")
@click.option("--slo-tpot", "tpot_s", type=float, help="Seconds per further token, at most.")
@click.option("--test", "settings", multiple=True, metavar="KEY=VALUE",
              help="Set a parameter of the test, see `parallax policy show canary`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def start(
    redis: str | None,
    cell: str,
    home: Path | None,
    candidate: str,
    parameters: tuple[str, ...],
    percent: float,
    ttft_s: float | None,
    tpot_s: float | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Send a share of the sessions to the routing policy NEW.

    A job that fails, or takes longer than the objectives, is a miss. A sequential test compares the
    shares of misses: it rolls back a worse policy and promotes one that has proved itself.
    """
    for name, value in (("--slo-ttft", ttft_s), ("--slo-tpot", tpot_s)):
        if value is not None and value <= 0:
            raise InvalidInput(name, value, "more than 0 seconds")
    new = choice_of("NEW", ":".join((candidate, *parameters)))
    test = choice_of("--test", ":".join(("canary", f"percent={percent}", *settings)))
    with store_of(redis, home, cell) as store:
        before = store.read()
        if before.rollout is not None:
            running = before.rollout.candidate.name
            raise Conflict(f"a canary of {running} runs: promote it or roll it back first")
        rollout = Rollout(new, test, ttft_s, tpot_s)
        built(Policies(), PolicyDocument(rollout=rollout), 0)  # a wrong name is refused now
        store.replace(before, rollout=rollout, verdict=None)
    if as_json:
        write_json(CanaryChange(cell, "start", new.name, percent))
    else:
        say(f"{percent:g} % of the sessions go to {new.name}; `parallax canary status` looks")


@canary.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """Show the canary that runs, or how the last one ended."""
    with store_of(redis, home, cell) as store:
        document = store.read()
        arms = _arms(store, document)
    rollout, verdict = document.rollout, document.verdict
    routing = document.overrides.get("routing")
    found = CanaryStatus(
        cell,
        routing.name if routing else None,
        rollout.candidate.name if rollout else verdict.candidate if verdict else None,
        "undecided" if rollout else verdict.word if verdict else None,
        [
            Arm(arm, jobs, missed, round(1 - missed / jobs, 4) if jobs else None)
            for arm, (jobs, missed) in sorted(arms.items())
        ],
    )
    if as_json:
        write_json(found)
        return
    pairs: dict[str, object] = {
        "stable": found.stable or "as the scheduler was started",
        "candidate": found.candidate,
        "verdict": found.verdict,
    }
    for one in found.arms:
        pairs |= {f"{one.arm}.{name}": getattr(one, name) for name in _OF_AN_ARM}
    facts(pairs, as_json=False, title=f"Canary of cell {cell}")


_OF_AN_ARM = ("jobs", "missed", "attainment")


@canary.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def promote(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """End the canary now: everything goes to the new policy."""
    _end(redis, cell, home, "promote", as_json)


@canary.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def rollback(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """End the canary now: everything goes to the old policy."""
    _end(redis, cell, home, "rollback", as_json)


def _end(
    redis: str | None,
    cell: str,
    home: Path | None,
    word: Literal["promote", "rollback"],
    as_json: bool,
) -> None:
    with store_of(redis, home, cell) as store:
        document = store.read()
        changes = ended(document, f"by hand: {word}", _arms(store, document))
        store.replace(document, **changes)
    if as_json:
        write_json(CanaryChange(cell, word, changes["verdict"].candidate, None))
    else:
        say(f"the canary has ended: {word}")


def _arms(store: PolicyStore, document: PolicyDocument) -> dict[str, tuple[int, int]]:
    """Return what the leader last kept of the two arms, or what the verdict says of them."""
    if document.rollout is None:
        return dict(document.verdict.arms) if document.verdict else {}
    serial, memory = store.memory()
    _, learnt = memory.get("rollout", ("", {}))
    if serial != document.serial:
        return {}  # of another canary
    return {arm: (jobs, missed) for arm, (_, jobs, missed) in learnt.items()}


def choice_of(option: str, text: str) -> Choice:
    """Read NAME:KEY=VALUE:KEY=VALUE."""
    choice = parsed_choice(option.lstrip("-"), text)
    return Choice(choice.name, {key: str(value) for key, value in choice.parameters.items()})
