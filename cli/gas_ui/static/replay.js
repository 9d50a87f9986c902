// A dropped picture that gas made: what its record says, and making it again.
import { byId, el, fill, icon } from "./dom.js";
import { begin } from "./run.js";
import { busy, state } from "./store.js";

export function drawMade() {
  const section = byId("made"), made = state.picture?.made;
  section.hidden = !made || state.rows.length > 0;
  if (section.hidden) return;
  const choose = () => {
    byId("photo-input").dataset.what = "original";
    byId("photo-input").click();
  };
  fill(section, el("h2", {}, "gas made this picture"), el("p", { class: "hint" }, `“${made.asked}”, with ${made.editor}, from ${made.original}.`),
    el("div", { class: "row" }, made.here
      ? el("button", { type: "button", class: "second", "data-key": "replay", disabled: busy(), onclick: () => begin("/replay") }, icon("again"), "Replay it")
      : [el("button", { type: "button", class: "second", "data-key": "original", onclick: choose }, `Give ${made.original}`), el("span", { class: "hint" }, "Replay needs the original.")]));
}
