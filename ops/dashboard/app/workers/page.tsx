"use client";

import { useState } from "react";
import { useAction } from "@/components/actions";
import { Choice } from "@/components/choice";
import { Listing, SearchField } from "@/components/listing";
import { Blank, Meter, PageHead, Tag } from "@/components/parts";
import type { Column } from "@/components/table";
import { post } from "@/lib/api";
import { count, duration, percent, quantity } from "@/lib/format";
import { ghosts } from "@/lib/ghosts";
import { useFeed } from "@/lib/hooks";
import { usePages } from "@/lib/pages";
import { workerTone } from "@/lib/states";
import type { Worker } from "@/lib/types";

const STATES = ["all", "alive", "slow", "unready", "draining", "dead"];
const MOST_BOXES = 16;

export default function WorkersPage() {
  const [state, setState] = useState("all");
  const paged = usePages<Worker>("/api/workers", { sort: "state", order: "asc" }, { state: state === "all" ? "" : state }, 1_000);
  const { overview } = useFeed();
  const { data } = paged;
  const listed = new Set(data?.rows.map((row) => row.name));
  const dead =
    overview && data && paged.offset === 0 && paged.search === "" && ["all", "dead"].includes(state)
      ? ghosts(overview).filter((one) => !listed.has(one.name))
      : [];
  const shown = data && dead.length > 0 ? { ...paged, data: { ...data, total: Math.max(1, data.total), rows: [...data.rows, ...dead] } } : paged;
  const columns: Column<Worker>[] = [
    {
      key: "name",
      head: "Worker",
      sort: "name",
      cell: (row) => (
        <span className="name" title={row.name}>
          <span className="cut">{row.name}</span>
        </span>
      ),
    },
    {
      key: "state",
      head: "State",
      sort: "state",
      width: "120px",
      cell: (row) => (
        <span title={row.why ?? undefined}>
          <Tag tone={workerTone(row.state)}>{row.state}</Tag>
          {row.why && <span className="sr">{row.why}</span>}
        </span>
      ),
    },
    { key: "slots", head: "Slots", cell: (row) => <Slots worker={row} /> },
    { key: "running", head: "Running", sort: "running_jobs", right: true, cell: (row) => `${count(row.running_jobs)}/${count(row.slots)}` },
    { key: "stream", head: "In its stream", right: true, cell: (row) => count(row.stream_jobs) },
    {
      key: "kv",
      head: "KV cache",
      sort: "kv_used",
      width: "13%",
      cell: (row) => (
        <span className="with-meter num">
          <Meter
            value={row.kv_used}
            color={(row.kv_used ?? 0) > 0.9 ? "var(--c6)" : "var(--c3)"}
            label={`KV cache of ${row.name}: ${percent(row.kv_used)}`}
          />
          <span>{percent(row.kv_used)}</span>
        </span>
      ),
    },
    { key: "rate", head: "Completed/s", sort: "completed_per_s", right: true, cell: (row) => quantity(row.completed_per_s) },
    { key: "heartbeat", head: "Heartbeat", sort: "heartbeat_age_s", right: true, cell: (row) => (row.state === "dead" ? "none" : `${duration(row.heartbeat_age_s)} ago`) },
    { key: "engine", head: "Engine", cell: (row) => <span className="soft">{[row.engine, row.role === "both" ? "" : row.role, row.version].filter(Boolean).join(" ")}</span> },
    { key: "models", head: "Models", cell: (row) => <span className="soft cut">{row.models.join(", ") || "any"}</span> },
    { key: "drain", head: "", cell: (row) => <Drain worker={row} onDone={paged.again} /> },
  ];
  return (
    <>
      <PageHead
        title="Workers"
        tools={
          <>
            <Choice label="State" options={STATES} value={state} onChange={(next) => { setState(next); paged.onOffset(0); }} />
            <SearchField label="Find a worker" value={paged.search} onChange={paged.onSearch} />
          </>
        }
      >
        A worker runs an engine and says so with a heartbeat. One without a heartbeat is dead, and its jobs go back to their queues.
      </PageHead>
      <Listing
        title="Workers"
        what="workers"
        paged={shown}
        columns={columns}
        keyOf={(row) => row.name}
        dim={(row) => row.state === "dead"}
        empty={
          <Blank title="No worker">
            Jobs wait until one joins: <code>parallax worker --engine echo</code>
          </Blank>
        }
      />
    </>
  );
}

/** A box a slot, while they can be counted by eye. */
function Slots({ worker }: { worker: Worker }) {
  if (worker.slots > MOST_BOXES)
    return <Meter value={worker.slots ? worker.running_jobs / worker.slots : null} label={`${worker.running_jobs} of ${worker.slots} slots`} />;
  return (
    <span className="slots" role="img" aria-label={`${worker.running_jobs} of ${worker.slots} slots`}>
      {Array.from({ length: worker.slots }, (_, at) => (
        <i key={at} data-on={at < worker.running_jobs} />
      ))}
    </span>
  );
}

function Drain({ worker, onDone }: { worker: Worker; onDone: () => void }) {
  const [sure, setSure] = useState(false);
  const action = useAction();
  if (worker.state === "dead" || worker.state === "draining") return null;
  const drain = async (): Promise<void> => {
    setSure(false);
    const done = await action.run(async () => {
      await post(`/api/workers/${encodeURIComponent(worker.name)}/drain`);
      return `${worker.name} ends what it runs, and leaves`;
    });
    if (done) onDone();
  };
  return (
    <button
      type="button"
      className="button"
      data-size="small"
      data-kind={sure ? "danger" : undefined}
      disabled={action.busy}
      aria-label={sure ? `Yes, drain ${worker.name}` : `Drain ${worker.name}`}
      onClick={() => (sure ? void drain() : setSure(true))}
      onBlur={() => setSure(false)}
    >
      {sure ? "Sure?" : "Drain"}
    </button>
  );
}
