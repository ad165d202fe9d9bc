// What the server says, word for word: docs/dashboard.md describes the same documents.

export type Maybe = number | null;

export interface Session {
  read: boolean;
  write: boolean;
  needs: string;
  cell: string;
  version: string;
}

export interface Spread {
  p50: Maybe;
  p95: Maybe;
  p99: Maybe;
  count: number;
}

export interface Worker {
  name: string;
  state: "alive" | "slow" | "unready" | "draining" | "dead";
  role: string;
  engine: string;
  version: string;
  models: string[];
  slots: number;
  running_jobs: number;
  waiting_jobs: number;
  stream_jobs: number;
  kv_used: Maybe;
  heartbeat_age_s: Maybe;
  heartbeat_left_s: Maybe;
  incarnation: string;
  completed_jobs: number;
  slowness: Maybe;
  why: string | null;
  completed_per_s: Maybe;
  hedged_jobs: Maybe;
  stolen_from_jobs: Maybe;
  stolen_to_jobs: Maybe;
}

export interface Tenant {
  name: string;
  weight: number;
  waiting_jobs: number;
  running_jobs: Maybe;
  share: Maybe;
  due: Maybe;
  cost_per_s: Maybe;
  completed_per_s: Maybe;
  rejected_per_s: Maybe;
  output_tokens_per_s: Maybe;
  completed_jobs: Maybe;
  ttft_p95_s: Maybe;
}

export interface Model {
  name: string;
  workers_alive: number;
  workers: number;
  slots: number;
  running_jobs: number;
  waiting_jobs: number;
}

export type HappeningKind =
  | "stolen"
  | "hedged"
  | "recovered"
  | "worker_dead"
  | "worker_new"
  | "worker_left"
  | "leader_new"
  | "policy_changed"
  | "canary_ended"
  | "shed";

export interface Happening {
  seq: number;
  at: number;
  kind: HappeningKind;
  job: string | null;
  jobs: number;
  tenant: string | null;
  from: string | null;
  to: string | null;
  detail: string | null;
}

export interface Overview {
  contract: number;
  seq: number;
  cell: string;
  at: number;
  figures_age_s: Maybe;
  stale: boolean;
  leader: { name: string; epoch: number; since: Maybe } | null;
  open_jobs: number;
  waiting_jobs: number;
  waiting_is_exact: boolean;
  running_jobs: number;
  assigned_jobs: number;
  slots: number;
  workers_alive: number;
  workers_total: number;
  tenants_active: number;
  tenants_known: number;
  dead_letters: number;
  backlog_s: Maybe;
  totals: Record<string, number>;
  rejected_totals: Record<string, number>;
  window_s: Maybe;
  rates: Record<string, Maybe> | null;
  rejected_per_s: Record<string, number> | null;
  now: Record<string, Maybe> | null;
  latency: Record<LatencyName, Spread | null> | null;
  latency_error: Maybe;
  workers: Worker[];
  workers_left_out: number;
  tenants: Tenant[];
  tenants_left_out: number;
  models: Model[];
  policies: { in_force: InForce[]; canary: Canary | null; verdict: Verdict | null };
  streams: Record<string, Maybe>;
  recent: Happening[];
}

export type LatencyName = "queue_wait_s" | "ttft_s" | "tpot_s" | "e2e_s";

export type History = { at: number[] } & Record<string, Maybe[]>;

export interface Page<Row> {
  at?: number;
  total: number;
  matching: number;
  offset: number;
  limit: number;
  rows: Row[];
}

export interface Backend {
  worker: string;
  state: string;
  backend: string;
  kind: string;
  models: string[];
  why: string | null;
}

export interface Models {
  rows: Model[];
  backends: Backend[];
}

export interface DeadLetter {
  entry: string;
  at: number;
  job: string;
  why: string;
  stream: string;
  sample: string;
}

export interface Job {
  id: string;
  tenant: string;
  state: string;
  attempts: number;
  session: string | null;
  model: string | null;
  worker: string | null;
  hedge_worker: string | null;
  priority: Maybe;
  accepted_at: Maybe;
  deadline_at: Maybe;
  prompt_tokens: number;
  max_tokens: number;
  output_tokens: number;
  cached_tokens: number;
  queue_wait_s: Maybe;
  ttft_s: Maybe;
  e2e_s: Maybe;
  error: string | null;
  reason: string | null;
  trace_id?: string | null;
}

export interface Moment {
  at: Maybe;
  after_s: Maybe;
  what: string;
  worker: string | null;
  detail: string | null;
}

export interface Candidate {
  worker: string;
  chosen: boolean;
  score: Maybe;
  cached_tokens: Maybe;
  free_slots: Maybe;
  in_flight_jobs: Maybe;
}

export interface JobPage extends Job {
  timeline: Moment[];
  queue_place: Maybe;
  queue_place_is_exact: boolean | null;
  why_worker: { text: string; policy: string | null; arm: string | null; candidates: Candidate[] } | null;
}

export interface OpenJobs {
  total_open: number;
  looked_at: number;
  more: boolean;
  rows: Job[];
}

export type Parameters = Record<string, unknown>;

export interface InForce {
  kind: string;
  name: string;
  parameters: Parameters;
  source: string;
}

export interface Arm {
  arm: string;
  jobs: number;
  missed: number;
  attainment: Maybe;
}

export interface Canary {
  candidate: { name: string; parameters: Parameters };
  percent: number;
  slo_ttft_s: Maybe;
  slo_tpot_s: Maybe;
  word: string;
  arms: Arm[];
}

export interface Verdict {
  candidate: string;
  word: string;
  arms: Arm[];
}

export interface KnownPolicy {
  kind: string;
  name: string;
  summary: string;
  source: string;
  parameters: { name: string; type: string; default: unknown }[];
}

export interface Policies {
  serial: string | null;
  in_force: InForce[];
  canary: Canary | null;
  verdict: Verdict | null;
  changeable: string[];
  known: KnownPolicy[];
}

export interface ReportRow {
  name: string;
  at: number;
  workload: string;
  policies: Record<string, string>;
  seed: Maybe;
  figures: Record<string, Maybe>;
  bytes: number;
}

export interface Reports {
  rows: ReportRow[];
  running: { id: string; started_at: number; arguments: Parameters } | null;
  last_error: string | null;
  workloads: string[];
}

export interface Report {
  spec: Parameters;
  figures: Record<string, Maybe>;
  tenants: Record<string, unknown>[];
  cdfs: Record<string, [number, number][]>;
  timelines: Record<string, [number, number][]>;
  notes: unknown;
  provenance: Parameters;
}
