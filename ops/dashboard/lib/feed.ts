// The one connection of a page: the server tells the state once a second, and all parts of all
// pages look at the same copy of it. What the connection is worth is a state, too.

import { withGhosts } from "@/lib/ghosts";
import { meet } from "@/lib/states";
import type { Overview } from "@/lib/types";

/** `stale`: connected, and no news for three seconds. */
export type Phase = "connecting" | "live" | "stale" | "disconnected";

export interface Feed {
  phase: Phase;
  overview: Overview | null;
  /** When it came, by this browser's clock (ms). */
  cameAt: number;
  trouble: string | null;
}

const STALE_MS = 3_000;
const CLOSED = 2;

let feed: Feed = { phase: "connecting", overview: null, cameAt: 0, trouble: null };
const listeners = new Set<() => void>();
const takers = new Set<(overview: Overview) => void>();
let source: EventSource | null = null;
let watchdog: ReturnType<typeof setInterval> | null = null;
let pause = 1_000;
let openedAt = 0;

function change(next: Partial<Feed>): void {
  feed = { ...feed, ...next };
  for (const listener of listeners) listener();
}

function took(data: string): void {
  let overview: Overview;
  try {
    overview = withGhosts(JSON.parse(data) as Overview);
  } catch {
    return;
  }
  pause = 1_000;
  meet(overview.tenants.map((one) => one.name));
  for (const taker of takers) taker(overview);
  change({ phase: "live", overview, cameAt: Date.now(), trouble: null });
}

function troubled(data: string): void {
  let message = "Redis does not answer.";
  try {
    message = String((JSON.parse(data) as { error: { message: string } }).error.message);
  } catch {
    // The sentence above will do.
  }
  change({ trouble: message, phase: feed.phase === "live" && age() < STALE_MS ? "live" : "stale" });
}

const age = (): number => Date.now() - feed.cameAt;

function connect(): void {
  source?.close();
  const mine = new EventSource("/api/events");
  source = mine;
  openedAt = Date.now();
  mine.addEventListener("overview", (event) => took((event as MessageEvent<string>).data));
  mine.addEventListener("trouble", (event) => troubled((event as MessageEvent<string>).data));
  mine.onopen = () => {
    openedAt = Date.now();
    if (feed.phase === "disconnected") change({ phase: "connecting" });
  };
  mine.onerror = () => {
    if (mine !== source) return;
    change({ phase: "disconnected" });
    // Refused with a status: the browser has given up, so we ask again, less and less often.
    if (mine.readyState === CLOSED) {
      setTimeout(() => source === mine && connect(), pause);
      pause = Math.min(pause * 2, 15_000);
    }
  };
}

function look(): void {
  if (feed.phase === "live" && age() > STALE_MS) change({ phase: "stale" });
  else if (feed.phase === "connecting" && feed.overview && Date.now() - openedAt > STALE_MS) change({ phase: "stale" });
}

/** Begin to listen; the last one who stops closes the connection. */
export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (!source) connect();
  watchdog ??= setInterval(look, 500);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    source?.close();
    source = null;
    if (watchdog) clearInterval(watchdog);
    watchdog = null;
  };
}

/** Be handed every state as it comes, before anything is drawn from it. */
export function onOverview(taker: (overview: Overview) => void): () => void {
  takers.add(taker);
  return () => takers.delete(taker);
}

/** Ask anew, at once: after signing in, or by the button. */
export function reconnect(): void {
  pause = 1_000;
  if (listeners.size > 0) connect();
}

const BEFORE: Feed = feed;
export const current = (): Feed => feed;
export const beforehand = (): Feed => BEFORE;
