"use client";

// A list that the server pages, sorts and searches: what is asked for, and what came.

import { useCallback, useState } from "react";
import type { Order } from "@/components/table";
import { withQuery } from "@/lib/api";
import { useDocument, useRested, type Asked } from "@/lib/hooks";
import type { Page } from "@/lib/types";

export const LIMIT = 50;

export interface Paged<Row> extends Asked<Page<Row>> {
  search: string;
  onSearch: (text: string) => void;
  order: Order;
  onOrder: (order: Order) => void;
  offset: number;
  onOffset: (offset: number) => void;
}

export function usePages<Row>(path: string, first: Order, more: Record<string, string> = {}, every = 1_500): Paged<Row> {
  const [search, setSearch] = useState("");
  const [order, setOrder] = useState(first);
  const [offset, setOffset] = useState(0);
  const rested = useRested(search);
  const asked = useDocument<Page<Row>>(withQuery(path, { search: rested, ...order, offset, limit: LIMIT, ...more }), every);
  const onSearch = useCallback((text: string) => {
    setSearch(text);
    setOffset(0);
  }, []);
  const onOrder = useCallback((next: Order) => {
    setOrder(next);
    setOffset(0);
  }, []);
  return { ...asked, search, onSearch, order, onOrder, offset, onOffset: setOffset };
}
