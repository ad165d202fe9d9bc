"""Dashboards of a whole cell: latencies, queues, workers."""

from __future__ import annotations

from ops.grafana.panels import TENANT, Board, Row, lines, now, number, percentile, percentiles, rate
from ops.grafana.panels import share as part_of

_SLO = "1 - avg by (objective) (parallax:slo_missed:ratio_rate5m)"

OVERVIEW = Board(
    "parallax-overview", "Parallax / Overview",
    "Is it well, what do users feel, and what became of what they asked for?",
    (
        Row("Is it well?", (
            number("Leader", "Whether somebody leads the cell. Nothing is dispatched without.",
                   "yes", now("cell_leader", "max"), red=1, low_is_bad=True),
            number("Live workers", "Workers that beat, are ready and do not drain.", "count",
                   now('cell_workers,state="alive"'), red=1, low_is_bad=True),
            number("Waiting jobs", "Jobs in all tenants' streams.", "count",
                   now("cell_queue_depth")),
            number("Backlog", "What waits, at the rate at which jobs ended in the last minute.",
                   "seconds", now("cell_backlog_seconds", "max"), red=60),
            number("Oldest job", "How long the first job of the tenant that waits longest is "
                   "there.", "seconds", now("cell_oldest_age_seconds", "max"), red=120),
            number("Dead letters", "Jobs that used up their attempts, and entries that nobody "
                   "understood.", "count", now("cell_dead_letters", "max"), red=1),
        )),
        Row("What users feel", (
            lines("Time to the first token", "From acceptance to the first token, of completed "
                  "jobs.", "seconds", *percentiles("ttft_seconds")),
            lines("Time per output token", "Per token after the first, of completed jobs.",
                  "seconds", *percentiles("tpot_seconds")),
            lines("End to end", "From acceptance to the end, of completed jobs.", "seconds",
                  *percentiles("e2e_seconds")),
            lines("Wait in the queue", "From acceptance to the start of the attempt.", "seconds",
                  *percentiles("queue_wait_seconds")),
            lines("In time", "Share of jobs within each objective (`--slo-ttft`, `--slo-tpot`, "
                  "`--slo-e2e`). A job that fails, expires or is rejected missed its end.",
                  "ratio", (_SLO, "{{objective}}"), most=1),
            lines("How jobs ended", "Jobs that ended in each second.", "per second",
                  (rate("jobs_total", "outcome"), "{{outcome}}")),
        )),
        Row("What it does", (
            lines("Tokens", "Prompt tokens computed, found in caches, and written.",
                  "tokens per second", (rate("worker_prompt_tokens_total"), "computed"),
                  (rate("worker_cached_tokens_total"), "from caches"),
                  (rate("worker_generation_tokens_total"), "written")),
            lines("What admission says", "Of each job when it comes, and of what is shed later.",
                  "per second", (rate("admissions_total", "outcome") + " > 0", "{{outcome}}")),
            lines("Rescues", "Second attempts, prompts handed over, attempts stolen by idle "
                  "workers, and attempts taken from dead ones.", "per second",
                  (rate("rescues_total", "kind"), "{{kind}}"),
                  (rate("steals_total"), "steal"), (rate("recoveries_total"), "recovery")),
        )),
    ),
)  # fmt: skip

