"use client";

import { Fragment } from "react";
import { CELL, pathOf, type Row, type Scene } from "@/lib/flow";
import { count, percent, quantity } from "@/lib/format";
import { colourOf } from "@/lib/states";
import type { Overview, Tenant, Worker } from "@/lib/types";

const TONES: Record<string, string> = {
  alive: "var(--ok)",
  slow: "var(--warn)",
  unready: "var(--warn)",
  draining: "var(--accent)",
  dead: "var(--bad)",
};

/** As much of a name as has room; the whole one is in the title. */
function short(name: string, width: number): string {
  const most = Math.max(4, Math.floor(width / 7.2));
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
}

/** The picture: tenants' piles, the scheduler, workers with what they hold. */
export function FlowScene({ scene, overview }: { scene: Scene; overview: Overview }) {
  const fastest = Math.max(1, ...overview.tenants.map((one) => one.completed_per_s ?? 0));
  const busiest = Math.max(1, ...overview.workers.map((one) => one.completed_per_s ?? 0));
  return (
    <svg className="scene" width={scene.width} height={scene.height} role="img" aria-label={described(overview)}>
      <Heads scene={scene} />
      {scene.tenants.map((row) => (
        <path
          key={row.thing.name}
          className="link"
          d={pathOf(scene.inward.get(row.thing.name)!)}
          stroke={colourOf(row.thing.name)}
          strokeWidth={1 + (4 * (row.thing.completed_per_s ?? 0)) / fastest}
        />
      ))}
      {scene.workers.map((row) => (
        <path
          key={row.thing.name}
          className={row.thing.state === "dead" ? "link cut-off" : "link"}
          d={pathOf(scene.outward.get(row.thing.name)!)}
          stroke={row.thing.state === "dead" ? "var(--bad)" : "var(--c8)"}
          strokeWidth={1 + (4 * (row.thing.completed_per_s ?? 0)) / busiest}
        />
      ))}
      {scene.tenants.map((row) => (
        <TenantRow key={row.thing.name} row={row} scene={scene} color={colourOf(row.thing.name)} />
      ))}
      <Hub scene={scene} overview={overview} />
      {scene.workers.map((row) => (
        <WorkerRow key={row.thing.name} row={row} scene={scene} />
      ))}
    </svg>
  );
}

function described(overview: Overview): string {
  const dead = overview.workers.filter((one) => one.state === "dead").length;
  return (
    `${count(overview.waiting_jobs)} jobs of ${count(overview.tenants_active)} tenants wait, ` +
    `${count(overview.running_jobs)} run on ${count(overview.workers_alive)} workers` +
    (dead ? `, ${count(dead)} workers are dead` : "")
  );
}

function Heads({ scene }: { scene: Scene }) {
  const { left, right, hub } = scene;
  const more = (many: number): string => (many > 0 ? ` (${count(many)} more)` : "");
  return (
    <g className="heads">
      <text x={left.x} y={16}>
        {scene.narrow ? "Tenants" : `Tenant streams${more(scene.moreTenants)}`}
      </text>
      {!scene.narrow && (
        <text x={hub.x + hub.width / 2} y={16} textAnchor="middle">
          Scheduler
        </text>
      )}
      <text x={right.x} y={16}>
        {scene.narrow ? "Workers" : `Worker streams${more(scene.moreWorkers)}`}
      </text>
    </g>
  );
}

function TenantRow({ row, scene, color }: { row: Row<Tenant>; scene: Scene; color: string }) {
  const { thing, y } = row;
  const { x, width } = scene.left;
  const boxes = Math.min(Math.floor(width / CELL), Math.ceil(thing.waiting_jobs / scene.box));
  return (
    <g data-tenant={thing.name}>
      <title>{`${thing.name}: ${count(thing.waiting_jobs)} wait, weight ${thing.weight}, ${percent(thing.share)} of the cost served`}</title>
      <text className="what" x={x} y={y - 8}>
        {short(thing.name, width * 0.6)}
      </text>
      <text className="value" x={x + width} y={y - 8} textAnchor="end">
        {count(thing.waiting_jobs)}
        {!scene.narrow && <tspan className="unit"> wait</tspan>}
      </text>
      <rect className="bed" x={x} y={y} width={width} height={16} rx={4} />
      {Array.from({ length: boxes }, (_, at) => (
        <rect key={at} className="box" x={x + width - 3 - (at + 1) * CELL + 2} y={y + 3} width={CELL - 2} height={10} rx={2} fill={color} />
      ))}
    </g>
  );
}

