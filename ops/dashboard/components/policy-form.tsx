"use client";

import { useState } from "react";
import { useAction } from "@/components/actions";
import { ParameterFields, parametersOf, type Drafts } from "@/components/parameters";
import { Panel } from "@/components/parts";
import { post } from "@/lib/api";
import { literal } from "@/lib/format";
import type { Policies } from "@/lib/types";

interface FormProps {
  kind: string;
  policies: Policies;
  onClose: () => void;
  onDone: () => void;
}

export function PolicyForm({ kind, policies, onClose, onDone }: FormProps) {
  const now = policies.in_force.find((one) => one.kind === kind);
  const known = policies.known.filter((one) => one.kind === kind);
  const [name, setName] = useState(now?.name ?? known[0]?.name ?? "");
  const [drafts, setDrafts] = useState<Drafts>(() =>
    Object.fromEntries(Object.entries(now?.parameters ?? {}).map(([key, value]) => [key, literal(value)])),
  );
  // What was in force when the form was opened: a change by somebody else meanwhile is a conflict.
  const [serial] = useState(policies.serial);
  const action = useAction();
  const chosen = known.find((one) => one.name === name);
  const save = async (): Promise<void> => {
    const done = await action.run(async () => {
      await post<Policies>("/api/policies", { kind, name, parameters: parametersOf(chosen, drafts), ...(serial ? { serial } : {}) });
      return `${kind} is ${name} now`;
    });
    if (done) {
      onDone();
      onClose();
    }
  };
  return (
    <Panel title={`Change ${kind}`} hint={chosen?.summary}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <label className="field" style={{ maxWidth: 320 }}>
          Policy
          <select
            className="input"
            value={name}
            autoFocus
            onChange={(event) => {
              setName(event.target.value);
              setDrafts({});
            }}
          >
            {known.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
              </option>
            ))}
          </select>
        </label>
        <ParameterFields policy={chosen} drafts={drafts} onDrafts={setDrafts} />
        {action.error && (
          <p className="error-text" role="alert">
            {action.error}
          </p>
        )}
        <div className="tools">
          <button type="submit" className="button" data-kind="primary" disabled={action.busy}>
            Put in force
          </button>
          <button type="button" className="button" data-kind="plain" onClick={onClose}>
            Leave it
          </button>
        </div>
      </form>
    </Panel>
  );
}
