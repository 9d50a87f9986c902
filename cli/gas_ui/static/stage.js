// The photograph: as it is, with its regions, or before and after.
import { act, at } from "./api.js";
import { byId, el, fill, icon, problem, toast } from "./dom.js";
import { begin } from "./run.js";
import { busy, change, colourOf, lacksPlaces, page, state, theEdit } from "./store.js";
import { forgetLayers, layerOf, stroke } from "./masks.js";
import { emptyStage } from "./main.js";
import { drawTiles } from "./compare.js";

let surface = null; // the element that is as large as the picture on the screen
let split = 50;
let shown = "";
let drag = null;

export function wireStage() {
  new ResizeObserver(() => state && fit()).observe(byId("stage-area"));
}

export function drawStage() {
  const area = byId("stage-area");
  if (!state.picture) {
    byId("stage-bar").hidden = byId("stage-tools").hidden = true;
    if (shown !== "empty") fill(area, emptyStage());
    shown = "empty";
    return;
  }
  drawBar();
  drawTools();
  if (page.view === "result" && page.comparing) {
    shown = "tiles";
    return drawTiles(area);
  }
  const edit = theEdit();
  const view = page.view === "result" && !edit?.done ? "photo" : page.view;
  const what = `${view} ${view === "result" ? `${edit.number} ${edit.seconds} ${edit.offered}` : state.picture.number}`;
  if (shown !== what) {
    surface = el("div", { class: "surface" });
    fill(area, surface);
    if (view === "result") buildResult(edit);
    else buildPhoto();
    shown = what;
  }
  if (view !== "result") drawRegions(view === "regions");
  drawPreview();
  fit();
}

function drawBar() {
  const bar = byId("stage-bar"), edit = theEdit();
  bar.hidden = false;
  const views = [["photo", "Photograph"], ["regions", "Regions"], ["result", "Result"]];
  fill(bar, el("div", { class: "segments", role: "group", "aria-label": "What is shown" }, views.map(([name, words]) =>
    el("button", { type: "button", "aria-pressed": String(page.view === name), "data-key": `view-${name}`, disabled: (name === "result" && !edit?.done) || (name === "regions" && !state.rows.length),
      onclick: () => change({ view: name, tool: "look", comparing: name === "result" ? page.comparing : null }) }, words))));
}

function buildPhoto() {
  for (const [name, value] of [["tabindex", 0], ["role", "group"], ["aria-label", "The photograph with its regions. Comma and full stop choose a region; arrow keys move it, plus and minus grow and shrink it, Delete removes it, N draws another."]]) surface.setAttribute(name, value);
  surface.append(el("img", { class: "base", src: at(`/pictures/${state.picture.number}`), alt: `The photograph ${state.picture.name}`, draggable: "false" }),
    el("div", { class: "layers" }), el("div", { class: "frames" }), el("div", { class: "brush-ring", hidden: true }), el("div", { class: "rubber", hidden: true }));
  surface.addEventListener("pointerdown", down);
  surface.addEventListener("pointermove", moved);
  surface.addEventListener("pointerup", up);
  surface.addEventListener("pointercancel", up);
  surface.addEventListener("pointerleave", () => (surface.querySelector(".brush-ring").hidden = true));
}

