// The window's state as the server tells it, what this page adds to it, and who is told when either changes.

export const page = { view: "photo", tool: "look", brush: 28, place: null, box: null, edit: null, comparing: null, error: null, draft: null };
export let state = null;
export let start = null;
const listeners = [];

export const onChange = (listener) => listeners.push(listener);
export const setStart = (told) => (start = told);

export function setState(fresh) {
  const before = state;
  state = fresh;
  if (before && before.picture?.number !== fresh.picture?.number) Object.assign(page, { place: null, edit: null, view: "photo", comparing: null, error: null, draft: null });
  if (page.place && !fresh.places.some((one) => one.id === page.place)) page.place = null;
  changed();
}

export function change(values) {
  Object.assign(page, values);
  changed();
}

function changed() {
  for (const listener of listeners) listener();
}

const COLOURS = ["#56b4e9", "#cc79a7", "#00a878", "#f0e442", "#e8681a", "#2f8fd6", "#e69f00"];
export function colourOf(row) {
  const index = state.rows.findIndex((one) => one.id === row);
  return COLOURS[Math.max(index, 0) % COLOURS.length];
}
export const theEdit = () => (state ? state.edits.find((one) => one.number === page.edit) : null);
// Whether a change that is on and not of the whole picture has no place.
export const lacksPlaces = () => state.rows.some((row) => row.on && row.where !== "picture" && !state.places.some((one) => one.row === row.id));
export const busy = () => Boolean(state?.task);
