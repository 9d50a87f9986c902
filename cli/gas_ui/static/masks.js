// The masks of the places, as levels of the view, each with a canvas that shows it in its colour.
import { at, call } from "./api.js";
import { colourOf, state } from "./store.js";

const layers = new Map();

export function layerOf(place) {
  const [width, height] = state.picture.view;
  let layer = layers.get(place.id);
  if (!layer) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    layer = { canvas, context: canvas.getContext("2d"), image: new ImageData(width, height), levels: null, version: -1, colour: null, shift: null, arrived: null };
    // Moved by keys, and not yet told by the server.
    layer.show = () => (canvas.style.transform = layer.shift ? `translate(${(100 * layer.shift[0]) / width}%, ${(100 * layer.shift[1]) / height}%)` : "");
    layers.set(place.id, layer);
  }
  const colour = colourOf(place.row);
  if (layer.version !== place.version && !layer.painting) load(place, layer);
  else if (layer.colour !== colour && layer.levels) shade(layer, colour);
  return layer;
}

export function forgetLayers() {
  const known = new Set(state.places.map((place) => place.id));
  for (const id of layers.keys()) if (!known.has(id)) layers.delete(id);
}

async function load(place, layer) {
  layer.version = place.version;
  try {
    layer.levels = await call("GET", at(`/places/${place.id}`));
    shade(layer, colourOf(place.row));
    if (layer.arrived && layer.shift) layer.shift = layer.shift.map((one, i) => one - layer.arrived[i]);
    layer.arrived = null;
    layer.show();
  } catch {
    layer.version = -1;
  }
}

// Colours the layer's pixels in a rectangle (default: all): a tint inside, a line along the edge.
export function shade(layer, colour = layer.colour, x0 = 0, y0 = 0, x1 = Infinity, y1 = Infinity) {
  const { width, height, data } = layer.image;
  const levels = layer.levels;
  layer.colour = colour;
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const line = Math.max(1, Math.round(Math.max(width, height) / 500));
  x0 = Math.max(0, Math.floor(x0) - line); y0 = Math.max(0, Math.floor(y0) - line);
  x1 = Math.min(width, Math.ceil(x1) + line); y1 = Math.min(height, Math.ceil(y1) + line);
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const i = y * width + x;
      const level = levels[i];
      let alpha = level * 0.28;
      if (level >= 128 && (x < line || levels[i - line] < 128 || x >= width - line || levels[i + line] < 128 ||
        y < line || levels[i - line * width] < 128 || y >= height - line || levels[i + line * width] < 128)) alpha = 235;
      const o = 4 * i;
      data[o] = red; data[o + 1] = green; data[o + 2] = blue; data[o + 3] = alpha;
    }
  }
  layer.context.putImageData(layer.image, 0, 0, x0, y0, x1 - x0, y1 - y0);
}

// Sets a thick line of levels from one point to another; coordinates and radius are pixels of the view.
export function stroke(layer, from, to, radius, level) {
  const { width, height } = layer.image;
  const x0 = Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)), x1 = Math.min(width - 1, Math.ceil(Math.max(from.x, to.x) + radius));
  const y0 = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)), y1 = Math.min(height - 1, Math.ceil(Math.max(from.y, to.y) + radius));
  const dx = to.x - from.x, dy = to.y - from.y, length = dx * dx + dy * dy || 1;
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      const px = x + 0.5 - from.x, py = y + 0.5 - from.y;
      const t = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
      const ex = px - t * dx, ey = py - t * dy;
      if (ex * ex + ey * ey <= radius * radius) layer.levels[y * width + x] = level;
    }
  }
  shade(layer, layer.colour, x0, y0, x1 + 1, y1 + 1);
}
