// Settings: what does the work, with its options as a form made from its own schema.
import { act, at, call } from "./api.js";
import { byId, capital, el, fill, icon, problem, toast } from "./dom.js";
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
    draw();
  } catch (error) {
    fill(drawer, problem(error));
  }
}

async function set(values) {
  const flags = { ...state.flags, ...values };
  for (const [name, value] of Object.entries(flags)) if (value === null || value === "") delete flags[name];
  try {
    await act("PUT", "/flags", flags);
  } catch (error) {
    toast(problem(error), true);
  }
  draw();
}

const section = (title, ...children) => el("section", { class: "set" }, el("h3", {}, title), ...children);

function chooser(name, label, value, why) {
  const entries = known[name];
  const chosen = entries.find((one) => one.name === value);
  const absent = entries.filter((one) => !one.ready);
  return section(label,
    el("select", { "data-key": `set-${name}`, "aria-label": label, onchange: (event) => set({ [name]: event.target.value, ...(name === "profile" ? { planner: null, grounders: null, editor: null, options: null } : {}) }) },
      el("option", { value: "", selected: !(name in state.flags) }, `Default: ${value}`),
      entries.filter((one) => one.ready).map((one) => el("option", { value: one.name, selected: state.flags[name] === one.name }, one.name + (one.from ? ` (${one.from})` : "")))),
    el("p", { class: "hint" }, [chosen ? capital(chosen.summary) : "", why ? ` (${why})` : ""].join("")),
    absent.length ? el("details", { class: "more", "data-key": `absent-${name}` }, el("summary", {}, `${absent.length} need a package`), el("ul", { class: "absent" }, absent.map((one) => el("li", {}, el("strong", {}, one.name), el("span", { class: "hint" }, one.summary), el("code", {}, one.install))))) : null);
}

function grounders(chosen) {
  const now = state.flags.grounders ?? chosen.grounders;
  const toggle = (name, on) => set({ grounders: on ? [...now, name] : now.filter((one) => one !== name) });
  const absent = known.grounders.filter((one) => !one.ready);
  return section("Who finds the things",
    el("p", { class: "hint" }, now.length ? `Asked in this order: ${now.join(", ")}` : "Nobody: you draw every place."),
    el("ul", { class: "ticks" }, known.grounders.filter((one) => one.ready).map((one) => el("li", {}, el("label", { class: "check tall" },
      el("input", { type: "checkbox", checked: now.includes(one.name), "data-key": `ground-${one.name}`, onchange: (event) => toggle(one.name, event.target.checked) }), el("span", {}, el("strong", {}, one.name), el("span", { class: "hint" }, one.summary)))))),
    "grounders" in state.flags ? el("button", { type: "button", class: "quiet small", onclick: () => set({ grounders: null }) }, "As the profile says") : null,
    absent.length ? el("details", { class: "more", "data-key": "absent-ground" }, el("summary", {}, `${absent.length} need a package`), el("ul", { class: "absent" }, absent.map((one) => el("li", {}, el("strong", {}, one.name), el("code", {}, one.install))))) : null);
}

function select(name, label, values, hint) {
  return section(label, el("select", { "data-key": `set-${name}`, "aria-label": label, onchange: (event) => set({ [name]: event.target.value }) },
    values.map(([value, words]) => el("option", { value, selected: String(state.flags[name] ?? "") === value }, words))), hint ? el("p", { class: "hint" }, hint) : null);
}

function check(name, label, hint) {
  const on = state.flags[name] ?? (name === "grounded" ? state.chosen.grounded : false);
  return el("label", { class: "check tall" }, el("input", { type: "checkbox", checked: on, "data-key": `set-${name}`, onchange: (event) => set({ [name]: event.target.checked }) }), el("span", {}, el("strong", {}, label), el("span", { class: "hint" }, hint)));
}

