// A worker whose heartbeat has stopped is struck off as soon as its jobs are back in their queues,
// often within a second. Who looks at the page shall see that it died: it stays for a while.

import type { Overview, Worker } from "@/lib/types";

const SHOWN_S = 45;
const MOST_KNOWN = 2_000;

const GONE = "gone";
const known = new Map<string, Worker>();

function lost(name: string): Worker {
  const last = known.get(name);
  return {
    role: "",
    engine: "",
    version: "",
    models: [],
    slots: 0,
    completed_jobs: 0,
    slowness: null,
    hedged_jobs: null,
    stolen_from_jobs: null,
    stolen_to_jobs: null,
    ...last,
    name,
    incarnation: GONE,
    state: "dead",
    running_jobs: 0,
    waiting_jobs: 0,
    stream_jobs: 0,
    kv_used: null,
    heartbeat_age_s: null,
    heartbeat_left_s: null,
    completed_per_s: null,
    why: "it died",
  };
}

/** Workers that died in the last seconds and are not registered any more. */
export function ghosts(overview: Overview): Worker[] {
  const there = new Set(overview.workers.filter((one) => one.incarnation !== GONE).map((one) => one.name));
  const names = overview.recent
    .filter((one) => one.kind === "worker_dead" && one.at > overview.at - SHOWN_S)
    .flatMap((one) => (one.from !== null && !there.has(one.from) ? [one.from] : []));
  return [...new Set(names)].map(lost);
}

/** The same state with those who died, and their last rows remembered for when others do. */
export function withGhosts(overview: Overview): Overview {
  if (known.size > MOST_KNOWN) known.clear();
  for (const one of overview.workers) known.set(one.name, one);
  const dead = ghosts(overview);
  return dead.length === 0 ? overview : { ...overview, workers: [...overview.workers, ...dead] };
}