function drawRegions(visible) {
  const [width, height] = state.picture.view;
  forgetLayers();
  const layers = surface.querySelector(".layers"), frames = surface.querySelector(".frames");
  layers.hidden = frames.hidden = !visible;
  surface.dataset.tool = visible ? page.tool : "look";
  if (!visible) return;
  const on = new Set(state.rows.filter((row) => row.on).map((row) => row.id));
  const canvases = state.places.map((place) => {
    const { canvas } = layerOf(place);
    canvas.className = `layer${page.place && page.place !== place.id ? " dim" : ""}${on.has(place.row) ? "" : " off"}`;
    return canvas;
  });
  const now = [...layers.children];
  if (now.length !== canvases.length || now.some((one, i) => one !== canvases[i])) layers.replaceChildren(...canvases);
  const rubber = surface.querySelector(".rubber");
  if (!drag) {
    rubber.hidden = page.tool !== "newbox" || !page.box;
    if (!rubber.hidden) {
      const [x0, y0, x1, y1] = page.box;
      Object.assign(rubber.style, { left: `${(100 * x0) / width}%`, top: `${(100 * y0) / height}%`, width: `${(100 * (x1 - x0)) / width}%`, height: `${(100 * (y1 - y0)) / height}%` });
    }
  }
  const taken = [];
  frames.replaceChildren(...state.places.filter((place) => place.box && on.has(place.row)).map((place) => {
    const [x0, y0, x1, y1] = place.box;
    const number = state.rows.findIndex((row) => row.id === place.row) + 1;
    const label = el("span", {}, `${number} ${place.phrase}`, place.score === null ? "" : el("b", { class: "number" }, place.score.toFixed(2)));
    const frame = el("div", { class: page.place === place.id ? "frame on" : page.place ? "frame dim" : "frame" }, label);
    Object.assign(frame.style, { left: `${(100 * x0) / width}%`, top: `${(100 * y0) / height}%`, width: `${(100 * (x1 - x0)) / width}%`, height: `${(100 * (y1 - y0)) / height}%` });
    frame.style.setProperty("--own", colourOf(place.row));
    if (y0 / height < 0.06) frame.classList.add("inside");
    if (x0 / width > 0.6) frame.classList.add("left");
    const spot = [x0 / width, y0 / height];
    if (taken.some(([x, y]) => Math.abs(x - spot[0]) < 0.3 && Math.abs(y - spot[1]) < 0.05)) frame.classList.add("below");
    taken.push(spot);
    return frame;
  }));
}

function drawPreview() {
  const preview = surface.querySelector(".preview");
  if (!busy() || !page.preview || page.view === "result") return preview?.remove();
  if (preview) {
    if (preview.getAttribute("src") !== page.preview) preview.src = page.preview;
    return;
  }
  const fresh = el("img", { class: "preview", src: page.preview, alt: "What the edit has reached" });
  fresh.addEventListener("load", () => {
    const [width, height] = state.picture.view;
    fresh.classList.toggle("whole", Math.abs((fresh.naturalWidth * height) / (fresh.naturalHeight * width) - 1) < 0.04);
  });
  surface.append(fresh);
}

function fit() {
  if (!surface?.isConnected || !state.picture) return;
  const area = byId("stage-area");
  const edit = theEdit();
  const [width, height] = shown.startsWith("result") && edit ? edit.size : state.picture.view;
  const style = getComputedStyle(area);
  const wide = area.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const high = area.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const scale = Math.min(wide / width, high / height, Math.max(1600 / Math.max(width, height), 1) );
  surface.style.width = `${Math.max(1, Math.floor(width * scale))}px`;
  surface.style.height = `${Math.max(1, Math.floor(height * scale))}px`;
}

// --- before and after -------------------------------------------------------------------------------------------------

function buildResult(edit) {
  const after = el("img", { class: "base after", src: at(`/edits/${edit.number}/after?${edit.seconds}`), alt: "After the edit", draggable: "false" });
  const slider = el("input", { type: "range", class: "split", min: 0, max: 100, step: 0.5, value: split, "aria-label": "Before to the left, after to the right", "data-key": "split" });
  const line = el("div", { class: "split-line" }, el("span", {}));
  const set = () => {
    split = Number(slider.value);
    after.style.clipPath = `inset(0 0 0 ${split}%)`;
    line.style.left = `${split}%`;
  };
  slider.addEventListener("input", set);
  const follow = (event) => {
    const box = surface.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    set();
  };
  const was = edit.offered ? state.edits.find((one) => one.number === edit.parent) : null; // an offer is seen beside what it would replace
  const before = was ? at(`/edits/${was.number}/after?${was.seconds}`) : at(`/pictures/${edit.picture}`);
  surface.append(el("img", { class: "base", src: before, alt: was ? "As it was" : "Before the edit", draggable: "false" }), after,
    el("span", { class: "corner before" }, was ? "As it was" : "Before"), el("span", { class: "corner" }, was ? "Made again" : "After"), line, slider);
  surface.addEventListener("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId);
    follow(event);
    drag = "split";
    slider.focus({ preventScroll: true });
    event.preventDefault();
  });
  surface.addEventListener("pointermove", (event) => drag === "split" && follow(event));
  for (const name of ["pointerup", "pointercancel"]) surface.addEventListener(name, () => (drag = null));
  set();
}

