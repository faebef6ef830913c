// All views around one state: what is chosen in one is chosen in all.

import { fill, h, onTheme } from "./dom.js";
import { groupsView } from "./groups.js";
import { mapsView } from "./maps.js";
import { matrixView } from "./matrix.js";
import { areaWords } from "./matrix_model.js";
import { scoreBars } from "./scores.js";
import { State } from "./state.js";
import { tableView } from "./table.js";
import { makeTooltip } from "./tooltip.js";
import { transitionView } from "./transition.js";
import { twinView } from "./twin.js";

/**
 * @param {HTMLElement} root
 * @param {import("./data.js").Data} data
 * @param {any} model the host's
 * @returns {() => void} takes all of it down
 */
export function explorer(root, data, model) {
  const state = new State(data, model);
  const tooltip = makeTooltip(root);
  const maps = mapsView(state, tooltip);
  const clip = clipView(state);
  const views = {
    matrix: ["Confusions", matrixView(state, tooltip)],
    groups: ["Ambiguous groups", groupsView(state)],
    outcomes: [data.pair ? "From A to B" : "Outcomes", transitionView(state)],
    maps: ["Maps", maps],
    table: ["Clips", tableView(state)],
    clip: ["The clip", clip],
  };
  const panels = Object.entries(views).flatMap(([name, [title, view]]) => (view ? [panel(name, title, view)] : []));
  const spoken = h("div", { class: "frx-spoken", role: "status", "aria-live": "polite" });
  const grid = h("div", { class: maps ? "frx-grid" : "frx-grid frx-without-maps" }, ...panels);
  root.prepend(...[header(state), grid, absent(data), spoken].filter(Boolean));
  state.on("say", () => (spoken.textContent = state.spoken));
  root.addEventListener("keydown", (event) => rootKey(event, state));
  const stopTheme = onTheme(() => state.emit("theme"));
  // A kernel hears a page while a cell runs, on a thread of its own, but only if it has heard it
  // before: so the page says at once that it is there.
  const hello = setTimeout(() => {
    model.set("_shown", (model.get("_shown") ?? 0) + 1);
    model.save_changes();
  }, 300);
  return () => {
    clearTimeout(hello);
    stopTheme();
    for (const [, view] of Object.values(views)) view?.destroy?.();
    state.destroy();
  };
}

/** The clip in focus; nothing where neither its joints nor scores nor history are known. */
function clipView(state) {
  const { missing } = state.data.header;
  if (missing?.clips && missing.scores && missing.history) return null;
  const parts = [twinView(state), scoreBars(state)];
  const el = h("div", { class: "frx-clip" }, ...parts.map((part) => part.el));
  return { el, controls: [], destroy: () => parts.forEach((part) => part.destroy()) };
}

function panel(name, title, { el, controls }) {
  const head = h("header", { class: "frx-panel-head" }, h("h3", { text: title }), h("div", { class: "frx-controls" }, ...controls));
  return h("section", { class: `frx-panel frx-panel-${name}`, "aria-label": title }, head, el);
}

/** Models, what came out, and what is chosen. */
function header(state) {
  const { data } = state;
  const { names, accuracy, verdict } = data.header;
  const models = names.map((name, s) =>
    h("span", { class: "frx-model" }, h("b", { text: data.pair && name !== "AB"[s] ? `${"AB"[s]}  ${name}` : name }), h("span", { text: ` ${(100 * accuracy[s]).toFixed(2)} %` })),
  );
  const chosen = h("div", { class: "frx-chosen" });
  const draw = () => fill(chosen, ...chips(state));
  state.on("selection anchor cell", draw);
  draw();
  const count = h("span", { class: "frx-muted", text: `${data.size.toLocaleString("en")} clips, ${data.numClasses} ${data.numClasses === 1 ? "class" : "classes"}` });
  return h(
    "div",
    { class: "frx-header" },
    h("div", { class: "frx-models" }, ...models, count),
    verdict ? h("p", { class: "frx-verdict", text: verdict }) : null,
    chosen,
  );
}

function chips(state) {
  const { data } = state;
  const chip = (text, title, drop) =>
    h("span", { class: "frx-chip" }, h("span", { text }), h("button", { type: "button", text: "\u00D7", title, "aria-label": title, on: { click: drop } }));
  const found = [];
  if (state.anchor >= 0) found.push(chip(`group of ${data.name(state.anchor)}`, "Leave the group", () => state.setAnchor(-1)));
  const count = state.selection.length;
  const area = state.cell ? areaOf(state) : state.area;
  if (area) found.push(chip(areaWords(data, area, count), "Leave the cell", () => state.setAnchor(state.anchor)));
  found.push(
    count
      ? chip(`${count.toLocaleString("en")} ${count === 1 ? "clip" : "clips"} chosen`, "Choose nothing (Escape)", () => state.clear())
      : h("span", { class: "frx-muted", text: area ? "No clips are there." : "Nothing chosen: click a cell, a class or a group, or draw around points." }),
  );
  return found;
}

/** The chosen cell of single classes as an area. */
function areaOf({ data, cell, side }) {
  const [row, column] = cell.map((k) => ({ classes: [k], name: data.name(k) }));
  return { row, column, side };
}

/** Views that are left out, and why. */
function absent(data) {
  const lines = Object.entries(data.header.missing ?? {}).map(([, why]) => h("li", { text: why }));
  return lines.length ? h("ul", { class: "frx-absent", "aria-label": "What is left out" }, ...lines) : null;
}

function rootKey(event, state) {
  if (event.target.closest("input, select, textarea") && event.key !== "Escape") return;
  if (event.key === "Escape") state.clear();
  else if (event.key === " " && !event.target.closest("button")) state.emit("play");
  else return;
  event.preventDefault();
  event.stopPropagation();
}
