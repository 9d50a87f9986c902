// The edits of this window as cards, the newest first; each opens again with everything.
import { act, at } from "./api.js";
import { byId, el, fill, problem, toast } from "./dom.js";
import { busy, change, page, state } from "./store.js";

export function drawHistory() {
  const section = byId("history");
  const edits = state.edits.filter((one) => one.done || one.error);
  section.hidden = edits.length < 1;
  if (section.hidden) return;
  fill(section, el("header", {}, el("h2", { id: "history-title" }, "Edits of this window"), el("span", { class: "hint" }, String(edits.length))), el("ul", { class: "cards" }, edits.map(card)));
}

function card(edit) {
  const on = page.edit === edit.number;
  const show = () => change({ edit: edit.number, view: edit.done ? "result" : page.view, comparing: null });
  const words = !edit.done ? (edit.error ? "failed" : "stopped") : edit.offered ? `change ${edit.redone + 1} again?` : edit.redone !== null ? `change ${edit.redone + 1} made again` : `seed ${edit.seed}${edit.stopped ? " · stopped" : ""}`;
  return el("li", { class: on ? "thumb on" : "thumb" },
    el("button", { type: "button", class: "thumb-show", "data-key": `edit-${edit.number}`, "aria-pressed": String(on), onclick: show },
      edit.done ? el("img", { src: at(`/edits/${edit.number}/after?${edit.seconds}`), alt: "", loading: "lazy" }) : el("span", { class: "none" }, "×"),
      el("span", { class: "thumb-words" }, el("strong", {}, edit.editor), el("span", { class: "hint number" }, words))),
    edit.done && !edit.offered ? el("button", { type: "button", class: "quiet small", disabled: busy(), "data-key": `open-${edit.number}`, "aria-label": `Open the edit by ${edit.editor}, ${words}`, onclick: () => reopen(edit) }, "Open") : null);
}

async function reopen(edit) {
  try {
    const fresh = await act("POST", `/edits/${edit.number}/open`);
    byId("ask").value = fresh.instruction;
    change({ edit: edit.number, view: "regions" });
  } catch (error) {
    toast(problem(error), true);
  }
}
