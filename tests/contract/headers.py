"""What the header of a script says of its KEYS and ARGV, and what a call of it has.

    groups   group | group | ...
    group    [COUNT x] name  or  [COUNT x] (name name ...)  or  name name ...   [, if CONDITION]
    name     letters, digits and _; `a/b` is one or the other; `a#` counts from 1 the rows of a

Names that stand in ARGV before all repeated groups are the head. A COUNT that is named there is as
large as it says; one that is not is found out by the length. A CONDITION that has a word of the
head holds if that says 1; of any other it is found out by the length whether it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from typing import Any

from parallax.broker.link.call import Call
from parallax.broker.store.keys import kind_of

_GROUP = re.compile(r"(?:(\w) x )?(?:\(([^()]+)\)|([\w/# ]+?))(?:, if (.+))?")
_ROWS = {"tenant": "T", "worker": "W", "out": "O", "attempt": "A"}  # which rows `tenant#` counts

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_WHOLE = r"\d{1,17}"
_ENTRY = r"\d{1,20}-\d{1,20}"
#: What an argument of this name may look like; of those in `FREE` anything.
SHAPES = {
    **dict.fromkeys(("entry", "trim_to"), f"({_ENTRY})?"),
    **dict.fromkeys(("id", "victim", "thief", "incarnation", "candidate"), _NAME),
    **dict.fromkeys(("tenant", "worker", "hedge_worker"), f"({_NAME})?"),
    **dict.fromkeys(
        ("n", "m", "T", "O", "L", "W", "A", "attempt", "epoch", "cap", "tokens", "sequence",
         "maxlen", "out_maxlen", "max_depth", "max_bytes", "max_active", "record_ttl", "out_ttl",
         "ttl", "ttl_ms", "max_ttl_ms", "grace_ms"), _WHOLE),
    **dict.fromkeys(("account", "estimate"), r"-?[\d.]+(e[+-]?\d+)?|-?inf"),
    **dict.fromkeys(("bodies", "payloads", "prefixes", "tell", "own"), "[01]?"),
    **dict.fromkeys(("spec", "report"), r"\[.*\]|"),
    "broken": r"(\[.*\])?",
    "ticket": rf"[0-9a-f]{{16}} ({_WHOLE}|-) {_WHOLE}[a-z]* ({_NAME}|-)",
    "options": rf"({_WHOLE} ({_WHOLE}|-)( .+)?)?",
    "signature": rf"{_NAME}/\d+/{_ENTRY}",
    "token": r"([A-Za-z0-9._-]+\|\d+)?",
    "kind": r"(hedge|first|tokens|\d+)?",
    "verdict": r"[a-z]+( .+)?",
    "type": "stream|hash|string|set|zset",
    "letters": "s?k?",
    "model": r'[^,"\[\]\\]{0,256}',
}  # fmt: skip
FREE = {
    "answer", "body", "bytes", "document", "member", "memory", "registration", "sample",
    "serial_after", "serial_before", "why",
}  # fmt: skip
#: Keys that may be any of these kinds.
_ANY = {"stream": {"stream"}, "key": {"stream", "hash", "string", "set", "zset"}}
_HOLDERS = {"": {"none", "unknown"}}  # what stands in a key for nobody


@dataclass(frozen=True, slots=True)
class Group:
    """Names, once or a number of times, always or under a condition."""

    count: str
    names: tuple[str, ...]
    condition: str | None


Slot = tuple[str, str, int, str]  # count, name, row, value


@dataclass(frozen=True, slots=True)
class Header:
    """The KEYS and ARGV of one script."""

    keys: tuple[Group, ...]
    args: tuple[Group, ...]

    @property
    def head(self) -> tuple[str, ...]:
        """The names that stand in ARGV before what is repeated."""
        return () if not self.args or self.args[0].count else self.args[0].names

    def names(self) -> set[str]:
        """Return the names of all arguments."""
        return {name for group in self.args for name in group.names}


def parsed(text: str) -> Header:
    """Return what a script's header says."""
    return Header(_groups(text, "KEYS"), _groups(text, "ARGV"))


def header_of(name: str) -> Header:
    """Return the header of a script."""
    return parsed((files("parallax.broker") / "lua" / f"{name}.lua").read_text())


def _groups(text: str, what: str) -> tuple[Group, ...]:
    found = re.search(rf"^-- {what}  (.*(?:\n--   .*)*)", text, re.MULTILINE)
    assert found, f"the header does not say what {what} are"
    groups = []
    for part in re.sub(r"\s*\n--\s*", " ", found[1]).split(" | "):
        group = _GROUP.fullmatch(part.removeprefix("| ").strip())
        assert group, f"this is no group of {what}: {part!r}"
        groups.append(Group(group[1] or "", tuple((group[2] or group[3]).split()), group[4]))
    return tuple(groups)


