"""Dashboards of parts: policies, KV caches, gateways, and the server."""

from __future__ import annotations

from ops.grafana.boards_cell import OVERVIEW, QUEUES, WORKERS
from ops.grafana.panels import (
    CHOSEN,
    TENANT,
    Board,
    Row,
    lines,
    now,
    number,
    percentiles,
    rate,
    share,
)

POLICIES = Board(
    "parallax-policies", "Parallax / Policies and canary",
    "What do the policies decide, what does it cost, and is a candidate better?",
    (
        Row("Decisions", (
            lines("Time to decide", "What the scheduler thinks in a turn, without reading or "
                  "writing.", "seconds", *percentiles("decision_seconds")),
            lines("Turns", "A whole turn of the leader, waiting excluded.", "seconds",
                  *percentiles("turn_seconds")),
            lines("Dispatches", "Attempts sent to workers, and those that the store did not carry "
                  "out.", "per second", (rate("dispatches_total"), "sent"),
                  (rate("dispatches_refused_total"), "refused")),
            lines("What admission says", "Of each job when it comes, and of what is shed later.",
                  "per second", (rate("admissions_total", "outcome"), "{{outcome}}")),
            lines("Second attempts", "Sent, told to stop because the other was faster, and refused "
                  "because the budget is spent or the fleet is full.", "per second",
                  (rate("rescues_total", "kind"), "{{kind}}"),
                  (rate("hedges_refused_total"), "refused")),
            lines("Hedges per dispatch", "What hedging costs: its budget bounds it.", "ratio",
                  (share(rate("rescues_total", "", CHOSEN + ',kind="hedge"'),
                         rate("dispatches_total")), "hedges")),
        )),
        Row("Canary", (
            lines("Judged jobs", "Jobs of each arm that were judged while a canary runs. Empty "
                  "without one.", "count", (now("canary_jobs", "max", "arm"), "{{arm}}"), width=12,
                  rare=True),
            lines("Misses", "Share of them that failed or missed the canary's objectives.",
                  "ratio", (share(now("canary_missed", "max", "arm"),
                                  now("canary_jobs", "max", "arm")), "{{arm}}"), width=12,
                  rare=True),
        )),
    ),
)  # fmt: skip

KV = Board(
    "parallax-kv", "Parallax / KV cache",
    "Is there room, and do prompts meet the caches that know them?",
    (
        Row("Room", (
            lines("Memory in use", "Share of each worker's KV memory.", "ratio",
                  (now("cell_worker_kv_ratio", "max", "worker"), "{{worker}}"), width=12, most=1),
            lines("As the leader sees it", "The same, as the scheduler decides with it.", "ratio",
                  (now("kv_usage_ratio", "max", "worker"), "{{worker}}"), width=12, most=1),
        )),
        Row("Hits", (
            lines("Hit ratio", "Share of prompt tokens that a cache had, of all ended attempts.",
                  "ratio", (share(rate("cached_tokens_total"), rate("prompt_tokens_total")),
                            "hits"), most=1),
            lines("Hit ratio by tenant", "Who comes back with the same prefixes, and finds them.",
                  "ratio", (share(rate("cached_tokens_total", "tenant", TENANT),
                                  rate("prompt_tokens_total", "tenant", TENANT)), "{{tenant}}"),
                  most=1),
            lines("Prompt tokens", "Found in a cache, and computed, by workers.",
                  "tokens per second", (rate("worker_cached_tokens_total"), "found"),
                  (rate("worker_prompt_tokens_total"), "computed")),
            lines("Hits by process", "Tokens that each worker found in its cache.",
                  "tokens per second",
                  (rate("worker_cached_tokens_total", "instance"), "{{instance}}"), width=12),
            lines("Use by process", "As the engine of each process says.", "ratio",
                  (now("worker_kv_usage_ratio", "max", "instance"), "{{instance}}"), width=12,
                  most=1),
        )),
    ),
)  # fmt: skip

