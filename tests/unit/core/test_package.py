"""`from parallax import ...`: everything that is promised is there, and nothing comes unasked."""

from __future__ import annotations

import subprocess
import sys

import pytest

import parallax


@pytest.mark.parametrize("name", parallax.__all__)
def test_every_name_that_is_promised_is_there(name: str) -> None:
    assert getattr(parallax, name).__name__ == name
    assert name in dir(parallax)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="Nobody"):
        _ = parallax.Nobody


def test_the_package_itself_loads_nothing_else() -> None:
    code = "import sys, parallax; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"redis", "msgspec", "numpy", "click", "parallax.core"}
