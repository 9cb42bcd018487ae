// What this browser keeps: for good, and as long as the tab. Not here: what is kept.
//
// A browser may refuse: its storage is full, or closed to this page. What it refuses is kept until the page is left.

class Kept {
  #held = new Map();

  /** `open` gives the browser's storage; asking for one that is closed throws. */
  constructor(open) {
    this.open = open;
  }

  get(name) {
    if (this.#held.has(name)) return this.#held.get(name);
    try {
      return this.open().getItem(name);
    } catch {
      return null;
    }
  }

  /** Keeps a text; false where it is gone once the page is left. */
  set(name, text) {
    try {
      this.open().setItem(name, text);
      this.#held.delete(name);
      return true;
    } catch {
      this.#held.set(name, text);
      return false;
    }
  }

  remove(name) {
    this.#held.delete(name);
    try {
      this.open().removeItem(name);
    } catch {
      // Nothing is there that could be removed.
    }
  }

  names() {
    const names = new Set(this.#held.keys());
    try {
      for (const name of Object.keys(this.open())) names.add(name);
    } catch {
      // None but those that are held.
    }
    return [...names];
  }
}

export const forGood = new Kept(() => localStorage);
export const forTab = new Kept(() => sessionStorage);
