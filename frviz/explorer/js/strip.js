// Where and when two aligned clips differ: joints by time, colour for the distance.

import { canvasBox, h, pointIn, theme } from "./dom.js";
import { partsOf, stepOf, valueScale } from "./looks.js";

const AXIS = 15; // pixels under the cells
const GUTTER = 58; // pixels for the parts' names
const BETWEEN = 2; // pixels between parts

/**
 * What a difference says in words: which joint, and when.
 * @param {Float32Array} difference (T, V)
 * @param {string[]} joints
 * @returns {{joint: number, frame: number, value: number, mean: number[]}|null} the largest one, and
 *   each joint's mean over time (NaN where never known); null where nothing is known
 */
export function summaryOf(difference, joints) {
  const V = joints.length;
  let best = -1;
  const [sums, counts] = [new Float64Array(V), new Float64Array(V)];
  difference.forEach((value, at) => {
    if (Number.isNaN(value)) return;
    sums[at % V] += value;
    counts[at % V] += 1;
    if (best < 0 || value > difference[best]) best = at;
  });
  if (best < 0) return null;
  const mean = Array.from(sums, (sum, v) => sum / counts[v]);
  return { joint: best % V, frame: Math.floor(best / V), value: difference[best], mean };
}

/** The strip of one neighbour. */
export class DifferenceStrip {
  /**
   * @param {Float32Array} difference (T, V) in bone lengths
   * @param {import("./looks.js").Skeleton} skeleton
   * @param {{from: string, most: number, seek: (frame: number) => void,
   *   tooltip: {show: Function, hide: Function}}} options from: what the difference is from; most:
   *   the upper end of the colours
   */
  constructor(difference, skeleton, { from, most, seek, tooltip }) {
    Object.assign(this, { difference, skeleton, from, most, seek, tooltip });
    this.V = skeleton.joints.length;
    this.T = difference.length / this.V;
    this.parts = partsOf(skeleton);
    this.rows = this.parts.flatMap((part) => part.joints);
    this.frame = 0;
    this.row = -1; // chosen by keyboard
    this.box = canvasBox({
      label: `${this.#words()} Left and right step through the frames, up and down through the joints.`,
      class: "frx-strip-canvas",
      draw: (ctx, width, height) => this.#draw(ctx, width, height),
      keyboard: (event) => this.#key(event),
    });
    this.readout = h("p", { class: "frx-note frx-strip-words", text: this.#words() });
    this.el = h("div", { class: "frx-strip" }, this.box.el, this.readout);
    this.#listen();
  }

  /** Moves the cursor to the deck's time. */
  show(time) {
    const frame = Math.min(this.T - 1, Math.max(0, time));
    if (frame === this.frame) return;
    this.frame = frame;
    if (this.row >= 0) this.#say();
    this.box.drawNow();
  }

  /** After a change of theme. */
  repaint() {
    this.colours = this.picture = null;
    this.box.redraw();
  }

  destroy() {
    this.box.destroy();
  }

  #words() {
    const found = summaryOf(this.difference, this.skeleton.joints);
    if (!found) return `Difference from ${this.from}: nothing to compare, a clip shows nobody.`;
    const where = `${this.skeleton.joints[found.joint]}, frame ${found.frame}: ${found.value.toFixed(2)}`;
    return `Difference from ${this.from}; largest: ${where}.`;
  }

  /** "left hand, frame 12: 0.84 bone lengths". */
  #cellWords(joint, frame) {
    const value = this.difference[frame * this.V + joint];
    const words = Number.isNaN(value) ? "not known" : `${value.toFixed(2)} bone lengths`;
    return [`${this.skeleton.joints[joint]}, frame ${frame}`, words];
  }

