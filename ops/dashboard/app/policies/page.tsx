"use client";

import { useState } from "react";
import { CanaryPanel } from "@/components/canary";
import { PolicyForm } from "@/components/policy-form";
import { useAction } from "@/components/actions";
import { Blank, Bones, PageHead, Panel, Tag } from "@/components/parts";
import { Table } from "@/components/table";
import { post } from "@/lib/api";
import { parametersText } from "@/lib/format";
import { useDocument } from "@/lib/hooks";
import type { InForce, Policies } from "@/lib/types";

export default function PoliciesPage() {
  const { data, error, again } = useDocument<Policies>("/api/policies", 2_000);
  const [kind, setKind] = useState<string | null>(null);
  return (
    <>
      <PageHead title="Policies" tools={data && <Reset onDone={again} />}>
        Each decision is one policy&apos;s. A change takes hold with the next batch, without a restart; a canary tries a routing policy on
        a part of the sessions first.
      </PageHead>
      {data === null ? (
        <Panel title="In force" flush>
          {error ? <Blank title="The policies could not be read">{error.message}</Blank> : <Bones rows={8} />}
        </Panel>
      ) : (
        <>
          <Panel title="In force" flush>
            <InForceRows policies={data} kind={kind} onKind={setKind} />
          </Panel>
          {kind !== null && <PolicyForm key={kind} kind={kind} policies={data} onClose={() => setKind(null)} onDone={again} />}
          <CanaryPanel policies={data} onDone={again} />
        </>
      )}
    </>
  );
}


const SOURCES: Record<string, "mute" | "accent" | "warn"> = { default: "mute", scheduler: "mute", "policy set": "accent", canary: "warn" };

interface RowsProps {
  policies: Policies;
  kind: string | null;
  onKind: (kind: string | null) => void;
}

function InForceRows({ policies, kind, onKind }: RowsProps) {
  return (
    <Table<InForce>
      label="Policies in force"
      rows={policies.in_force}
      keyOf={(row) => row.kind}
      columns={[
        { key: "kind", head: "Decides", cell: (row) => <span className="soft">{row.kind}</span>, width: "130px" },
        { key: "name", head: "Policy", cell: (row) => <span className="name">{row.name}</span> },
        { key: "parameters", head: "Parameters", cell: (row) => <span className="num soft">{parametersText(row.parameters) || "–"}</span> },
        {
          key: "source",
          head: "Chosen by",
          cell: (row) => (
            <Tag tone={SOURCES[row.source] ?? "mute"} sign={false}>
              {row.source}
            </Tag>
          ),
        },
        {
          key: "change",
          head: "",
          right: true,
          cell: (row) =>
            policies.changeable.includes(row.kind) && (
              <button
                type="button"
                className="button"
                data-size="small"
                aria-label={`Change ${row.kind}`}
                aria-expanded={kind === row.kind}
                onClick={() => onKind(kind === row.kind ? null : row.kind)}
              >
                Change
              </button>
            ),
        },
      ]}
    />
  );
}

function Reset({ onDone }: { onDone: () => void }) {
  const action = useAction();
  return (
    <button
      type="button"
      className="button"
      disabled={action.busy}
      onClick={() =>
        void action
          .run(async () => {
            await post<Policies>("/api/policies/reset");
            return "Back to what the scheduler was started with";
          })
          .then((done) => done && onDone())
      }
    >
      Reset all
    </button>
  );
}
