// Wires the page together: tabs, theme, settings, the model's name, the editors, the chat.

import { apiKey, model as askForModel, setApiKey, whenKeyNeeded, whenLost } from "./api.js";
import { Chat } from "./chat.js";
import { ChatList, wireOptions } from "./chat_list.js";
import { Completions } from "./completions.js";
import { Editor } from "./editor.js";
import { Repository } from "./repository.js";
import { showState } from "./status.js";
import { forGood, forTab } from "./storage.js";

const $ = (id) => document.getElementById(id);
const SAMPLE = `"""A stack and a queue, made of lists."""


class Stack:
    """Gives back what came last."""

    def __init__(self, items=()):
        self.items = list(items)

    def push(self, item):
        """Puts one item on top."""
        ^

    def pop(self):
        """Takes the top item off."""
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()


class Queue:
    """Gives back what came first."""

    def __init__(self, items=()):
        self.items = list(items)

    def __len__(self):
        return len(self.items)
`;
const SETTINGS = ["on-pause", "pause", "length"];
const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const HINT = "Control Space asks for a completion, Tab accepts it, Escape drops it. After Escape, Tab leaves the editor.";
const KEEP_AFTER_MS = 300;
const TRY_AGAIN_MS = 2000;

let model = { can_insert: true };
/** The timer of the next try to reach the server; 0 while it answers. */
let tries = 0;

const settings = {
  onPause: () => $("on-pause").checked,
  pause: () => Number($("pause").value),
  length: () => Number($("length").value),
};
const say = (text) => ($("heard").textContent = text);

/** An editor with completions in it; `prefix` stands before the names of its elements. */
function cardOf(host, prefix, label, path) {
  const editor = new Editor($(host), { label, hint: HINT });
  const part = (name) => $(`${prefix}${name}`);
  const parts = {
    ask: part("ask"), accept: part("accept"), drop: part("drop"), state: part("state"), stats: part("editor-stats"), place: part("place"),
  };
  return { editor, completions: new Completions(editor, parts, { settings, say, model: () => model, path }) };
}

const own = cardOf("text", "", "Code", () => $("file").value.trim());
const { editor } = own;
const repo = cardOf("repo-text", "repo-", "Code of the open file", () => repository?.open?.path ?? "");
const repository = new Repository(
  {
    tree: $("tree"), find: $("find-file"), relist: $("relist"), name: $("repo-name"), path: $("repo-path"), revert: $("repo-revert"),
    state: $("repo-state"), summary: $("context-summary"), files: $("context-files"), notes: $("context-notes"),
  },
  repo,
);
const chat = new Chat(
  {
    talk: $("talk"), empty: $("empty"), compose: $("compose"), say: $("say"), send: $("send"), stop: $("stop"),
    state: $("chat-state"), stats: $("chat-stats"), again: $("again"), title: $("chat-title"),
  },
  { onInsert: insertCode },
);
/** Where code from the chat goes: the editor that was used last. */
let lastUsed = { tab: $("tab-editor"), editor };

start();

function start() {
  restore();
  wireTabs();
  wireTheme();
  wireSettings();
  wireEditor();
  wireChat();
  whenLost(look);
  connect();
}

/** Asks the server for its model; while it is away, again and again. */
async function connect() {
  clearTimeout(tries);
  tries = 0;
  const was = $("dot").dataset.state;
  try {
    model = await askForModel();
    $("model-name").textContent = model.id;
    $("model-context").textContent = `${model.max_model_len.toLocaleString("en")} tokens`;
    document.title = `${model.id} - codling`;
    $("send").disabled = !model.can_chat;
    $("tab-repository").hidden = !model.follows_repository;
    if (model.follows_repository) repository.list();
    else if (!$("repository").hidden) $("tab-editor").click();
    if (!model.can_chat) $("empty").textContent = "This model has no chat template: it completes code.";
    $("dot").dataset.state = "up";
    if (was !== "up") showState($("state"), "idle", model.can_insert ? "ready" : "ready; this model continues, it cannot insert");
  } catch (error) {
    $("dot").dataset.state = "down";
    $("model-name").textContent = error.status === 401 ? "needs a key" : "no server";
    if (was !== "down") showState($("state"), "error", error.message);
    if (error.status !== 401) look();
  }
}

/** The server may come back. */
function look() {
  $("dot").dataset.state = "down";
  $("model-name").textContent = "no server";
  tries ||= setTimeout(connect, TRY_AGAIN_MS);
}

