// Starts the page: its window, what is dropped on it, the gallery, and the parts that draw themselves.
import { act, call } from "./api.js";
import { byId, el, icon, problem, quiet, toast } from "./dom.js";
import { onChange, page, setStart, setState, start, state } from "./store.js";
import { drawHistory } from "./history.js";
import { drawPlan, wirePlan } from "./plan.js";
import { drawResult } from "./result.js";
import { drawRun, follow } from "./run.js";
import { openSettings } from "./settings.js";
import { drawStage, wireStage } from "./stage.js";
import { drawMade } from "./replay.js";
import { wireKeys } from "./keys.js";

const KEY = "gas-window";

async function open() {
  setStart(await call("GET", "/api/start"));
  const known = sessionStorage.getItem(KEY);
  let told = null;
  if (known) {
    try {
      told = await call("GET", `/api/w/${known}`);
    } catch { /* of a server that has ended */ }
  }
  told ??= await call("POST", "/api/windows");
  sessionStorage.setItem(KEY, told.id);
  setState(told);
  if (told.instruction) byId("ask").value = told.instruction;
  if (told.edits.length && !told.task) page.edit = told.edits[0].number;
  if (told.task) follow();
}

export async function take(file, what = "photo") {
  if (!file) return;
  const area = byId("stage-area");
  area.classList.add("loading");
  quiet();
  try {
    await act("POST", `/${what}/file?name=${encodeURIComponent(file.name)}`, file);
    if (what === "photo") byId("ask").focus();
  } catch (error) {
    toast(problem(error), true);
  } finally {
    area.classList.remove("loading");
  }
}

export async function tryExample(number) {
  try {
    const fresh = await act("POST", "/example", { number });
    byId("ask").value = fresh.picture.example;
    byId("ask").focus();
  } catch (error) {
    toast(problem(error), true);
  }
}

export function emptyStage() {
  const gallery = start.examples.map((one) =>
    el("button", { type: "button", class: "example", onclick: () => tryExample(one.number) },
      el("img", { src: `/api/examples/${one.number}`, alt: "", width: 128, height: 128 }), el("span", {}, one.request)));
  return el("div", { class: "empty" },
    el("div", { class: "empty-drop" }, icon("picture"), el("h2", {}, "Drop a photograph here"),
      el("p", { class: "hint" }, "JPEG, PNG, WebP, TIFF or HEIF. It stays on this machine."),
      el("button", { type: "button", class: "first", onclick: () => byId("photo-input").click() }, "Choose a photograph")),
    gallery.length ? el("div", { class: "gallery" }, el("h3", {}, "Or try a drawing of the small built-in world"), el("div", { class: "examples" }, gallery)) : null);
}

function wire() {
  byId("open-photo").addEventListener("click", () => {
    delete byId("photo-input").dataset.what; // an original was asked for, and none was chosen
    byId("photo-input").click();
  });
  byId("photo-input").addEventListener("change", (event) => {
    take(event.target.files[0], event.target.dataset.what || "photo");
    event.target.value = "";
    delete event.target.dataset.what;
  });
  byId("open-settings").addEventListener("click", openSettings);
  byId("theme").append(icon("theme"));
  byId("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("gas-theme", dark ? "light" : "dark");
  });
  let inside = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => files(event) && ((inside += 1), (byId("drop").hidden = false)));
  addEventListener("dragleave", (event) => files(event) && ((inside -= 1), (byId("drop").hidden = inside > 0 ? false : true)));
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    inside = 0;
    byId("drop").hidden = true;
    take(event.dataTransfer.files[0]);
  });
}

function drawTop() {
  const picture = state.picture;
  byId("file-name").textContent = picture ? `${picture.name} · ${picture.size[0]} × ${picture.size[1]}` : "";
  byId("file-name").title = byId("file-name").textContent;
  byId("open-photo").hidden = !picture;
  document.title = picture ? `${picture.name} · gas` : "gas";
  byId("ask").disabled = !picture;
  byId("ask-button").disabled = !picture || Boolean(state.task);
}

wire();
wirePlan();
wireStage();
wireKeys();
for (const draw of [drawTop, drawMade, drawStage, drawPlan, drawResult, drawHistory, drawRun]) onChange(() => state && draw());
open().catch((error) => toast(problem(error), true));
