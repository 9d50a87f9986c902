// The request, and the plan as a table: every row is one change with its place on the picture.
import { act } from "./api.js";
import { byId, capital, el, fill, icon, percent, problem, toast } from "./dom.js";
import { busy, change, colourOf, page, state } from "./store.js";
import { begin } from "./run.js";

export function wirePlan() {
  const form = byId("ask-form"), ask = byId("ask");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!byId("ask-button").disabled) begin("/plan", { instruction: ask.value });
  });
  ask.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

const ACTIONS = { change: "Change", add: "Add", remove: "Remove" };

export async function send(rows, sentences = state.sentences) {
  try {
    await act("PUT", "/plan", { rows, sentences });
    change({ error: null });
  } catch (error) {
    toast(problem(error), true);
    change({});
  }
}

const changedRow = (id, values) => state.rows.map((row) => (row.id === id ? { ...row, ...values } : row));

function field(row, name, label, placeholder) {
  const key = `${row.id}-${name}`;
  return el("label", { class: "cell" }, el("span", { class: "cell-name" }, label),
    el("input", { "data-key": key, value: row[name] ?? "", placeholder, maxlength: 500, disabled: busy(),
      onchange: (event) => update(row, { [name]: event.target.value || (name === "anchor" ? null : "") }) }));
}

function fields(row) {
  if (row.action === "add") return [field(row, "target", "What to add", "a red ball"), field(row, "anchor", "Where", "the table")];
  if (row.action === "remove") return [field(row, "source", "What to remove", "the sign"), field(row, "anchor", "What is behind it", "the wall")];
  return [field(row, "source", "What is there", row.where === "picture" ? "the whole picture" : "a dog"), field(row, "target", "What should be there", "a tiger")];
}

function where(row) {
  const places = state.places.filter((place) => place.row === row.id);
  if (row.id === "draft") return el("p", { class: "place hint" }, "Say what, then it counts.");
  if (row.where === "picture") return el("p", { class: "place hint" }, "The whole picture");
  const list = places.map((place) =>
    el("button", { type: "button", class: page.place === place.id ? "chip on" : "chip", "aria-pressed": String(page.place === place.id), "data-key": `chip-${place.id}`,
      onclick: () => change({ place: page.place === place.id ? null : place.id, view: "regions", tool: page.place === place.id ? "look" : "brush" }) },
      el("span", { class: "swatch" }), place.byHand ? "drawn" : "found",
      place.score === null ? null : el("span", { class: "number" }, place.score.toFixed(2)), el("span", { class: "number" }, percent(place.share))));
  for (const chip of list) chip.querySelector(".swatch").style.background = colourOf(row.id);
  const draw = el("button", { type: "button", class: "chip ghost", "data-key": `draw-${row.id}`, disabled: busy(),
    onclick: () => {
      change({ view: "regions", tool: "newbox", drawFor: row.id, place: null, box: null });
      document.querySelector(".surface").focus({ preventScroll: true }); // the arrow keys place the box from here
    } }, icon("box"), places.length ? "Another" : "Draw its place");
  const lacks = !places.length && row.on && state.rows.length && !busy() ? el("span", { class: "hint" }, row.where === "outside" ? "No place yet: what stays" : "No place yet") : null;
  return el("div", { class: "place row" }, list, lacks, draw);
}

function tableRow(row, number) {
  const doing = busy();
  const out = el("li", { class: row.on ? "change" : "change off" },
    el("div", { class: "change-head" },
      el("span", { class: "badge number" }, String(number)),
      el("select", { "aria-label": `Change ${number}: what is done`, "data-key": `${row.id}-action`, disabled: doing, class: "action",
        onchange: (event) => changeAction(row, event.target.value) },
        Object.entries(ACTIONS).map(([value, words]) => el("option", { value, selected: row.action === value }, words))),
      row.where === "outside" ? el("span", { class: "tag" }, "all but this") : null,
      row.count ? el("span", { class: "tag" }, row.count === "all" ? "all of them" : `${row.count} of them`) : null,
      el("span", { class: "grow" }),
      el("label", { class: "check switch" }, el("input", { type: "checkbox", role: "switch", checked: row.on, "data-key": `${row.id}-on`, disabled: doing,
        "aria-label": `Change ${number}: on`, onchange: (event) => update(row, { on: event.target.checked }) })),
      el("button", { type: "button", class: "quiet icon small", "aria-label": `Remove change ${number}`, disabled: doing || (state.rows.length < 2 && row.id !== "draft"),
        onclick: () => remove(row) }, icon("trash"))),
    el("div", { class: "cells" }, fields(row)),
    where(row),
    el("details", { class: "more", "data-key": `more-${row.id}` }, el("summary", {}, summary(row)),
      el("div", { class: "cells" },
        el("label", { class: "check" }, el("input", { type: "checkbox", checked: row.preserve_shape, "data-key": `${row.id}-shape`, disabled: doing,
          onchange: (event) => update(row, { preserve_shape: event.target.checked }) }), "Keep its shape"),
        el("label", { class: "cell" }, el("span", { class: "cell-name" }, "Strength ", el("span", { class: "number value" }, row.strength.toFixed(1))),
          el("input", { type: "range", min: 0.1, max: 4, step: 0.1, value: row.strength, "data-key": `${row.id}-strength`, disabled: doing,
            oninput: (event) => (event.target.parentElement.querySelector(".value").textContent = Number(event.target.value).toFixed(1)),
            onchange: (event) => update(row, { strength: Number(event.target.value) }) })))));
  out.style.setProperty("--own", colourOf(row.id));
  return out;
}

