// Ambiguous groups, a row an anchor class: accuracy of A and B and their difference, with intervals.

import { dropdown, fill, h } from "./dom.js";
import { wilson } from "./statistics.js";

const percent = (share) => (Number.isFinite(share) ? (100 * share).toFixed(1) : "\u2013");
const points = (share) => (share > 0 ? "+" : share < 0 ? "\u2212" : "") + (100 * Math.abs(share)).toFixed(1);

/** @param {import("./state.js").State} state */
export function groupsView(state) {
  const { data } = state;
  const orders = [
    { value: "accuracy", text: "hardest first" },
    ...(data.pair ? [{ value: "gain", text: "largest gain" }, { value: "loss", text: "largest loss" }] : []),
    { value: "name", text: "by name" },
  ];
  const list = h("div", { class: "frx-groups", role: "listbox", "aria-label": "Ambiguous groups", tabindex: 0 });
  const rows = new Map(data.header.groups.map((group) => [group.anchor, groupRow(state, group)]));
  const sort = (order) => fill(list, ...sorted(data, order).map((group) => rows.get(group.anchor)));
  const mark = () =>
    rows.forEach((row, anchor) => {
      const chosen = anchor === state.anchor;
      if (chosen && row.getAttribute("aria-selected") !== "true") reveal(list, row);
      row.setAttribute("aria-selected", String(chosen));
    });
  list.addEventListener("keydown", (event) => key(event, state, list));
  state.on("anchor", mark);
  sort("accuracy");
  mark();
  const own = data.pair ? "; lines of A and B: 95 % (Wilson)" : ""; // of one model Python says so
  const note = h("p", { class: "frx-note", text: `${data.header.groups_note ?? ""}${own}` });
  return {
    el: h("div", { class: "frx-groups-view" }, heading(data), list, note),
    controls: [dropdown("order", orders, "accuracy", sort)],
  };
}

function sorted(data, order) {
  const last = (value) => (Number.isFinite(value) ? value : Infinity);
  const by = {
    accuracy: (g) => last(g.a),
    gain: (g) => last(-(g.difference ?? NaN)),
    loss: (g) => last(g.difference ?? NaN),
  }[order];
  const groups = [...data.header.groups];
  const name = (g) => data.classes[g.anchor];
  return groups.sort((x, y) => (by ? by(x) - by(y) : 0) || name(x).localeCompare(name(y)));
}

function heading(data) {
  const [nameA, nameB] = data.header.names;
  const ends = accuracyEnds(data).map((share) => Math.round(100 * share));
  const range = `${ends[0]}\u2013${ends[1]} %`;
  const who = data.pair ? `: ${nameA} (ring, above) and ${nameB} (dot, below)` : "";
  const title = `Accuracy over the clips of the group${who}, from ${ends[0]} to ${ends[1]} %; lines: 95 % intervals (Wilson)`;
  const cells = [
    h("span", { text: "anchor, and what it is taken for" }),
    h("span", { text: data.pair ? `A \u25CB  B \u25CF  ${range}` : range, title }),
    h("span", { text: data.pair ? `B \u2212 A, \u00B1${Math.round(100 * scaleOf(data))} points` : "%", title: "With its 95 % interval" }),
  ];
  return h("div", { class: "frx-group frx-group-head" }, ...cells);
}

function groupRow(state, group) {
  const { data } = state;
  const others = group.members.slice(1).map((k) => data.classes[k]);
  const words = [h("b", { text: data.classes[group.anchor] }), h("span", { class: "frx-muted", text: others.length ? ` ${others.join(", ")}` : " (never confused)" })];
  const row = h(
    "div",
    {
      class: "frx-group",
      role: "option",
      title: describe(data, group),
      "data-anchor": group.anchor,
      on: { click: () => state.setAnchor(group.anchor === state.anchor ? -1 : group.anchor) },
    },
    h("span", { class: "frx-group-name" }, ...words),
    accuracyBar(data, group),
    data.pair ? differenceBar(group, scaleOf(data)) : h("span", { class: "frx-number", text: `${percent(group.a)} %` }),
  );
  return row;
}