GATEWAY = Board(
    "parallax-gateway", "Parallax / Gateway",
    "What do clients of the OpenAI API ask, and what do they get?",
    (
        Row("Requests", (
            lines("By route", "Answered requests.", "per second",
                  (rate("gateway_requests_total", "kind"), "{{kind}}")),
            lines("By status", "499: the client left before.", "per second",
                  (rate("gateway_requests_total", "result"), "{{result}}")),
            lines("Failed", "Share of requests that were answered 5xx.", "ratio",
                  (share("sum (rate(parallax_gateway_requests_total"
                         '{job=~"$job",instance=~"$instance",result=~"5.."}[$__rate_interval])) '
                         "or vector(0)", rate("gateway_requests_total")), "5xx")),
            lines("First byte", "From a request to the first piece of its answer, or all of it.",
                  "seconds", *percentiles("gateway_first_byte_seconds")),
            lines("Under way", "Requests that are being answered, by process.", "count",
                  (now("gateway_open_requests", "sum", "instance"), "{{instance}}")),
            lines("Broken streams", "Streams that failed after their head was sent.", "per second",
                  (rate("gateway_broken_streams_total"), "broken")),
            lines("Closed connections", "Those on which no whole request came, by what was waited "
                  "for; idle: after an answer.", "per second",
                  (rate("gateway_closed_connections_total", "kind"), "{{kind}}")),
        )),
    ),
)  # fmt: skip

SERVER = Board(
    "parallax-scaling", "Parallax / Autoscaling and Redis",
    "Are there enough workers, and is the server well?",
    (
        Row("Enough workers?", (
            lines("Workers", "Live ones, and all that are registered.", "count",
                  (now('cell_workers,state="alive"'), "alive"), (now("cell_workers"), "all")),
            lines("Backlog", "How long it takes to work off what waits.", "seconds",
                  (now("cell_backlog_seconds", "max"), "backlog")),
            lines("Slots in use", "Attempts in engines, of all that these can run at once.",
                  "ratio", (share(now("worker_running"), now("worker_slots")), "in use"), most=1),
        )),
        Row("Autoscaler", (
            lines("Wanted and there", "Workers that the autoscaler wants, and what there is.",
                  "count", (now("autoscaler_wanted", "max"), "wanted"),
                  (now("autoscaler_serving", "max"), "serving"),
                  (now("autoscaler_starting", "max"), "starting"),
                  (now("autoscaler_draining", "max"), "draining"), width=12, optional=True),
            lines("Decisions", "By where the number of workers went and by what decided. Empty "
                  "without an autoscaler.", "per second",
                  (rate("autoscaler_decisions_total", "direction, reason"),
                   "{{direction}} {{reason}}"), width=12, optional=True),
        )),
        Row("Redis", (
            number("Disk", "Whether the last write to the disk succeeded.", "yes",
                   now("redis_disk_ok", "min"), red=1, low_is_bad=True),
            number("Connections", "Clients of the server.", "count", now("redis_clients")),
            number("Entries for the leader", "In the stream that workers tell it with.", "count",
                   now("cell_events")),
            number("Lease", "How long the leader's lease still lasts; it is renewed every second "
                   "or so.", "seconds", now("cell_lease_left_seconds", "max")),
            number("Leaders in an hour", "How often the lease was taken anew.", "count",
                   'sum (changes(parallax_cell_epoch{job=~"$job",instance=~"$instance"}[1h]))'),
            number("Look", "What the exporter's last look at the cell took.", "seconds",
                   now("cell_read_seconds", "max")),
            lines("Memory", "In use, and the limit (0: none).", "bytes",
                  (now("redis_memory_bytes", "max"), "in use"),
                  (now("redis_memory_limit_bytes", "max"), "limit")),
            lines("Commands", "That the server carried out.", "per second",
                  (rate("redis_commands_total"), "commands")),
            lines("CPU", "One core is the limit: scripts and commands run one after another.",
                  "cores", (rate("redis_cpu_seconds_total"), "cores")),
        )),
        Row("Errors", (
            lines("Turns that failed", "By kind of error, of all processes.", "per second",
                  (rate("store_errors_total", "kind"), "{{kind}}")),
            lines("Set aside", "Entries that nobody could understand.", "per second",
                  (rate("malformed_entries_total"), "malformed")),
            lines("What the janitor found", "By what it did.", "per second",
                  (rate("janitor_finds_total", "result"), "{{result}}")),
        )),
    ),
)  # fmt: skip

BOARDS = (OVERVIEW, QUEUES, WORKERS, POLICIES, KV, GATEWAY, SERVER)