const summary = (row) => `${row.preserve_shape ? "Keeps its shape" : "Free shape"} · strength ${row.strength.toFixed(1)}`;

function changeAction(row, action) {
  const values = { action, where: "region", attribute: null, count: null, instruction: "" };
  const known = row.source || row.anchor || "";
  if (action === "add") Object.assign(values, { target: row.target || (row.id === "draft" ? "" : "something"), source: "", anchor: row.anchor ?? (row.source || null) });
  if (action === "remove") Object.assign(values, { source: known || (row.id === "draft" ? "" : "something"), target: "", anchor: null });
  if (action === "change") Object.assign(values, { source: known || (row.id === "draft" ? "" : "something"), target: row.target || (row.id === "draft" ? "" : "something else"), anchor: null });
  update(row, values);
}

// A new row stays on this page until it says enough to be a change.
const DRAFT = { id: "draft", on: true, action: "change", source: "", target: "", instruction: "", anchor: null, preserve_shape: false, strength: 1, attribute: null, where: "region", count: null };
const NEEDED = { change: ["source", "target"], add: ["target"], remove: ["source"] };

function update(row, values) {
  const fresh = { ...row, ...values };
  if (row.id !== "draft") return send(changedRow(row.id, values));
  if (NEEDED[fresh.action].some((name) => !fresh[name])) return change({ draft: fresh });
  page.draft = null;
  return send([...state.rows, { ...fresh, id: "" }]);
}

function remove(row) {
  if (row.id === "draft") change({ draft: null });
  else send(state.rows.filter((one) => one.id !== row.id));
}

const HOW = [["Drop a photograph", " on the left, or take one of the drawings."], ["Say what to change.", " It becomes a plan: a row for each change."],
  ["Look at the regions.", " Each change has its place on the picture; paint it right."], ["Press Edit.", " Everything outside the places stays as it is."]];

export function drawPlan() {
  const section = byId("plan");
  section.hidden = false;
  if (!state.picture) return fill(section, el("h2", { id: "plan-title" }, "How it goes"), el("ol", { class: "how" }, HOW.map(([first, rest]) => el("li", {}, el("strong", {}, first), rest))));
  byId("ask-button").textContent = state.rows.length ? "Plan again" : "Plan";
  byId("ask-button").className = state.rows.length ? "second" : "first";
  byId("ask-hint").textContent = state.note ? capital(state.note) : "Say several things at once. Each gets its own place.";
  const [source, target] = state.sentences;
  const sentence = (index, label) =>
    el("label", { class: "cell" }, el("span", { class: "cell-name" }, label),
      el("textarea", { rows: 2, "data-key": `sentence-${index}`, maxlength: 2000, disabled: busy(), value: state.sentences[index],
        onchange: (event) => send(state.rows, state.sentences.map((one, i) => (i === index ? event.target.value : one))) }));
  fill(section,
    el("header", {}, el("h2", { id: "plan-title" }, "The plan"),
      el("button", { type: "button", class: "quiet small", "data-key": "add-row", disabled: busy() || Boolean(page.draft), onclick: () => change({ draft: { ...DRAFT } }) }, icon("plus"), "Add a change")),
    page.error ? problem(page.error) : null,
    !state.rows.length && !page.draft && !page.error ? el("p", { class: "hint" }, "Each change becomes a row here, with its place on the picture, for you to correct before anything is edited.") : null,
    state.rows.length || page.draft ? el("ol", { class: "changes" }, [...state.rows, ...(page.draft ? [page.draft] : [])].map((row, index) => tableRow(row, index + 1))) : null,
    state.warnings.length ? el("ul", { class: "warnings" }, state.warnings.map((one) => el("li", {}, capital(one)))) : null,
    state.rows.length ? el("details", { class: "more", "data-key": "sentences" }, el("summary", {}, source || target ? "The whole picture in a sentence, before and after" : "The whole picture in a sentence (empty)"),
      el("div", { class: "stack" }, sentence(0, "As it is"), sentence(1, "As it shall be"))) : null);
}
