// Numbers for people: short, of stable width, and a dash for what is not known.

export const DASH = "–";

type Given = number | null | undefined;

const known = (value: Given): value is number => typeof value === "number" && Number.isFinite(value);

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 12,345 up to a hundred thousand, then 123k, 4.5M. */
export function count(value: Given): string {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size < 100_000) return whole.format(value);
  if (size < 1_000_000) return `${(value / 1_000).toFixed(0)}k`;
  if (size < 1_000_000_000) return `${(value / 1_000_000).toFixed(size < 10_000_000 ? 2 : 1)}M`;
  return `${(value / 1_000_000_000).toFixed(2)}B`;
}

/** A rate or another quantity that need not be whole. */
export function quantity(value: Given): string {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 10) return value.toFixed(size < 1 ? 2 : 1);
  return size < 10_000 ? whole.format(value) : count(value);
}

/** Seconds as a number and its unit, apart: the unit is set smaller. */
export function durationParts(seconds: Given): [string, string] {
  if (!known(seconds)) return [DASH, ""];
  const size = Math.abs(seconds);
  if (size < 0.0000005) return ["0", "ms"];
  if (size < 0.001) return [(seconds * 1e6).toFixed(0), "µs"];
  if (size < 0.9995) return [(seconds * 1e3).toFixed(size < 0.00995 ? 1 : 0), "ms"];
  if (size < 99.95) return [seconds.toFixed(size < 9.995 ? 2 : 1), "s"];
  if (size < 5_970) return [(seconds / 60).toFixed(size < 597 ? 1 : 0), "min"];
  if (size < 172_800) return [(seconds / 3600).toFixed(1), "h"];
  return [(seconds / 86_400).toFixed(1), "d"];
}

export function duration(seconds: Given): string {
  const [number, unit] = durationParts(seconds);
  return unit ? `${number} ${unit}` : number;
}

export function percent(ratio: Given, digits = 0): string {
  return known(ratio) ? `${(ratio * 100).toFixed(digits)}%` : DASH;
}

export function bytes(value: Given): string {
  if (!known(value)) return DASH;
  if (value < 1_000) return `${value} B`;
  return value < 1_000_000 ? `${(value / 1_000).toFixed(0)} kB` : `${(value / 1_000_000).toFixed(1)} MB`;
}

/** The time of day of seconds since the epoch, here. */
export function clock(at: Given): string {
  if (!known(at)) return DASH;
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

export function day(at: Given): string {
  if (!known(at)) return DASH;
  return new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** A word of the API as a phrase: `worker_dead` -> `worker dead`. */
export const words = (text: string): string => text.replaceAll("_", " ");

export const plural = (many: number, one: string, more = `${one}s`): string =>
  `${count(many)} ${many === 1 ? one : more}`;

/** A parameter as it is written in JSON, short. */
export function literal(value: unknown): string {
  if (value === null || value === undefined) return "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Parameters of a policy in a line. */
export const parametersText = (parameters: Record<string, unknown>): string =>
  Object.entries(parameters)
    .map(([name, value]) => `${name} ${literal(value)}`)
    .join(", ");
