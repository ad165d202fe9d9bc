// The dots: jobs on their way. A few rules keep them true. How many leave along a line in a second
// is its rate over `dot`, the number of jobs that one stands for; what happened once is a burst.

import { along, backwards, roundUp, theft, type Curve, type Scene } from "@/lib/flow";
import { colourOf } from "@/lib/states";
import type { Happening, Overview } from "@/lib/types";

interface Dot {
  curve: Curve;
  from: number;
  until: number;
  color: string;
  size: number;
}

interface Spring {
  curve: Curve;
  perS: number;
  color: () => string;
  owed: number;
}

const DOTS_PER_S = 36;
const TRAVEL_MS = 1_150;
const BURST = 14;
const MOST_DOTS = 600;

export class Motion {
  /** Jobs that one dot stands for. */
  dot = 1;
  private dots: Dot[] = [];
  private springs = new Map<string, Spring>();
  private seen: number | null = null;

  /** Take a new state: rates for the lines, and bursts for what happened since the last one. */
  take(overview: Overview, scene: Scene, now: number): void {
    const tenants = scene.tenants.map((row) => row.thing);
    const served = tenants.reduce((sum, one) => sum + (one.completed_per_s ?? 0), 0);
    this.dot = roundUp(Math.max(1, (overview.now?.completed_per_s ?? served) / DOTS_PER_S));
    const colours = tenants.map((one) => [one.completed_per_s ?? 0, colourOf(one.name)] as const);
    const any = (): string => {
      let left = Math.random() * served;
      for (const [rate, color] of colours) if ((left -= rate) <= 0) return color;
      return "var(--c1)";
    };
    const old = this.springs;
    this.springs = new Map();
    const spring = (key: string, curve: Curve | undefined, perS: number | null, color: () => string): void => {
      if (curve && perS) this.springs.set(key, { curve, perS: perS / this.dot, color, owed: old.get(key)?.owed ?? Math.random() });
    };
    for (const one of tenants) {
      const color = colourOf(one.name);
      spring(`in:${one.name}`, scene.inward.get(one.name), one.completed_per_s, () => color);
    }
    for (const { thing } of scene.workers)
      if (thing.state !== "dead") spring(`out:${thing.name}`, scene.outward.get(thing.name), thing.completed_per_s, any);
    spring("refused", scene.refused, overview.now?.rejected_per_s ?? null, () => "var(--c6)");
    this.happen(overview.recent, scene, now);
  }

  private happen(recent: Happening[], scene: Scene, now: number): void {
    const last = recent[recent.length - 1]?.seq ?? this.seen ?? 0;
    const news = this.seen === null ? [] : recent.filter((one) => one.seq > this.seen!);
    this.seen = last;
    for (const one of news) {
      const [curve, color] = wayOf(one, scene);
      if (curve) this.burst(curve, color, Math.min(BURST, one.jobs), now);
    }
  }

  private burst(curve: Curve, color: string, many: number, now: number): void {
    for (let at = 0; at < many; at += 1)
      this.dots.push({ curve, color, size: 3.4, from: now + at * 70, until: now + at * 70 + TRAVEL_MS * 1.25 });
  }

  /** Let `ms` pass. */
  pass(now: number, ms: number): void {
    for (const spring of this.springs.values()) {
      spring.owed += (spring.perS * ms) / 1_000;
      while (spring.owed >= 1) {
        spring.owed -= 1;
        if (this.dots.length < MOST_DOTS)
          this.dots.push({ curve: spring.curve, color: spring.color(), size: 2.5, from: now, until: now + TRAVEL_MS * (0.9 + Math.random() * 0.25) });
      }
    }
    this.dots = this.dots.filter((one) => one.until > now);
  }

  draw(canvas: CanvasRenderingContext2D, now: number, paint: (color: string) => string): void {
    for (const one of this.dots) {
      if (now < one.from) continue;
      const t = (now - one.from) / (one.until - one.from);
      const { x, y } = along(one.curve, t < 0.5 ? 2 * t * t : 1 - 2 * (1 - t) * (1 - t));
      canvas.globalAlpha = Math.min(1, t * 8, (1 - t) * 8);
      canvas.fillStyle = paint(one.color);
      canvas.beginPath();
      canvas.arc(x, y, one.size, 0, Math.PI * 2);
      canvas.fill();
    }
    canvas.globalAlpha = 1;
  }
}

function wayOf(event: Happening, scene: Scene): [Curve | null, string] {
  switch (event.kind) {
    case "stolen":
      return [event.from && event.to ? theft(scene, event.from, event.to) : null, "var(--c2)"];
    case "hedged":
      return [scene.outward.get(event.to ?? "") ?? null, "var(--c4)"];
    case "recovered": {
      const way = scene.outward.get(event.from ?? "");
      return [way ? backwards(way) : null, "var(--c6)"];
    }
    case "shed":
      return [scene.refused, "var(--c6)"];
    default:
      return [null, ""];
  }
}
