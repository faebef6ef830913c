// Which colour each point of a map has, and the legend that says so. Pure.

import { PALETTE, rgb } from "./dom.js";

const { blue, vermillion, green, orange, sky, purple, yellow, grey } = PALETTE;
const CLASS_COLOURS = [blue, vermillion, green, orange, sky, purple, yellow];
const OUTCOME_COLOURS = { "both right": "#A9AEB8", fixed: blue, broken: vermillion, "both wrong": "#AA4499", right: "#A9AEB8", wrong: vermillion };
const STEPS = 21; // of the scale of probabilities

/**
 * @param {import("./data.js").Data} data
 * @param {"outcome"|"class"|"p_true"} by
 * @param {number} anchor whose group has the colours; -1: none
 * @param {"a"|"b"} side whose probabilities
 * @returns {{palette: number[][], colourOf: Uint8Array,
 *   legend: {colour: string, text: string, code?: number, anchor?: number}[]}} code: of the colour,
 *   where a key stands for clips; anchor: the class that it stands for
 */
export function colouring(data, by, anchor, side) {
  if (by === "p_true" && data.arrays[`p_true_${side}`]) return byProbability(data, side);
  return by === "class" ? byClass(data, anchor) : byOutcome(data);
}

function byOutcome(data) {
  const colours = data.outcomes.map((name) => OUTCOME_COLOURS[name]);
  const legend = data.outcomes.map((text, code) => ({ colour: colours[code], text, code }));
  return { palette: colours.map(rgb), colourOf: data.outcome, legend };
}

/** Members of the chosen group; without one, classes, or clusters where there are many classes. */
function byClass(data, anchor) {
  const { cluster, order } = data.header;
  const colourOfClass = new Uint8Array(data.numClasses).fill(CLASS_COLOURS.length);
  const legend = [];
  const give = (classes, text) => {
    if (legend.length >= CLASS_COLOURS.length) return;
    for (const k of classes) colourOfClass[k] = legend.length;
    const one = classes.length === 1 ? { anchor: classes[0] } : {};
    legend.push({ colour: CLASS_COLOURS[legend.length], text, code: legend.length, ...one });
  };
  if (anchor >= 0) data.members(anchor).forEach((k) => give([k], data.classes[k]));
  else if (data.numClasses <= CLASS_COLOURS.length) order.forEach((k) => give([k], data.classes[k]));
  else {
    const clusters = Map.groupBy ? Map.groupBy(order, (k) => cluster[k]) : groupBy(order, (k) => cluster[k]);
    const largest = [...clusters.values()].filter((own) => own.length > 1).sort((x, y) => y.length - x.length);
    for (const own of largest) give(own, data.clusterName(own));
  }
  const rest = colourOfClass.some((colour) => colour === CLASS_COLOURS.length);
  if (rest) legend.push({ colour: grey, text: anchor >= 0 ? "other classes" : "others", code: CLASS_COLOURS.length });
  const colourOf = Uint8Array.from(data.label, (k) => colourOfClass[k]);
  return { palette: [...CLASS_COLOURS, grey].map(rgb), colourOf, legend };
}

function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}

function byProbability(data, side) {
  const [low, middle, high] = [vermillion, "#B8BCC4", blue].map(rgb);
  const between = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
  const palette = Array.from({ length: STEPS }, (_, step) => {
    const share = step / (STEPS - 1);
    return share < 0.5 ? between(low, middle, share * 2) : between(middle, high, share * 2 - 1);
  });
  const values = data.arrays[`p_true_${side}`];
  const colourOf = Uint8Array.from(values, (p) => Math.round((p / 65535) * (STEPS - 1)));
  const css = (step) => `rgb(${palette[step].join(",")})`;
  const legend = [0, 0.5, 1].map((p) => ({ colour: css(Math.round(p * (STEPS - 1))), text: `p true = ${p}` }));
  return { palette, colourOf, legend };
}
