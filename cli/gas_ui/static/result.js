// What came of an edit: each change before and after, how exact the rest is, downloads, and trying again.
import { act, at } from "./api.js";
import { byId, capital, el, fill, icon, percent, problem, seconds, toast } from "./dom.js";
import { begin } from "./run.js";
import { busy, change, state, theEdit } from "./store.js";
import { choices } from "./settings.js";

export function drawResult() {
  const section = byId("result"), edit = theEdit();
  section.hidden = !edit;
  if (!edit) return;
  if (!edit.done) {
    return fill(section, el("header", {}, el("h2", { id: "result-title" }, edit.running ? "Editing" : "Not finished")),
      edit.error ? problem(edit.error) : el("p", { class: "hint" }, edit.running ? "The result comes here." : "It was stopped before there was anything to show."));
  }
  fill(section,
    el("header", {}, el("h2", { id: "result-title" }, edit.stopped ? "Stopped: the latest state" : "The result"), el("span", { class: "hint number" }, `${edit.editor} · ${seconds(edit.seconds)}`)),
    edit.resumable ? el("div", { class: "row between nowrap" }, el("span", { class: "hint" }, "What was reached is kept."),
      el("button", { type: "button", class: "first", "data-key": "resume", disabled: busy(), onclick: () => begin(`/edits/${edit.number}/resume`) }, "Resume")) : null,
    sameBytes(edit),
    el("ul", { class: "outcomes" }, edit.changes.map((one, index) => outcome(edit, one, index))),
    el("p", { class: "hint" }, outside(edit)),
    edit.notes.length ? el("ul", { class: "warnings" }, edit.notes.map((one) => el("li", {}, capital(one)))) : null,
    el("div", { class: "row" },
      el("a", { class: "button first", "data-key": "download", href: at(`/edits/${edit.number}/picture`), download: edit.name }, icon("down"), "Download"),
      el("a", { class: "button second", href: at(`/edits/${edit.number}/record`), download: "" }, "Record"),
      el("button", { type: "button", class: "second", "data-key": "continue", disabled: busy(), onclick: () => goOn(edit) }, "Edit this further")),
    command(edit));
}

function outcome(edit, one, index) {
  const source = (when) => at(`/edits/${edit.number}/changes/${index}/${when}?${edit.seconds}`);
  const words = one.inside === null ? "No place of its own" : `Changed by ${one.inside.toFixed(1)} of 255 inside its place`;
  return el("li", { class: "outcome" },
    one.crops ? el("div", { class: "pair" }, el("img", { src: source("before"), alt: "before", loading: "lazy" }), el("img", { src: source("after"), alt: "after", loading: "lazy" })) : null,
    el("div", { class: "outcome-words" }, el("strong", {}, one.what), el("span", { class: "hint number" }, words)),
    edit.stopped || !one.crops ? null : el("button", { type: "button", class: "quiet small", "data-key": `redo-${index}`, disabled: busy(), "aria-label": `Redo: ${one.what}`, onclick: () => redoDialog(edit, one, index) }, icon("again"), "Redo"));
}

function outside(edit) {
  if (edit.everywhere) return "The whole picture was edited.";
  const place = edit.outside === 0 ? "Outside the regions every pixel is the photograph's." : `Outside the regions it differs by ${edit.outside} at most of 255.`;
  return edit.beyond ? `${place} ${capital(edit.editor)} edited ${percent(edit.beyond)} of the picture beyond them.` : place;
}

function sameBytes(edit) {
  if (edit.same_bytes === null) return null;
  const words = edit.same_bytes ? "Replayed: the same bytes as the picture that was dropped." : "Replayed: not the same bytes.";
  return el("div", { class: edit.same_bytes ? "good" : "problem" }, el("p", {}, words), edit.drift.map((one) => el("p", { class: "hint" }, `Drifted: ${one}`)));
}

function command(edit) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(edit.command);
    } catch { // no clipboard on a page that is not of this machine
      getSelection().selectAllChildren(line);
      return toast("Selected: copy it with Ctrl+C");
    }
    toast("Copied");
  };
  const line = el("code", { class: "command" }, edit.command);
  return el("details", { class: "more", "data-key": "command" }, el("summary", {}, "The same as a command"),
    el("div", { class: "stack" }, line, el("div", { class: "row" }, el("button", { type: "button", class: "second small", onclick: copy }, icon("copy"), "Copy"),
      edit.by_hand ? el("a", { class: "button second small", href: at(`/edits/${edit.number}/plan.zip`), download: "" }, icon("down"), "plan.json and masks") : null)));
}

async function goOn(edit) {
  try {
    await act("POST", `/edits/${edit.number}/continue`);
    byId("ask").value = "";
    byId("ask").focus();
  } catch (error) {
    toast(problem(error), true);
  }
}

async function redoDialog(edit, one, index) {
  const dialog = byId("dialog");
  const known = await choices();
  const select = el("select", { id: "redo-editor" }, known.editor.filter((each) => each.ready).map((each) => el("option", { value: each.name, selected: each.name === edit.editor }, each.name)));
  fill(dialog, el("h2", { id: "dialog-title" }, `Once more: ${one.what}`),
    el("p", { class: "hint" }, "This change is taken back and made again with another seed. All other changes stay as they are."),
    el("label", { class: "cell" }, el("span", { class: "cell-name" }, "Editor"), select),
    el("div", { class: "row between" }, el("button", { type: "button", class: "second", onclick: () => dialog.close() }, "Leave it"),
      el("button", { type: "button", class: "first", onclick: () => {
        dialog.close();
        begin(`/edits/${edit.number}/redo`, { change: index, editor: select.value === edit.editor ? null : select.value });
      } }, "Redo")));
  dialog.showModal();
}
export { change, state };
