"""Least slack first: the deadline, less the time that the work itself takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from parallax.core.model import JobView, check_number
from parallax.policies.ordering.edf import due
from parallax.policies.ordering.hopeless import too_late
from parallax.policies.registry import ORDERING


@ORDERING.register("least_slack")
@dataclass(slots=True)
class LeastSlack:
    """Serve the job that must start first: its deadline less its predicted service.

    Slack shrinks for all waiting jobs alike, so the latest possible start orders them for good. Of
    two jobs due together the longer goes first; jobs without a deadline come last, by arrival.
    Until the pace of the fleet is known the predicted service is 0 and this is `edf`. Each step of
    priority moves the latest start `priority_s` seconds forward.

    Source: Conway, Maxwell & Miller 1967 (minimum slack time); Mok 1983 (least laxity first, where
    jobs are interrupted, as here they are not).
    Cost: O(1). Use it where long jobs that must start soon meet short ones that are due sooner, and
    load stays below capacity. Not in overload: it spends the capacity on the longest jobs and
    meets fewer deadlines than `edf`. One worker's worst lateness is smallest under `edf`.
    """

    priority_s: float = 60.0  # seconds of head start per step of priority
    drop_hopeless: bool = True  # expire jobs that cannot meet their deadline any more

    def __post_init__(self) -> None:
        check_number("least_slack.priority_s", self.priority_s, 0.0, 1e6)

    def key(self, job: JobView, estimate: float, service_s: float) -> float:
        """See `interfaces.OrderingPolicy`."""
        work_s = service_s if job.deadline != inf else 0.0
        return due(job) - work_s - self.priority_s * job.priority

    def hopeless(self, job: JobView, service_s: float, now: float) -> bool:
        """See `interfaces.OrderingPolicy`."""
        return self.drop_hopeless and too_late(job, service_s, now)
