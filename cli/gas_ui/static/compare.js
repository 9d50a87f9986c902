// Several editors on the same plan, regions and seed, side by side.
import { at } from "./api.js";
import { byId, el, fill, seconds } from "./dom.js";
import { begin } from "./run.js";
import { change, page, state } from "./store.js";
import { choices } from "./settings.js";

export async function compareDialog() {
  const dialog = byId("dialog");
  const known = await choices();
  const ticked = new Set([state.chosen.editor]);
  const button = el("button", { type: "button", class: "first", disabled: true }, "Compare");
  const tick = (name, on) => {
    if (on) ticked.add(name);
    else ticked.delete(name);
    button.disabled = ticked.size < 2 || ticked.size > 8;
    button.textContent = ticked.size > 1 ? `Compare ${ticked.size}` : "Compare";
  };
  button.addEventListener("click", () => {
    dialog.close();
    begin("/compare", { editors: [...ticked] });
  });
  fill(dialog, el("h2", { id: "dialog-title" }, "Compare editors"), el("p", { class: "hint" }, "The same plan, regions and seed; one after the other. Choose two to eight."),
    el("ul", { class: "ticks" }, known.editor.filter((one) => one.ready).map((one) =>
      el("li", {}, el("label", { class: "check tall" }, el("input", { type: "checkbox", checked: ticked.has(one.name), onchange: (event) => tick(one.name, event.target.checked) }),
        el("span", {}, el("strong", {}, one.name), el("span", { class: "hint" }, one.summary)))))),
    el("div", { class: "row between" }, el("button", { type: "button", class: "second", onclick: () => dialog.close() }, "Cancel"), button));
  dialog.showModal();
}

function there(edit) {
  const told = edit.changes.filter((one) => one.verdict);
  return told.length ? `${told.filter((one) => one.verdict === "done").length} of ${edit.changes.length} there` : "";
}

export function drawTiles(area) {
  const entries = state.edits.filter((one) => one.group === page.comparing).reverse();
  const first = entries[0];
  const none = () => {
    const empty = el("div", { class: "tile-none" }, "No result");
    empty.style.aspectRatio = state.picture.view.join(" / ");
    return empty;
  };
  const tile = (caption, sub, image, press) => el(press ? "button" : "div", { class: press ? "tile press" : "tile", type: press ? "button" : null, onclick: press }, image, el("span", { class: "tile-words" }, el("strong", {}, caption), el("span", { class: "hint number" }, sub)));
  fill(area, el("div", { class: "tiles" },
    tile("Photograph", state.picture.name, el("img", { src: at(`/pictures/${first ? first.picture : state.picture.number}`), alt: "Before" })),
    entries.map((one) => one.done
      ? tile(one.editor, [seconds(one.seconds), there(one), one.everywhere ? "the whole picture" : one.outside ? `outside the regions up to ${one.outside} of 255` : "outside the regions nothing"].filter(Boolean).join(" · "), el("img", { src: at(`/edits/${one.number}/after?${one.seconds}`), alt: `After, by ${one.editor}` }), () => change({ edit: one.number, comparing: null, view: "result" }))
      : tile(one.editor, one.error ? one.error.message : "stopped", none()))));
}