QUEUES = Board(
    "parallax-queues", "Parallax / Queues and tenants",
    "Who waits, for how long, and does everybody get its share?",
    (
        Row("Queues", (
            lines("Waiting jobs", "Jobs in each tenant's stream: neither at a worker nor refused.",
                  "count", (now("cell_queue_depth", "sum", "tenant", TENANT), "{{tenant}}")),
            lines("Age of the oldest", "How long the first job of each tenant is there.", "seconds",
                  (now("cell_oldest_age_seconds", "max", "tenant", TENANT), "{{tenant}}")),
            lines("Backlog", "How long it takes to work off what waits, at the rate of the last "
                  "minute.", "seconds", (now("cell_backlog_seconds", "max"), "backlog")),
        )),
        Row("Shares", (
            lines("Served", "Share of the cost of what was computed, by tenant. Among those that "
                  "wait it follows the weights.", "ratio",
                  ('parallax:tenant_share:ratio_rate5m{tenant=~"$tenant"}', "{{tenant}}"), most=1),
            lines("Due", "The share that its weight gives to each tenant that waits.", "ratio",
                  (now("cell_due_ratio", "max", "tenant", TENANT), "{{tenant}}"), most=1),
            lines("Fairness", "Jain's index of cost per weight, over tenants that waited for all "
                  "of five minutes: 1 is fair, 1/n is all for one of n. Empty while nobody waits "
                  "for so long.", "ratio",
                  ("parallax:fairness_jain:ratio_rate5m", "Jain's index"), most=1, rare=True),
            lines("Cost served", "Prompt tokens computed and twice the tokens written.",
                  "cost per second",
                  (rate("served_cost_total", "tenant", TENANT), "{{tenant}}")),
            lines("Weights", "As `parallax tenants set` has set them.", "count",
                  (now("cell_weight", "max", "tenant", TENANT), "{{tenant}}")),
            lines("Wait in the queue, p95", "By tenant, of completed jobs.", "seconds",
                  ("histogram_quantile(0.95, "
                   + rate("queue_wait_seconds_bucket", "le, tenant", TENANT) + ")", "{{tenant}}")),
        )),
        Row("What became of jobs", (
            lines("Completed", "By tenant.", "per second",
                  (rate("jobs_total", "tenant", TENANT + ',outcome="completed"'), "{{tenant}}")),
            lines("Not completed", "Rejected, failed, expired, cancelled and dead jobs, by tenant.",
                  "per second",
                  (rate("jobs_total", "tenant", TENANT + ',outcome!="completed"'), "{{tenant}}")),
            lines("Missed objectives", "Jobs beyond an objective, by tenant.", "per second",
                  (rate("slo_missed_total", "tenant, objective", TENANT),
                   "{{tenant}} {{objective}}")),
        )),
    ),
)  # fmt: skip

WORKERS = Board(
    "parallax-workers", "Parallax / Workers and balance",
    "Who works, is work spread evenly, and does anybody lag behind?",
    (
        Row("Workers", (
            lines("By state", "Registered workers. Who is unready or drains is sent nothing.",
                  "count", (now("cell_workers", "max", "state"), "{{state}}")),
            lines("Age of heartbeats", "Since the last one of each worker. When it expires, what "
                  "the worker has is given to others.", "seconds",
                  (now("cell_heartbeat_age_seconds", "max", "worker"), "{{worker}}")),
            lines("Slots in use", "Attempts in engines, of all that these can run at once.",
                  "ratio", (part_of(now("worker_running"), now("worker_slots")), "in use"),
                  most=1),
        )),
        Row("Balance", (
            lines("Load", "Attempts in each worker's stream.", "count",
                  (now("cell_worker_load", "max", "worker"), "{{worker}}")),
            lines("Spread of the load", "The highest load of a worker, over the mean: 1 is even.",
                  "count", (part_of(now("cell_worker_load", "max"),
                                    f"clamp_min({now('cell_worker_load', 'avg')}, 0.05)"),
                            "highest / mean")),
            lines("Attempts ended", "By process, each second: a straggler ends fewer.",
                  "per second",
                  (rate("worker_attempts_total", "instance"), "{{instance}}")),
            lines("Service time, p95", "From the start of an attempt to its end, by process.",
                  "seconds",
                  ("histogram_quantile(0.95, "
                   + rate("worker_service_seconds_bucket", "le, instance") + ")",
                   "{{instance}}")),
            lines("In engines and before them", "Attempts that run, wait, or rest before a retry.",
                  "count", (now("worker_running"), "running"), (now("worker_waiting"), "waiting"),
                  (now("worker_resting"), "resting")),
            lines("Stealing", "Attempts that an idle worker was to take, by what came of it.",
                  "per second", (rate("steals_total", "result"), "{{result}}")),
        )),
        Row("What went wrong and was mended", (
            lines("Ends of attempts", "By what the store answered: late and stale ones were "
                  "decided elsewhere.", "per second",
                  (rate("worker_attempts_total", "result") + " > 0", "{{result}}")),
            lines("Taken from dead workers", "Attempts by what came of it; deaths are workers.",
                  "per second", (rate("recoveries_total", "result"), "{{result}}")),
            lines("Relay of pieces", "From sending pieces of answers to the store's reply.",
                  "seconds", (percentile("worker_relay_seconds", 50), "p50"),
                  (percentile("worker_relay_seconds", 99), "p99")),
        )),
    ),
)  # fmt: skip
