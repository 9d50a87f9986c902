// Settings: what does the work, each with its options as a form made from its own schema.
import { act, call } from "./api.js";
import { byId, capital, el, fill, icon, problem, toast } from "./dom.js";
import { field, optionsOf } from "./forms.js";
import { state } from "./store.js";

let known = null;
export async function choices() {
  known ??= await call("GET", "/api/choices");
  return known;
}

export async function openSettings() {
  const drawer = byId("settings");
  fill(drawer, el("p", { class: "hint" }, "Looking for what is installed …"));
  drawer.showModal();
  drawer.onclick = (event) => { // a handler that gave back false would cancel what was clicked
    if (event.target === drawer) drawer.close();
  };
  try {
    await choices();
    const body = el("div", { class: "drawer-body" });
    fill(drawer, el("header", { class: "drawer-head" }, el("h2", { id: "settings-title" }, "Settings"), el("button", { type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => drawer.close() }, icon("close"))), body);
    draw(body);
  } catch (error) {
    fill(drawer, problem(error));
  }
}

// Other flags for this window; null or "" takes one back.
export async function setFlags(values) {
  const flags = { ...state.flags, ...values };
  for (const [name, value] of Object.entries(flags)) if (value === null || value === "") delete flags[name];
  try {
    await act("PUT", "/flags", flags);
  } catch (error) {
    toast(problem(error), true);
  }
}

async function set(values) {
  await setFlags(values);
  const body = byId("settings").querySelector(".drawer-body");
  if (body) draw(body);
}

const section = (title, ...children) => el("section", { class: "set", "aria-label": title }, el("h3", {}, title), ...children);
const forms = (role, names) => names.map((name) => optionsOf(role, name, state.flags, set));

function absent(name) {
  const entries = known[name].filter((one) => !one.ready);
  if (!entries.length) return null;
  return el("details", { class: "more", "data-key": `absent-${name}` }, el("summary", {}, `${entries.length} more, not installed`),
    el("ul", { class: "absent" }, entries.map((one) => el("li", {}, el("strong", {}, one.name), el("span", { class: "hint" }, capital(one.summary)), one.install ? el("code", {}, one.install) : null))));
}

const named = (one) => one.name + (one.from ? ` (${one.from})` : "");
const BELOW = { planner: null, grounders: null, editor: null, verifier: null, verify: null, tries: null, retry_editors: null, options: null };

function chooser(name, label, value, why, ...more) {
  const entries = known[name];
  const chosen = entries.find((one) => one.name === value);
  return section(label,
    el("select", { "data-key": `set-${name}`, "aria-label": label, onchange: (event) => set({ [name]: event.target.value, ...(name === "profile" ? BELOW : {}) }) },
      el("option", { value: "", selected: !(name in state.flags) }, name in state.flags ? "As by default" : `Default: ${value}`),
      entries.filter((one) => one.ready).map((one) => el("option", { value: one.name, selected: state.flags[name] === one.name }, named(one)))),
    el("p", { class: "hint" }, [chosen ? capital(chosen.summary) : "", why].filter(Boolean).join(". ")),
    ...more, absent(name));
}

