// The line at the foot of a card: its state in words, and figures. Not here: when they change.

/** `state` is idle, busy, ghost or error. */
export function showState(place, state, message) {
  place.dataset.state = state;
  place.textContent = message;
}

/** `facts`: pairs of a label and a value. */
export function showFacts(place, facts) {
  place.replaceChildren(
    ...facts.map(([label, value]) => {
      const item = document.createElement("span");
      const strong = document.createElement("b");
      strong.textContent = value;
      item.append(`${label} `, strong);
      item.dataset.fact = label;
      return item;
    }),
  );
}

/** A button with words on it. */
export function button(label, onClick, { className = "plain", name } = {}) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = className;
  made.textContent = label;
  if (name) made.setAttribute("aria-label", name);
  made.addEventListener("click", onClick);
  return made;
}

/** An element of a class with text in it. */
export function element(tag, className = "", ...inside) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...inside);
  return made;
}