// --- tools ------------------------------------------------------------------------------------------------------------

// By how much one press grows or shrinks, in pixels of the view.
export const stepOf = () => Math.max(1, Math.round(Math.max(...state.picture.view) / 160));

// A box of the view as a new region of the change that it is drawn for.
export async function putBox(box) {
  Object.assign(page, { tool: "look", box: null });
  const known = new Set(state.places.map((one) => one.id));
  try {
    const fresh = await act("POST", "/places", { row: page.drawFor, box });
    const made = fresh.places.find((one) => !known.has(one.id));
    change({ place: made ? made.id : null, tool: "brush", error: lacksPlaces() ? page.error : null }); // what was not found is drawn
  } catch (error) {
    toast(problem(error), true);
    change({});
  }
}

export async function changePlace(how, pixels = 0) {
  if (how === "outline") return begin(`/places/${page.place}`, { how });
  try {
    await act("POST", `/places/${page.place}`, { how, pixels });
  } catch (error) {
    toast(problem(error), true);
  }
}

function importMask(place) {
  const input = el("input", { type: "file", accept: "image/*" });
  input.addEventListener("change", async () => {
    const file = input.files[0];
    try {
      if (file) await act("POST", `/mask/file?place=${encodeURIComponent(place.id)}&name=${encodeURIComponent(file.name)}`, file);
    } catch (error) {
      toast(problem(error), true);
    }
  });
  input.click();
}

function drawTools() {
  const tools = byId("stage-tools");
  tools.hidden = page.view !== "regions" || !state.rows.length;
  if (tools.hidden) return;
  const place = state.places.find((one) => one.id === page.place);
  if (page.tool === "newbox") {
    const row = state.rows.find((one) => one.id === page.drawFor);
    const name = row ? row.source || row.anchor || row.target : "";
    return fill(tools, el("span", {}, page.box ? `Arrow keys move the box${name ? ` for “${name}”` : ""}, with Shift they change its size.` : `Drag a box around ${name ? `“${name}”` : "the thing"}, or click on it: a segmenter outlines it. Arrow keys place a box too.`), el("span", { class: "grow" }),
      page.box ? el("button", { type: "button", class: "first small", "data-key": "put-box", onclick: () => putBox(page.box) }, "Put it here") : null,
      el("button", { type: "button", class: "second small", onclick: () => change({ tool: "look", box: null }) }, "Cancel"));
  }
  if (!place) return fill(tools, el("span", { class: "hint" }, state.places.length ? "Click a region to paint on it, or draw another beside its change in the plan." : "Nothing has a place yet: press Find, or draw places beside the changes in the plan."));
  const tool = (name, words, key) => el("button", { type: "button", class: "tool", "aria-pressed": String(page.tool === name), "data-key": `tool-${name}`, disabled: busy(), title: `${words} (${key})`, onclick: () => change({ tool: name }) }, icon(name), words);
  const press = (name, words, how, pixels, key) => el("button", { type: "button", class: "tool", title: key ? `${words} (${key})` : null, "data-key": `press-${how}`, disabled: busy() || (how === "undo" && !place.undo), onclick: () => changePlace(how, pixels) }, name ? icon(name) : null, words);
  const step = stepOf();
  fill(tools, tool("brush", "Paint", "B"), tool("erase", "Erase", "E"),
    el("label", { class: "brush-size" }, el("span", { class: "visually-hidden" }, "Size of the brush"), el("input", { type: "range", min: 4, max: 160, value: page.brush, "data-key": "brush-size", oninput: (event) => (page.brush = Number(event.target.value)) })),
    press("undo", "Undo", "undo", 0, "Ctrl+Z"), press(null, "Grow", "grow", step, "+"), press(null, "Shrink", "shrink", step, "-"), press(null, "Invert", "invert"), press("spark", "Outline", "outline"),
    el("button", { type: "button", class: "tool", disabled: busy(), onclick: () => importMask(place) }, icon("up"), "Import"),
    el("a", { class: "tool button", href: at(`/places/${place.id}/mask.png`), download: "" }, icon("down"), "Export"),
    press("trash", "Remove", "remove", 0, "Delete"));
}

