// Where everything stands in the picture of the flow, and the lines along which jobs move.
// Pure: a state and a width in, numbers out.

import type { Overview, Tenant, Worker } from "@/lib/types";

export interface Point {
  x: number;
  y: number;
}

/** A cubic: two ends and what bends it. */
export type Curve = readonly [Point, Point, Point, Point];

export interface Row<Thing> {
  thing: Thing;
  y: number;
}

export interface Scene {
  width: number;
  height: number;
  narrow: boolean;
  tenants: Row<Tenant>[];
  workers: Row<Worker>[];
  moreTenants: number;
  moreWorkers: number;
  left: { x: number; width: number };
  hub: { x: number; y: number; width: number; height: number };
  right: { x: number; width: number };
  /** Jobs that one box of a pile stands for. */
  box: number;
  inward: Map<string, Curve>;
  outward: Map<string, Curve>;
  refused: Curve;
}

export const CELL = 9;
const MOST_ROWS = 12;
const ROW = 58;
const TOP = 34;

/** 1, 2, 5, 10, 20, 50 ...: the first that is not below. */
export function roundUp(least: number): number {
  for (let power = 1; ; power *= 10)
    for (const step of [1, 2, 5]) if (step * power >= least) return step * power;
}

const byName = (one: { name: string }, other: { name: string }): number => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0);

export function between(from: Point, to: Point, bend = 0.5): Curve {
  const reach = (to.x - from.x) * bend;
  return [from, { x: from.x + reach, y: from.y }, { x: to.x - reach, y: to.y }, to];
}

export function pathOf([from, one, two, to]: Curve): string {
  return `M${from.x} ${from.y}C${one.x} ${one.y} ${two.x} ${two.y} ${to.x} ${to.y}`;
}

export function along([from, one, two, to]: Curve, t: number): Point {
  const u = 1 - t;
  const [a, b, c, d] = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
  return { x: a * from.x + b * one.x + c * two.x + d * to.x, y: a * from.y + b * one.y + c * two.y + d * to.y };
}

function rows<Thing>(things: Thing[], height: number): Row<Thing>[] {
  const first = (height - things.length * ROW) / 2 + ROW / 2;
  return things.map((thing, at) => ({ thing, y: first + at * ROW }));
}

/** Spread the ends of many lines over a side of the hub, in their order. */
const port = (at: number, many: number, hub: Scene["hub"]): number =>
  hub.y + (hub.height * (at + 1)) / (many + 1);

export function scene(overview: Overview, width: number): Scene {
  const narrow = width < 640;
  const tenants = overview.tenants.slice(0, MOST_ROWS).sort(byName);
  const workers = overview.workers.slice(0, MOST_ROWS).sort(byName);
  const height = TOP + Math.max(5, tenants.length, workers.length) * ROW + 34;
  const margin = narrow ? 14 : 40;
  const side = narrow ? Math.floor((width - margin - 76 - 48) / 2) : Math.min(300, Math.floor(width * 0.25));
  const hubWidth = narrow ? 76 : 184;
  const left = { x: 0, width: side };
  const right = { x: width - margin - side, width: side };
  const hubHeight = 168;
  const hub = {
    x: (left.width + right.x - hubWidth) / 2,
    y: (height - hubHeight) / 2 - 8,
    width: hubWidth,
    height: hubHeight,
  };
  const tenantRows = rows(tenants, height - 20);
  const workerRows = rows(workers, height - 20);
  const most = Math.max(1, ...tenants.map((one) => one.waiting_jobs));
  const inward = new Map(
    tenantRows.map((row, at) => [
      row.thing.name,
      between({ x: left.width + 6, y: row.y + 8 }, { x: hub.x, y: port(at, tenantRows.length, hub) }),
    ]),
  );
  const outward = new Map(
    workerRows.map((row, at) => [
      row.thing.name,
      between({ x: hub.x + hubWidth, y: port(at, workerRows.length, hub) }, { x: right.x - 6, y: row.y + 8 }),
    ]),
  );
  const foot = { x: hub.x + hubWidth / 2, y: hub.y + hubHeight };
  return {
    width,
    height,
    narrow,
    tenants: tenantRows,
    workers: workerRows,
    moreTenants: overview.tenants.length - tenants.length + overview.tenants_left_out,
    moreWorkers: overview.workers.length - workers.length + overview.workers_left_out,
    left,
    hub,
    right,
    box: roundUp(most / Math.floor(side / CELL)),
    inward,
    outward,
    refused: [foot, { x: foot.x, y: foot.y + 20 }, { x: foot.x, y: foot.y + 30 }, { x: foot.x, y: foot.y + 52 }],
  };
}

/** The way of stolen jobs: out of one worker's row and, on the outside, into another's. */
export function theft(scene: Scene, from: string, to: string): Curve | null {
  const [one, other] = [from, to].map((name) => scene.workers.find((row) => row.thing.name === name));
  if (!one || !other) return null;
  const x = scene.right.x + scene.right.width + 4;
  const out = x + (scene.narrow ? 14 : 44);
  return [
    { x, y: one.y + 8 },
    { x: out, y: one.y + 8 },
    { x: out, y: other.y + 8 },
    { x, y: other.y + 8 },
  ];
}

export function backwards(curve: Curve): Curve {
  return [curve[3], curve[2], curve[1], curve[0]];
}
