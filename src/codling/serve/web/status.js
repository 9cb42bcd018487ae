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
