"use client";

import { useState } from "react";
import { useAction } from "@/components/actions";
import { Panel, Tag } from "@/components/parts";
import { post } from "@/lib/api";
import { parametersText } from "@/lib/format";
import { useDocument } from "@/lib/hooks";
import type { Policies, Reports } from "@/lib/types";

interface StartProps {
  reports: Reports | null;
  onDone: () => void;
}

const KINDS = ["routing", "fairness", "ordering"] as const;

export function StartRun({ reports, onDone }: StartProps) {
  const { data: policies } = useDocument<Policies>("/api/policies");
  const [workload, setWorkload] = useState("");
  const [chosen, setChosen] = useState<Record<string, string>>({});
  const [workers, setWorkers] = useState("4");
  const [jobs, setJobs] = useState("2000");
  const [rate, setRate] = useState("");
  const [seed, setSeed] = useState("0");
  const action = useAction();
  const running = reports?.running ?? null;
  const start = (): Promise<boolean> =>
    action.run(async () => {
      const { id } = await post<{ id: string }>("/api/lab/simulate", {
        workload: workload || (reports?.workloads[0] ?? ""),
        policies: Object.fromEntries(Object.entries(chosen).filter(([, name]) => name !== "")),
        workers: Number(workers),
        seed: Number(seed),
        rate: rate.trim() === "" ? null : Number(rate),
        jobs: Number(jobs),
      });
      return `Started ${id}`;
    });
  const number = (label: string, value: string, set: (text: string) => void, hint = "") => (
    <label className="field" style={{ flexBasis: 84 }}>
      {label}
      <input className="input num" inputMode="decimal" placeholder={hint} value={value} onChange={(event) => set(event.target.value)} />
    </label>
  );
  return (
    <Panel
      title="Start a run"
      side={
        running ? (
          <>
            <Tag tone="accent">runs: {parametersText(running.arguments)}</Tag>
            <button type="button" className="button" data-size="small" onClick={() => void action.run(async () => (await post("/api/lab/cancel"), "Stopped")).then(onDone)}>
              Stop
            </button>
          </>
        ) : null
      }
    >
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          void start().then(onDone);
        }}
      >
        <div className="form-row">
          <label className="field">
            Workload
            <select className="input" value={workload} onChange={(event) => setWorkload(event.target.value)}>
              {(reports?.workloads ?? []).map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          {KINDS.map((kind) => (
            <label key={kind} className="field">
              {kind[0]!.toUpperCase() + kind.slice(1)}
              <select className="input" value={chosen[kind] ?? ""} onChange={(event) => setChosen({ ...chosen, [kind]: event.target.value })}>
                <option value="">default</option>
                {(policies?.known ?? []).filter((one) => one.kind === kind).map((one) => (
                  <option key={one.name}>{one.name}</option>
                ))}
              </select>
            </label>
          ))}
          {number("Workers", workers, setWorkers)}
          {number("Jobs", jobs, setJobs)}
          {number("Rate ×", rate, setRate, "1")}
          {number("Seed", seed, setSeed)}
          <button type="submit" className="button" data-kind="primary" disabled={action.busy || running !== null}>
            {running ? "Runs…" : "Start"}
          </button>
        </div>
        {(action.error ?? reports?.last_error) && (
          <p className="error-text" role="alert">
            {action.error ?? reports?.last_error}
          </p>
        )}
      </form>
    </Panel>
  );
}
