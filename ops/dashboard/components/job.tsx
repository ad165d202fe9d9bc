"use client";

import Link from "next/link";
import { useAction } from "@/components/actions";
import { Blank, Bones, Facts, Panel, Tag, type Tone } from "@/components/parts";
import { Table } from "@/components/table";
import { post } from "@/lib/api";
import { clock, count, day, duration, quantity, words } from "@/lib/format";
import { useDocument } from "@/lib/hooks";
import { jobTone } from "@/lib/states";
import type { JobPage, Moment } from "@/lib/types";

export function JobView({ id }: { id: string }) {
  const { data, error, again } = useDocument<JobPage>(`/api/jobs/${encodeURIComponent(id)}`, 1_500);
  if (data === null)
    return (
      <Panel title="Job">
        {error === null ? (
          <Bones rows={6} />
        ) : (
          <Blank title={error.status === 404 ? "No such job" : "The job could not be read"}>
            {error.message} Records are kept for a while after a job has ended, then they go.
          </Blank>
        )}
      </Panel>
    );
  return (
    <>
      <Panel
        title="Job"
        hint={<span className="mono">{data.id}</span>}
        side={
          <>
            <Cancel job={data} onDone={again} />
            <Link prefetch={false} href="/jobs/">All open jobs</Link>
          </>
        }
      >
        <Life moments={data.timeline} job={data} />
      </Panel>
      <div className="grid">
        <Panel title="Record" span="span-6">
          <Record job={data} />
        </Panel>
        <Why job={data} />
      </div>
    </>
  );
}

const ENDED = new Set(["completed", "failed", "rejected", "expired", "cancelled", "dead"]);

function Cancel({ job, onDone }: { job: JobPage; onDone: () => void }) {
  const action = useAction();
  if (ENDED.has(job.state)) return null;
  return (
    <button
      type="button"
      className="button"
      data-size="small"
      data-kind="danger"
      disabled={action.busy}
      onClick={() =>
        void action
          .run(async () => {
            const { answer } = await post<{ answer: string }>(`/api/jobs/${encodeURIComponent(job.id)}/cancel`);
            return answer === "late" ? "It had ended before" : "Cancelled";
          })
          .then((done) => done && onDone())
      }
    >
      Cancel
    </button>
  );
}

const MARKS: Record<string, Tone> = {
  started: "accent",
  assigned: "accent",
  first_token: "accent",
  hedged: "warn",
  stolen: "warn",
  recovered: "warn",
  retried: "warn",
};

/** Its life, as a line: how long each part of it took is how wide it is. */
function Life({ moments, job }: { moments: Moment[]; job: JobPage }) {
  // Of some moments only the order is known: they are told below, and not drawn.
  const timed = moments.flatMap((one) => (one.after_s === null ? [] : [{ what: one.what, after: one.after_s }]));
  const last = Math.max(0, ...timed.map((one) => one.after));
  const parts = timed.slice(1).map((one, at) => ({ before: timed[at]!.what, from: timed[at]!.after, until: one.after }));
  return (
    <>
      <div className="life" aria-hidden="true">
        {parts.map((part, at) => (
          <i
            key={at}
            data-phase={phaseOf(part.before)}
            style={{ flexGrow: last > 0 ? Math.max(0.004, (part.until - part.from) / last) : 1 }}
            title={`${words(part.before)}: ${duration(part.until - part.from)}`}
          />
        ))}
      </div>
      <div className="legend" style={{ marginBottom: 12 }} aria-hidden="true">
        {(["waits", "begins", "speaks"] as const).map((phase) => (
          <span key={phase}>
            <i className="swatch life-mark" data-phase={phase} />
            {phase === "waits" ? "waits in a queue" : phase === "begins" ? "at a worker, no token yet" : "tokens come"}
          </span>
        ))}
      </div>
      <ol className="moments">
        {moments.map((one, at) => (
          <li key={at}>
            <span className="num faint right">{at === 0 ? clock(one.at) : one.after_s === null ? "" : `+${duration(one.after_s)}`}</span>
            <Tag tone={MARKS[one.what] ?? jobTone(one.what)}>{words(one.what)}</Tag>
            <span className="cut">
              {[one.worker, one.detail].filter(Boolean).join(" · ")}
              {at === moments.length - 1 && job.error ? ` ${job.error}` : ""}
            </span>
          </li>
        ))}
      </ol>
    </>
  );
}

function phaseOf(what: string): string {
  if (["started", "assigned", "stolen", "hedged"].includes(what)) return "begins";
  return what === "first_token" ? "speaks" : "waits";
}

function Record({ job }: { job: JobPage }) {
  const place =
    job.queue_place === null ? null : `${job.queue_place_is_exact === false ? "about " : ""}${count(job.queue_place)}`;
  const rows: [string, React.ReactNode][] = [
    ["State", <Tag key="state" tone={jobTone(job.state)}>{job.state}</Tag>],
    ["Tenant", job.tenant],
    ["Worker", job.hedge_worker ? `${job.worker ?? "–"}, hedged on ${job.hedge_worker}` : (job.worker ?? "–")],
    ["Attempts", count(job.attempts)],
    ["Prompt", `${count(job.prompt_tokens)} tokens, ${count(job.cached_tokens)} of them cached`],
    ["Answer", `${count(job.output_tokens)} of at most ${count(job.max_tokens)} tokens`],
    ["Queue wait", duration(job.queue_wait_s)],
    ["First token", duration(job.ttft_s)],
    ["End to end", duration(job.e2e_s)],
    ["Accepted", day(job.accepted_at)],
  ];
  if (place) rows.push(["Place in its queue", place]);
  if (job.model) rows.push(["Model", job.model]);
  if (job.session) rows.push(["Session", job.session]);
  if (job.deadline_at !== null) rows.push(["Deadline", day(job.deadline_at)]);
  if (job.trace_id) rows.push(["Trace", <code key="trace">{job.trace_id}</code>]);
  if (job.reason) rows.push(["Reason", words(job.reason)]);
  return <Facts rows={rows} />;
}

function Why({ job }: { job: JobPage }) {
  const why = job.why_worker;
  return (
    <Panel title="Why that worker" span="span-6">
      {why === null ? (
        <Blank title="Not decided yet">No worker was chosen for it so far.</Blank>
      ) : (
        <>
          <p style={{ marginBottom: 12 }}>
            {why.text}
            {why.arm && (
              <>
                {" "}
                <Tag tone="accent">{why.arm}</Tag>
              </>
            )}
          </p>
          {why.candidates.length === 0 ? (
            <p className="faint">
              Where many jobs come, the leader tells of a sample. All of it is known of a cell that is recorded:{" "}
              <code>parallax record save FILE</code>, then <code>parallax explain JOB --record FILE</code>.
            </p>
          ) : (
            <Table
              label="Candidates"
              rows={why.candidates}
              keyOf={(row) => row.worker}
              columns={[
                { key: "worker", head: "Worker", cell: (row) => (row.chosen ? <Tag tone="ok">{row.worker}</Tag> : row.worker) },
                { key: "score", head: "Score", right: true, cell: (row) => quantity(row.score) },
                { key: "cached", head: "Cached", right: true, cell: (row) => count(row.cached_tokens) },
                { key: "free", head: "Free slots", right: true, cell: (row) => quantity(row.free_slots) },
                { key: "flight", head: "In flight", right: true, cell: (row) => count(row.in_flight_jobs) },
              ]}
            />
          )}
        </>
      )}
    </Panel>
  );
}
