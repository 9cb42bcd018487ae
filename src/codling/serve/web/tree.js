// A tree of paths, as the WAI-ARIA pattern has it: one stop for Tab, arrows inside. Folders are made when they are opened.
// Not here: where paths come from (repository.js).

import { element } from "./elements.js";

const MOST_FOUND = 300;

export class Tree {
  constructor(host, { onOpen }) {
    Object.assign(this, { host, onOpen });
    this.paths = [];
    this.wanted = "";
    this.chosen = "";
    this.marked = new Set();
    this.opened = new Set();
    host.addEventListener("keydown", (event) => this.#onKey(event));
    host.addEventListener("click", (event) => {
      const item = event.target.closest("[role=treeitem]");
      if (item) this.#activate(item);
    });
  }

  show(paths) {
    this.paths = paths;
    this.#draw();
  }

  /** Only paths that hold all words of `text`. */
  filter(text) {
    this.wanted = text.trim().toLowerCase();
    this.#draw();
  }

  /** Shows which file is open; its folders are opened too. */
  choose(path) {
    this.chosen = path;
    const parts = path.split("/").slice(0, -1);
    for (let i = 1; i <= parts.length; i += 1) this.opened.add(parts.slice(0, i).join("/"));
    this.#draw();
  }

  /** Marks files that differ from those on disk. */
  mark(paths) {
    this.marked = paths;
    for (const item of this.#items()) item.classList.toggle("edited", paths.has(item.dataset.path));
  }

  focus() {
    this.#stop()?.focus();
  }

  #draw() {
    const focused = this.host.contains(document.activeElement) ? document.activeElement.dataset.path : null;
    this.host.replaceChildren(...(this.wanted ? this.#found() : this.#level("", this.paths, 1)));
    const items = this.#items();
    const stop = items.find((item) => item.dataset.path === (focused ?? this.chosen)) ?? items[0];
    if (stop) stop.tabIndex = 0;
    if (focused !== null) stop?.focus();
  }

  #found() {
    const words = this.wanted.split(/\s+/);
    const paths = this.paths.filter((path) => words.every((word) => path.toLowerCase().includes(word)));
    const items = paths.slice(0, MOST_FOUND).map((path) => this.#file(path, path, 1));
    if (items.length) return items;
    return [element("li", "quiet", { role: "none" }, "no such file")];
  }

  /** The items of one folder, folders first; `paths` lie below it. */
  #level(folder, paths, depth) {
    const skip = folder ? folder.length + 1 : 0;
    const folders = new Map();
    const files = [];
    for (const path of paths) {
      const slash = path.indexOf("/", skip);
      if (slash < 0) {
        files.push(this.#file(path, path.slice(skip), depth));
        continue;
      }
      const inner = path.slice(0, slash);
      if (!folders.has(inner)) folders.set(inner, []);
      folders.get(inner).push(path);
    }
    return [...[...folders].map(([path, inside]) => this.#folder(path, path.slice(skip), inside, depth)), ...files];
  }

  #folder(path, name, inside, depth) {
    const isOpen = this.opened.has(path);
    const item = element("li", "folder", {
      role: "treeitem", tabindex: "-1", "aria-expanded": String(isOpen), "aria-level": depth, "aria-label": name, "data-path": path,
    }, element("span", "name", {}, name));
    if (isOpen) item.append(element("ul", "", { role: "group" }, ...this.#level(path, inside, depth + 1)));
    return item;
  }

  #file(path, name, depth) {
    const isChosen = path === this.chosen;
    return element("li", this.marked.has(path) ? "leaf edited" : "leaf", {
      role: "treeitem", tabindex: "-1", "aria-level": depth, "aria-selected": String(isChosen), "data-path": path, title: path,
    }, element("span", "name", {}, name));
  }

  #items() {
    return [...this.host.querySelectorAll("[role=treeitem]")];
  }

  #stop() {
    return this.host.querySelector("[role=treeitem][tabindex='0']");
  }

  #activate(item) {
    if (!item.hasAttribute("aria-expanded")) {
      this.#moveTo(item, false);
      this.onOpen(item.dataset.path);
      return;
    }
    this.#toggle(item);
  }

  #toggle(item) {
    const { path } = item.dataset;
    if (this.opened.has(path)) this.opened.delete(path);
    else this.opened.add(path);
    this.#moveTo(item);
    this.#draw();
  }

  #moveTo(item, isFocused = true) {
    if (!item) return;
    const before = this.#stop();
    if (before) before.tabIndex = -1;
    item.tabIndex = 0;
    if (isFocused) item.focus();
  }

  #onKey(event) {
    const item = document.activeElement;
    if (event.ctrlKey || event.altKey || event.metaKey || !this.host.contains(item)) return;
    const items = this.#items();
    const at = items.indexOf(item);
    const isFolder = item.hasAttribute("aria-expanded");
    const isOpen = item.getAttribute("aria-expanded") === "true";
    const does = {
      ArrowDown: () => this.#moveTo(items[at + 1]),
      ArrowUp: () => this.#moveTo(items[at - 1]),
      Home: () => this.#moveTo(items[0]),
      End: () => this.#moveTo(items.at(-1)),
      ArrowRight: () => (isFolder && !isOpen ? this.#toggle(item) : isOpen && this.#moveTo(items[at + 1])),
      ArrowLeft: () => (isOpen ? this.#toggle(item) : this.#moveTo(item.parentElement.closest("[role=treeitem]"))),
      Enter: () => this.#activate(item),
      " ": () => this.#activate(item),
    }[event.key];
    const letter = event.key.length === 1 && event.key !== " " ? event.key.toLowerCase() : "";
    if (!does && !letter) return;
    event.preventDefault();
    event.stopPropagation();
    if (does) does();
    else this.#moveTo([...items.slice(at + 1), ...items.slice(0, at)].find((each) => nameOf(each).startsWith(letter)));
  }
}

function nameOf(item) {
  return item.querySelector(".name").textContent.toLowerCase();
}
