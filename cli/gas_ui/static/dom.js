// Making elements, keeping the focus while a part is drawn anew, saying things.

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  theme: ["M12 3v18", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z"],
  brush: ["M14.5 4.5l5 5L10 19H5v-5z"], erase: ["M8 20h12", "M4.5 15.5l9-9a2 2 0 0 1 3 0l2.5 2.5a2 2 0 0 1 0 3L11 20H8z"],
  box: ["M4 8V4h4", "M16 4h4v4", "M20 16v4h-4", "M8 20H4v-4"], move: ["M12 3v18", "M3 12h18"],
  undo: ["M9 7L4 12l5 5", "M4 12h11a5 5 0 0 1 0 10h-2"], trash: ["M4 7h16", "M9 7V4h6v3", "M6 7l1 13h10l1-13"],
  plus: ["M12 5v14", "M5 12h14"], close: ["M6 6l12 12", "M18 6L6 18"], down: ["M12 4v11", "M7 11l5 5 5-5", "M5 20h14"],
  again: ["M20 11a8 8 0 1 0-2.3 6.3", "M20 5v6h-6"], spark: ["M12 3l2 7 7 2-7 2-2 7-2-7-7-2 7-2z"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"], eye: ["M2 12s4-7 10-7 10 7 10 7-4 7-10 7-10-7-10-7z", "M12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z"],
  earlier: ["M12 19V6", "M6 12l6-6 6 6"], yes: ["M5 12.5l4.5 4.5L19 7.5"], no: ["M7 7l10 10", "M17 7L7 17"], unknown: ["M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4", "M12 17.5v.5"],
  picture: ["M3 5h18v14H3z", "M3 16l5-5 4 4 3-3 6 6"], up: ["M12 20V9", "M7 12l5-5 5 5", "M5 4h14"], next: ["M5 12h14", "M13 6l6 6-6 6"],
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

// el("button", {class: "first", onclick: f, "data-key": "x"}, "Edit")
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

export const byId = (id) => document.getElementById(id);

// Puts `children` into `parent` in place of what is there; whoever had the focus has it again, by data-key.
export function fill(parent, ...children) {
  const active = document.activeElement;
  const key = parent.contains(active) ? active.dataset.key : null;
  const range = key && "selectionStart" in active ? [active.selectionStart, active.selectionEnd] : null;
  const open = new Set([...parent.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  for (const one of parent.querySelectorAll("details[data-key]")) if (open.has(one.dataset.key)) one.open = true;
  if (!key) return;
  const again = parent.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!again) return;
  again.focus({ preventScroll: true });
  try {
    if (range && range[0] !== null) again.setSelectionRange(...range);
  } catch { /* not a field of text */ }
}

// Said where it is seen: an open dialog lies above everything else.
export function toast(words, bad = false) {
  const note = el("div", { class: bad ? "toast bad" : "toast" }, words);
  const toasts = byId("toasts");
  (document.querySelector("dialog[open]") ?? document.body).append(toasts);
  toasts.replaceChildren(note);
  setTimeout(() => note.remove(), bad ? 9000 : 4000);
}

export const quiet = () => byId("toasts").replaceChildren();

export function problem(error) {
  const { message, remedy } = error;
  return el("div", { class: "problem", role: "alert" }, el("p", {}, capital(message)), remedy ? el("p", { class: "hint" }, capital(remedy)) : null);
}

// For screen readers alone.
export const announce = (words) => (byId("announced").textContent = words);

// A sentence begins with a capital, unless it begins with a file's name or the like.
export const capital = (text) => (text && !/^\S*[._/\d]\S/.test(text) ? text[0].toUpperCase() + text.slice(1) : text ?? "");
export const percent = (share) => (share >= 0.0995 ? `${Math.round(100 * share)} %` : share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "under 0.1 %");
export const seconds = (value) => (value < 10 ? `${value.toFixed(1)} s` : value < 90 ? `${Math.round(value)} s` : `${Math.round(value / 60)} min`);