function point(event) {
  const box = surface.getBoundingClientRect();
  const [width, height] = state.picture.view;
  return { x: ((event.clientX - box.left) * width) / box.width, y: ((event.clientY - box.top) * height) / box.height, scale: width / box.width };
}

function down(event) {
  if (page.view !== "regions" || busy() || event.button !== 0) return;
  const from = point(event);
  const place = state.places.find((one) => one.id === page.place);
  if (page.tool === "newbox") drag = { kind: "box", from };
  else if (place && (page.tool === "brush" || page.tool === "erase")) {
    const layer = layerOf(place);
    if (!layer.levels) return;
    layer.painting = true;
    drag = { kind: "stroke", layer, place, last: from };
    stroke(layer, from, from, (page.brush / 2) * from.scale, page.tool === "brush" ? 255 : 0);
  } else return select(from);
  surface.setPointerCapture(event.pointerId);
  event.preventDefault();
}

function moved(event) {
  const now = point(event);
  const ring = surface.querySelector(".brush-ring"), rubber = surface.querySelector(".rubber");
  ring.hidden = !(page.view === "regions" && page.place && (page.tool === "brush" || page.tool === "erase"));
  const box = surface.getBoundingClientRect();
  Object.assign(ring.style, { left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px`, width: `${page.brush}px`, height: `${page.brush}px` });
  if (drag?.kind === "stroke") {
    stroke(drag.layer, drag.last, now, (page.brush / 2) * now.scale, page.tool === "brush" ? 255 : 0);
    drag.last = now;
  }
  if (drag?.kind === "box") {
    rubber.hidden = false;
    const { from } = drag, s = now.scale;
    Object.assign(rubber.style, { left: `${Math.min(from.x, now.x) / s}px`, top: `${Math.min(from.y, now.y) / s}px`, width: `${Math.abs(from.x - now.x) / s}px`, height: `${Math.abs(from.y - now.y) / s}px` });
  }
}

async function up(event) {
  const ended = drag;
  drag = null;
  if (!ended || ended === "split") return;
  try {
    if (ended.kind === "stroke") {
      const sent = new Uint8Array(ended.layer.levels);
      ended.layer.version = ended.place.version + 1; // what comes back is what was painted
      ended.layer.painting = false;
      await act("PUT", `/places/${ended.place.id}`, sent).catch((error) => {
        ended.layer.version = -1;
        throw error;
      });
      return;
    }
    surface.querySelector(".rubber").hidden = true;
    const now = point(event);
    const dragged = Math.hypot(now.x - ended.from.x, now.y - ended.from.y) / now.scale > 5;
    page.tool = "look";
    if (!dragged) return await begin("/places/at", { row: page.drawFor, point: [now.x, now.y] });
    await putBox([ended.from.x, ended.from.y, now.x, now.y]);
  } catch (error) {
    toast(problem(error), true);
    change({});
  }
}

function select(at) {
  const [width] = state.picture.view;
  const hit = state.places.filter((place) => layerOf(place).levels?.[Math.floor(at.y) * width + Math.floor(at.x)] >= 128).sort((a, b) => a.share - b.share)[0];
  change({ place: hit ? hit.id : null, tool: hit ? "brush" : "look" });
}
