// What this browser may do. The secret goes to the server once and comes back as a cookie that no
// script can read; nothing is kept here.

import { ask, get, signIn } from "@/lib/api";
import { reconnect } from "@/lib/feed";
import type { Session } from "@/lib/types";

export interface Standing {
  session: Session | null;
  asking: boolean;
}

let standing: Standing = { session: null, asking: false };
const listeners = new Set<() => void>();
let started = false;
let waiting: ((given: boolean) => void)[] = [];

function change(next: Partial<Standing>): void {
  standing = { ...standing, ...next };
  for (const listener of listeners) listener();
}

/** The token in the address, taken out of it at once: it shall not be seen, kept or sent on. */
function fromAddress(): string | null {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (token) window.history.replaceState(null, "", window.location.pathname + window.location.search);
  return token;
}

async function start(): Promise<void> {
  const token = fromAddress();
  try {
    if (token) {
      change({ session: await signIn(token) });
      reconnect();
      return;
    }
  } catch {
    // A token of an earlier run: what may be read without it is asked below.
  }
  const session = await get<Session>("/api/session").catch(() => null);
  change({ session, asking: session !== null && !session.read });
}

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (!started) {
    started = true;
    void start();
  }
  return () => void listeners.delete(listener);
}

/** Offer a key; true if it is good. Throws what the server says otherwise. */
export async function offer(token: string): Promise<void> {
  const session = await signIn(token);
  change({ session, asking: false });
  reconnect();
  settle(true);
}

function settle(given: boolean): void {
  const those = waiting;
  waiting = [];
  for (const one of those) one(given);
}

export function dismiss(): void {
  change({ asking: false });
  settle(false);
}

/** Ask for the key, unless it was given: true once one may write. */
export function mayWrite(anew = false): Promise<boolean> {
  if (!anew && standing.session?.write) return Promise.resolve(true);
  change({ asking: true });
  return new Promise((resolve) => waiting.push(resolve));
}

export async function signOut(): Promise<void> {
  await ask("/api/session", { method: "DELETE", headers: { "content-type": "application/json" } });
  change({ session: await get<Session>("/api/session").catch(() => null) });
}

const BEFORE = standing;
export const current = (): Standing => standing;
export const beforehand = (): Standing => BEFORE;
