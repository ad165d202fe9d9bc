"use client";

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { get, Refused } from "@/lib/api";
import * as feed from "@/lib/feed";
import * as history from "@/lib/history";

export const useFeed = (): feed.Feed => useSyncExternalStore(feed.subscribe, feed.current, feed.beforehand);

export const useHistory = (): history.Columns =>
  useSyncExternalStore(history.subscribe, history.current, history.beforehand);

export interface Asked<T> {
  data: T | null;
  error: Refused | null;
  again: () => void;
}

/** Ask for a document when the page opens, when its path changes, and every `every` milliseconds. */
export function useDocument<T>(path: string | null, every = 0): Asked<T> {
  const [state, setState] = useState<{ path: string | null; data: T | null; error: Refused | null }>({
    path,
    data: null,
    error: null,
  });
  const [turn, setTurn] = useState(0);
  const again = useCallback(() => setTurn((old) => old + 1), []);

  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const once = async (): Promise<void> => {
      try {
        const data = await get<T>(path, stop.signal);
        setState({ path, data, error: null });
      } catch (trouble) {
        if (stop.signal.aborted) return;
        const error = trouble instanceof Refused ? trouble : new Refused(String(trouble), 0, "internal");
        // The last good answer stays: it is old, but it is not wrong.
        setState((old) => ({ path, data: error.status === 404 ? null : old.data, error }));
      }
      if (every > 0 && !stop.signal.aborted) timer = setTimeout(once, every);
    };
    void once();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, every, turn]);

  return { data: state.data, error: state.error, again };
}

/** A value that follows another when it has rested for a moment: for search fields. */
export function useRested<T>(value: T, rest = 180): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), rest);
    return () => clearTimeout(timer);
  }, [value, rest]);
  return rested;
}

/** Whether something holds for this window, as a media query says it. */
export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listener: () => void) => {
      const list = window.matchMedia(query);
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    [query],
  );
  return useSyncExternalStore(
    subscribe,
    () => window.matchMedia(query).matches,
    () => false,
  );
}

/** The width of an element, measured as it changes. */
export function useWidth<E extends Element>(): [React.RefObject<E | null>, number] {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}
