"use client";

import type { ReactNode } from "react";
import { Blank, Bones, Panel } from "@/components/parts";
import { Pager, Table, type Column } from "@/components/table";
import { LIMIT, type Paged } from "@/lib/pages";

interface ListingProps<Row> {
  title: string;
  what: string;
  paged: Paged<Row>;
  columns: Column<Row>[];
  keyOf: (row: Row) => string;
  dim?: (row: Row) => boolean;
  empty: ReactNode;
  side?: ReactNode;
}

/** A paged table with its states: on its way, refused, empty, nothing that matches. */
export function Listing<Row>({ title, what, paged, columns, keyOf, dim, empty, side }: ListingProps<Row>) {
  const { data, error, search } = paged;
  return (
    <Panel title={title} flush side={side}>
      {data === null ? (
        error ? (
          <Blank title={`The ${what} could not be read`}>{error.message}</Blank>
        ) : (
          <Bones rows={8} />
        )
      ) : data.total === 0 ? (
        empty
      ) : data.rows.length === 0 ? (
        <Blank title="Nothing matches">{search ? `No name contains “${search}”.` : "Choose another state."}</Blank>
      ) : (
        <Table
          label={title}
          columns={columns}
          rows={data.rows}
          keyOf={keyOf}
          dim={dim}
          order={paged.order}
          onOrder={paged.onOrder}
        />
      )}
      {data !== null && data.total > 0 && (
        <Pager offset={paged.offset} limit={LIMIT} matching={data.matching} total={data.total} what={what} onOffset={paged.onOffset} />
      )}
    </Panel>
  );
}

export function SearchField({ label, value, onChange }: { label: string; value: string; onChange: (text: string) => void }) {
  return (
    <input
      className="input"
      type="search"
      aria-label={label}
      placeholder={label}
      value={value}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}