function WorkerRow({ row, scene }: { row: Row<Worker>; scene: Scene }) {
  const { thing, y } = row;
  const { x, width } = scene.right;
  const dead = thing.state === "dead";
  const room = Math.floor((width - 6) / CELL);
  const waits = Math.max(0, thing.stream_jobs - thing.running_jobs);
  const slots = Math.min(thing.slots, Math.max(1, room - 4));
  const queue = Math.min(waits, Math.max(0, room - slots - 1));
  const taken = Math.round((Math.min(thing.running_jobs, thing.slots) / Math.max(1, thing.slots)) * slots);
  const start = x + 3 + queue * CELL + (queue ? 5 : 0);
  return (
    <g data-worker={thing.name} data-state={thing.state} opacity={dead ? 0.85 : 1}>
      <title>{`${thing.name}: ${thing.state}, ${thing.running_jobs} of ${thing.slots} slots, ${waits} in its stream, KV ${percent(thing.kv_used)}`}</title>
      <circle cx={x + 4} cy={y - 12} r={3.5} fill={dead ? "none" : TONES[thing.state]} stroke={TONES[thing.state]} strokeWidth={1.6} />
      <text className="what" x={x + 14} y={y - 8}>
        {short(thing.name, width * (scene.narrow ? 0.9 : 0.5) - 14)}
      </text>
      {!scene.narrow && (
        <text className="value" x={x + width} y={y - 8} textAnchor="end">
          {thing.state === "alive" ? (
            <>
              {quantity(thing.completed_per_s)}
              <tspan className="unit">/s</tspan>
            </>
          ) : (
            <tspan fill={TONES[thing.state]}>{thing.state}</tspan>
          )}
        </text>
      )}
      <rect className={dead ? "bed gone" : "bed"} x={x} y={y} width={width} height={16} rx={4} />
      {Array.from({ length: queue }, (_, at) => (
        <rect key={`q${at}`} className="box" x={x + 3 + at * CELL} y={y + 3} width={CELL - 2} height={10} rx={2} fill="var(--c8)" />
      ))}
      {!dead &&
        Array.from({ length: slots }, (_, at) => (
          <rect
            key={at}
            className={at < taken ? "slot on" : "slot"}
            x={start + at * CELL + 0.5}
            y={y + 3.5}
            width={CELL - 3}
            height={9}
            rx={2}
          />
        ))}
      {!dead && thing.kv_used !== null && (
        <rect className="kv" x={x} y={y + 19} width={Math.max(0, width * Math.min(1, thing.kv_used))} height={2} rx={1} />
      )}
    </g>
  );
}

function Hub({ scene, overview }: { scene: Scene; overview: Overview }) {
  const { x, y, width, height } = scene.hub;
  const middle = x + width / 2;
  const policy = (kind: string): string => overview.policies.in_force.find((one) => one.kind === kind)?.name ?? "–";
  const kinds = ["admission", "fairness", "ordering", "routing", "hedging"];
  const foot = scene.refused[3];
  const refused = overview.now?.rejected_per_s ?? 0;
  return (
    <g data-hub={overview.leader ? "led" : "leaderless"}>
      <rect className={overview.leader ? "hub" : "hub gone"} x={x} y={y} width={width} height={height} rx={12} />
      <text className="big" x={middle} y={y + 34} textAnchor="middle">
        {quantity(overview.now?.completed_per_s)}
      </text>
      <text className="unit" x={middle} y={y + 51} textAnchor="middle">
        {scene.narrow ? "jobs/s" : "jobs/s completed"}
      </text>
      {scene.narrow ? null : (
        <g>
          {kinds.map((kind, at) => (
            <Fragment key={kind}>
              <text className="unit" x={x + 16} y={y + 78 + at * 17}>
                {kind}
              </text>
              <text className="value" x={x + width - 16} y={y + 78 + at * 17} textAnchor="end">
                {short(policy(kind), 96)}
              </text>
            </Fragment>
          ))}
        </g>
      )}
      {!overview.leader && (
        <text className="value" x={middle} y={y - 10} textAnchor="middle" fill="var(--bad)">
          nobody leads
        </text>
      )}
      <path className="link" d={pathOf(scene.refused)} stroke="var(--c6)" strokeWidth={refused > 0 ? 2 : 1} />
      <text className="unit" x={foot.x} y={foot.y + 14} textAnchor="middle">
        refused {quantity(refused)}/s
      </text>
    </g>
  );
}