function wireEditor() {
  let timer = 0;
  editor.addEventListener("edit", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, KEEP_AFTER_MS); // a long text takes a while to be written down
  });
  addEventListener("pagehide", keep);
  document.addEventListener("keydown", (event) => {
    const space = event.ctrlKey && event.code === "Space";
    const slash = event.altKey && event.code === "Backslash";
    const card = !$("editor").hidden ? own : !$("repository").hidden && repository.open ? repo : null;
    if (!(space || slash) || !card) return;
    event.preventDefault();
    card.editor.focus();
    card.completions.ask();
  });
  $("text").addEventListener("focusin", () => (lastUsed = { tab: $("tab-editor"), editor }));
  $("repo-text").addEventListener("focusin", () => (lastUsed = { tab: $("tab-repository"), editor: repo.editor }));
  $("file").addEventListener("input", () => {
    editor.fileName = $("file").value;
    keep();
  });
  if (IS_MAC) $("hint").firstElementChild.textContent = "Control";
}

function insertCode(code) {
  lastUsed.tab.click();
  lastUsed.editor.focus();
  lastUsed.editor.insert(code);
}

// The chat

function wireChat() {
  new ChatList({ list: $("chat-list"), fresh: $("clear"), ask: $("ask-delete"), asked: $("ask-delete-name"), remove: $("delete-chat") }, chat);
  wireOptions(
    {
      dialog: $("options"), open: $("open-options"), shown: $("heat-out"),
      fields: { system: $("system"), temperature: $("heat"), top_p: $("top-p"), max_tokens: $("most"), seed: $("seed") },
    },
    chat,
  );
  for (const id of ["chats", "files"]) {
    $(`show-${id}`).addEventListener("click", () => {
      const isOpen = $(id).classList.toggle("open");
      $(`show-${id}`).setAttribute("aria-expanded", String(isOpen));
    });
  }
  // On a narrow screen a choice closes the list that it was made in.
  const close = (id) => {
    $(id).classList.remove("open");
    $(`show-${id}`).setAttribute("aria-expanded", "false");
  };
  $("chat-list").addEventListener("click", (event) => event.target.closest(".entry") && close("chats"));
  $("clear").addEventListener("click", () => close("chats"));
  $("tree").addEventListener("click", (event) => event.target.closest(".leaf") && close("files"));
}

// What the tab remembers

function keep() {
  forTab.set("codling.text", editor.text);
  forTab.set("codling.file", $("file").value);
}

function restore() {
  const value = forTab.get("codling.text");
  $("file").value = forTab.get("codling.file") ?? $("file").value;
  editor.fileName = $("file").value;
  if (value === null) editor.load(SAMPLE.replace("^", ""), SAMPLE.indexOf("^"));
  else editor.load(value, value.length);
  for (const id of SETTINGS) {
    const saved = forGood.get(`codling.${id}`);
    if (saved === null) continue;
    if ($(id).type === "checkbox") $(id).checked = saved === "true";
    else $(id).value = saved;
  }
}

// Tabs, theme, settings

function wireTabs() {
  const tabs = [$("tab-editor"), $("tab-repository"), $("tab-chat")];
  const open = (tab) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      $(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    // Not location.hash: that would take the focus from the tab.
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  };
  for (const tab of tabs) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      const shown = tabs.filter((each) => !each.hidden);
      const step = event.key === "ArrowRight" ? 1 : shown.length - 1;
      const next = shown[(shown.indexOf(tab) + step) % shown.length];
      next.focus();
      open(next);
    });
  }
  const wanted = tabs.find((tab) => location.hash === `#${tab.getAttribute("aria-controls")}`);
  if (wanted) open(wanted);
}

function wireTheme() {
  const root = document.documentElement;
  root.dataset.theme = forGood.get("codling.theme") ?? "auto";
  $("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const shown = root.dataset.theme === "auto" ? system : root.dataset.theme;
    root.dataset.theme = shown === "dark" ? "light" : "dark";
    forGood.set("codling.theme", root.dataset.theme);
  });
}

function wireSettings() {
  const show = () => {
    $("pause-out").textContent = `${(Number($("pause").value) / 1000).toFixed(2)} s`;
    $("length-out").textContent = `${$("length").value} tokens`;
  };
  for (const id of SETTINGS) {
    $(id).addEventListener("input", () => {
      const value = $(id).type === "checkbox" ? $(id).checked : $(id).value;
      forGood.set(`codling.${id}`, String(value));
      show();
    });
  }
  show();
  $("key").value = apiKey();
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("settings").addEventListener("close", () => {
    if ($("key").value === apiKey()) return;
    setApiKey($("key").value);
    connect();
  });
  whenKeyNeeded(() => {
    $("key-note").textContent = "This server needs its API key. It is kept in this tab only.";
    $("key").placeholder = "the server's key";
    if (!$("settings").open) $("settings").showModal();
    $("key").focus();
  });
}
