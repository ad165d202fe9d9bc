"use client";

import { useEffect, useMemo, useState } from "react";
import { Chart, type Line } from "@/components/chart";
import { Choice } from "@/components/choice";
import { Blank, Bones, Panel } from "@/components/parts";
import { Table } from "@/components/table";
import { get } from "@/lib/api";
import { figureName, figureText } from "@/lib/figures";
import { percent, quantity } from "@/lib/format";
import type { Report } from "@/lib/types";

const COLOURS = ["--c1", "--c2", "--c3", "--c4"];

/** Fetch several reports, and keep those that are still wanted. */
function useReports(names: string[]): [Map<string, Report>, string | null] {
  const [reports, setReports] = useState<Map<string, Report>>(new Map());
  const [error, setError] = useState<string | null>(null);
  const wanted = names.join("\n");
  useEffect(() => {
    const stop = new AbortController();
    setError(null);
    Promise.all(
      wanted.split("\n").map(async (name) => [name, await get<Report>(`/api/lab/reports/${encodeURIComponent(name)}`, stop.signal)] as const),
    ).then(
      (found) => setReports(new Map(found)),
      (trouble: Error) => stop.signal.aborted || setError(trouble.message),
    );
    return () => stop.abort();
  }, [wanted]);
  return [reports, error];
}

/** Points of several curves on one axis: where one has none, it keeps its last. */
export function merged(curves: [number, number][][], most = 400): { x: number[]; values: (number | null)[][] } {
  const all = [...new Set(curves.flatMap((curve) => curve.map(([x]) => x)))].sort((one, other) => one - other);
  const step = Math.max(1, Math.ceil(all.length / most));
  const x = all.filter((_, at) => at % step === 0 || at === all.length - 1);
  const values = curves.map((curve) => {
    let at = -1;
    return x.map((here) => {
      while (at + 1 < curve.length && curve[at + 1]![0] <= here) at += 1;
      return at < 0 ? null : curve[at]![1];
    });
  });
  return { x, values };
}

export function Compared({ names, onClose }: { names: string[]; onClose: () => void }) {
  const [reports, error] = useReports(names);
  const found = names.filter((name) => reports.has(name)).map((name) => ({ name, report: reports.get(name)! }));
  if (error)
    return (
      <Panel title="Report">
        <Blank title="The report could not be read">{error}</Blank>
      </Panel>
    );
  if (found.length === 0)
    return (
      <Panel title="Report">
        <Bones rows={6} />
      </Panel>
    );
  return (
    <>
      <Curves title="Distributions" kind="cdfs" found={found} onClose={onClose} />
      <Curves title="Over time" kind="timelines" found={found} />
      <Figures found={found} />
    </>
  );
}

type Found = { name: string; report: Report }[];

interface CurvesProps {
  title: string;
  kind: "cdfs" | "timelines";
  found: Found;
  onClose?: () => void;
}

function Curves({ title, kind, found, onClose }: CurvesProps) {
  const keys = useMemo(() => [...new Set(found.flatMap((one) => Object.keys(one.report[kind] ?? {})))], [found, kind]);
  const [chosen, setChosen] = useState<string | null>(null);
  const key = chosen !== null && keys.includes(chosen) ? chosen : (keys[0] ?? null);
  const { x, lines } = useMemo(() => {
    const { x, values } = merged(found.map((one) => (key ? (one.report[kind]?.[key] ?? []) : [])));
    const lines: Line[] = found.map((one, at) => ({ label: one.name, values: values[at] ?? [], color: COLOURS[at % COLOURS.length]!, width: 2 }));
    return { x, lines };
  }, [found, kind, key]);
  if (key === null) return null;
  const cdf = kind === "cdfs";
  const onX = (value: number): string => (cdf ? figureText(key, value) : `${quantity(value)} s`);
  return (
    <Panel
      title={title}
      hint={cdf ? "the part of jobs that took no longer" : undefined}
      side={
        <>
          <Choice label={title} options={keys.slice(0, 5).map(figureName)} value={figureName(key)} onChange={(name) => setChosen(keys.find((one) => figureName(one) === name) ?? null)} />
          {onClose && (
            <button type="button" className="button" data-size="small" data-kind="plain" onClick={onClose}>
              Close
            </button>
          )}
        </>
      }
    >
      <Chart
        label={`${title}: ${figureName(key)}`}
        x={x}
        lines={lines}
        axis="number"
        formatX={onX}
        format={cdf ? (value) => percent(value) : (value) => figureText(key, value)}
        maxY={cdf ? 1 : undefined}
        height={220}
      />
    </Panel>
  );
}

function Figures({ found }: { found: Found }) {
  const names = [...new Set(found.flatMap((one) => Object.keys(one.report.figures)))];
  return (
    <Panel title="Figures" flush>
      <Table
        label="Figures"
        rows={names}
        keyOf={(name) => name}
        columns={[
          { key: "figure", head: "Figure", cell: (name) => figureName(name) },
          ...found.map((one) => ({
            key: one.name,
            head: one.name,
            right: true,
            cell: (name: string) => figureText(name, one.report.figures[name]),
          })),
        ]}
      />
    </Panel>
  );
}
