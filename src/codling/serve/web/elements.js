// Small elements, and the clipboard. Not here: where they stand.

/** An element of a class with something in it; `attributes` too, those that are null left out. */
export function element(tag, className = "", attributes = {}, ...inside) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

/** A button with words on it; `name` is what a screen reader says where the words alone do not tell. */
export function button(label, onClick, { className = "plain", name = null } = {}) {
  const made = element("button", className, { type: "button", "aria-label": name }, label);
  made.addEventListener("click", onClick);
  return made;
}

/** A button that copies; it says so for a moment. */
export function copyButton(label, text, options) {
  const made = button(label, async () => {
    made.textContent = (await copy(text())) ? "Copied" : "Not allowed";
    setTimeout(() => (made.textContent = label), 1500);
  }, options);
  return made;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have no clipboard for pages that came over plain HTTP from another machine.
    const field = element("textarea", "unseen");
    field.value = text;
    const before = document.activeElement;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    before?.focus();
    return done;
  }
}