  #say() {
    this.readout.textContent = this.#cellWords(this.rows[this.row], Math.round(this.frame)).join(": ");
  }

  #layout(width, height) {
    const gutter = width > 200 ? GUTTER : 0;
    const inner = height - AXIS - BETWEEN * (this.parts.length - 1);
    return { left: gutter, wide: width - gutter - 1, row: inner / this.V, bottom: height - AXIS };
  }

  #draw(ctx, width, height) {
    this.colours ??= theme(this.box.el);
    this.picture ??= this.#paint();
    const { left, wide, row, bottom } = this.#layout(width, height);
    ctx.imageSmoothingEnabled = false;
    ctx.font = `10.5px ${this.colours.font}`;
    ctx.textBaseline = "middle";
    let [y, first] = [0, 0];
    for (const { name, joints } of this.parts) {
      const tall = joints.length * row;
      ctx.drawImage(this.picture, 0, first, this.T, joints.length, left, y, wide, tall);
      ctx.fillStyle = this.colours.muted;
      ctx.textAlign = "right";
      if (left && tall > 9) ctx.fillText(name || "other", left - 6, y + tall / 2, left - 8);
      if (this.row >= first && this.row < first + joints.length)
        this.#outline(ctx, left, y + (this.row - first) * row, wide, row);
      y += tall + BETWEEN;
      first += joints.length;
    }
    this.#axis(ctx, left, wide, bottom);
    this.#cursor(ctx, left + ((this.frame + 0.5) / this.T) * wide, bottom);
  }

  #outline(ctx, x, y, wide, tall) {
    ctx.strokeStyle = this.colours.accent;
    ctx.lineWidth = 1.5;
    ctx.strokeRect(x, y, wide, Math.max(2, tall));
  }

  #axis(ctx, left, wide, bottom) {
    ctx.fillStyle = this.colours.muted;
    const last = this.T - 1;
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((s) => (wide / this.T) * s > 34) ?? 5000;
    for (let frame = 0; frame <= last; frame += step) {
      const x = left + ((frame + 0.5) / this.T) * wide;
      ctx.textAlign = frame === 0 ? "left" : "center";
      ctx.fillText(String(frame), frame === 0 ? left : Math.min(x, left + wide - 8), bottom + 9);
    }
  }

  #cursor(ctx, x, bottom) {
    ctx.lineWidth = 3;
    ctx.strokeStyle = this.colours.panel;
    ctx.beginPath();
    ctx.moveTo(x, 0);
    ctx.lineTo(x, bottom + 2);
    ctx.stroke();
    ctx.lineWidth = 1.25;
    ctx.strokeStyle = this.colours.ink;
    ctx.stroke();
  }

  /** A pixel a cell, joints in the order of rows; drawn once a theme. */
  #paint() {
    const canvas = h("canvas", { width: this.T, height: this.V });
    const ctx = canvas.getContext("2d");
    const scale = valueScale(this.colours.dark);
    this.rows.forEach((joint, row) => {
      for (let t = 0; t < this.T; t += 1) {
        const value = this.difference[t * this.V + joint];
        if (Number.isNaN(value)) continue; // the page shows through
        ctx.fillStyle = scale[stepOf(value, this.most)];
        ctx.fillRect(t, row, 1, 1);
      }
    });
    return canvas;
  }

  /** [joint, frame] under a point; a joint of -1 beside the cells. */
  #at([x, y]) {
    const { left, wide, row } = this.#layout(this.box.width, this.box.height);
    const frame = Math.min(this.T - 1, Math.max(0, Math.floor(((x - left) / wide) * this.T)));
    let [top, first] = [0, 0];
    for (const { joints } of this.parts) {
      const tall = joints.length * row;
      if (y >= top && y < top + tall) return [this.rows[first + Math.floor((y - top) / row)], frame];
      top += tall + BETWEEN;
      first += joints.length;
    }
    return [-1, frame];
  }

  #listen() {
    const { canvas } = this.box;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.seek(this.#at(pointIn(event, canvas))[1]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [joint, frame] = this.#at(pointIn(event, canvas));
      if (event.buttons & 1) this.seek(frame);
      if (joint >= 0) this.tooltip.show(event, ...this.#cellWords(joint, frame));
      else this.tooltip.hide();
    });
    canvas.addEventListener("pointerleave", () => this.tooltip.hide());
    canvas.addEventListener("blur", () => this.#choose(-1));
  }

  #key(event) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    this.#choose(Math.min(this.V - 1, Math.max(0, this.row + by)));
  }

  /** Reads a joint's row out; -1: none. */
  #choose(row) {
    this.row = row;
    if (row < 0) this.readout.textContent = this.#words();
    else this.#say();
    this.box.redraw();
  }
}
