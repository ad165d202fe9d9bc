// Every request of the pages goes through here: same origin, JSON, errors that are sentences.

import type { Session } from "@/lib/types";

/** What the server refused, or that it could not be asked (status 0). */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly field: string | null = null,
  ) {
    super(message);
  }
}

const SILENT = "The dashboard's server does not answer. Is `parallax dashboard` still running?";

async function refusal(response: Response): Promise<Refused> {
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as { error: { message: string; code: string; field?: string | null } };
    return new Refused(String(error.message), response.status, String(error.code), error.field ?? null);
  } catch {
    return new Refused(`The server answered with status ${response.status}.`, response.status, "internal");
  }
}

/** Ask, and take whatever is not a success as an error. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...init });
  } catch (trouble) {
    if (trouble instanceof DOMException && trouble.name === "AbortError") throw trouble;
    throw new Refused(SILENT, 0, "silent");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, { signal })).json() as Promise<T>;
}

export async function post<T>(path: string, body: unknown = {}, signal?: AbortSignal): Promise<T> {
  return (await send("POST", path, body, signal)).json() as Promise<T>;
}

export function send(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return ask(path, {
    method,
    signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

export const signIn = (token: string): Promise<Session> => post<Session>("/api/session", { token });

/** A path with the parameters that say something. */
export function withQuery(path: string, parameters: Record<string, string | number>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== "") query.set(name, String(value));
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}
