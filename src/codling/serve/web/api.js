// Talks to the server: JSON, server-sent events, the API key. Not here: anything that is shown.

import { forTab } from "./storage.js";

export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const KEY = "codling.key";
/** The server's address: not always the host's root, since a proxy may give it a folder. */
const ROOT = new URL("../", import.meta.url);
let onKeyNeeded = () => {};
let onLost = () => {};

export function apiKey() {
  return forTab.get(KEY) ?? "";
}

export function setApiKey(key) {
  if (key) forTab.set(KEY, key);
  else forTab.remove(KEY);
}

/** Calls `tell` whenever the server refuses for want of a key. */
export function whenKeyNeeded(tell) {
  onKeyNeeded = tell;
}

/** Calls `tell` whenever the server does not answer, or not to the end. */
export function whenLost(tell) {
  onLost = tell;
}

/** The card of the model. */
export async function model() {
  const card = (await getJson("/v1/models")).data?.[0];
  if (!card) throw new ApiError(0, "the server at this address is not codling's", "foreign");
  return card;
}

export async function getJson(path) {
  return parsed(await request(path, {}));
}

export async function postJson(path, body) {
  const headers = { "Content-Type": "application/json" };
  return parsed(await request(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

/** Tells what became of a suggestion: { id, outcome, text }. */
export async function tellOutcome({ id, ...told }) {
  await postJson(`/v1/completions/${encodeURIComponent(id)}/outcome`, told);
}

/**
 * Posts `body` with stream on and yields each event's JSON object.
 * Throws ApiError for a refusal, also for one in the middle of the stream; AbortError once `signal` fires.
 */
export async function* stream(path, body, { signal, headers = {} } = {}) {
  const answer = await request(path, {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  for await (const data of events(answer.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(0, event.error.message, event.error.code);
    yield event;
  }
  throw lost("the server broke off in the middle of its answer");
}

async function parsed(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "what answers at this address is not JSON; is a proxy in between?", "foreign");
  }
}

/** Headers hold bytes: a key of other letters is sent as UTF-8. */
function asHeader(key) {
  return String.fromCharCode(...new TextEncoder().encode(key.trim()));
}

function lost(message) {
  onLost();
  return new ApiError(0, message, "unreachable");
}

async function request(path, { headers = {}, ...options }) {
  const key = apiKey();
  const auth = key ? { Authorization: `Bearer ${asHeader(key)}` } : {};
  let answer;
  try {
    answer = await fetch(new URL(path.slice(1), ROOT), { ...options, headers: { ...headers, ...auth } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw lost("the server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  const inner = (await answer.json().catch(() => null))?.error ?? {};
  if (answer.status === 401) onKeyNeeded();
  if (answer.status === 502 || answer.status === 504) onLost(); // a proxy's words for the same
  throw new ApiError(answer.status, inner.message ?? `status ${answer.status}`, inner.code);
}

/** The data of each server-sent event; comment lines are passed over. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((error) => {
        throw error.name === "AbortError" ? error : lost("the server broke off in the middle of its answer");
      });
      if (done) return;
      held += value;
      const lines = held.split("\n");
      held = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Times one stream: first text, end, tokens per second. */
export class Stopwatch {
  constructor() {
    this.start = performance.now();
    this.first = null;
    this.tokens = 0;
    this.cached = 0;
    this.prompt = 0;
  }

  sawText() {
    this.first ??= performance.now();
  }

  sawUsage(usage) {
    this.tokens = usage.completion_tokens;
    this.prompt = usage.prompt_tokens;
    this.cached = usage.prompt_cache_hit_tokens ?? 0;
  }

  /** [label, value] pairs to show. */
  facts() {
    const end = performance.now();
    const facts = [];
    if (this.first !== null) facts.push(["first", milliseconds(this.first - this.start)]);
    facts.push(["total", milliseconds(end - this.start)]);
    const seconds = (end - (this.first ?? this.start)) / 1000;
    if (this.tokens > 1 && seconds > 0.001) {
      facts.push(["speed", `${Math.round((this.tokens - 1) / seconds)} tok/s`]);
    }
    const cached = this.cached ? `, ${this.cached} cached` : "";
    if (this.prompt) facts.push(["prompt", `${this.prompt} tok${cached}`]);
    return facts;
  }
}

function milliseconds(value) {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
