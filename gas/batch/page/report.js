"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { filter: "all", words: "", shown: 0 };
const PAGE = 60;

/* Text comes from manifests, models and files: it is only ever set as text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const relative = (name) => "./" + name.split("/").map(encodeURIComponent).join("/");
const number = (value) => value.toLocaleString("en");
const seconds = (value) => (value < 10 ? value.toFixed(1) : number(Math.round(value))) + " s";

function half(side, item) {
  const box = make("div", { class: "fit" });
  const image = make("img", { src: relative("report/thumbnails/" + item.thumbnail), alt: "", loading: "lazy", decoding: "async" });
  box.append(image);
  const place = () => {
    const halves = item.written ? 2 : 1;
    const frame = box.closest(".picture");
    if (!frame || !image.naturalWidth) return;
    const ratio = image.naturalWidth / halves / image.naturalHeight;
    const height = Math.min(frame.clientHeight, frame.clientWidth / ratio);
    box.style.height = height + "px";
    box.style.width = height * ratio + "px";
  };
  image.addEventListener("load", place);
  window.addEventListener("resize", place, { passive: true });
  return make("div", { class: "half " + side }, box);
}

function picture(item) {
  const target = data.linked && item.written ? relative(item.out) : null;
  const frame = make(target ? "a" : "div", { class: item.written ? "picture written" : "picture", href: target, title: target ? "Open " + item.out : null });
  if (!item.thumbnail) {
    frame.append(make("div", { class: "nothing" }, "no picture"));
    return frame;
  }
  frame.append(half("before", item));
  if (!item.written) return frame;
  const after = half("after", item);
  const line = make("hr");
  const split = (share) => {
    after.style.clipPath = `inset(0 0 0 ${share * 100}%)`;
    line.style.left = share * 100 + "%";
  };
  frame.append(after, line, make("em", { class: "l" }, "before"), make("em", { class: "r" }, "after"));
  frame.addEventListener("pointermove", (event) => {
    const box = frame.getBoundingClientRect();
    split(Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1));
  });
  frame.addEventListener("pointerleave", () => split(0.5));
  split(0.5);
  return frame;
}

function chips(item) {
  if (!item.found.length) return null;
  const one = (place) => {
    const how = place.given ? "drawn" : place.score === null ? "found" : "found, " + place.score.toFixed(2);
    return make("li", {}, place.phrase || "a place", make("small", {}, how));
  };
  return make("ul", { class: "chips" }, ...item.found.slice(0, 12).map(one));
}

const ANSWERS = { "done": "yes", "not done": "no", "cannot tell": "cannot tell" };
function verdicts(item) {
  if (!item.verdicts.length) return null;
  const one = (found) => {
    const how = [found.failure, found.by && (typeof found.score === "number" ? found.by + " " + found.score.toFixed(2) : found.by),
      found.tries > 1 ? found.tries + " tries" : null].filter(Boolean);
    const kind = { "done": "good", "not done": "bad" }[found.verdict] || "unknown";
    return make("li", { class: kind }, found.what + ": " + (ANSWERS[found.verdict] || ""), how.length ? make("small", {}, how.join(", ")) : null);
  };
  return make("ul", { class: "chips verdicts" }, ...item.verdicts.slice(0, 12).map(one));
}

function card(item) {
  const failed = item.status === "failed";
  const facts = [];
  if (item.pixels) facts.push(item.pixels.join(" × "));
  if (item.seconds) facts.push(seconds(item.seconds));
  if (item.seed !== null) facts.push("seed " + item.seed);
  if (item.outside !== null && !failed) facts.push(item.outside === 0 ? "outside unchanged" : "outside up to " + item.outside + " of 255");
  if (item.attempt > 1) facts.push("attempt " + item.attempt);
  const sentences = item.plan.filter((sentence) => sentence !== item.asked);
  const more = [...sentences.map((sentence) => "Planned: " + sentence), ...item.warnings];
  return make("article", { class: "card " + item.status },
    picture(item),
    make("div", { class: "words" },
      make("p", { class: "asked" }, item.asked || "—"),
      make("p", { class: "name" }, item.item === item.out ? item.item : item.item + " → " + item.out),
      failed ? make("div", { class: "error" }, make("b", {}, "Error " + item.exit_code + " "), item.error, item.remedy ? make("i", {}, item.remedy) : null) : null,
      verdicts(item),
      chips(item),
      make("p", { class: "facts" }, facts.join("  ·  ")),
      more.length ? make("details", {}, make("summary", {}, more.length === 1 ? "1 note" : more.length + " notes"), ...more.map((text) => make("p", {}, text))) : null));
}

const passes = (item) => ["all", item.status, "verdict " + item.verdict].includes(state.filter);
const searchable = new Map();
function words(item) {
  if (!searchable.has(item)) searchable.set(item, [item.item, item.out, item.asked, item.error].join("\n").toLowerCase());
  return searchable.get(item);
}
function chosen() {
  const wanted = state.words.toLowerCase();
  return data.items.filter((item) => passes(item) && (!wanted || words(item).includes(wanted)));
}

function show(anew) {
  const items = chosen();
  const grid = byId("grid");
  if (anew) {
    grid.replaceChildren();
    state.shown = 0;
    for (const button of byId("filters").children) button.setAttribute("aria-pressed", String(button.dataset.filter === state.filter));
  }
  grid.append(...items.slice(state.shown, state.shown + PAGE).map(card));
  state.shown = Math.min(state.shown + PAGE, items.length);
  byId("empty").hidden = items.length > 0;
  byId("count").textContent = number(items.length) + (items.length === 1 ? " item" : " items");
}

function figure(value, label, kind) {
  return make("div", { class: "figure " + kind }, make("b", {}, value), make("span", {}, label));
}

const { done, failed, seconds: total } = data.totals;
byId("figures").append(figure(number(done), "done", "good"), figure(number(failed), "failed", failed ? "bad" : ""));
if (done) byId("figures").append(figure(seconds(total / done), "a picture", ""));
byId("bar").append(make("i", { class: "good" }), make("i", { class: "bad" }));
byId("bar").children[0].style.width = (100 * done) / Math.max(done + failed, 1) + "%";
byId("bar").children[1].style.width = (100 * failed) / Math.max(done + failed, 1) + "%";

/* Buttons for what a verifier said are there only where something was verified. */
const answered = [["done", "Verified"], ["not done", "Not there"], ["cannot tell", "Cannot tell"]]
  .filter(([verdict]) => data.verified[verdict]).map(([verdict, label]) => ["verdict " + verdict, label, data.verified[verdict]]);
