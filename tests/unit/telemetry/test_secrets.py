"""No password is printed, wherever in a URL it stands."""

from __future__ import annotations

import pytest

from parallax.core.secrets import redacted
from parallax.telemetry.logs import clean


@pytest.mark.parametrize("url", ["redis://u:p@hunter2@host", "redis://host?password=hunter2"])
def test_no_password_is_logged(url: str) -> None:
    assert "hunter2" not in clean(url)
    assert "hunter2" not in redacted(url)
