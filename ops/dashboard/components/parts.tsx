"use client";

import type { ReactNode } from "react";
import { durationParts } from "@/lib/format";

export type Tone = "ok" | "warn" | "bad" | "accent" | "mute";

export function PageHead({ title, children, tools }: { title: string; children?: ReactNode; tools?: ReactNode }) {
  return (
    <div className="page-head">
      <div>
        <h1>{title}</h1>
        {children && <p>{children}</p>}
      </div>
      {tools && <div className="tools">{tools}</div>}
    </div>
  );
}

interface PanelProps {
  title: string;
  hint?: ReactNode;
  side?: ReactNode;
  span?: string;
  flush?: boolean;
  children: ReactNode;
}

/** A region with a name: what a screen reader jumps between. */
export function Panel({ title, hint, side, span = "", flush = false, children }: PanelProps) {
  return (
    <section className={`panel ${span}`} aria-label={title}>
      <header>
        <h2>{title}</h2>
        {hint && <span className="hint cut">{hint}</span>}
        {side && <span className="side-note">{side}</span>}
      </header>
      <div className={flush ? "flush" : "body"}>{children}</div>
    </section>
  );
}

interface FigureProps {
  label: string;
  value: string;
  unit?: string;
  under?: ReactNode;
  swatch?: string;
  name?: string;
}

/** One number, its name above and what it hangs on below; `name` is for tests. */
export function Figure({ label, value, unit, under, swatch, name }: FigureProps) {
  return (
    <div className="figure">
      <dt>
        {swatch && <Swatch color={swatch} />}
        {label}
      </dt>
      <dd className="num" data-figure={name}>
        {value}
        {unit && <small>{unit}</small>}
      </dd>
      <dd className="under num" style={{ font: "inherit", letterSpacing: 0, fontSize: "var(--t-sm)" }}>
        {under}
      </dd>
    </div>
  );
}

export function DurationFigure({ seconds, ...rest }: Omit<FigureProps, "value" | "unit"> & { seconds: number | null | undefined }) {
  const [value, unit] = durationParts(seconds);
  return <Figure {...rest} value={value} unit={unit} />;
}

export function Swatch({ color }: { color: string }) {
  return <i className="swatch" style={{ "--swatch": color } as React.CSSProperties} />;
}

const SIGNS: Record<Tone, string> = { ok: "●", warn: "▲", bad: "✕", accent: "◆", mute: "○" };

/** A state in a word, with a sign: never by its colour alone. */
export function Tag({ tone = "mute", sign = true, children }: { tone?: Tone; sign?: boolean; children: ReactNode }) {
  return (
    <span className="tag" data-tone={tone}>
      {sign && (
        <span aria-hidden="true" style={{ fontSize: "0.58em" }}>
          {SIGNS[tone]}
        </span>
      )}
      {children}
    </span>
  );
}

interface MeterProps {
  value: number | null;
  mark?: number | null;
  color?: string;
  label: string;
}

/** A share of one; with `mark`, what it should be. */
export function Meter({ value, mark = null, color, label }: MeterProps) {
  const clamp = (number: number): number => Math.max(0, Math.min(1, number));
  const now = value === null ? 0 : clamp(value);
  return (
    <div
      className="meter"
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={1}
      aria-valuenow={Number(now.toFixed(3))}
      style={color ? ({ "--swatch": color } as React.CSSProperties) : undefined}
    >
      <i style={{ width: `${now * 100}%` }} />
      {mark !== null && <b style={{ left: `${clamp(mark) * 100}%` }} />}
    </div>
  );
}

export function Blank({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="blank">
      <b>{title}</b>
      {children && <p>{children}</p>}
    </div>
  );
}

/** The place of rows that are on their way: as high as they will be. */
export function Bones({ rows = 5, height = 33 }: { rows?: number; height?: number }) {
  return (
    <div role="status" aria-label="Loading" style={{ padding: "0 var(--s4)" }}>
      {Array.from({ length: rows }, (_, at) => (
        <div key={at} style={{ height, display: "flex", alignItems: "center" }}>
          <span className="bone" style={{ width: `${[72, 54, 83, 61, 47][at % 5]}%` }} />
        </div>
      ))}
    </div>
  );
}

export function Facts({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name} style={{ display: "contents" }}>
          <dt>{name}</dt>
          <dd className="num">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