// Several in an order: those that are chosen, with what moves them, and a list to add from.
function ordered(name, role, entries, now, none, add) {
  const put = (names) => set({ [name]: names });
  const swapped = (index) => now.map((one, i) => (i === index - 1 ? now[index] : i === index ? now[index - 1] : one));
  const left = entries.filter((one) => one.ready && !now.includes(one.name));
  return [
    now.length > 1 ? el("p", { class: "hint" }, "Asked from top to bottom.") : null,
    now.length ? el("ol", { class: "ordered" }, now.map((one, index) => {
      const entry = entries.find((each) => each.name === one);
      return el("li", {}, el("div", { class: "row between nowrap" }, el("span", { class: "check tall" }, el("span", {}, el("strong", {}, one), el("span", { class: "hint" }, entry ? capital(entry.summary) : ""))),
        el("span", { class: "row nowrap tight" },
          el("button", { type: "button", class: "quiet icon small", "data-key": `${name}-up-${one}`, disabled: index === 0, "aria-label": `Ask ${one} earlier`, onclick: () => put(swapped(index)) }, icon("earlier")),
          el("button", { type: "button", class: "quiet icon small", "data-key": `${name}-drop-${one}`, "aria-label": `Leave ${one} out`, onclick: () => put(now.filter((each) => each !== one)) }, icon("close")))),
        role ? optionsOf(role, one, state.flags, set) : null);
    })) : el("p", { class: "hint" }, none),
    left.length ? el("select", { "data-key": `${name}-add`, "aria-label": add, onchange: (event) => event.target.value && put([...now, event.target.value]) },
      el("option", { value: "", selected: true }, `${add} …`), left.map((one) => el("option", { value: one.name }, `${named(one)}: ${one.summary}`))) : null,
    name in state.flags ? el("button", { type: "button", class: "quiet small back", "data-key": `${name}-back`, onclick: () => set({ [name]: null }) }, "As the profile says") : null,
  ];
}

function check(name, label, hint) {
  const on = state.flags[name] ?? state.chosen[name] ?? false;
  return el("label", { class: "check tall" }, el("input", { type: "checkbox", checked: on, "data-key": `set-${name}`, onchange: (event) => set({ [name]: event.target.checked }) }), el("span", {}, el("strong", {}, label), el("span", { class: "hint" }, hint)));
}

const WORK = [["", "auto: as fine as possible"], ["full", "full: the whole picture"], ["crop", "crop: around all regions"], ["frames", "frames: one picture for each place"]];

function draw(body) {
  const { chosen, flags } = state;
  if (chosen.error) return fill(body, problem(chosen.error), el("button", { type: "button", class: "second", onclick: () => set(Object.fromEntries(Object.keys(flags).map((name) => [name, null]))) }, "Take back all settings"));
  const used = chosen.in_use;
  const value = (one, text) => (text === null ? null : one.kind === "flag" ? text === "true" : one.kind === "list" ? text.split(",").map((each) => each.trim()).filter(Boolean) : text);
  fill(body,
    chooser("profile", "Profile", chosen.profile, "profile" in flags ? "" : capital(chosen.why)),
    chooser("planner", "Who reads the request", chosen.planner, "", ...forms("planner", used.planner)),
    section("Who finds the things", ...ordered("grounders", "grounder", known.grounders, chosen.grounders, "Nobody: you draw every place.", "Add one"), absent("grounders")),
    chooser("editor", "Who edits", chosen.editor, "", ...forms("editor", used.editor)),
    section("Where it happens", check("grounded", "Each change in its own place", "Whatever the editor, nothing outside the regions changes."), check("gps", "Keep the position", "Otherwise the place where it was taken is left out of the file.")),
    chooser("verifier", "Who checks each change", chosen.verifier, "Asked where “Check each change” above Edit is on", ...forms("verifier", used.verifier)),
    section("Who tries again what is not there", ...ordered("retry_editors", null, known.editor, chosen.retry_editors, "Nobody.", "Add an editor")),
    section("Seed", el("input", { type: "number", min: 0, max: 2147483647, step: 1, placeholder: "a new one each time", "data-key": "set-seed", "aria-label": "Seed", value: flags.seed ?? "",
      onchange: (event) => set({ seed: event.target.value === "" ? null : Number(event.target.value) }) }), el("p", { class: "hint" }, "The same seed makes the same picture.")),
    section("Size, memory and speed",
      el("label", { class: "stack tight" }, el("span", { class: "cell-name" }, "Size that is worked at"), el("select", { "data-key": "set-work", onchange: (event) => set({ work: event.target.value }) }, WORK.map(([name, words]) => el("option", { value: name, selected: (flags.work ?? "") === name }, words)))),
      chosen.settings.map((one) => field(one, `set-${one.name}`, one.chosen, (text) => set({ [one.name]: value(one, text) }), one.title))),
    known.broken.length ? section("Plugins that cannot be used", el("ul", { class: "warnings" }, known.broken.map((one) => el("li", {}, one)))) : null);
}
