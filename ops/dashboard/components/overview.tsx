"use client";

import Link from "next/link";
import { Blank, Meter, Panel, Swatch, Tag } from "@/components/parts";
import { Table } from "@/components/table";
import { clock, count, duration, percent, quantity, words } from "@/lib/format";
import { colourOf, EVENT_TONES, sentence, workerTone } from "@/lib/states";
import type { Happening, LatencyName, Overview, Spread } from "@/lib/types";

interface Part {
  overview: Overview;
  span: string;
}

const LATENCIES: [LatencyName, string][] = [
  ["queue_wait_s", "Queue wait"],
  ["ttft_s", "Time to first token"],
  ["tpot_s", "Time per output token"],
  ["e2e_s", "End to end"],
];

export function LatencyTable({ overview, span }: Part) {
  const rows = LATENCIES.map(([key, label]) => ({ key, label, spread: overview.latency?.[key] ?? null }));
  const error = overview.latency_error;
  const cell = (which: "p50" | "p95" | "p99") => (row: { spread: Spread | null }) => duration(row.spread?.[which]);
  return (
    <Panel title="Percentiles" hint={error === null ? "over a minute" : `over a minute, within ${percent(error)}`} span={span} flush>
      <Table
        label="Percentiles of latency"
        keyOf={(row) => row.key}
        rows={rows}
        columns={[
          { key: "what", head: "Latency", cell: (row) => row.label },
          { key: "p50", head: "p50", right: true, cell: cell("p50") },
          { key: "p95", head: "p95", right: true, cell: cell("p95") },
          { key: "p99", head: "p99", right: true, cell: cell("p99") },
          { key: "count", head: "Jobs", right: true, cell: (row) => count(row.spread?.count) },
        ]}
      />
    </Panel>
  );
}

export function TenantShares({ overview, span }: Part) {
  const most = overview.tenants.slice(0, 8);
  return (
    <Panel
      title="Tenants"
      hint="share of the cost served; the mark is what the weight is due"
      span={span}
      side={<Link prefetch={false} href="/tenants/">All</Link>}
    >
      {most.length === 0 ? (
        <Blank title="No tenant yet">
          A tenant appears with its first job: <code>parallax submit --tenant acme …</code>
        </Blank>
      ) : (
        <ul className="shares">
          {most.map((tenant) => (
            <li key={tenant.name}>
              <span className="cut name">
                <Swatch color={colourOf(tenant.name)} />
                <span className="cut">{tenant.name}</span>
              </span>
              <Meter
                value={tenant.share}
                mark={tenant.due}
                color={colourOf(tenant.name)}
                label={`Share of ${tenant.name}: ${percent(tenant.share)}, due ${percent(tenant.due)}`}
              />
              <span className="num right">{percent(tenant.share)}</span>
              <span className="num right faint">{count(tenant.waiting_jobs)} wait</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

export function WorkerRows({ overview, span }: Part) {
  const some = overview.workers.slice(0, 8);
  return (
    <Panel title="Workers" hint="slots that run something" span={span} side={<Link prefetch={false} href="/workers/">All</Link>}>
      {some.length === 0 ? (
        <Blank title="No worker">
          Jobs wait until one joins: <code>parallax worker --engine echo</code>
        </Blank>
      ) : (
        <ul className="shares workers">
          {some.map((worker) => (
            <li key={worker.name}>
              <span className="cut name">
                <span className="cut">{worker.name}</span>
              </span>
              <Meter
                value={worker.slots ? worker.running_jobs / worker.slots : null}
                color={worker.state === "dead" ? "var(--c8)" : "var(--c1)"}
                label={`${worker.name} runs ${worker.running_jobs} of ${worker.slots}`}
              />
              <span className="num right">
                {count(worker.running_jobs)}
                <span className="faint">/{count(worker.slots)}</span>
              </span>
              <span className="right">
                <Tag tone={workerTone(worker.state)}>{worker.state}</Tag>
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

export function Recent({ events, span }: { events: Happening[]; span: string }) {
  const latest = events.slice(-7).reverse();
  return (
    <Panel title="Recent" hint="what was out of the ordinary" span={span} flush>
      {latest.length === 0 ? (
        <Blank title="Nothing out of the ordinary">Steals, hedges, deaths and changes of policy are told here.</Blank>
      ) : (
        <ol className="events">
          {latest.map((event) => (
            <li key={event.seq}>
              <time className="num">{clock(event.at)}</time>
              <span>
                <Tag tone={EVENT_TONES[event.kind] ?? "mute"} sign={false}>
                  {words(event.kind)}
                </Tag>
              </span>
              <span className="cut" title={sentence(event)}>
                {event.job ? <Link prefetch={false} href={`/jobs/?id=${encodeURIComponent(event.job)}`}>{sentence(event)}</Link> : sentence(event)}
              </span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

const ENDS: [string, string, string][] = [
  ["completed", "completed_per_s", "Completed"],
  ["rejected", "rejected_per_s", "Refused"],
  ["expired", "expired_per_s", "Expired"],
  ["failed", "failed_per_s", "Failed"],
  ["cancelled", "cancelled_per_s", "Cancelled"],
  ["hedged", "hedged_per_s", "Hedged"],
  ["stolen", "stolen_per_s", "Stolen"],
  ["recovered", "recovered_per_s", "Recovered"],
];

/** How jobs came in and went out, and why some were refused. */
export function Admissions({ overview, span }: Part) {
  const reasons = Object.entries(overview.rejected_totals).filter(([, jobs]) => jobs > 0);
  return (
    <Panel
      title="Admission and outcomes"
      hint={`${quantity(overview.rates?.submitted_per_s)}/s submitted, ${quantity(overview.rates?.admitted_per_s)}/s admitted`}
      span={span}
      flush
    >
      <Table
        label="Admission and outcomes"
        keyOf={([name]) => name}
        rows={ENDS}
        columns={[
          {
            key: "what",
            head: "Jobs",
            cell: ([name, , label]) => (
              <span>
                {label}
                {name === "rejected" && reasons.length > 0 && (
                  <span className="faint"> {reasons.map(([why, jobs]) => `${words(why)} ${count(jobs)}`).join(", ")}</span>
                )}
              </span>
            ),
          },
          { key: "rate", head: "Per second", right: true, cell: ([, rate]) => quantity(overview.rates?.[rate]) },
          { key: "total", head: "In all", right: true, cell: ([name]) => count(overview.totals[name]) },
        ]}
      />
    </Panel>
  );
}
