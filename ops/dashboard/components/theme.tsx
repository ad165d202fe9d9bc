"use client";

import { useCallback, useSyncExternalStore } from "react";
import { Icon } from "@/components/icons";

type Theme = "light" | "dark";

const KEY = "parallax-theme";
const listeners = new Set<() => void>();

function kept(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function apply(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = (): void => {
    if (kept() === null) apply(system.matches ? "dark" : "light");
  };
  system.addEventListener("change", follow);
  return () => {
    listeners.delete(listener);
    system.removeEventListener("change", follow);
  };
}

export const useTheme = (): Theme =>
  useSyncExternalStore(
    subscribe,
    () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light"),
    () => "light",
  );

export function ThemeButton() {
  const theme = useTheme();
  const other: Theme = theme === "dark" ? "light" : "dark";
  const change = useCallback(() => {
    try {
      localStorage.setItem(KEY, other);
    } catch {
      // Not kept, then; it holds for this page.
    }
    apply(other);
  }, [other]);
  return (
    <button type="button" className="icon-button" aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`} onClick={change}>
      <Icon name={theme === "dark" ? "sun" : "moon"} />
    </button>
  );
}
