"use client";

import { Blank, Bones, Meter, PageHead, Panel, Tag } from "@/components/parts";
import { Table } from "@/components/table";
import { count } from "@/lib/format";
import { useDocument } from "@/lib/hooks";
import { workerTone } from "@/lib/states";
import type { Backend, Model, Models } from "@/lib/types";

export default function ModelsPage() {
  const { data, error } = useDocument<Models>("/api/models", 2_000);
  return (
    <>
      <PageHead title="Models and backends">
        Which models are served, by how many workers, and the servers in front of which workers stand.
      </PageHead>
      <Panel title="Models" flush>
        {data === null ? error ? <Blank title="The models could not be read">{error.message}</Blank> : <Bones rows={3} /> : <ModelRows rows={data.rows} />}
      </Panel>
      <Panel title="Backends" hint="servers that speak OpenAI's API" flush>
        {data === null ? <Bones rows={3} /> : <BackendRows rows={data.backends} />}
      </Panel>
    </>
  );
}

function ModelRows({ rows }: { rows: Model[] }) {
  if (rows.length === 0)
    return (
      <Blank title="No worker names a model">
        Engines that imitate take any model. Workers in front of real engines say which they serve: <code>parallax up --backend http://…/v1</code>
      </Blank>
    );
  return (
    <Table
      label="Models"
      rows={rows}
      keyOf={(row) => row.name}
      columns={[
        { key: "name", head: "Model", cell: (row) => <span className="name cut">{row.name || "any"}</span> },
        {
          key: "workers",
          head: "Workers",
          right: true,
          cell: (row) => (
            <span>
              {count(row.workers_alive)}
              <span className="faint">/{count(row.workers)}</span>
            </span>
          ),
        },
        {
          key: "use",
          head: "Slots in use",
          width: "34%",
          cell: (row) => <Meter value={row.slots ? row.running_jobs / row.slots : null} label={`${row.running_jobs} of ${row.slots} slots of ${row.name}`} />,
        },
        { key: "running", head: "Running", right: true, cell: (row) => `${count(row.running_jobs)}/${count(row.slots)}` },
        { key: "waiting", head: "Waiting at workers", right: true, cell: (row) => count(row.waiting_jobs) },
      ]}
    />
  );
}

function BackendRows({ rows }: { rows: Backend[] }) {
  if (rows.length === 0)
    return (
      <Blank title="No backend">
        Put Parallax in front of vLLM, SGLang, llama.cpp or Ollama: <code>parallax up --backend http://127.0.0.1:8000/v1</code>
      </Blank>
    );
  return (
    <Table
      label="Backends"
      rows={rows}
      keyOf={(row) => row.worker}
      columns={[
        { key: "backend", head: "Address", cell: (row) => <span className="mono">{row.backend}</span> },
        { key: "state", head: "State", cell: (row) => <Tag tone={workerTone(row.state)}>{row.state}</Tag> },
        { key: "kind", head: "Kind", cell: (row) => row.kind },
        { key: "worker", head: "Worker", cell: (row) => row.worker },
        { key: "models", head: "Models", cell: (row) => row.models.join(", ") || "–" },
        { key: "why", head: "Why", cell: (row) => <span className="soft">{row.why ?? ""}</span> },
      ]}
    />
  );
}
