"use client";

import Link from "next/link";
import { useState } from "react";
import { useAction } from "@/components/actions";
import { Choice } from "@/components/choice";
import { Blank, Bones, Panel, Tag } from "@/components/parts";
import { Table } from "@/components/table";
import { post, withQuery } from "@/lib/api";
import { clock, count, day, words } from "@/lib/format";
import { useDocument } from "@/lib/hooks";
import { jobTone } from "@/lib/states";
import type { DeadLetter, OpenJobs } from "@/lib/types";

const STATES = ["all", "queued", "assigned", "running"];

export const JobLink = ({ id }: { id: string }) => (
  <Link prefetch={false} className="mono" href={`/jobs/?id=${encodeURIComponent(id)}`}>
    {id}
  </Link>
);

export function OpenJobList() {
  const [state, setState] = useState("all");
  const { data, error } = useDocument<OpenJobs>(withQuery("/api/jobs", { state: state === "all" ? "" : state, limit: 50 }), 2_000);
  return (
    <Panel
      title="Open jobs"
      hint={data ? `${count(data.total_open)} in all, those touched longest ago first` : undefined}
      flush
      side={<Choice label="State" options={STATES} value={state} onChange={setState} />}
    >
      {data === null ? (
        error ? (
          <Blank title="The jobs could not be read">{error.message}</Blank>
        ) : (
          <Bones rows={6} />
        )
      ) : data.rows.length === 0 ? (
        <Blank title={state === "all" ? "No job is open" : `No open job is ${state}`}>
          {state === "all" ? "Everything that was accepted has ended." : `${count(data.looked_at)} were looked at.`}
        </Blank>
      ) : (
        <Table
          label="Open jobs"
          rows={data.rows}
          keyOf={(row) => row.id}
          columns={[
            { key: "id", head: "Job", cell: (row) => <JobLink id={row.id} /> },
            { key: "state", head: "State", cell: (row) => <Tag tone={jobTone(row.state)}>{row.state}</Tag> },
            { key: "tenant", head: "Tenant", cell: (row) => <span className="name cut">{row.tenant}</span> },
            { key: "worker", head: "Worker", cell: (row) => row.worker ?? "–" },
            { key: "attempts", head: "Attempts", right: true, cell: (row) => count(row.attempts) },
            { key: "prompt", head: "Prompt", right: true, cell: (row) => count(row.prompt_tokens) },
            { key: "max", head: "At most", right: true, cell: (row) => count(row.max_tokens) },
            { key: "since", head: "Accepted", right: true, cell: (row) => clock(row.accepted_at) },
          ]}
        />
      )}
    </Panel>
  );
}

interface Dead {
  total: number;
  rows: DeadLetter[];
}

export function DeadLetters() {
  const { data, again } = useDocument<Dead>("/api/dead?limit=50", 5_000);
  return (
    <Panel title="Dead letters" hint={data ? count(data.total) : undefined} flush>
      {data === null ? (
        <Bones rows={2} />
      ) : data.rows.length === 0 ? (
        <Blank title="No dead letters">Jobs that used up their attempts, and entries that could not be read, would lie here.</Blank>
      ) : (
        <Table
          label="Dead letters"
          rows={data.rows}
          keyOf={(row) => row.entry}
          columns={[
            { key: "at", head: "When", cell: (row) => <span className="num">{day(row.at)}</span> },
            { key: "job", head: "Job", cell: (row) => (row.job ? <JobLink id={row.job} /> : "–") },
            { key: "why", head: "Why", cell: (row) => words(row.why) },
            { key: "stream", head: "Stream", cell: (row) => <span className="mono soft">{row.stream}</span> },
            { key: "do", head: "", right: true, cell: (row) => <Again letter={row} onDone={again} /> },
          ]}
        />
      )}
    </Panel>
  );
}

function Again({ letter, onDone }: { letter: DeadLetter; onDone: () => void }) {
  const action = useAction();
  const path = `/api/dead/${encodeURIComponent(letter.entry)}`;
  const act = async (work: () => Promise<string>): Promise<void> => {
    if (await action.run(work)) onDone();
  };
  return (
    <span className="tools" style={{ justifyContent: "flex-end", flexWrap: "nowrap" }}>
      <button
        type="button"
        className="button"
        data-size="small"
        disabled={action.busy || !letter.job}
        onClick={() =>
          void act(async () => {
            const { successor } = await post<{ successor: string | null }>(`${path}/requeue`);
            return `Offered again as ${successor ?? letter.job}`;
          })
        }
      >
        Offer again
      </button>
      <button
        type="button"
        className="button"
        data-size="small"
        data-kind="plain"
        disabled={action.busy}
        onClick={() => void act(async () => (await post(`${path}/remove`), "Removed"))}
      >
        Remove
      </button>
    </span>
  );
}
