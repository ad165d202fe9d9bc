// The last minutes as columns, for charts: what the server kept before this page was opened, and
// from then on what the feed says.

import { get } from "@/lib/api";
import { onOverview } from "@/lib/feed";
import type { History, Maybe, Overview } from "@/lib/types";

export const COLUMNS = [
  "submitted_per_s",
  "completed_per_s",
  "rejected_per_s",
  "output_tokens_per_s",
  "ttft_p50_s",
  "ttft_p95_s",
  "ttft_p99_s",
  "e2e_p50_s",
  "e2e_p95_s",
  "e2e_p99_s",
  "queue_wait_p50_s",
  "queue_wait_p95_s",
  "queue_wait_p99_s",
  "waiting_jobs",
  "running_jobs",
  "open_jobs",
  "workers_alive",
  "slots",
  "kv_used_mean",
] as const;

export type Column = (typeof COLUMNS)[number];
export type Columns = Record<Column, Maybe[]> & { at: number[] };

const KEPT_S = 900;
const MOST_POINTS = 1_200;

const empty = (): Columns =>
  ({ at: [], ...Object.fromEntries(COLUMNS.map((name) => [name, []])) }) as unknown as Columns;

let columns: Columns = empty();
const listeners = new Set<() => void>();
let listening = false;

const tell = (): void => {
  for (const listener of listeners) listener();
};

function point(overview: Overview): Record<Column, Maybe> {
  const latency = overview.latency;
  const now = overview.stale ? null : overview.now;
  const kv = overview.workers.filter((one) => one.state !== "dead" && one.kv_used !== null);
  const spread = (name: "ttft_s" | "e2e_s" | "queue_wait_s", which: "p50" | "p95" | "p99"): Maybe =>
    overview.stale ? null : (latency?.[name]?.[which] ?? null);
  return {
    submitted_per_s: now?.submitted_per_s ?? null,
    completed_per_s: now?.completed_per_s ?? null,
    rejected_per_s: now?.rejected_per_s ?? null,
    output_tokens_per_s: now?.output_tokens_per_s ?? null,
    ttft_p50_s: spread("ttft_s", "p50"),
    ttft_p95_s: spread("ttft_s", "p95"),
    ttft_p99_s: spread("ttft_s", "p99"),
    e2e_p50_s: spread("e2e_s", "p50"),
    e2e_p95_s: spread("e2e_s", "p95"),
    e2e_p99_s: spread("e2e_s", "p99"),
    queue_wait_p50_s: spread("queue_wait_s", "p50"),
    queue_wait_p95_s: spread("queue_wait_s", "p95"),
    queue_wait_p99_s: spread("queue_wait_s", "p99"),
    waiting_jobs: overview.waiting_jobs,
    running_jobs: overview.running_jobs,
    open_jobs: overview.open_jobs,
    workers_alive: overview.workers_alive,
    slots: overview.slots,
    kv_used_mean: kv.length ? kv.reduce((sum, one) => sum + (one.kv_used ?? 0), 0) / kv.length : null,
  };
}

function append(overview: Overview): void {
  const last = columns.at[columns.at.length - 1];
  if (last !== undefined && overview.at <= last) return;
  const news = point(overview);
  const first = columns.at.findIndex((at) => at > overview.at - KEPT_S);
  const from = Math.max(first < 0 ? columns.at.length : first, columns.at.length - MOST_POINTS);
  const next = { at: [...columns.at.slice(from), overview.at] } as Columns;
  for (const name of COLUMNS) next[name] = [...columns[name].slice(from), news[name]];
  columns = next;
  tell();
}

/** Put what the server kept before what we saw ourselves. */
function prepend(history: History): void {
  const mine = columns;
  const first = mine.at[0] ?? Infinity;
  const kept = history.at.filter((at) => at < first).length;
  const next = { at: [...history.at.slice(0, kept), ...mine.at] } as Columns;
  for (const name of COLUMNS) {
    const theirs = history[name] ?? [];
    next[name] = [...Array.from({ length: kept }, (_, at) => theirs[at] ?? null), ...mine[name]];
  }
  columns = next;
  tell();
}

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (!listening) {
    listening = true;
    onOverview(append);
    get<History>(`/api/history?seconds=${KEPT_S}`).then(prepend, () => undefined);
  }
  return () => void listeners.delete(listener);
}

const NOTHING = empty();
export const current = (): Columns => columns;
export const beforehand = (): Columns => NOTHING;
