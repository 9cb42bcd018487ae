// The conversations that this browser keeps: one entry of its storage each. Not here: anything that is shown.

import { forGood, forTab } from "./storage.js";

const PREFIX = "codling.chat.";
const OPEN = "codling.chat-open";
const LONGEST_TITLE = 60;
/** Those that were removed here: an answer that was still being written does not bring one back. */
const removed = new Set();

export const DEFAULTS = { system: "", temperature: 0.2, top_p: 1, max_tokens: null, seed: null };

/** A conversation without messages; it is kept from its first message on. */
export function begin(options = DEFAULTS) {
  const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  return { id, title: "", at: Date.now(), options: { ...options }, messages: [] };
}

/** All that are kept, the last used first. */
export function list() {
  const found = forGood.names().filter((name) => name.startsWith(PREFIX)).map(read).filter(Boolean);
  return found.sort((a, b) => b.at - a.at);
}

/** Keeps it; false where the browser's storage is full or closed. */
export function keep(conversation) {
  return removed.has(conversation.id) || forGood.set(PREFIX + conversation.id, JSON.stringify(conversation));
}

export function remove(conversation) {
  removed.add(conversation.id);
  forGood.remove(PREFIX + conversation.id);
}

/** What it is called: its name, or its first question. */
export function titleOf({ title, messages }) {
  const first = messages.find(({ role }) => role === "user")?.content.trim().split("\n", 1)[0] ?? "";
  return title || (first.length > LONGEST_TITLE ? `${first.slice(0, LONGEST_TITLE)}\u2026` : first) || "New chat";
}

/** Which one this tab has open: a reload opens it again. */
export function opened() {
  const id = forTab.get(OPEN);
  return id ? again({ id }) : null;
}

export function open(conversation) {
  forTab.set(OPEN, conversation.id);
}

/** A conversation as it is kept now; null if it is not. */
export function again({ id }) {
  return read(PREFIX + id);
}

/** Calls `tell` when another tab changes what is kept. */
export function whenChangedElsewhere(tell) {
  addEventListener("storage", ({ key }) => {
    if (key === null || key.startsWith(PREFIX)) tell();
  });
}

/** A kept conversation, or null if it is not one (an older version's, or a hand's). */
function read(key) {
  try {
    const { id, title, at, options, messages } = JSON.parse(forGood.get(key));
    const sound = messages.filter(({ role, content }) => ["user", "assistant"].includes(role) && typeof content === "string");
    return { id: String(id), title: String(title ?? ""), at: Number(at) || 0, options: { ...DEFAULTS, ...options }, messages: sound };
  } catch {
    return null;
  }
}
