// Regions by keyboard: the chosen one is moved, grown, shrunk and removed; a new box is placed with the arrows.
import { act } from "./api.js";
import { announce, problem, toast } from "./dom.js";
import { changePlace, putBox, stepOf } from "./stage.js";
import { busy, change, page, state } from "./store.js";
import { layerOf } from "./masks.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const chosen = () => state.places.find((one) => one.id === page.place);

// Only where no other control wants the keys: on the picture, on a region's chip in the plan, or nowhere.
const ours = (target) => target === document.body || (target.closest(".surface, .chip, .stage-tools") && !target.closest("input, select"));

export function wireKeys() {
  addEventListener("keydown", (event) => {
    if (!state?.picture || page.view !== "regions" || busy() || event.altKey || !ours(event.target)) return;
    const used = page.tool === "newbox" ? boxKey(event) : regionKey(event);
    if (used) event.preventDefault();
  });
}

// --- a new box --------------------------------------------------------------------------------------------------------

function boxKey(event) {
  const [width, height] = state.picture.view;
  if (event.key === "Escape") return change({ tool: "look", box: null }), true;
  if (event.key === "Enter" && page.box && !event.target.closest("button")) return putBox(page.box), true;
  const arrow = ARROWS[event.key];
  if (!arrow || event.ctrlKey || event.metaKey) return false;
  const step = Math.max(1, Math.round(Math.max(width, height) / (event.repeat ? 40 : 80)));
  let [x0, y0, x1, y1] = page.box ?? [0.35 * width, 0.35 * height, 0.65 * width, 0.65 * height];
  if (page.box && event.shiftKey) {
    x1 = Math.min(width, Math.max(x0 + 2, x1 + step * arrow[0]));
    y1 = Math.min(height, Math.max(y0 + 2, y1 + step * arrow[1]));
  } else if (page.box) {
    const dx = Math.max(-x0, Math.min(width - x1, step * arrow[0])), dy = Math.max(-y0, Math.min(height - y1, step * arrow[1]));
    [x0, y0, x1, y1] = [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  }
  change({ box: [x0, y0, x1, y1] });
  const share = (value, side) => `${Math.round((100 * value) / side)} %`;
  announce(`Box: ${share(x0, width)} from the left, ${share(y0, height)} from the top, ${share(x1 - x0, width)} wide, ${share(y1 - y0, height)} high`);
  return true;
}

// --- the chosen region ------------------------------------------------------------------------------------------------

function regionKey(event) {
  const place = chosen();
  if (event.key === "," || event.key === ".") return next(event.key === "." ? 1 : -1);
  if (!place) return false;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") return changePlace("undo"), true;
  if (event.ctrlKey || event.metaKey) return false;
  const arrow = ARROWS[event.key];
  if (arrow) return move(place, arrow.map((one) => one * (event.shiftKey ? 10 : 1))), true;
  const size = (by) => change({ brush: Math.min(160, Math.max(4, page.brush + by)) });
  const keys = {
    b: () => change({ tool: "brush" }), e: () => change({ tool: "erase" }), "[": () => size(-6), "]": () => size(6),
    "+": () => changePlace("grow", stepOf()), "=": () => changePlace("grow", stepOf()), "-": () => changePlace("shrink", stepOf()),
    Delete: () => changePlace("remove"), Backspace: () => changePlace("remove"),
    n: () => change({ tool: "newbox", drawFor: place.row, place: null, box: null }), Escape: () => change({ place: null, tool: "look" }),
  };
  const press = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  press?.();
  return Boolean(press);
}

function next(by) {
  const on = new Set(state.rows.filter((row) => row.on).map((row) => row.id));
  const places = state.places.filter((one) => on.has(one.row));
  if (!places.length) return false;
  const index = places.findIndex((one) => one.id === page.place);
  const place = places[index < 0 ? (by > 0 ? 0 : places.length - 1) : (index + by + places.length) % places.length];
  change({ place: place.id, tool: "brush" });
  announce(`${place.phrase}, ${places.indexOf(place) + 1} of ${places.length}`);
  return true;
}

let timer = null;

// Shown at once, and sent when the keys rest.
function move(place, [dx, dy]) {
  const layer = layerOf(place);
  layer.shift ??= [0, 0];
  layer.unsent ??= [0, 0];
  layer.shift = [layer.shift[0] + dx, layer.shift[1] + dy];
  layer.unsent = [layer.unsent[0] + dx, layer.unsent[1] + dy];
  layer.show();
  clearTimeout(timer);
  timer = setTimeout(() => send(place.id, layer), 160);
}

async function send(id, layer) {
  const by = layer.unsent;
  layer.unsent = [0, 0];
  layer.arrived = by;
  try {
    await act("POST", `/places/${id}`, { how: "move", by });
    announce("Moved");
  } catch (error) {
    layer.shift = layer.arrived = null;
    layer.show();
    toast(problem(error), true);
  }
}
