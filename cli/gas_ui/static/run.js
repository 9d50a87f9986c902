// The foot of the panel: what is about to run, the button, progress with Stop; and the tasks' affairs.
import { act, at, call } from "./api.js";
import { byId, capital, el, fill, icon, problem, quiet, seconds, toast } from "./dom.js";
import { busy, change, lacksPlaces, page, setState, state } from "./store.js";
import { compareDialog } from "./compare.js";
import { setFlags } from "./settings.js";

let timer = null;
let following = null; // the task whose end has not been shown yet; it may be over before its first answer is here
let again = null; // what was begun last, to be begun once more when the user has agreed

// Starts a task by a request whose answer is the window's state, and follows it to its end.
export async function begin(path, body = {}) {
  again = { path, body };
  quiet();
  try {
    await act("POST", path, body);
    change({ error: null, stage: "", view: path === "/edit" || path.endsWith("/resume") ? "photo" : page.view });
    follow();
  } catch (error) {
    if (path === "/plan" || path === "/find") change({ error });
    else toast(problem(error), true);
  }
}

export function follow() {
  following = state.busy?.id ?? null;
  clearTimeout(timer);
  timer = setTimeout(look, 120);
}

async function look() {
  if (!following) return;
  try {
    const task = await call("GET", at(`/tasks/${following}`));
    const fresh = task.progress.previews !== page.previews && task.progress.previews > 0;
    if (task.state === "waiting" || task.state === "running") {
      if (page.stage !== task.progress.stage) { // the plan is there before the regions are
        page.stage = task.progress.stage;
        setState(await call("GET", at("")));
      }
      change({ busy: task, previews: task.progress.previews, preview: fresh ? at(`/tasks/${task.id}/preview?${task.progress.previews}`) : page.preview });
      timer = setTimeout(look, 350);
      return;
    }
    ended(task, await call("GET", at("")));
  } catch (error) {
    change({ lost: error });
    timer = setTimeout(look, 2000);
  }
}

