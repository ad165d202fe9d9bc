"use client";

import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import { useTheme } from "@/components/theme";
import { useWidth } from "@/lib/hooks";
import type { Maybe } from "@/lib/types";

export interface Line {
  label: string;
  values: Maybe[];
  /** A colour of the palette: `--c1`. */
  color: string;
  fill?: boolean;
  dash?: number[];
  width?: number;
}

interface ChartProps {
  x: number[];
  lines: Line[];
  format: (value: Maybe) => string;
  label: string;
  height?: number;
  /** Seconds of time that are shown, up to the last point; else all. */
  span?: number;
  /** What the x axis counts: the time of day, or a plain number. */
  axis?: "clock" | "number";
  formatX?: (value: number) => string;
  empty?: string;
  maxY?: number;
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const clockOf = (seconds: number): string =>
  new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

function options(given: ChartProps, width: number, height: number): uPlot.Options {
  const axis: Partial<uPlot.Axis> = {
    stroke: colour("--faint"),
    font: `11px ${colour("--font")}`,
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { show: false },
  };
  const formatX = given.formatX ?? (given.axis === "number" ? String : clockOf);
  return {
    width,
    height,
    padding: [8, 24, 0, 0],
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    legend: { show: false },
    scales: {
      x: { time: false, range: (_, low, high) => (given.span ? [high - given.span, high] : [low, high === low ? low + 1 : high]) },
      y: { range: (_, __, high) => [0, given.maxY ?? (high > 0 ? high * 1.12 : 1)] },
    },
    axes: [
      { ...axis, size: 26, space: 96, grid: { show: false }, values: (_, splits) => splits.map((one) => formatX(one)) },
      { ...axis, size: 58, space: 36, values: (_, splits) => splits.map((one) => given.format(one)) },
    ],
    series: [
      {},
      ...given.lines.map((line) => ({
        label: line.label,
        stroke: colour(line.color),
        width: line.width ?? 1.6,
        dash: line.dash,
        fill: line.fill ? `${colour(line.color)}1f` : undefined,
        points: { show: false },
        spanGaps: false,
      })),
    ],
  };
}

/** Lines over time on a canvas, with a legend that tells the values under the pointer. */
export function Chart(given: ChartProps) {
  const { x, lines, format, label, height = 190, empty = "Nothing yet" } = given;
  const [box, width] = useWidth<HTMLDivElement>();
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(given);
  const [under, setUnder] = useState<number | null>(null);
  const theme = useTheme();
  const shape = lines.map((line) => line.label + line.color).join();
  latest.current = given;

  useEffect(() => {
    if (!box.current || width === 0) return;
    const mine = new uPlot(options(latest.current, width, height), [[], ...latest.current.lines.map(() => [])], box.current);
    mine.setData([latest.current.x, ...latest.current.lines.map((line) => line.values)] as uPlot.AlignedData);
    mine.over.addEventListener("pointermove", () => setUnder(mine.cursor.idx ?? null));
    mine.over.addEventListener("pointerleave", () => setUnder(null));
    plot.current = mine;
    return () => {
      mine.destroy();
      plot.current = null;
    };
    // The rest of what is given is data: it is set below, without a new plot.
  }, [width, height, theme, shape, box]);

  useEffect(() => {
    plot.current?.setData([x, ...lines.map((line) => line.values)] as uPlot.AlignedData);
  }, [x, lines]);

  const at = under !== null && under < x.length ? under : x.length - 1;
  const some = lines.some((line) => line.values.some((value) => value !== null));
  const told = lines.map((line) => `${line.label} ${format(line.values[x.length - 1] ?? null)}`).join(", ");
  return (
    <figure>
      <div ref={box} className="chart" style={{ height }} role="img" aria-label={`${label}: ${some ? told : empty}`}>
        {!some && <span className="nothing">{empty}</span>}
      </div>
      <figcaption className="legend num" style={{ marginTop: 6 }}>
        {lines.map((line) => (
          <span key={line.label}>
            <i className="swatch" style={{ background: `var(${line.color})` }} />
            {line.label} <b style={{ minWidth: "5ch" }}>{format(line.values[at] ?? null)}</b>
          </span>
        ))}
        <span className="faint" style={{ marginLeft: "auto", visibility: under !== null && x[at] !== undefined ? "visible" : "hidden" }}>
          {x[at] !== undefined ? (given.formatX ?? clockOf)(x[at]!) : "–"}
        </span>
      </figcaption>
    </figure>
  );
}
