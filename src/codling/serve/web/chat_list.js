// The list of conversations beside the chat, and the dialog with a conversation's system prompt and sampling. Not here: the
// conversation itself (chat.js).

import * as conversations from "./conversations.js";
import { button, element } from "./elements.js";

export class ChatList {
  /** `parts`: the elements list, fresh, ask (a dialog), asked (its question), remove. */
  constructor(parts, chat) {
    this.parts = parts;
    this.chat = chat;
    parts.fresh.addEventListener("click", () => chat.begin());
    parts.remove.addEventListener("click", () => this.#remove());
    chat.addEventListener("change", () => this.show());
    conversations.whenChangedElsewhere(() => {
      chat.follow();
      this.show();
    });
    this.show();
  }

  show() {
    const { list } = this.parts;
    const had = list.contains(document.activeElement);
    list.replaceChildren(...conversations.list().map((each) => this.#entry(each)));
    if (had) this.focus();
  }

  /** To the open conversation, or the button that begins one. */
  focus() {
    (this.parts.list.querySelector("[aria-current] button") ?? this.parts.fresh).focus();
  }

  #entry(conversation) {
    const title = conversations.titleOf(conversation);
    const isOpen = conversation.id === this.chat.conversation.id;
    const row = element("li", "", { "aria-current": isOpen ? "true" : null });
    const open = button(title, () => this.#open(conversation), { className: "entry" });
    open.title = title;
    row.append(
      open,
      button("Rename", () => this.#rename(row, conversation), { name: `Rename ${title}` }),
      button("Delete", () => this.#askToRemove(conversation), { name: `Delete ${title}` }),
    );
    return row;
  }

  #open(conversation) {
    this.chat.open(conversation);
    this.show();
  }

  #rename(row, conversation) {
    const field = element("input", "", { "aria-label": "Name of the conversation", maxlength: "120" });
    field.value = conversations.titleOf(conversation);
    let isDone = false;
    const end = (isKept) => {
      if (isDone) return;
      isDone = true;
      const title = field.value.trim();
      if (isKept && title) this.#name(conversation, title);
      this.show();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter");
    });
    field.addEventListener("blur", () => end(true));
    row.replaceChildren(field);
    field.select();
  }

  #name(conversation, title) {
    if (conversation.id === this.chat.conversation.id) this.chat.change({ title });
    else conversations.keep({ ...conversation, title });
  }

  #askToRemove(conversation) {
    this.removing = conversation;
    this.parts.asked.textContent = conversations.titleOf(conversation);
    this.parts.ask.showModal();
  }

  #remove() {
    conversations.remove(this.removing);
    if (this.removing.id === this.chat.conversation.id) this.chat.begin();
    else this.show();
    this.focus();
  }
}

/** Fills the dialog from the open conversation and takes what was changed; `fields`: elements by the option's name. */
export function wireOptions({ dialog, open, fields, shown }, chat) {
  const fill = () => {
    for (const [name, field] of Object.entries(fields)) field.value = chat.conversation.options[name] ?? "";
    show();
  };
  const show = () => (shown.textContent = Number(fields.temperature.value).toFixed(1));
  open.addEventListener("click", () => {
    fill();
    dialog.showModal();
  });
  // With every change: a dialog's `close` comes some time after it has gone, and a message may be sent before.
  dialog.addEventListener("input", () => {
    show();
    const number = (field) => (field.value === "" || !field.checkValidity() ? null : Number(field.value));
    const options = {
      system: fields.system.value,
      temperature: Number(fields.temperature.value),
      top_p: number(fields.top_p) ?? 1,
      max_tokens: number(fields.max_tokens),
      seed: number(fields.seed),
    };
    chat.change({ options });
  });
}