for (const [filter, label, count] of [["all", "All", done + failed], ["done", "Done", done], ["failed", "Failed", failed], ...answered])
  byId("filters").append(make("button", { type: "button", "data-filter": filter, onclick: () => { state.filter = filter; show(true); } }, label, make("span", {}, number(count))));
byId("search").addEventListener("input", (event) => { state.words = event.target.value; show(true); });

const kinds = new Map();
for (const item of data.items) if (item.status === "failed") {
  const kind = item.error.replace(item.item, "…").replace(item.item.split("/").pop(), "…").split("\n")[0];
  kinds.set(kind, [...(kinds.get(kind) || []), item]);
}
if (kinds.size) {
  const rows = [...kinds].sort((a, b) => b[1].length - a[1].length).slice(0, 8).map(([kind, items]) => {
    const piece = kind.split("…").sort((a, b) => b.length - a.length)[0];
    const find = () => { state.filter = "failed"; state.words = byId("search").value = piece.trim(); show(true); };
    return make("li", {}, make("b", {}, number(items.length)), make("button", { type: "button", onclick: find }, kind));
  });
  byId("errors").append(make("h2", {}, "What went wrong"), make("ul", {}, ...rows));
  byId("errors").hidden = false;
}

show(true);
new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) show(false); }, { rootMargin: "900px" }).observe(byId("more"));
