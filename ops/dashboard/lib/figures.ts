// Figures of the laboratory carry their unit in their name.

import { count, duration, percent, quantity } from "@/lib/format";

type Given = number | null | undefined;

export function figureText(name: string, value: Given): string {
  if (/_ms(_|$)/.test(name)) return duration(value === null || value === undefined ? value : value / 1_000);
  if (/_s(_p\d+|_mean)?$/.test(name) && !name.includes("per_s")) return duration(value);
  if (/(share|ratio|attainment|utilisation|utilization|used)$/.test(name)) return percent(value, 1);
  if (/_(jobs|tokens|requests)$/.test(name)) return count(value);
  return quantity(value);
}

const UNITS = /_(ms|s)(?=_|$)/;

/** `ttft_ms_p95` as a person writes it. */
export function figureName(name: string): string {
  return name.replace("_per_s", " per second").replace(UNITS, "").replaceAll("_", " ").replace(/\b(ttft|tpot|e2e|kv|slo)\b/g, (word) => word.toUpperCase());
}
