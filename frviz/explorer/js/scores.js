// The five best classes of each model for the clip in focus.

import { fill, h } from "./dom.js";

/**
 * @param {import("./state.js").State} state
 * @returns {{el: HTMLElement, destroy: () => void}}
 */
export function scoreBars(state) {
  const el = h("div", { class: "frx-scores" });
  let gone = false;
  const draw = () => {
    if (!gone) fill(el, ...(state.focus < 0 ? [] : content(state)));
  };
  state.on("focus", draw);
  draw();
  return { el, destroy: () => (gone = true) };
}

function content({ data, focus }) {
  const missing = data.header.missing?.scores;
  const found = data.sides.map((side, s) => model(data, focus, side, s)).filter(Boolean);
  if (found.length) return missing ? [...found, note(missing)] : found;
  return [note(missing || "There are no scores.")];
}

const note = (text) => h("p", { class: "frx-note", text });

/** A model's five best classes, and the true one where it is not among them; null without scores. */
function model(data, clip, side, s) {
  const rows = topOf(data, clip, side);
  if (!rows) return null;
  const [label, predicted] = [data.label[clip], data.predicted[side][clip]];
  const p = data.pTrue(side, clip);
  if (!rows.some((row) => row.k === label) && !Number.isNaN(p)) rows.push({ k: label, p, apart: true });
  const name = (data.pair ? `${"AB"[s]}  ` : "") + data.header.names[s];
  return h(
    "section",
    { class: "frx-score-model", "aria-label": `Scores of ${name}` },
    h("div", { class: "frx-score-name", text: name }),
    h("ul", { class: "frx-score-rows" }, ...rows.map((row) => bar(data, row, label, predicted))),
  );
}

/**
 * The best classes of a clip, best first; null where there are no scores.
 * @returns {{k: number, p: number}[]|null}
 */
export function topOf({ arrays, header, numClasses }, clip, side) {
  const [classes, shares] = [arrays[`top_class_${side}`], arrays[`top_p_${side}`]];
  if (!classes || !shares) return null;
  const width = header.arrays[`top_class_${side}`].shape[1];
  const rows = [];
  for (let r = clip * width; r < (clip + 1) * width; r += 1)
    if (classes[r] < numClasses) rows.push({ k: classes[r], p: shares[r] / 65535 });
  return rows;
}

/** What a row says beside its bar: colour alone says nothing. */
function mark(k, label, predicted) {
  if (k === label) return k === predicted ? ["frx-score-true", "true, predicted"] : ["frx-score-true", "true"];
  return k === predicted ? ["frx-score-wrong", "predicted"] : ["", ""];
}

function bar(data, { k, p, apart }, label, predicted) {
  const [tone, says] = mark(k, label, predicted);
  return h(
    "li",
    { class: `frx-score ${tone} ${apart ? "frx-score-apart" : ""}` },
    h("span", { class: "frx-score-class", title: data.classes[k], text: data.classes[k] }),
    h("span", { class: "frx-score-bar" }, h("i", { style: { width: `${(100 * p).toFixed(1)}%` } })),
    h("span", { class: "frx-number", text: p.toFixed(2) }),
    h("span", { class: "frx-score-mark", text: says }),
  );
}
