"use client";

import { useMemo, useState } from "react";
import { Chart } from "@/components/chart";
import { Admissions, LatencyTable, Recent, TenantShares, WorkerRows } from "@/components/overview";
import { Blank, Bones, DurationFigure, Figure, PageHead, Panel } from "@/components/parts";
import { Choice } from "@/components/choice";
import { count, duration, percent, quantity } from "@/lib/format";
import { useFeed, useHistory } from "@/lib/hooks";
import type { Overview } from "@/lib/types";

export default function OverviewPage() {
  const { overview, phase } = useFeed();
  return (
    <>
      <PageHead title="Overview" />
      {overview === null ? phase === "disconnected" ? <Away /> : <Waiting /> : <Full overview={overview} />}
    </>
  );
}

function Away() {
  return (
    <Panel title="No connection">
      <Blank title="The dashboard's server does not answer">
        Start it with <code>parallax dashboard</code>, or with <code>parallax up --dashboard</code>. This page connects by itself.
      </Blank>
    </Panel>
  );
}

function Waiting() {
  return (
    <div className="grid">
      <div className="span-12 figures" style={{ height: 90 }} role="status" aria-label="Loading" />
      <Panel title="Throughput" span="span-6">
        <Bones rows={6} />
      </Panel>
      <Panel title="Latency" span="span-6">
        <Bones rows={6} />
      </Panel>
    </div>
  );
}

function Figures({ overview }: { overview: Overview }) {
  const { now, rates, latency } = overview;
  const kv = overview.workers.filter((one) => one.state !== "dead" && one.kv_used !== null);
  const used = kv.length ? kv.reduce((sum, one) => sum + (one.kv_used ?? 0), 0) / kv.length : null;
  return (
    <dl className={overview.stale ? "figures aged" : "figures"}>
      <Figure
        label="Completed"
        value={quantity(now?.completed_per_s)}
        unit="/s"
        name="completed_per_s"
        under={`${quantity(rates?.completed_per_s)}/s over a minute`}
      />
      <Figure
        label="Output tokens"
        value={quantity(now?.output_tokens_per_s)}
        unit="/s"
        name="output_tokens_per_s"
        under={`${percent(rates?.cache_hit_ratio, 1)} of prompts cached`}
      />
      <Figure
        label="Waiting"
        value={`${overview.waiting_is_exact ? "" : "≥"}${count(overview.waiting_jobs)}`}
        unit="jobs"
        name="waiting_jobs"
        under={`${duration(overview.backlog_s)} of work`}
      />
      <Figure
        label="Running"
        value={count(overview.running_jobs)}
        unit={`of ${count(overview.slots)} slots`}
        name="running_jobs"
        under={used === null ? " " : `KV ${percent(used)} full`}
      />
      <DurationFigure
        label="TTFT p95"
        seconds={latency?.ttft_s?.p95}
        name="ttft_p95"
        under={`p50 ${duration(latency?.ttft_s?.p50)}`}
      />
      <DurationFigure label="E2E p95" seconds={latency?.e2e_s?.p95} name="e2e_p95" under={`p50 ${duration(latency?.e2e_s?.p50)}`} />
      <Figure
        label="Workers"
        value={count(overview.workers_alive)}
        unit={`of ${count(overview.workers_total)}`}
        name="workers_alive"
        under={overview.totals.worker_deaths ? `${count(overview.totals.worker_deaths)} died` : "none died"}
      />
      <Figure
        label="Dead letters"
        value={count(overview.dead_letters)}
        name="dead_letters"
        under={`${count(overview.totals.completed)} completed in all`}
      />
    </dl>
  );
}

const SPANS: Record<string, number> = { "2 min": 120, "5 min": 300, "15 min": 900 };
const KINDS = { TTFT: "ttft", "End to end": "e2e", "Queue wait": "queue_wait" } as const;

function Charts() {
  const history = useHistory();
  const [span, setSpan] = useState("2 min");
  const [kind, setKind] = useState<keyof typeof KINDS>("TTFT");
  const rates = useMemo(
    () => [
      { label: "completed", values: history.completed_per_s, color: "--c3", fill: true, width: 2 },
      { label: "submitted", values: history.submitted_per_s, color: "--c1" },
      { label: "refused", values: history.rejected_per_s, color: "--c6", dash: [4, 3] },
    ],
    [history],
  );
  const name = KINDS[kind];
  const latencies = useMemo(
    () => [
      { label: "p50", values: history[`${name}_p50_s`], color: "--c3" },
      { label: "p95", values: history[`${name}_p95_s`], color: "--c1", width: 2 },
      { label: "p99", values: history[`${name}_p99_s`], color: "--c2", dash: [4, 3] },
    ],
    [history, name],
  );
  const jobs = useMemo(
    () => [
      { label: "waiting", values: history.waiting_jobs, color: "--c2", fill: true },
      { label: "running", values: history.running_jobs, color: "--c1", width: 2 },
      { label: "slots", values: history.slots, color: "--c8", dash: [2, 3] },
    ],
    [history],
  );
  return (
    <>
      <Panel
        title="Throughput"
        hint="jobs per second"
        span="span-6"
        side={<Choice label="Time shown" options={Object.keys(SPANS)} value={span} onChange={setSpan} />}
      >
        <Chart label="Throughput" x={history.at} lines={rates} format={quantity} span={SPANS[span]} />
      </Panel>
      <Panel
        title="Latency"
        hint="over a minute"
        span="span-6"
        side={
          <Choice label="Latency" options={Object.keys(KINDS)} value={kind} onChange={(one) => setKind(one as keyof typeof KINDS)} />
        }
      >
        <Chart label={`Latency, ${kind}`} x={history.at} lines={latencies} format={duration} span={SPANS[span]} />
      </Panel>
      <Panel title="Backlog" hint="jobs that wait, and that run" span="span-6">
        <Chart label="Backlog" x={history.at} lines={jobs} format={count} span={SPANS[span]} height={150} />
      </Panel>
    </>
  );
}

function Full({ overview }: { overview: Overview }) {
  return (
    <>
      <Figures overview={overview} />
      <div className="grid">
        <Charts />
        <LatencyTable overview={overview} span="span-6" />
        <TenantShares overview={overview} span="span-6" />
        <WorkerRows overview={overview} span="span-6" />
        <Recent events={overview.recent} span="span-6" />
        <Admissions overview={overview} span="span-6" />
      </div>
    </>
  );
}
