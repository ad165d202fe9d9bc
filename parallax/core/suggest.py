"""Suggests the known names that a misspelt one probably meant."""

from __future__ import annotations

from collections.abc import Collection


def meant(word: str, known: Collection[str]) -> str:
    """Return the question that names the likeliest of the known names, or ''.

    >>> meant("fcsf", ["fcfs", "sjf"]), meant("xyz", ["fcfs"])
    ('did you mean fcfs?', '')
    """
    from difflib import get_close_matches  # late: few words are misspelt

    found = get_close_matches(word[:64], list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def among(word: str, known: Collection[str]) -> str:
    """Return an error's hint: all known names, and the probable one."""
    listed = f"known: {', '.join(known) or 'none'}"
    question = meant(word, known)
    return f"{question} {listed}" if question else listed
