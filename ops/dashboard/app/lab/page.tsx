"use client";

import { useState } from "react";
import { Compared } from "@/components/lab-report";
import { StartRun } from "@/components/lab-start";
import { Blank, Bones, PageHead, Panel } from "@/components/parts";
import { Table } from "@/components/table";
import { day, parametersText } from "@/lib/format";
import { figureText } from "@/lib/figures";
import { useDocument } from "@/lib/hooks";
import type { Reports } from "@/lib/types";

const SHOWN = ["ttft_ms_p95", "e2e_ms_p95"];
const MOST_OPEN = 4;

export default function LabPage() {
  const { data, error, again } = useDocument<Reports>("/api/lab/reports", 1_500);
  const [open, setOpen] = useState<string[]>([]);
  const toggle = (name: string): void =>
    setOpen((old) => (old.includes(name) ? old.filter((one) => one !== name) : [...old, name].slice(-MOST_OPEN)));
  return (
    <>
      <PageHead title="Lab">
        The scheduler that runs here, in virtual time: start a run, open reports, and lay up to four of them over each other.
      </PageHead>
      <StartRun reports={data} onDone={again} />
      {open.length > 0 && <Compared names={open} onClose={() => setOpen([])} />}
      <Panel title="Reports" hint="the newest first" flush>
        {data === null ? (
          error ? (
            <Blank title="The reports could not be read">{error.message}</Blank>
          ) : (
            <Bones rows={4} />
          )
        ) : data.rows.length === 0 ? (
          <Blank title="No report yet">Start a run above: a few seconds later its report stands here.</Blank>
        ) : (
          <Table
            label="Reports"
            rows={data.rows}
            keyOf={(row) => row.name}
            columns={[
              {
                key: "open",
                head: "Open",
                width: "56px",
                cell: (row) => (
                  <input type="checkbox" aria-label={`Open ${row.name}`} checked={open.includes(row.name)} onChange={() => toggle(row.name)} />
                ),
              },
              { key: "name", head: "Report", cell: (row) => <span className="mono">{row.name}</span> },
              { key: "at", head: "When", cell: (row) => <span className="num">{day(row.at)}</span> },
              { key: "workload", head: "Workload", cell: (row) => row.workload },
              { key: "policies", head: "Policies", cell: (row) => <span className="soft cut">{parametersText(row.policies)}</span> },
              ...SHOWN.map((name) => ({
                key: name,
                head: name === "ttft_ms_p95" ? "TTFT p95" : "E2E p95",
                right: true,
                cell: (row: Reports["rows"][number]) => figureText(name, row.figures[name]),
              })),
            ]}
          />
        )}
      </Panel>
    </>
  );
}
