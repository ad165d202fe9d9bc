"""Token bucket: every tenant may ask for so much per second, and for a burst beyond it."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.core.model import JobView, QueueView, Rejection, check_number
from parallax.core.reasons import Reason
from parallax.policies.registry import ADMISSION

#: Buckets that are looked through for full ones when there are so many more than at the last look.
SWEEP = 1_024


@dataclass(slots=True)
class _Bucket:
    """A tenant's remaining allowance as of a time."""

    level: float
    at: float


@ADMISSION.register("token_bucket")
@dataclass(slots=True)
class TokenBucket:
    """Let a tenant have `rate` cost units per second, and `burst` at once.

    A job takes its estimated cost out of the bucket; when its true cost is known the difference is
    put back or taken, too. What is admitted in any time t is at most `burst + rate * t` in
    estimates. A refusal says after how long the bucket would hold enough.

    Source: RFC 2697; cost instead of requests as in the limits of K8s APF. Cost: O(1) amortised. A
    full bucket is like one never seen and is forgotten. Use it for contracts with tenants; it knows
    nothing of the fleet's load, so combine it: `token_bucket+thresholds`.
    """

    rate: float = 20_000.0  # cost units per second and tenant
    burst: float = 200_000.0  # cost units
    _buckets: dict[str, _Bucket] = field(default_factory=dict, init=False, repr=False)
    _swept: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("token_bucket.rate", self.rate, 1e-3, 1e12)
        check_number("token_bucket.burst", self.burst, 1.0, 1e15)

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """See `interfaces.AdmissionPolicy`."""
        bucket = self._filled(job.tenant, now)
        if estimate > self.burst:
            return Rejection(Reason.LARGER_THAN_BURST, self.burst / self.rate)
        if bucket.level < estimate:
            return Rejection(Reason.RATE_LIMITED, (estimate - bucket.level) / self.rate)
        bucket.level -= estimate
        return None

    def dispatching(self, job: JobView, waited_s: float, now: float) -> Rejection | None:
        """See `interfaces.AdmissionObserver`: nothing is shed from the queue."""
        return None

    def settled(self, tenant: str, difference: float) -> None:
        """See `interfaces.AdmissionObserver`."""
        bucket = self._buckets.get(tenant)
        if bucket is not None:
            bucket.level = min(self.burst, bucket.level - difference)

    def _filled(self, tenant: str, now: float) -> _Bucket:
        bucket = self._buckets.get(tenant)
        if bucket is None:
            if len(self._buckets) >= self._swept + SWEEP:
                self._sweep(now)
            bucket = self._buckets[tenant] = _Bucket(self.burst, now)
        elapsed = max(0.0, now - bucket.at)
        bucket.level = min(self.burst, bucket.level + self.rate * elapsed)
        bucket.at = max(bucket.at, now)
        return bucket

    def _sweep(self, now: float) -> None:
        """Forget the buckets that have become full."""
        self._buckets = {
            tenant: bucket
            for tenant, bucket in self._buckets.items()
            if bucket.level + self.rate * (now - bucket.at) < self.burst
        }
        self._swept = len(self._buckets)