def faults(call: Call[Any], header: Header | None = None) -> list[str]:
    """Return what of a call does not fit the header of its script; nothing if all of it does."""
    header = header or header_of(call.script.name)
    keys, args = [str(key) for key in call.keys], [_text(arg) for arg in call.args]
    if len(args) < len(header.head):
        return [f"{len(args)} arguments, and {len(header.head)} are said to come first"]
    said = dict(zip(header.head, args, strict=False))
    for counts, holds in _readings(header, said, len(keys) + len(args)):
        ours = _slots(header.keys, keys, counts, holds)
        theirs = _slots(header.args, args, counts, holds)
        if ours is not None and theirs is not None:
            return [*_odd_keys(ours), *_odd_args(theirs, counts), *_odd_pairs(ours, theirs)]
    return [f"{len(keys)} keys and {len(args)} arguments fit no reading of the header"]


def _readings(
    header: Header, said: dict[str, str], most: int
) -> Iterator[tuple[dict[str, int], Callable[[Group], bool]]]:
    """Yield what counts and conditions may be, by what the head says."""
    groups = (*header.keys, *header.args)
    counts = {name: int(value) for name, value in said.items() if value.isdigit()}
    unsaid = sorted({group.count for group in groups if group.count} - said.keys())
    assert len(unsaid) <= 1, f"nothing says how many {unsaid} are"
    flags = {group: _flag(group, said) for group in groups if group.condition}
    open_ = [group for group, flag in flags.items() if flag is None]
    for number in range(most + 1) if unsaid else (0,):
        for guess in product((False, True), repeat=len(open_)):
            guessed = dict(zip(open_, guess, strict=True))

            def holds(group: Group, guessed: dict[Group, bool] = guessed) -> bool:
                return not group.condition or bool(guessed.get(group, flags[group]))

            yield counts | dict.fromkeys(unsaid, number), holds


def _flag(group: Group, said: dict[str, str]) -> bool | None:
    words = re.findall(r"\w+", group.condition or "")
    return next((said[word] == "1" for word in words if word in said), None)


def _slots(
    groups: Sequence[Group], values: Sequence[str], counts: dict[str, int],
    holds: Callable[[Group], bool],
) -> list[Slot] | None:  # fmt: skip
    """Return what stands where; None if there are too many or too few values."""
    places = [
        (group.count, name, row)
        for group in groups if holds(group)
        for row in range(counts[group.count] if group.count else 1)
        for name in group.names
    ]  # fmt: skip
    if len(places) != len(values):
        return None
    return [(*place, value) for place, value in zip(places, values, strict=True)]


def _odd_keys(slots: Sequence[Slot]) -> Iterator[str]:
    for _, name, row, key in slots:
        kinds = {_base(one) for one in name.split("/")}
        kind = key.partition("}:")[2].partition(":")[0]
        if kind not in kinds and kind_of(key) not in _ANY.get(name, ()):
            yield f"key {name} of row {row} is {key}"


def _odd_args(slots: Sequence[Slot], counts: dict[str, int]) -> Iterator[str]:
    for _, name, row, value in slots:
        if name.endswith("#"):
            most = counts[_ROWS[name[:-1]]]
            fine = value == "" or (value.isdigit() and 1 <= int(value) <= most)
        else:
            shape = SHAPES.get(name, ".*")  # a test asks for a shape, or that it is free
            fine = re.fullmatch(shape, value, re.DOTALL) is not None
        if not fine:
            yield f"argument {name} of row {row} is {value[:80]!r}"


def _odd_pairs(keys: Sequence[Slot], args: Sequence[Slot]) -> Iterator[str]:
    """Say which keys are not of the job, tenant or worker that the same row of ARGV names."""
    told = {(count, row, name): value for count, name, row, value in args}
    for count, name, row, key in keys:
        hedge = "hedge_" if name.startswith("hedge_") else ""
        whose = _WHOSE.get(_base(name))
        value = told.get((count, row, f"{hedge}{whose}")) if "/" not in name else None
        of = key.partition("}:")[2].partition(":")[2]
        if value is not None and of != value and of not in _HOLDERS.get(value, ()):
            yield f"key {name} of row {row} is {key}, and {whose} {value!r}"


_WHOSE = {
    "job": "id", "body": "id", "answer": "id", "in": "tenant", "work": "worker", "hb": "worker",
    "ctl": "worker", "stat": "worker",
}  # fmt: skip


def _base(name: str) -> str:
    """Return the kind that a name means: `work` for `victim_work` and `hedge_work`."""
    kind = name.rpartition("_")[2]
    return "hb" if kind == "lease" else kind


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