function describe(data, group) {
  const [nameA, nameB] = data.header.names;
  const one = (name, side) => `${name} ${percent(group[side])} %${limitsOf(group, side)}`;
  const base = `${data.classes[group.anchor]}: ${group.clips} clips; ${one(nameA, "a")}`;
  if (!data.pair) return base;
  const p = Number.isFinite(group.p_holm) ? `, p = ${group.p_holm.toPrecision(2)} (Holm)` : "";
  return `${base}, ${one(nameB, "b")}: ${points(group.difference)} points (${points(group.low)} to ${points(group.high)})${p}`;
}

/** " (64.0 to 77.5)", or nothing without clips. */
function limitsOf(group, side) {
  const limits = wilson(group[side], group.clips);
  return limits ? ` (${limits.map(percent).join(" to ")})` : "";
}

const at = (share) => `${Math.min(100, Math.max(0, 100 * share))}%`;

function span(className, left, right = null) {
  const style = right === null ? { left: at(left) } : { left: at(Math.min(left, right)), width: at(Math.abs(right - left)) };
  return h("span", { class: className, style });
}

/** What the ends of the scale of accuracies stand for: all intervals fit, in steps of 10 points. */
function accuracyEnds({ header, sides }) {
  const limits = header.groups.flatMap((group) => sides.flatMap((side) => wilson(group[side], group.clips) ?? []));
  if (!limits.length) return [0, 1];
  const [low, high] = [limits.reduce((x, y) => Math.min(x, y)), limits.reduce((x, y) => Math.max(x, y))];
  return [Math.floor(low * 10) / 10, Math.ceil(high * 10) / 10];
}

/** A line a model, A above B: they overlap more often than not. */
function accuracyBar(data, group) {
  const [low, high] = accuracyEnds(data);
  const place = (share) => (share - low) / (high - low);
  const lane = (side) => {
    const limits = wilson(group[side], group.clips);
    if (!limits) return null;
    const mark = span(side === "a" && data.pair ? "frx-dot frx-open" : "frx-dot", place(group[side]));
    return h("span", { class: "frx-lane" }, span("frx-whisker", ...limits.map(place)), mark);
  };
  return h("span", { class: "frx-lanes", "aria-hidden": "true" }, ...data.sides.map(lane));
}

/** What the ends of the scale of differences stand for: all intervals fit, in steps of 5 points. */
function scaleOf(data) {
  const ends = data.header.groups.flatMap((g) => [g.low, g.high, g.difference]).filter(Number.isFinite);
  return Math.max(0.05, Math.ceil(Math.max(0, ...ends.map(Math.abs)) * 20) / 20);
}

/** Difference and interval; the middle is no change, the ends are the scale's. */
function differenceBar(group, scale) {
  if (!Number.isFinite(group.difference)) return h("span", { class: "frx-number", text: "\u2013" });
  const place = (d) => 0.5 + d / (2 * scale);
  const sure = group.low > 0 || group.high < 0;
  const tone = !sure ? "frx-unsure" : group.difference > 0 ? "frx-up" : "frx-down";
  const bar = h("span", { class: "frx-scale frx-zero", "aria-hidden": "true" }, span(`frx-move ${tone}`, place(group.low), place(group.high)), span(`frx-dot ${tone}`, place(group.difference)));
  return h("span", { class: "frx-change" }, bar, h("span", { class: "frx-number", text: points(group.difference) }));
}

/** Scrolls the list alone, never the page around it. */
function reveal(list, row) {
  const [top, bottom] = [row.offsetTop - list.offsetTop, row.offsetTop - list.offsetTop + row.offsetHeight];
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

function key(event, state, list) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!step) return;
  const rows = [...list.children];
  const now = rows.findIndex((row) => row.getAttribute("aria-selected") === "true");
  const next = rows[Math.min(rows.length - 1, Math.max(0, now + step))];
  state.setAnchor(Number(next.dataset.anchor));
  state.say(next.title);
  event.preventDefault();
  event.stopPropagation();
}
