"""Predicting the length of an answer from those of similar jobs."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from parallax.core.model import JobView, check_int, check_number
from parallax.policies.registry import PREDICTOR

#: What a new leader is told: so many buckets, so many lengths of each.
KEPT_BUCKETS, KEPT_LENGTHS = 256, 64
_Key = tuple[str, str, int, int]
_K = TypeVar("_K", str, _Key)


@dataclass(slots=True)
class _Bucket:
    """The last lengths of similar jobs, and their quantile as of the last refresh."""

    lengths: deque[int]
    learned: int = 0
    quantile: float = 0.0


@PREDICTOR.register("bucket_quantile")
@dataclass(slots=True)
class BucketQuantile:
    """The median length of the last jobs of the same tenant, model, prompt size and `max_tokens`.

    Sizes count in powers of two. With few samples the bucket's median is drawn towards that of all
    jobs of the model, and with few of these towards that of all jobs, `(n * bucket + shrink * all)
    / (n + shrink)`; with fewer than `min_samples` in all it is a quarter of `max_tokens`. It never
    sees a true length before the job is done. Jobs that are done first are short, so estimates are
    low while a system warms up.

    Cost: O(1) amortised: a quantile is computed afresh every 16 samples. At most `max_buckets`
    buckets are kept; the one not used for longest is forgotten.
    """

    quantile: float = 0.5
    window: int = 500  # samples per bucket
    min_samples: int = 20
    shrink: float = 20.0
    max_buckets: int = 4_096
    _all: _Bucket = field(default_factory=lambda: _Bucket(deque()), init=False, repr=False)
    _models: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict, init=False, repr=False)
    _buckets: OrderedDict[_Key, _Bucket] = field(
        default_factory=OrderedDict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        check_number("bucket_quantile.quantile", self.quantile, 0.0, 1.0)
        check_int("bucket_quantile.window", self.window, 1, 100_000)
        check_int("bucket_quantile.min_samples", self.min_samples, 1, 100_000)
        check_number("bucket_quantile.shrink", self.shrink, 0.0, 1e6)
        check_int("bucket_quantile.max_buckets", self.max_buckets, 1, 10**7)
        self._all = _Bucket(deque(maxlen=self.window))

    def predict(self, job: JobView) -> float:
        """See `interfaces.OutputPredictor`."""
        if self._all.learned < self.min_samples:
            return max(1.0, job.max_tokens / 4)
        expected = self._all.quantile
        for bucket in (self._models.get(job.model), self._buckets.get(_key(job))):
            if bucket is not None:
                n = len(bucket.lengths)
                expected = (n * bucket.quantile + self.shrink * expected) / (n + self.shrink)
        return min(max(expected, 1.0), float(job.max_tokens))

    def learn(self, job: JobView, output_tokens: int) -> None:
        """See `interfaces.OutputPredictor`."""
        for bucket in (
            self._known(self._buckets, _key(job)), self._known(self._models, job.model), self._all,
        ):  # fmt: skip
            self._take(bucket, output_tokens)

    def remember(self) -> dict[str, Any]:
        """See `interfaces.Remembering`: the last lengths of the buckets used last."""
        recent = list(self._buckets.items())[-KEPT_BUCKETS:]
        return {
            "all": _kept(self._all),
            "models": [[model, _kept(one)] for model, one in self._models.items()][-KEPT_BUCKETS:],
            "buckets": [[*key, _kept(bucket)] for key, bucket in recent],
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """See `interfaces.Remembering`."""
        for length in memory["all"]:
            self._take(self._all, int(length))
        for model, lengths in memory.get("models", ()):  # a former release told models not apart
            self._learnt(self._known(self._models, str(model)), lengths)
        for entry in memory["buckets"]:
            if len(entry) == 5:
                tenant, model, size, most, lengths = entry
                name = str(tenant), str(model), int(size), int(most)
                self._learnt(self._known(self._buckets, name), lengths)

    def _known(self, buckets: OrderedDict[_K, _Bucket], key: _K) -> _Bucket:
        """Return a bucket, new if need be; the one not used for longest makes room."""
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = _Bucket(deque(maxlen=self.window))
            if len(buckets) > self.max_buckets:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(key)
        return bucket

    def _learnt(self, bucket: _Bucket, lengths: Iterable[Any]) -> None:
        for length in lengths:
            self._take(bucket, int(length))

    def _take(self, bucket: _Bucket, length: int) -> None:
        bucket.lengths.append(length)
        bucket.learned += 1
        if bucket.learned <= 16 or bucket.learned % 16 == 0:
            ordered = sorted(bucket.lengths)
            bucket.quantile = float(
                ordered[min(len(ordered) - 1, int(self.quantile * len(ordered)))]
            )


def _key(job: JobView) -> _Key:
    return job.tenant, job.model, job.prompt_tokens.bit_length(), job.max_tokens.bit_length()


def _kept(bucket: _Bucket) -> list[int]:
    return list(bucket.lengths)[-KEPT_LENGTHS:]
