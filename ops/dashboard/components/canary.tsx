"use client";

import { useState } from "react";
import { useAction } from "@/components/actions";
import { ParameterFields, parametersOf, type Drafts } from "@/components/parameters";
import { Facts, Meter, Panel, Tag, type Tone } from "@/components/parts";
import { Table } from "@/components/table";
import { post } from "@/lib/api";
import { count, duration, percent, parametersText, words } from "@/lib/format";
import type { Arm, Canary, Policies, Verdict } from "@/lib/types";

interface PanelProps {
  policies: Policies;
  onDone: () => void;
}

export function CanaryPanel({ policies, onDone }: PanelProps) {
  const { canary, verdict } = policies;
  return (
    <div className="grid">
      <Panel
        title="Canary"
        hint={canary ? "a part of the sessions tries it" : "try a routing policy on a part of the sessions"}
        span="span-7"
        side={canary && <Word word={canary.word} />}
      >
        {canary ? <Running canary={canary} onDone={onDone} /> : <Start policies={policies} onDone={onDone} />}
      </Panel>
      <Panel title="Last verdict" span="span-5" side={verdict && <Word word={verdict.word} />}>
        {verdict ? <Ended verdict={verdict} /> : <p className="faint">No canary has ended in this cell.</p>}
      </Panel>
    </div>
  );
}

const WORDS: Record<string, Tone> = { promote: "ok", rollback: "bad", undecided: "mute" };

const Word = ({ word }: { word: string }) => <Tag tone={WORDS[word] ?? "accent"}>{words(word)}</Tag>;

function Arms({ arms }: { arms: Arm[] }) {
  return (
    <Table
      label="Arms of the canary"
      rows={arms}
      keyOf={(row) => row.arm}
      columns={[
        { key: "arm", head: "Arm", cell: (row) => row.arm },
        { key: "jobs", head: "Jobs", right: true, cell: (row) => count(row.jobs) },
        { key: "missed", head: "Missed", right: true, cell: (row) => count(row.missed) },
        { key: "attainment", head: "SLO met", right: true, cell: (row) => percent(row.attainment, 1) },
        {
          key: "bar",
          head: "",
          width: "30%",
          cell: (row) => <Meter value={row.attainment} color={row.arm === "canary" ? "var(--c2)" : "var(--c1)"} label={`SLO met by ${row.arm}: ${percent(row.attainment, 1)}`} />,
        },
      ]}
    />
  );
}

function Ended({ verdict }: { verdict: Verdict }) {
  return (
    <>
      <p style={{ marginBottom: 8 }}>
        <b>{verdict.candidate}</b>
      </p>
      <Arms arms={verdict.arms} />
    </>
  );
}

function Running({ canary, onDone }: { canary: Canary; onDone: () => void }) {
  const action = useAction();
  const end = async (word: "promote" | "rollback"): Promise<void> => {
    const done = await action.run(async () => {
      await post<Policies>(`/api/canary/${word}`);
      return word === "promote" ? `${canary.candidate.name} is in force now` : "Rolled back";
    });
    if (done) onDone();
  };
  return (
    <div className="form">
      <Facts
        rows={[
          ["Candidate", `${canary.candidate.name} ${parametersText(canary.candidate.parameters)}`],
          ["Sessions", percent(canary.percent / 100, 1)],
          ["Objective", [canary.slo_ttft_s !== null && `TTFT ${duration(canary.slo_ttft_s)}`, canary.slo_tpot_s !== null && `TPOT ${duration(canary.slo_tpot_s)}`].filter(Boolean).join(", ") || "–"],
        ]}
      />
      <Arms arms={canary.arms} />
      <div className="tools">
        <button type="button" className="button" data-kind="primary" disabled={action.busy} onClick={() => void end("promote")}>
          Promote
        </button>
        <button type="button" className="button" data-kind="danger" disabled={action.busy} onClick={() => void end("rollback")}>
          Roll back
        </button>
      </div>
    </div>
  );
}

function Start({ policies, onDone }: PanelProps) {
  const routing = policies.known.filter((one) => one.kind === "routing");
  const now = policies.in_force.find((one) => one.kind === "routing")?.name;
  const [name, setName] = useState(routing.find((one) => one.name !== now)?.name ?? "");
  const [drafts, setDrafts] = useState<Drafts>({});
  const [share, setShare] = useState("5");
  const [ttft, setTtft] = useState("1");
  const action = useAction();
  const chosen = routing.find((one) => one.name === name);
  const start = async (): Promise<void> => {
    const done = await action.run(async () => {
      await post<Policies>("/api/canary", {
        candidate: name,
        parameters: parametersOf(chosen, drafts),
        percent: Number(share),
        slo_ttft_s: ttft.trim() === "" ? null : Number(ttft),
        slo_tpot_s: null,
      });
      return `${name} is tried on ${share}% of the sessions`;
    });
    if (done) onDone();
  };
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        void start();
      }}
    >
      <div className="form-row">
        <label className="field">
          Routing policy
          <select
            className="input"
            value={name}
            onChange={(event) => {
              setName(event.target.value);
              setDrafts({});
            }}
          >
            {routing.map((one) => (
              <option key={one.name}>{one.name}</option>
            ))}
          </select>
        </label>
        <label className="field">
          Sessions, per cent
          <input className="input num" inputMode="decimal" value={share} onChange={(event) => setShare(event.target.value)} />
        </label>
        <label className="field">
          TTFT objective, s
          <input className="input num" inputMode="decimal" value={ttft} onChange={(event) => setTtft(event.target.value)} />
        </label>
      </div>
      <ParameterFields policy={chosen} drafts={drafts} onDrafts={setDrafts} />
      {action.error && (
        <p className="error-text" role="alert">
          {action.error}
        </p>
      )}
      <div className="tools">
        <button type="submit" className="button" data-kind="primary" disabled={action.busy || name === ""}>
          Start the canary
        </button>
        <span className="faint">It ends by itself when one arm is clearly better.</span>
      </div>
    </form>
  );
}
