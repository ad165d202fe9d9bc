"use client";

import type { ReactNode } from "react";
import { count } from "@/lib/format";

export interface Column<Row> {
  key: string;
  head: string;
  cell: (row: Row) => ReactNode;
  right?: boolean;
  /** The name by which the server sorts; none: not sorted by it. */
  sort?: string;
  width?: string;
}

export interface Order {
  sort: string;
  order: "asc" | "desc";
}

interface TableProps<Row> {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  keyOf: (row: Row) => string;
  dim?: (row: Row) => boolean;
  order?: Order;
  onOrder?: (order: Order) => void;
}

export function Table<Row>({ label, columns, rows, keyOf, dim, order, onOrder }: TableProps<Row>) {
  return (
    <div className="table-wrap" tabIndex={0} role="group" aria-label={`${label}, scrollable`}>
      <table className="table" aria-label={label}>
        <thead>
          <tr>
            {columns.map((column) => (
              <Head key={column.key} column={column} order={order} onOrder={onOrder} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} data-row={keyOf(row)} data-dim={dim?.(row) ?? false}>
              {columns.map((column) => (
                <td key={column.key} data-column={column.key} className={column.right ? "right num" : undefined}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface HeadProps<Row> {
  column: Column<Row>;
  order?: Order;
  onOrder?: (order: Order) => void;
}

function Head<Row>({ column, order, onOrder }: HeadProps<Row>) {
  const mine = order && column.sort === order.sort;
  const next = mine ? (order.order === "asc" ? "desc" : "asc") : column.right ? "desc" : "asc";
  return (
    <th
      scope="col"
      className={column.right ? "right" : undefined}
      style={{ width: column.width }}
      aria-sort={mine ? (order.order === "asc" ? "ascending" : "descending") : undefined}
    >
      {column.sort && onOrder ? (
        <button type="button" onClick={() => onOrder({ sort: column.sort!, order: next })}>
          {column.head}
          <span aria-hidden="true">{mine ? (order.order === "asc" ? " ↑" : " ↓") : ""}</span>
        </button>
      ) : (
        column.head
      )}
    </th>
  );
}

interface PagerProps {
  offset: number;
  limit: number;
  matching: number;
  total: number;
  what: string;
  onOffset: (offset: number) => void;
}

export function Pager({ offset, limit, matching, total, what, onOffset }: PagerProps) {
  const last = Math.min(offset + limit, matching);
  return (
    <div className="pager num">
      <span>
        {matching === 0 ? "None" : `${count(offset + 1)}–${count(last)}`} of {count(matching)}
        {matching !== total ? ` (of ${count(total)} ${what})` : ` ${what}`}
      </span>
      <span className="right">
        <button type="button" className="button" data-size="small" disabled={offset === 0} onClick={() => onOffset(Math.max(0, offset - limit))}>
          Previous
        </button>
        <button type="button" className="button" data-size="small" disabled={last >= matching} onClick={() => onOffset(offset + limit)}>
          Next
        </button>
      </span>
    </div>
  );
}
