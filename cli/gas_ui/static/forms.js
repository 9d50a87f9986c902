// Fields made from a schema that the server tells: of a backend's options, and of the settings without a place of their own.
import { at, call } from "./api.js";
import { capital, el, fill, problem } from "./dom.js";

const forms = new Map(); // what was told last, so that a form that is drawn anew stands there at once

// One field. `chosen`: what was chosen on the page, else null; `put(value)`: null takes that back.
export function field(one, key, chosen, put, title = one.name) {
  const changed = chosen !== null && chosen !== undefined;
  const value = changed ? chosen : one.value;
  const typed = (event) => put(event.target.value !== "" ? event.target.value : one.optional ? "none" : null);
  const written = ["text", "list"].includes(one.kind);
  const common = { "data-key": key, onchange: typed };
  let input;
  if (one.kind === "flag") input = el("select", common, ["true", "false"].map((each) => el("option", { value: each, selected: value === each }, each === "true" ? "yes" : "no")));
  else if (one.kind === "choice") input = el("select", common, [...new Set([...one.choices, value])].filter(Boolean).map((each) => el("option", { value: each, selected: value === each }, each)));
  else input = el("input", { ...common, value, type: written || one.optional ? "text" : "number", inputmode: written ? null : "decimal", step: one.kind === "whole" ? 1 : "any", min: one.least ?? one.above, max: one.most ?? one.below, placeholder: one.optional ? "none" : one.default });
  const limits = [one.least !== undefined ? `at least ${one.least}` : one.above !== undefined ? `more than ${one.above}` : "", one.most !== undefined ? `at most ${one.most}` : one.below !== undefined ? `less than ${one.below}` : ""].filter(Boolean).join(", ");
  const from = changed || one.origin === "default" ? "" : `from ${one.origin}`;
  return el("div", { class: changed ? "cell changed" : "cell" },
    el("label", { class: "stack tight" }, el("span", { class: "cell-name" }, capital(title.replaceAll("_", " "))), input),
    el("p", { class: "hint" }, [one.description ? capital(one.description) : "", limits, from].filter(Boolean).join(" · ")),
    changed ? el("button", { type: "button", class: "quiet small back", "data-key": `${key}-back`, onclick: () => put(null) }, "Take back") : null);
}

// The options of a backend, folded; they are asked for when it is opened.
export function optionsOf(role, name, flags, set) {
  const key = `options-${role}-${name}`;
  const own = flags.options?.[name] ?? {};
  const holder = el("div", { class: "stack" });
  const count = Object.keys(own).length;
  const put = (option, value) => {
    const values = { ...own, [option]: value };
    if (value === null) delete values[option];
    const all = { ...(flags.options ?? {}), [name]: values };
    if (!Object.keys(values).length) delete all[name];
    return set({ options: Object.keys(all).length ? all : null });
  };
  const show = (form) => fill(holder,
    form.presets.length ? el("label", { class: "cell" }, el("span", { class: "cell-name" }, "Preset"),
      el("select", { "data-key": `${key}-preset`, onchange: (event) => put("preset", event.target.value || null) }, el("option", { value: "" }, "none"), form.presets.map((one) => el("option", { value: one, selected: own.preset === one }, one)))) : null,
    form.fields.length ? form.fields.map((one) => field(one, `option-${name}-${one.name}`, one.name in own ? String(own[one.name]) : null, (value) => put(one.name, value))) : el("p", { class: "hint" }, "It has no options."));
  const load = async () => {
    try {
      forms.set(key, await call("GET", at(`/options/${role}/${name}`)));
      if (holder.isConnected) show(forms.get(key));
    } catch (error) {
      fill(holder, problem(error));
    }
  };
  if (forms.has(key)) show(forms.get(key));
  return el("details", { class: "more options", "data-key": key, ontoggle: (event) => event.target.open && load() },
    el("summary", {}, `Options of ${name}`, count ? el("span", { class: "tag" }, `${count} changed`) : null), holder);
}
