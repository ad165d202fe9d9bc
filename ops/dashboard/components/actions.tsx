"use client";

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Icon } from "@/components/icons";
import { Refused } from "@/lib/api";
import * as session from "@/lib/session";

interface Toast {
  id: number;
  text: string;
  tone: "ok" | "bad";
}

let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();
const NONE: readonly Toast[] = [];

function show(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

/** Say how something went, for a few seconds. */
export function say(text: string, tone: "ok" | "bad" = "ok"): void {
  last += 1;
  const id = last;
  show([...toasts.slice(-3), { id, text, tone }]);
  setTimeout(() => show(toasts.filter((one) => one.id !== id)), tone === "bad" ? 9_000 : 4_500);
}

export const useStanding = (): session.Standing =>
  useSyncExternalStore(session.subscribe, session.current, session.beforehand);

export interface Action {
  busy: boolean;
  error: string | null;
  run: (work: () => Promise<string>) => Promise<boolean>;
  forget: () => void;
}

/** Something that changes the cell: asks for the key if it must, tells how it went. */
export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const run = useCallback(async (work: () => Promise<string>): Promise<boolean> => {
    setError(null);
    if (!(await session.mayWrite())) return false;
    setBusy(true);
    try {
      say(await withKey(work));
      return true;
    } catch (trouble) {
      const text = trouble instanceof Error ? trouble.message : String(trouble);
      setError(text);
      say(text, "bad");
      return false;
    } finally {
      setBusy(false);
    }
  }, []);
  const forget = useCallback(() => setError(null), []);
  return { busy, error, run, forget };
}

/** Do it; if the key was no good any more, ask for another and do it once again. */
async function withKey(work: () => Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (trouble) {
    if (!(trouble instanceof Refused) || trouble.status !== 401) throw trouble;
    if (!(await session.mayWrite(true))) throw trouble;
    return work();
  }
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => toasts,
    () => NONE,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((one) => (
        <div key={one.id} className="toast" data-tone={one.tone}>
          {one.text}
        </div>
      ))}
    </div>
  );
}

/** Where the admin key is asked for. */
export function KeyDialog() {
  const { asking, session: mine } = useStanding();
  const ref = useRef<HTMLDialogElement>(null);
  const [token, setToken] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    const dialog = ref.current;
    if (!dialog) return;
    if (asking && !dialog.open) dialog.showModal();
    if (!asking && dialog.open) dialog.close();
    if (!asking) {
      setToken("");
      setError(null);
    }
  }, [asking]);

  const offer = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await session.offer(token.trim());
    } catch (trouble) {
      setError(trouble instanceof Error ? trouble.message : String(trouble));
    } finally {
      setBusy(false);
    }
  };

  return (
    <dialog ref={ref} className="sheet" aria-labelledby="key-title" onClose={() => asking && session.dismiss()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void offer();
        }}
      >
        <div>
          <h2 id="key-title">{mine && !mine.read ? "This dashboard is locked" : "Unlock changes"}</h2>
          <p className="soft" style={{ marginTop: 6 }}>
            {mine?.needs === "key"
              ? "Give an API key with the scope admin, or the token that the dashboard printed when it started."
              : "Give the token that the dashboard printed when it started. It stands in the address, after #token=."}
          </p>
        </div>
        <label className="field">
          Key or token
          <input
            className="input mono"
            type="password"
            autoComplete="off"
            autoFocus
            value={token}
            onChange={(event) => setToken(event.target.value)}
            aria-invalid={error !== null}
            aria-describedby={error ? "key-error" : undefined}
          />
        </label>
        {error && (
          <p id="key-error" className="error-text" role="alert">
            {error}
          </p>
        )}
        <div className="ends">
          <button type="button" className="button" data-kind="plain" onClick={session.dismiss}>
            Not now
          </button>
          <button type="submit" className="button" data-kind="primary" disabled={busy || token.trim() === ""}>
            Unlock
          </button>
        </div>
      </form>
    </dialog>
  );
}

export function KeyButton() {
  const { session: mine } = useStanding();
  const open = mine?.write ?? false;
  return (
    <button
      type="button"
      className="icon-button"
      style={open ? { color: "var(--ok)" } : undefined}
      title={open ? "Changes are unlocked: sign out" : "Unlock changes"}
      aria-label={open ? "Changes are unlocked: sign out" : "Unlock changes"}
      onClick={() => {
        if (open) session.signOut().then(() => say("Signed out"), (trouble: Error) => say(trouble.message, "bad"));
        else void session.mayWrite();
      }}
    >
      <Icon name="key" />
    </button>
  );
}
