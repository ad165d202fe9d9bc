"use client";

import Link from "next/link";
import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { useAction } from "@/components/actions";
import { Blank, DurationFigure, Figure, PageHead, Panel, Tag } from "@/components/parts";
import { send } from "@/lib/api";
import { count } from "@/lib/format";
import { useFeed } from "@/lib/hooks";
import { events } from "@/lib/sse";
import { jobTone } from "@/lib/states";
import type { Maybe } from "@/lib/types";

interface Done {
  outcome: string;
  worker: string | null;
  queue_wait_s: Maybe;
  ttft_s: Maybe;
  e2e_s: Maybe;
  prompt_tokens: Maybe;
  output_tokens: Maybe;
  error: string | null;
  text: string | null;
}

interface Answer {
  state: "none" | "asked" | "queued" | "speaking" | "done" | "stopped";
  id: string | null;
  place: Maybe;
  text: string;
  done: Done | null;
}

type News = { event: string; data: Record<string, unknown> } | { event: "ask" | "stop" };

const NOTHING: Answer = { state: "none", id: null, place: null, text: "", done: null };

function told(old: Answer, news: News): Answer {
  const data = ("data" in news ? news.data : {}) as Record<string, never>;
  switch (news.event) {
    case "ask":
      return { ...NOTHING, state: "asked" };
    case "accepted":
      return { ...old, state: "queued", id: data.id ?? null };
    case "queued":
      return { ...old, state: "queued", place: data.place ?? null };
    case "text":
      return { ...old, state: "speaking", text: old.text + String(data.text ?? "") };
    case "done":
      return { ...old, state: "done", done: data as unknown as Done, text: old.text || String(data.text ?? "") };
    case "stop":
      return old.state === "done" ? old : { ...old, state: "stopped" };
    default:
      return old;
  }
}

export default function PlaygroundPage() {
  const [answer, tell] = useReducer(told, NOTHING);
  const action = useAction();
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);

  const ask = useCallback(
    async (question: Record<string, unknown>): Promise<void> => {
      tell({ event: "ask" });
      await action.run(async () => {
        const mine = new AbortController();
        stop.current = mine;
        try {
          const response = await send("POST", "/api/playground", question, mine.signal);
          if (response.body)
            for await (const { event, data } of events(response.body)) tell({ event, data: JSON.parse(data) as Record<string, unknown> });
        } catch (trouble) {
          if (mine.signal.aborted) return "Stopped: the job is cancelled";
          throw trouble;
        } finally {
          stop.current = null;
        }
        return "Answered";
      });
      tell({ event: "stop" });
    },
    [action],
  );

  return (
    <>
      <PageHead title="Playground">
        A prompt goes the way of every job: through a tenant&apos;s queue, the scheduler and a worker&apos;s stream. The answer comes as the
        engine makes it.
      </PageHead>
      <div className="grid">
        <Ask busy={action.busy} onAsk={(question) => void ask(question)} onStop={() => stop.current?.abort()} />
        <Reply answer={answer} error={action.error} />
      </div>
    </>
  );
}

interface AskProps {
  busy: boolean;
  onAsk: (question: Record<string, unknown>) => void;
  onStop: () => void;
}

function Ask({ busy, onAsk, onStop }: AskProps) {
  const { overview } = useFeed();
  const [prompt, setPrompt] = useState("Say hello to everyone who waits in line");
  const [tenant, setTenant] = useState("playground");
  const [model, setModel] = useState("");
  const [most, setMost] = useState("128");
  const [heat, setHeat] = useState("");
  const submit = (): void =>
    onAsk({ prompt, tenant, model, max_tokens: Number(most), temperature: heat.trim() === "" ? null : Number(heat) });
  return (
    <Panel title="Prompt" span="span-5">
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !busy) submit();
        }}
      >
        <label className="field">
          Prompt
          <textarea className="input" rows={6} maxLength={32_000} value={prompt} onChange={(event) => setPrompt(event.target.value)} />
        </label>
        <div className="form-row">
          <label className="field">
            Tenant
            <input className="input" value={tenant} onChange={(event) => setTenant(event.target.value)} />
          </label>
          <label className="field">
            Model
            <select className="input" value={model} onChange={(event) => setModel(event.target.value)}>
              <option value="">any</option>
              {(overview?.models ?? []).filter((one) => one.name).map((one) => (
                <option key={one.name}>{one.name}</option>
              ))}
            </select>
          </label>
        </div>
        <div className="form-row">
          <label className="field">
            Tokens at most
            <input className="input num" inputMode="numeric" value={most} onChange={(event) => setMost(event.target.value)} />
          </label>
          <label className="field">
            Temperature
            <input className="input num" inputMode="decimal" placeholder="engine's own" value={heat} onChange={(event) => setHeat(event.target.value)} />
          </label>
        </div>
        <div className="tools">
          <button type="submit" className="button" data-kind="primary" disabled={busy || prompt.trim() === ""}>
            Send
          </button>
          <button type="button" className="button" disabled={!busy} onClick={onStop}>
            Stop
          </button>
          <span className="faint">Ctrl and Enter sends, too</span>
        </div>
      </form>
    </Panel>
  );
}

const SAID: Record<Answer["state"], string> = {
  none: "",
  asked: "asked",
  queued: "queued",
  speaking: "answers",
  done: "done",
  stopped: "stopped",
};

function Reply({ answer, error }: { answer: Answer; error: string | null }) {
  const { done } = answer;
  const word = done?.outcome ?? SAID[answer.state];
  return (
    <Panel
      title="Answer"
      span="span-7"
      hint={answer.id && <Link prefetch={false} href={`/jobs/?id=${encodeURIComponent(answer.id)}`}>{answer.id}</Link>}
      side={word && <Tag tone={done ? jobTone(done.outcome) : "accent"}>{word}</Tag>}
    >
      {error ? (
        <p className="error-text" role="alert">
          {error}
        </p>
      ) : answer.state === "none" ? (
        <Blank title="Nothing asked yet">Send a prompt, and watch it wait, be decided on, and be answered.</Blank>
      ) : (
        <div className="answer" aria-live="polite" data-testid="answer">
          {answer.text ||
            (answer.state === "queued" && answer.place !== null ? `Waits at place ${count(answer.place)}…` : done ? (done.error ?? "No text.") : "Waits…")}
          {answer.state === "speaking" && <i className="caret" aria-hidden="true" />}
        </div>
      )}
      {done && (
        <dl className="figures small">
          <DurationFigure label="Queue wait" seconds={done.queue_wait_s} />
          <DurationFigure label="First token" seconds={done.ttft_s} />
          <DurationFigure label="End to end" seconds={done.e2e_s} />
          <Figure label="Tokens" value={count(done.output_tokens)} under={`prompt ${count(done.prompt_tokens)}`} />
          <Figure label="Worker" value={done.worker ?? "–"} />
        </dl>
      )}
    </Panel>
  );
}
