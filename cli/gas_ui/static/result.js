// What came of an edit: each change before and after, how exact the rest is, downloads, and trying again.
import { act, at } from "./api.js";
import { announce, byId, capital, el, fill, icon, percent, problem, seconds, toast } from "./dom.js";
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
  if (edit.offered) return drawOffer(section, edit);
  fill(section,
    el("header", {}, el("h2", { id: "result-title" }, edit.stopped ? "Stopped: the latest state" : "The result"), el("span", { class: "hint number" }, `${edit.editor} · ${seconds(edit.seconds)}`)),
    edit.resumable ? el("div", { class: "row between nowrap" }, el("span", { class: "hint" }, "What was reached is kept."),
      el("button", { type: "button", class: "first", "data-key": "resume", disabled: busy(), onclick: () => begin(`/edits/${edit.number}/resume`) }, "Resume")) : null,
    sameBytes(edit), summary(edit),
    el("ul", { class: "outcomes" }, edit.changes.map((one, index) => outcome(edit, one, index))),
    el("p", { class: "hint" }, outside(edit)),
    edit.notes.length ? el("ul", { class: "warnings" }, edit.notes.map((one) => el("li", {}, capital(one)))) : null,
    el("div", { class: "row decide" },
      el("a", { class: "button first", "data-key": "download", href: at(`/edits/${edit.number}/picture`), download: edit.name }, icon("down"), "Download"),
      el("a", { class: "button second", href: at(`/edits/${edit.number}/record`), download: "" }, "Record"),
      el("button", { type: "button", class: "second", "data-key": "continue", disabled: busy(), onclick: () => goOn(edit) }, "Edit further")),
    command(edit));
}

// One change made again: how it was, how it is now, and whether it is taken.
function drawOffer(section, edit) {
  const index = edit.redone, one = edit.changes[index], was = state.edits.find((each) => each.number === edit.parent);
  const before = was ? pair(was, index, "after", "as it was") : null;
  fill(section,
    el("header", {}, el("h2", { id: "result-title" }, `Change ${index + 1}, made again`), el("span", { class: "hint number" }, `${one.editor} · ${seconds(edit.seconds)}`)),
    el("p", {}, capital(one.what)),
    one.crops ? el("div", { class: "offer" }, el("figure", {}, before, el("figcaption", { class: "hint" }, "As it was")), el("figure", {}, pair(edit, index, "after", "made again"), el("figcaption", { class: "hint" }, "Made again"))) : null,
    verdict(one), evidence({ ...one, tried: [] }, index),
    edit.notes.length ? el("ul", { class: "warnings" }, edit.notes.map((each) => el("li", {}, capital(each)))) : null,
    el("div", { class: "row decide" },
      el("button", { type: "button", class: "first", "data-key": "accept", disabled: busy(), onclick: () => decide(edit, "accept") }, icon("yes"), "Accept"),
      el("button", { type: "button", class: "second", "data-key": "discard", disabled: busy(), onclick: () => decide(edit, "discard") }, "Throw away"),
      el("button", { type: "button", class: "second", "data-key": "another", disabled: busy(), onclick: () => begin(`/edits/${edit.parent}/redo`, { change: index, editor: one.editor }) }, icon("again"), "Another")),
    el("p", { class: "hint" }, "All other changes stay as they are, bit for bit."));
}

const pair = (edit, index, when, alt) => el("img", { src: at(`/edits/${edit.number}/changes/${index}/${when}?${edit.seconds}`), alt, loading: "lazy" });

async function decide(edit, how) {
  try {
    const fresh = await act("POST", `/edits/${edit.number}/${how}`);
    const number = how === "accept" ? edit.number : edit.parent;
    change({ edit: fresh.edits.some((one) => one.number === number) ? number : null });
    announce(how === "accept" ? "Accepted: it is part of the result" : "Thrown away: the result is as it was");
  } catch (error) {
    toast(problem(error), true);
  }
}

const VERDICTS = { done: ["yes", "There"], "not done": ["no", "Not there"], "cannot tell": ["unknown", "Cannot tell"] };

function summary(edit) {
  const told = edit.changes.filter((one) => one.verdict);
  if (!told.length || edit.changes.length < 2) return null;
  const done = told.filter((one) => one.verdict === "done").length;
  return el("p", { class: "number" }, done === edit.changes.length ? "All changes are there." : `${done} of ${edit.changes.length} changes are there.`);
}

// Whether a change is there, in a line.
function verdict(one) {
  if (!one.verdict) return null;
  const [sign, words] = VERDICTS[one.verdict];
  const reason = one.why || one.answer.replace(/^(yes|no|cannot tell),? ?/, "").replace(/^\((.*)\)$/, "$1");
  return el("p", { class: "verdict" }, el("span", { class: `seal mark-${sign}` }, icon(sign), words), reason ? el("span", { class: "hint number" }, capital(reason)) : null);
}

// What to try, what was tried, and how it is known.
function evidence(one, index) {
  const lines = [...(one.remedy ? [one.remedy] : []), ...one.tried];
  const known = one.evidence?.length ? el("details", { class: "more", "data-key": `evidence-${index}` }, el("summary", {}, "How that is known"), el("ul", { class: "plain hint" }, one.evidence.map((each) => el("li", {}, each)))) : null;
  return lines.length || known ? el("div", { class: "evidence" }, lines.map((each) => el("p", { class: "hint" }, capital(each))), known) : null;
}

function outcome(edit, one, index) {
  const words = one.inside === null ? "No place of its own" : `Changed by ${one.inside.toFixed(1)} of 255 inside its place`;
  return el("li", { class: "outcome" },
    one.crops ? el("div", { class: "pair" }, pair(edit, index, "before", "before"), pair(edit, index, "after", "after")) : null,
    el("div", { class: "outcome-words" }, el("strong", {}, one.what), verdict(one), el("span", { class: "hint number" }, one.editor === edit.editor ? words : `${words} · ${one.editor}`)),
    edit.stopped || !one.crops ? null : el("button", { type: "button", class: one.verdict === "not done" ? "second small" : "quiet small", "data-key": `redo-${index}`, disabled: busy(), "aria-label": `Redo: ${one.what}`, onclick: () => redoDialog(edit, one, index) }, icon("again"), "Redo"),
    evidence(one, index));
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
    el("div", { class: "stack" }, edit.from_record ? el("p", { class: "hint" }, "From the record in the downloaded picture, beside the photograph:") : null, line, el("div", { class: "row" }, el("button", { type: "button", class: "second small", onclick: copy }, icon("copy"), "Copy"),
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
  const select = el("select", { id: "redo-editor" }, known.editor.filter((each) => each.ready).map((each) => el("option", { value: each.name, selected: each.name === one.editor }, each.name)));
  fill(dialog, el("h2", { id: "dialog-title" }, `Once more: ${one.what}`),
    el("p", { class: "hint" }, "This change is taken back and made again with another seed. You then see both, and accept it or throw it away; all other changes stay as they are."),
    el("label", { class: "cell" }, el("span", { class: "cell-name" }, "Editor"), select),
    el("div", { class: "row between" }, el("button", { type: "button", class: "second", onclick: () => dialog.close() }, "Leave it"),
      el("button", { type: "button", class: "first", onclick: () => {
        dialog.close();
        begin(`/edits/${edit.number}/redo`, { change: index, editor: select.value });
      } }, "Redo")));
  dialog.showModal();
}
