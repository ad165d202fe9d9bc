"""How long a loop waits after a failed turn, and whether it is told of."""

from __future__ import annotations

from random import Random

from parallax.services.service import BACKOFF_BASE_S, BACKOFF_CAP_S, STEADY, tell


class Patience:
    """Failures that follow each other wait longer and longer, and are logged ever less often."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = self._good = 0

    def good(self) -> None:
        """A turn went well."""
        self._good += 1
        if self._good >= STEADY:
            self._failures = 0

    def failed(self, error: Exception) -> float:
        """A turn failed; return how many seconds to wait before the next."""
        self._good, self._failures = 0, self._failures + 1
        tell(error, self._failures)
        longest = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(self._failures - 1, 10))
        return self._random.uniform(0, longest)
