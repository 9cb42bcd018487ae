// The open conversation: asked, streamed, edited, answered again. Text from the model is shown as text, never as HTML.
// Not here: the list of conversations (chat_list.js), where they are kept (conversations.js).

import { Stopwatch, stream } from "./api.js";
import * as conversations from "./conversations.js";
import { button, copyButton, element } from "./elements.js";
import { kindOf, paint } from "./languages.js";
import { render } from "./markdown.js";
import { showFacts, showState } from "./status.js";

export class Chat extends EventTarget {
  /**
   * `parts`: the elements talk, empty, compose, say, send, stop, again, state, stats, title. `onInsert` takes code to the
   * editor. Event: `change`, when what is kept has changed.
   */
  constructor(parts, { onInsert }) {
    super();
    this.parts = parts;
    this.onInsert = onInsert;
    this.abort = null;
    this.conversation = conversations.opened() ?? conversations.begin();
    this.#wire();
    this.#showAll();
  }

  get #messages() {
    return this.conversation.messages;
  }

  /** Shows another conversation; an answer that is being written ends there. */
  open(conversation) {
    this.abort?.abort();
    this.abort = null;
    this.parts.talk.removeAttribute("aria-busy");
    this.conversation = conversation;
    conversations.open(conversation);
    this.#showAll();
    showState(this.parts.state, "idle", "ready");
    showFacts(this.parts.stats, []);
    this.parts.say.focus();
  }

  /** An empty one, with the same system prompt and sampling. */
  begin() {
    this.open(conversations.begin(this.conversation.options));
    this.#changed();
  }

  /** Another tab has changed what is kept: the same conversation goes on here as it is there. */
  follow() {
    const now = conversations.again(this.conversation);
    if (!now || this.abort || this.parts.talk.querySelector(".editing")) return;
    this.conversation = now;
    this.#showAll();
  }

  /** Keeps new options, or a new title. */
  change(part) {
    Object.assign(this.conversation, part);
    if (this.#messages.length) this.#keep();
    this.#changed();
  }

  async ask() {
    const { say, send } = this.parts;
    const content = say.value.trim();
    if (!content || this.abort || send.disabled) return;
    say.value = "";
    this.#messages.push({ role: "user", content });
    this.#showAll();
    await this.#answer();
  }

  /** Answers anew: the last question, or the one before message `at`. */
  async regenerate(at = this.#messages.length - 1) {
    if (this.abort || !this.#messages[at]) return;
    const isAnswer = this.#messages[at].role === "assistant";
    await this.#replace(this.#messages.slice(0, isAnswer ? at : at + 1));
  }

  /** Asks something else instead of message `at`; what came after it goes. */
  async #askInstead(at, content) {
    if (!content.trim() || this.abort) return;
    await this.#replace([...this.#messages.slice(0, at), { role: "user", content: content.trim() }]);
  }

  /** Asks with other messages; if no answer comes, those that were there come back. */
  async #replace(messages) {
    const before = this.#messages;
    this.conversation.messages = messages;
    this.#showAll();
    await this.#answer(before);
  }

  async #answer(before = null) {
    const { conversation } = this;
    const { state, stats, talk } = this.parts;
    const box = this.#turn("assistant", "", conversation.messages.length);
    const watch = new Stopwatch();
    const abort = (this.abort = new AbortController());
    const answer = { text: "", box, watch };
    box.classList.add("writing");
    talk.setAttribute("aria-busy", "true"); // a screen reader reads it once it is whole
    this.#busy(true);
    showState(state, "busy", "writing");
    let problem = null;
    try {
      await this.#read(bodyOf(conversation), abort, answer);
    } catch (error) {
      problem = error;
    }
    if (this.abort === abort) this.abort = null;
    if (answer.text) conversation.messages.push({ role: "assistant", content: answer.text });
    else if (problem && before) conversation.messages = before;
    const isKept = this.#keep(conversation);
    if (this.conversation !== conversation) return;
    talk.removeAttribute("aria-busy");
    this.#busy(false);
    this.#showAll();
    if (!problem) showFacts(stats, watch.facts());
    if (!problem || problem.name === "AbortError") {
      if (isKept) showState(state, "idle", problem ? "stopped" : "done");
    } else this.#failed(problem.message, answer.text);
  }

  async #read(body, abort, answer) {
    let frame = 0;
    const show = () => {
      frame = 0;
      if (answer.text) this.#show(answer.box, answer.text);
    };
    try {
      for await (const event of stream("/v1/chat/completions", body, { signal: abort.signal })) {
        const piece = event.choices[0]?.delta?.content;
        if (event.usage) answer.watch.sawUsage(event.usage);
        if (!piece) continue;
        answer.watch.sawText();
        answer.text += piece;
        frame ||= requestAnimationFrame(show); // pieces come faster than a long answer is laid out
      }
    } finally {
      cancelAnimationFrame(frame);
    }
  }

  #failed(message, text) {
    showState(this.parts.state, "error", message);
    if (!text) this.#turn("assistant", message, -1).classList.add("failed");
  }

  #keep(conversation = this.conversation) {
    conversation.at = Date.now();
    const isKept = conversations.keep(conversation);
    if (!isKept && conversation === this.conversation) {
      showState(this.parts.state, "error", "the browser's storage is full: delete a conversation to keep this one");
    }
    if (conversation === this.conversation) conversations.open(conversation);
    this.#changed();
    return isKept;
  }

  #changed() {
    this.parts.title.textContent = conversations.titleOf(this.conversation);
    this.dispatchEvent(new Event("change"));
  }

  #busy(on) {
    this.parts.stop.hidden = !on;
    this.parts.send.hidden = on;
    this.parts.again.hidden = on || !this.#messages.length;
  }

  #showAll() {
    const { talk, empty, title } = this.parts;
    talk.replaceChildren(...(this.#messages.length ? [] : [empty]));
    for (const [at, { role, content }] of this.#messages.entries()) this.#turn(role, content, at);
    title.textContent = conversations.titleOf(this.conversation);
    this.#busy(Boolean(this.abort));
    requestAnimationFrame(() => (talk.scrollTop = talk.scrollHeight)); // once it is laid out
  }

  /** One message with its buttons; the box that holds its text. */
  #turn(role, text, at) {
    const name = role === "user" ? "You" : "codling";
    const box = element("div", "said");
    const row = element("article", `turn ${role}`, { "aria-label": name }, element("p", "who", { "aria-hidden": "true" }, name), box);
    if (text && at >= 0) row.append(this.#actions(role, text, at, row));
    this.parts.talk.append(row);
    this.#show(box, text);
    return box;
  }

  #actions(role, text, at, row) {
    const whose = role === "user" ? "message" : "answer";
    const copy = copyButton("Copy", () => text, { name: `Copy this ${whose}` });
    const more = role === "user"
      ? button("Edit", () => this.#edit(row, text, at), { name: "Edit this message and ask again" })
      : button("Answer again", () => this.regenerate(at), { name: "Answer this again" });
    return element("div", "acts", {}, copy, more);
  }

  /** The message as a field: Enter asks with the new text, Escape leaves it as it was. */
  #edit(row, text, at) {
    if (this.abort) return;
    const field = element("textarea", "", { "aria-label": "Message", rows: Math.min(12, text.split("\n").length + 1) });
    field.value = text;
    const send = () => this.#askInstead(at, field.value);
    const leave = () => {
      this.#showAll();
      this.parts.talk.querySelectorAll(".turn")[at]?.querySelector(".acts button:last-child")?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave();
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    const acts = element("div", "acts", {}, button("Cancel", leave), button("Ask again", send, { className: "main" }));
    row.classList.add("editing");
    row.replaceChildren(field, acts);
    field.focus();
  }

  #show(box, text) {
    const { talk } = this.parts;
    const near = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 120;
    box.replaceChildren(...render(text, (fence) => codeBlock(fence, this.onInsert)));
    if (near) talk.scrollTop = talk.scrollHeight;
  }

  #wire() {
    const { compose, say, stop, again } = this.parts;
    compose.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    say.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.ask();
      } else if (event.key === "ArrowUp" && !say.value) {
        event.preventDefault();
        [...this.parts.talk.querySelectorAll(".turn.user .acts button:last-child")].at(-1)?.click();
      } else if (event.key === "Escape") {
        this.abort?.abort();
      }
    });
    stop.addEventListener("click", () => {
      this.abort?.abort();
      say.focus();
    });
    again.addEventListener("click", () => this.regenerate());
  }
}

function bodyOf({ options, messages }) {
  const { system, temperature, top_p, max_tokens, seed } = options;
  const told = system.trim() ? [{ role: "system", content: system.trim() }] : [];
  const body = { messages: [...told, ...joined(messages)], temperature, top_p };
  if (max_tokens !== null) body.max_tokens = max_tokens;
  if (seed !== null) body.seed = seed;
  return body;
}

/** Questions that got no answer go with the next one: many templates want turns to alternate. */
function joined(messages) {
  const turns = [];
  for (const { role, content } of messages) {
    if (turns.at(-1)?.role === role) turns.at(-1).content += `\n\n${content}`;
    else turns.push({ role, content });
  }
  return turns;
}

function codeBlock({ language, text }, onInsert) {
  const actions = element("span", "", {}, copyButton("Copy", () => text, { name: "Copy this code" }));
  actions.append(button("Insert into editor", () => onInsert(text)));
  const pre = element("pre", "", { tabindex: "0", "aria-label": `Code, ${language || "no language named"}` });
  paint(pre, text, kindOf(language));
  return element("figure", "", {}, element("figcaption", "", {}, language || "code", actions), pre);
}