function draw() {
  const drawer = byId("settings"), chosen = state.chosen;
  const head = el("header", { class: "drawer-head" }, el("h2", { id: "settings-title" }, "Settings"), el("button", { type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => drawer.close() }, icon("close")));
  if (chosen.error) return fill(drawer, head, el("div", { class: "drawer-body" }, problem(chosen.error), el("button", { type: "button", class: "second", onclick: () => set(Object.fromEntries(Object.keys(state.flags).map((name) => [name, null]))) }, "Take back all settings")));
  const body = el("div", { class: "drawer-body" },
    chooser("profile", "Profile", chosen.profile, chosen.why),
    chooser("planner", "Who reads the request", chosen.planner),
    grounders(chosen),
    chooser("editor", "Who edits", chosen.editor),
    el("div", { id: "options" }),
    section("Seed", el("input", { type: "number", min: 0, max: 2147483647, step: 1, placeholder: "a new one each time", "data-key": "set-seed", "aria-label": "Seed", value: state.flags.seed ?? "",
      onchange: (event) => set({ seed: event.target.value === "" ? null : Number(event.target.value) }) }), el("p", { class: "hint" }, "The same seed makes the same picture.")),
    section("Where it happens", check("grounded", "Each change in its own place", "Whatever the editor, nothing outside the regions changes."), check("gps", "Keep the position", "Otherwise the place where it was taken is left out of the file.")),
    select("work", "Size that is worked at", [["", "auto: as fine as possible"], ["full", "the whole picture"], ["crop", "a crop around the regions"]]),
    select("device", "Device", [["", `Default: ${chosen.device}`], ["auto", "auto"], ["cpu", "cpu: slower, needs no GPU memory"], ["cuda", "cuda"], ["mps", "mps"]]),
    select("memory", "Networks on the device", [["", `Default: ${chosen.memory}`], ["auto", "auto: by what is free"], ["all", "all of them: fastest"], ["offload", "offload: one at a time"], ["lowest", "lowest: one layer at a time, slow"]], "For GPUs with little memory."),
    select("dtype", "Number format", [["", `Default: ${chosen.dtype}`], ["fp32", "fp32"], ["bf16", "bf16: half the memory"], ["fp16", "fp16: half the memory"]]),
    known.broken.length ? section("Plugins that cannot be used", el("ul", { class: "warnings" }, known.broken.map((one) => el("li", {}, one)))) : null);
  fill(drawer, head, body);
  options(chosen.editor);
}

async function options(editor) {
  const holder = byId("options");
  try {
    const form = await call("GET", at(`/options/editor/${editor}`));
    if (!holder.isConnected) return;
    const own = state.flags.options?.[editor] ?? {};
    const put = (name, value) => {
      const values = { ...own, [name]: value };
      if (value === null) delete values[name];
      const all = { ...(state.flags.options ?? {}), [editor]: values };
      if (!Object.keys(values).length) delete all[editor];
      set({ options: Object.keys(all).length ? all : null });
    };
    fill(holder, el("details", { class: "more set", "data-key": "editor-options", open: page.optionsOpen, ontoggle: (event) => (page.optionsOpen = event.target.open) }, el("summary", {}, `Options of ${editor}`),
      form.presets.length ? el("label", { class: "cell" }, el("span", { class: "cell-name" }, "Preset"), el("select", { onchange: (event) => put("preset", event.target.value || null) }, el("option", { value: "" }, "none"), form.presets.map((one) => el("option", { value: one, selected: own.preset === one }, one)))) : null,
      form.fields.map((one) => field(one, own, put))));
  } catch (error) {
    fill(holder, problem(error));
  }
}

const page = { optionsOpen: false };

function field(one, own, put) {
  const key = `option-${one.name}`, changed = one.name in own;
  const value = changed ? own[one.name] : one.value;
  const on = (event) => put(one.name, event.target.value === "" && !one.optional ? null : event.target.value === "" ? "none" : event.target.value);
  let input;
  if (one.kind === "flag") input = el("select", { "data-key": key, onchange: on }, ["true", "false"].map((each) => el("option", { value: each, selected: value === each }, each === "true" ? "yes" : "no")));
  else if (one.kind === "choice") input = el("select", { "data-key": key, onchange: on }, one.choices.map((each) => el("option", { value: each, selected: value === each }, each)));
  else input = el("input", { "data-key": key, value, type: one.kind === "text" || one.optional ? "text" : "number", inputmode: one.kind === "text" ? null : "decimal", step: one.kind === "whole" ? 1 : "any", min: one.least ?? one.above, max: one.most ?? one.below, placeholder: one.optional ? "none" : one.default, onchange: on });
  const limits = [one.least !== undefined ? `≥ ${one.least}` : one.above !== undefined ? `> ${one.above}` : "", one.most !== undefined ? `≤ ${one.most}` : one.below !== undefined ? `< ${one.below}` : ""].filter(Boolean).join(", ");
  return el("label", { class: changed ? "cell changed" : "cell" }, el("span", { class: "cell-name" }, one.name, changed ? el("button", { type: "button", class: "quiet small", onclick: (event) => (event.preventDefault(), put(one.name, null)) }, `back to ${one.default || "none"}`) : null), input,
    el("span", { class: "hint" }, [one.description ? capital(one.description) : "", limits, changed ? "" : one.origin === "default" ? "" : `from ${one.origin}`].filter(Boolean).join(" · ")));
}
