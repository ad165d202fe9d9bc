"use client";

import { literal } from "@/lib/format";
import type { KnownPolicy, Parameters } from "@/lib/types";

export type Drafts = Record<string, string>;

interface FieldsProps {
  policy: KnownPolicy | undefined;
  drafts: Drafts;
  onDrafts: (drafts: Drafts) => void;
}

/** A field for each parameter of a policy; an empty one keeps its default. */
export function ParameterFields({ policy, drafts, onDrafts }: FieldsProps) {
  if (!policy || policy.parameters.length === 0) return null;
  return (
    <div className="form-row">
      {policy.parameters.map((one) => (
        <label key={one.name} className="field">
          <span>
            {one.name} <span className="faint">{one.type}</span>
          </span>
          <input
            className="input mono"
            name={one.name}
            placeholder={literal(one.default)}
            value={drafts[one.name] ?? ""}
            onChange={(event) => onDrafts({ ...drafts, [one.name]: event.target.value })}
          />
        </label>
      ))}
    </div>
  );
}

/** What was written, as JSON values where it is JSON and as text elsewhere: the server judges it. */
export function parametersOf(policy: KnownPolicy | undefined, drafts: Drafts): Parameters {
  const found: Parameters = {};
  for (const one of policy?.parameters ?? []) {
    const text = (drafts[one.name] ?? "").trim();
    if (text === "") continue;
    try {
      found[one.name] = JSON.parse(text) as unknown;
    } catch {
      found[one.name] = text;
    }
  }
  return found;
}
