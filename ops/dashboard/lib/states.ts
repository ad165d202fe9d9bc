// How the words of the API look: tones for states, colours for tenants and kinds of events.

import type { Tone } from "@/components/parts";
import { count, words } from "@/lib/format";
import type { Happening } from "@/lib/types";

const WORKER: Record<string, Tone> = {
  alive: "ok",
  ready: "ok",
  slow: "warn",
  unready: "warn",
  draining: "accent",
  dead: "bad",
};

export const workerTone = (state: string): Tone => WORKER[state] ?? "mute";

const JOB: Record<string, Tone> = {
  queued: "mute",
  assigned: "accent",
  running: "accent",
  prefilled: "accent",
  completed: "ok",
  failed: "bad",
  rejected: "warn",
  expired: "warn",
  cancelled: "mute",
  dead: "bad",
};

export const jobTone = (state: string): Tone => JOB[state] ?? "mute";

const COLOURS = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)", "var(--c7)"];

const MOST_KNOWN = 5_000;
const known = new Map<string, string>();

/** Always the same colour for the same name, on all pages; the first few have one to themselves. */
export function colourOf(name: string): string {
  const found = known.get(name);
  if (found) return found;
  const colour = COLOURS[known.size % COLOURS.length]!;
  if (known.size < MOST_KNOWN) known.set(name, colour);
  return colour;
}

/** Give colours to names, in the order of the alphabet: the same after a reload. */
export function meet(names: string[]): void {
  for (const name of [...names].sort()) colourOf(name);
}

export const EVENT_TONES: Record<string, Tone> = {
  stolen: "accent",
  hedged: "accent",
  recovered: "warn",
  worker_dead: "bad",
  worker_new: "ok",
  worker_left: "mute",
  leader_new: "accent",
  policy_changed: "accent",
  canary_ended: "accent",
  shed: "warn",
};

/** What happened, in a sentence. */
export function sentence(event: Happening): string {
  const jobs = event.jobs === 1 ? (event.job ?? "1 job") : `${count(event.jobs)} jobs`;
  switch (event.kind) {
    case "stolen":
      return `${jobs}: from ${event.from ?? "a worker"} to ${event.to ?? "another"}`;
    case "hedged":
      return `${jobs}: a second attempt on ${event.to ?? "another worker"}`;
    case "recovered":
      return `${jobs} of ${event.from ?? "a worker"} back to ${event.jobs === 1 ? "its queue" : "their queues"}`;
    case "worker_dead":
      return `${event.from ?? event.to ?? "a worker"} has no heartbeat`;
    case "worker_new":
      return `${event.to ?? event.from ?? "a worker"} joined`;
    case "worker_left":
      return `${event.from ?? event.to ?? "a worker"} left`;
    case "leader_new":
      return `${event.to ?? "a scheduler"} leads`;
    case "policy_changed":
      return event.detail ?? "policies were changed";
    case "canary_ended":
      return `the canary ended: ${event.detail ?? "no verdict"}`;
    case "shed":
      return `${jobs} refused: ${words(event.detail ?? "no reason given")}`;
    default:
      return event.detail ?? words(String((event as Happening).kind));
  }
}
