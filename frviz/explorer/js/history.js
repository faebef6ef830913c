// How a clip, or a confusion, went through training.

import { canvasBox, h, pointIn, theme } from "./dom.js";
import { plain } from "./plain.js";

const LINE = 26; // pixels of the line of p_true
const CELLS = 14; // pixels of the row of epochs; the box (player.css) is 4 higher than both, or as high

/**
 * When a clip was learnt, in words; as Python's `learning_history` counts.
 * @param {number[]} epochs
 * @param {(boolean|null)[]} right one an epoch; null: the clip was not seen, which changes nothing
 * @returns {string}
 */
export function learningWords(epochs, right) {
  const seen = epochs.map((epoch, e) => ({ epoch, right: right[e] })).filter((one) => one.right !== null);
  if (!seen.length) return "never seen";
  const first = seen.findIndex((one) => one.right);
  if (first < 0) return "never learnt";
  const lost = seen.filter((one, e) => e > 0 && !one.right && seen[e - 1].right).length;
  const forgotten = lost ? `, forgotten ${["once", "twice"][lost - 1] ?? `${lost} times`}` : "";
  if (!seen.at(-1).right) return `first right at epoch ${seen[first].epoch}${forgotten}, wrong at the end`;
  const stays = seen.findLastIndex((one) => !one.right) + 1;
  return `learnt at epoch ${seen[stays].epoch}${forgotten}`;
}

/**
 * A row of epochs a model: right, wrong (lower), not seen (hatched); p_true as a line over it.
 * @param {Record<string, {epochs: number[], predicted?: number[], p_true?: (number|null)[],
 *   right?: (boolean|null)[]}>} history predicted and p_true of each epoch, or only what was right
 * @param {string[]} classes
 * @param {number} label the true class
 * @param {Record<string, string>} [names] what stands before each model's words
 * @returns {{el: HTMLElement, redraw: () => void, destroy: () => void}}
 */
export function historyStrip(history, classes, label, names = { a: "A", b: "B" }) {
  const sides = Object.keys(history).filter((side) => history[side]?.epochs.length);
  const prefix = (side) => (names[side] ? `${names[side]}: ` : "");
  const rows = sides.map((side) => historyRow(history[side], classes, label, prefix(side)));
  return {
    el: h("div", { class: "frx-history" }, ...rows.map((row) => row.el)),
    redraw: () => rows.forEach((row) => row.redraw()),
    destroy: () => rows.forEach((row) => row.destroy()),
  };
}

function historyRow({ epochs, predicted, p_true: pTrue, ...known }, classes, label, prefix) {
  const right = known.right ?? predicted.map((k) => (k < 0 ? null : k === label));
  const words = prefix + learningWords(epochs, right);
  const readout = h("span", { class: "frx-muted", "aria-live": "polite" });
  let over = -1;
  let colours = null;
  const box = canvasBox({
    label: `Through training, ${words}. Left and right read the epochs.`,
    class: pTrue ? "frx-history-canvas" : "frx-history-canvas frx-history-low",
    draw: (ctx, width, height) => drawHistory(ctx, width, height, { right, pTrue, over, colours: (colours ??= theme(box.el)) }),
    keyboard: (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      read(Math.min(epochs.length - 1, Math.max(0, over + by)));
    },
  });
  const read = (e) => {
    if (e === over) return;
    over = e;
    readout.textContent = e < 0 ? "" : plain(`epoch ${epochs[e]}: ${outcomeWords(right[e], classes[predicted?.[e]], pTrue?.[e])}`);
    box.redraw();
  };
  const at = (event) => Math.floor((pointIn(event, box.canvas)[0] / box.width) * epochs.length);
  box.canvas.addEventListener("pointermove", (event) => read(Math.min(epochs.length - 1, Math.max(0, at(event)))));
  box.canvas.addEventListener("pointerleave", () => read(-1));
  box.canvas.addEventListener("blur", () => read(-1));
  const head = h("div", { class: "frx-history-words" }, h("span", { text: words }), readout);
  const redraw = () => {
    colours = null;
    box.redraw();
  };
  return { el: h("div", {}, head, box.el), redraw, destroy: box.destroy };
}

/** "taken for reading, p true 0.31"; "wrong" where it is not known what it was taken for. */
function outcomeWords(right, predicted, pTrue) {
  const outcome = right === null ? "not seen" : right ? "right" : predicted ? `taken for ${predicted}` : "wrong";
  return outcome + (pTrue === null || pTrue === undefined ? "" : `, p true ${pTrue.toFixed(2)}`);
}

function drawHistory(ctx, width, height, { right, pTrue, over, colours }) {
  const count = right.length;
  const cell = width / count;
  const edge = cell > 4 ? 1 : 0; // between cells, where there is room
  const top = height - CELLS;
  right.forEach((outcome, e) => {
    const x = e * cell;
    if (outcome === null) return hatch(ctx, x, top, cell - edge, CELLS, colours.line);
    ctx.fillStyle = outcome ? colours.blue : colours.vermillion;
    const tall = outcome ? CELLS : CELLS * 0.55;
    ctx.fillRect(x, height - tall, cell - edge, tall);
  });
  if (pTrue) drawTrue(ctx, width, cell, pTrue, colours);
  if (over >= 0) {
    ctx.strokeStyle = colours.ink;
    ctx.lineWidth = 1;
    ctx.strokeRect(over * cell + 0.5, 0.5, Math.max(1, cell - edge - 1), height - 1);
  }
}

/** p_true as a line between those of 1 and 0. */
function drawTrue(ctx, width, cell, pTrue, colours) {
  ctx.strokeStyle = colours.line;
  ctx.lineWidth = 1;
  for (const y of [1, LINE]) line(ctx, [[0, y - 0.5], [width, y - 0.5]]);
  const points = pTrue.map((p, e) => (p === null || p === undefined ? null : [(e + 0.5) * cell, LINE - 1 - p * (LINE - 2)]));
  ctx.strokeStyle = colours.ink;
  ctx.lineWidth = 1.5;
  line(ctx, points);
}

/** A line through points; null lifts the pen. */
function line(ctx, points) {
  ctx.beginPath();
  let down = false;
  for (const point of points) {
    if (point) ctx[down ? "lineTo" : "moveTo"](...point);
    down = Boolean(point);
  }
  ctx.stroke();
}

function hatch(ctx, x, y, width, height, colour) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, width, height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  for (let d = -height; d < width; d += 4) line(ctx, [[x + d, y + height], [x + d + height, y]]);
  ctx.restore();
}

/**
 * A small curve, such as a confusion through training in its cell of the matrix.
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} x left edge of its box
 * @param {number} y upper edge
 * @param {number} w width
 * @param {number} hgt height
 * @param {ArrayLike<number>} values from the first to the last epoch
 * @param {string} colour
 * @param {number} [most] what the upper edge stands for; the largest value
 */
export function sparkline(ctx, x, y, w, hgt, values, colour, most = Math.max(1e-9, ...values), width = 1.2) {
  const last = values.length - 1;
  if (last < 0) return;
  const place = (e) => [x + (last ? (w * e) / last : w / 2), y + hgt - (hgt * Math.min(values[e], most)) / (most || 1)];
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = width;
  ctx.lineJoin = "round";
  line(ctx, Array.from(values, (_, e) => place(e)));
  ctx.beginPath();
  ctx.arc(...place(last), 1.6, 0, 2 * Math.PI);
  ctx.fill();
}