function ended(task, fresh) {
  following = null;
  Object.assign(page, { busy: null, preview: null, previews: 0, lost: null });
  const made = fresh.edits.find((one) => one.task === task.id && one.done); // of a comparison the last one may have failed
  if (made && ["edit", "compare", "replay"].includes(task.kind)) {
    Object.assign(page, { edit: made.number, view: "result", comparing: task.kind === "compare" ? made.group : null });
  } else if (["plan", "find", "outline"].includes(task.kind) && fresh.places.length) page.view = "regions";
  if (task.kind === "plan" || task.kind === "find") page.error = task.asks ? null : task.error;
  setState(fresh);
  if (task.asks) agreement(task.asks);
  else if (task.error && task.kind !== "plan" && task.kind !== "find") toast(problem(task.error), true);
  if (made && task.kind === "edit") byId("result").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function agreement(asks) {
  const dialog = byId("dialog");
  fill(dialog,
    el("h2", { id: "dialog-title" }, "The picture would leave this machine"),
    asks.map((one) => el("div", { class: "stack" }, el("p", {}, `The ${one.role} ${one.name} sends this to another machine:`), el("pre", { class: "sent", tabindex: 0 }, one.lines.join("\n")))),
    el("div", { class: "row between" },
      el("button", { type: "button", class: "second", onclick: () => dialog.close() }, "Keep it here"),
      el("button", { type: "button", class: "first", onclick: () => {
        dialog.close();
        begin(again.path, { ...again.body, agreed: [...(again.body.agreed ?? []), ...asks.map((one) => one.key)] });
      } }, "Send it")));
  dialog.showModal();
}

const stop = () => act("POST", `/tasks/${following ?? state.task}/stop`).then(follow, (error) => toast(problem(error), true));

function progress() {
  const task = page.busy ?? state.busy;
  if (!task) return [];
  const { progress: now } = task;
  const share = now.total ? now.index / now.total : 0;
  const words = task.state === "waiting" && task.before > 0 ? `Waiting: ${task.before} before this one`
    : task.stopping ? "Stopping after this step" : now.stage || "Starting";
  const detail = [now.names, now.total ? `step ${now.index} of ${now.total}` : "", now.left !== null && now.total ? `about ${seconds(now.left)} left` : ""].filter(Boolean).join(" · ");
  const bar = el("div", { class: now.total ? "bar" : "bar waiting", role: "progressbar", "aria-label": words, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": now.total ? Math.round(100 * share) : null }, el("span", {}));
  bar.firstChild.style.width = now.total ? `${100 * share}%` : "30%";
  return [
    el("div", { class: "row between nowrap" }, el("div", {}, el("strong", {}, words), el("div", { class: "hint number" }, page.lost ? "The server does not answer; trying again" : detail)),
      el("button", { type: "button", class: "second", "data-key": "stop", disabled: task.stopping, onclick: stop }, "Stop")),
    bar];
}

function preflight() {
  const sheet = state.sheet;
  if (!sheet) return el("p", { class: "hint" }, state.preparing ? "What would run is being looked at …" : !lacksPlaces() ? "Each change has its place. Find says what would run; Edit begins."
    : state.places.length ? "What has no place yet is looked for first." : "The things are looked for first.");
  if (sheet.error) return problem(sheet.error);
  const time = sheet.seconds === null ? "its time is known after the first one" : `about ${seconds(sheet.seconds)}`;
  const where = [`Profile ${sheet.profile}`, sheet.models.length ? `model ${sheet.models.join(" and ")}` : "no model", sheet.device === "auto" ? "" : `on ${sheet.device}`, `seed ${sheet.seed}`].filter(Boolean).join(", ");
  const leaves = sheet.leaves.length ? `The picture goes to another machine: ${sheet.leaves.join(", ")}.` : "Nothing leaves this machine.";
  return el("div", { class: "hint number preflight" },
    el("p", {}, el("strong", {}, `${sheet.count} change${sheet.count > 1 ? "s" : ""} by ${sheet.editor}${sheet.grounded ? ", grounded" : ""}`), ` · ${time}`),
    detail(sheet), el("p", {}, el("span", { class: "where" }, `${where}. `), leaves),
    sheet.reused ? el("p", {}, `${capital(sheet.reused)}.`) : null,
    sheet.lacks.map((one) => el("p", {}, `${capital(one)}.`)),
    sheet.missing.length ? el("p", {}, `Not here yet: ${sheet.missing.join("; ")}.`) : null);
}

// How fine each place is worked on. It is measured after the regions are there, so it may come a little later.
function detail(sheet) {
  if (sheet.sizes === null) return el("p", {}, "Detail: being measured …");
  if (!sheet.sizes.length) return null;
  const fine = ({ coarse }) => (coarse > 1.05 ? `1 : ${coarse.toFixed(1)}` : "every pixel");
  const words = sheet.sizes.every((one) => one.coarse <= 1.05) ? "every pixel"
    : sheet.sizes.map((one) => `${one.what.join(", ") || "all"} ${fine(one)}`).join(" · ");
  const sizes = [...new Set(sheet.sizes.map((one) => `${one.size[0]} × ${one.size[1]}`))].join(", ");
  return el("p", { "data-key": "detail", title: "1 : 2 means that one pixel that is worked on stands for 2 × 2 of the photograph's" }, `Detail: ${words}, worked on at ${sizes}`);
}

let asked = 0; // how often it was looked whether what would run, and its detail, are known
function lookAgain() {
  const waits = state.sheet ? !state.sheet.error && state.sheet.sizes === null : state.preparing;
  if (busy() || !waits) return (asked = 0);
  if (asked++ < 60) setTimeout(async () => !busy() && setState(await call("GET", at(""))), 600);
}

// Whether each change is checked, and how often what is not there is tried.
function checking() {
  const { chosen } = state;
  if (chosen.error) return null;
  const tries = el("select", { "data-key": "tries", "aria-label": "What happens to a change that is not there", onchange: (event) => setFlags({ tries: Number(event.target.value) === 1 ? null : Number(event.target.value) }) },
    [1, 2, 3, 5].concat([1, 2, 3, 5].includes(chosen.tries) ? [] : [chosen.tries]).map((each) => el("option", { value: each, selected: chosen.tries === each }, each === 1 ? "only say so" : `${each} tries in all`)));
  return el("div", { class: "row between nowrap checking" },
    el("label", { class: "check switch" }, el("input", { type: "checkbox", role: "switch", checked: chosen.verify, "data-key": "verify", onchange: (event) => setFlags(event.target.checked ? { verify: true } : { verify: false, tries: null }) }), "Check each change"),
    chosen.verify ? el("label", { class: "check" }, el("span", { class: "hint" }, chosen.tries > 1 && !chosen.retry_editors.length ? "Nobody else is set to try" : "If not there"), tries) : null);
}

export function drawRun() {
  lookAgain();
  const foot = byId("run");
  if (busy()) return fill(foot, progress());
  if (!state.picture || !state.rows.some((row) => row.on)) return fill(foot);
  const last = state.edits.find((one) => one.done && !one.offered && one.picture === state.picture.number);
  const same = last && state.sheet && last.seed === state.sheet.seed;
  return fill(foot, preflight(), checking(), el("div", { class: "row nowrap" },
    el("button", { type: "button", class: "first wide", "data-key": "edit", onclick: () => begin("/edit", { other_seed: Boolean(same && !("seed" in state.flags)) }) }, icon(same ? "again" : "spark"), same && !("seed" in state.flags) ? "Edit again, other seed" : "Edit"),
    state.sheet ? null : el("button", { type: "button", class: "second", "data-key": "find", onclick: () => begin("/find") }, "Find"),
    el("button", { type: "button", class: "second", "data-key": "compare", onclick: compareDialog }, "Compare…")));
}
