"use client";

import { useState } from "react";
import { useAction } from "@/components/actions";
import { Listing, SearchField } from "@/components/listing";
import { Blank, Meter, PageHead, Swatch } from "@/components/parts";
import type { Column } from "@/components/table";
import { post } from "@/lib/api";
import { count, duration, percent, quantity } from "@/lib/format";
import { usePages } from "@/lib/pages";
import { colourOf } from "@/lib/states";
import type { Tenant } from "@/lib/types";

export default function TenantsPage() {
  const paged = usePages<Tenant>("/api/tenants", { sort: "waiting_jobs", order: "desc" });
  const columns: Column<Tenant>[] = [
    {
      key: "name",
      head: "Tenant",
      sort: "name",
      cell: (row) => (
        <span className="name" title={row.name}>
          <Swatch color={colourOf(row.name)} />
          <span className="cut">{row.name}</span>
        </span>
      ),
    },
    { key: "weight", head: "Weight", sort: "weight", right: true, width: "150px", cell: (row) => <Weight tenant={row} onDone={paged.again} /> },
    {
      key: "bar",
      head: "Share against due",
      width: "22%",
      cell: (row) => (
        <Meter
          value={row.share}
          mark={row.due}
          color={colourOf(row.name)}
          label={`Share of ${row.name}: ${percent(row.share)}, due ${percent(row.due)}`}
        />
      ),
    },
    { key: "share", head: "Share", sort: "share", right: true, cell: (row) => percent(row.share, 1) },
    { key: "due", head: "Due", right: true, cell: (row) => <span className="faint">{percent(row.due, 1)}</span> },
    { key: "waiting", head: "Waiting", sort: "waiting_jobs", right: true, cell: (row) => count(row.waiting_jobs) },
    { key: "running", head: "Running", right: true, cell: (row) => count(row.running_jobs) },
    { key: "completed", head: "Completed/s", sort: "completed_per_s", right: true, cell: (row) => quantity(row.completed_per_s) },
    { key: "refused", head: "Refused/s", right: true, cell: (row) => quantity(row.rejected_per_s) },
    { key: "tokens", head: "Tokens/s", right: true, cell: (row) => quantity(row.output_tokens_per_s) },
    { key: "ttft", head: "TTFT p95", right: true, cell: (row) => duration(row.ttft_p95_s) },
  ];
  return (
    <>
      <PageHead title="Tenants" tools={<SearchField label="Find a tenant" value={paged.search} onChange={paged.onSearch} />}>
        While several want more than there is, each gets cost in proportion to its weight. Share is what it got in the last minute, due is
        what its weight is worth among those who wanted something.
      </PageHead>
      <Listing
        title="Tenants"
        what="tenants"
        paged={paged}
        columns={columns}
        keyOf={(row) => row.name}
        empty={
          <Blank title="No tenant yet">
            A tenant appears with its first job, or with a weight: <code>parallax tenants set acme --weight 4</code>
          </Blank>
        }
      />
    </>
  );
}

/** A weight that becomes a field when it is pressed. */
function Weight({ tenant, onDone }: { tenant: Tenant; onDone: () => void }) {
  const [draft, setDraft] = useState<string | null>(null);
  const action = useAction();
  const save = async (): Promise<void> => {
    const weight = Number(draft);
    const done = await action.run(async () => {
      await post(`/api/tenants/${encodeURIComponent(tenant.name)}`, { weight });
      return `${tenant.name} weighs ${weight} now`;
    });
    if (done) {
      setDraft(null);
      onDone();
    }
  };
  if (draft === null)
    return (
      <button
        type="button"
        className="button num"
        data-size="small"
        data-kind="plain"
        aria-label={`Change the weight of ${tenant.name}, ${tenant.weight} now`}
        onClick={() => setDraft(String(tenant.weight))}
      >
        {quantity(tenant.weight)}
        <span className="faint">change</span>
      </button>
    );
  return (
    <form
      className="inline-edit"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <input
        className="input num"
        aria-label={`Weight of ${tenant.name}`}
        inputMode="decimal"
        autoFocus
        value={draft}
        aria-invalid={action.error !== null}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && setDraft(null)}
      />
      <button type="submit" className="button" data-size="small" data-kind="primary" disabled={action.busy || !(Number(draft) > 0)}>
        Set
      </button>
    </form>
  );
}
