// Confusion matrix of A, of B, or what B changed: click a cell for its clips, a name for its group.

import { backgroundOf, canvasBox, fill, h, pointIn, rgb, segmented, theme } from "./dom.js";
import { sparkline } from "./history.js";
import { cellWords, isDiagonal, matrixCells, matrixLines, shorten, signed } from "./matrix_model.js";

const ALPHA = 0.05; // changes with a larger p (not corrected) are grey, as in frviz.figures
const SPARK_FROM = 46; // pixels that a cell needs to hold its curve through training
const mix = (a, b, t) => `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * t)).join(",")})`;

/** @param {import("./state.js").State} state @param {ReturnType<import("./tooltip.js").makeTooltip>} tooltip */
export function matrixView(state, tooltip) {
  const { data } = state;
  const view = new Matrix(state, tooltip);
  const [nameA, nameB] = data.header.names;
  const sides = [
    { value: "a", text: shorten(nameA, 18), title: `Confusions of ${nameA}` },
    { value: "b", text: shorten(nameB ?? "", 18), title: `Confusions of ${nameB}` },
    { value: "diff", text: "B \u2212 A", title: `What ${nameB} changed` },
  ];
  const clusters = new Set(data.header.cluster).size < data.numClasses;
  const shows = [
    { value: "all", text: "classes", title: "All classes, confused ones side by side" },
    clusters ? { value: "clusters", text: "clusters", title: "Classes that are confused taken together" } : null,
    { value: "group", text: "group", title: "The chosen ambiguous group alone" },
  ].filter(Boolean);
  view.showButtons = segmented("Classes shown", shows, view.show, (show) => view.setShow(show));
  const controls = [view.showButtons];
  if (data.pair) controls.unshift(segmented("Model shown", sides, view.side, (side) => view.setSide(side)));
  return { el: h("div", { class: "frx-matrix" }, view.box.el, view.note), controls, destroy: () => view.box.destroy() };
}

class Matrix {
  constructor(state, tooltip) {
    [this.state, this.data, this.tooltip] = [state, state.data, tooltip];
    [this.side, this.show, this.cursor] = ["a", "all", null];
    this.note = h("p", { class: "frx-note" });
    this.box = canvasBox({
      label: "Confusion matrix. Arrow keys move, Enter chooses the cell, G its class's group.",
      class: "frx-matrix-canvas",
      draw: (ctx, width, height) => this.draw(ctx, width, height),
      keyboard: (event) => this.key(event),
    });
    const { canvas } = this.box;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("click", (event) => this.click(event));
    state.on("anchor", () => this.anchorChanged());
    state.on("cell selection theme", () => this.box.redraw());
    this.rebuild();
  }

  setSide(side) {
    this.side = side;
    this.rebuild();
  }

  setShow(show) {
    this.show = show;
    this.rebuild();
  }

  anchorChanged() {
    if (this.show === "group") this.rebuild();
    else this.box.redraw();
  }

  rebuild() {
    this.lines = matrixLines(this.data, this.show, this.state.anchor);
    this.cells = matrixCells(this.data, this.lines);
    this.cursor = null;
    const { a, b } = this.cells;
    this.largest = b ? a.reduce((most, n, at) => Math.max(most, Math.abs(b[at] - n)), 1) : 1;
    fill(this.note, this.words());
    this.box.redraw();
  }

  words() {
    if (this.show === "group" && this.state.anchor < 0) return "Choose a class to see its group alone.";
    if (this.side === "diff") return "Blue: better with B; orange: worse; grey: not more than chance (p \u2265 0.05, uncorrected).";
    return "Rows: true class; columns: predicted. Blue: right; orange: confused (share of the row).";
  }

  /** Where things are, for a canvas of this size. */
  place(ctx, width, height) {
    const { rows, columns } = this.lines;
    ctx.font = `11px ${this.colours.font}`;
    const longest = Math.max(...columns.map((line) => ctx.measureText(shorten(line.name, 22)).width));
    const room = Math.min(width, height);
    const named = (room - 40) / columns.length >= 9; // else names would overlap
    const margin = named ? Math.min(longest + 10, room * 0.3) : 12;
    const cell = Math.min((width - margin - 4) / columns.length, (height - margin - 4) / rows.length);
    return { left: margin, top: margin, cell, named, characters: Math.max(3, Math.floor((margin - 10) / 5.8)) };
  }

  draw(ctx, width, height) {
    this.colours = theme(this.box.el);
    const { blue, vermillion, grey } = this.colours;
    this.inks = { base: backgroundOf(this.colours), blue: rgb(blue), vermillion: rgb(vermillion), grey: rgb(grey) };
    this.layout = this.place(ctx, width, height);
    const { left, top, cell } = this.layout;
    const { rows, columns } = this.lines;
    const gap = cell > 7 ? 1 : 0;
    ctx.fillStyle = this.colours.line;
    ctx.globalAlpha = 0.25;
    ctx.fillRect(left, top, cell * columns.length, cell * rows.length);
    ctx.globalAlpha = 1;
    rows.forEach((row, r) =>
      columns.forEach((column, c) => {
        const colour = this.colourOf(r, c);
        if (!colour) return;
        ctx.fillStyle = colour;
        ctx.fillRect(left + c * cell, top + r * cell, cell - gap, cell - gap);
      }),
    );
    if (cell >= 18) this.drawNumbers(ctx);
    if (cell >= SPARK_FROM) this.drawSparks(ctx);
    this.drawClusters(ctx);
    this.drawNames(ctx);
    this.drawChosen(ctx);
  }

  value(r, c) {
    const at = r * this.lines.columns.length + c;
    const { a, b } = this.cells;
    return this.side === "diff" ? b[at] - a[at] : this.side === "b" ? b[at] : a[at];
  }

  colourOf(r, c) {
    const value = this.value(r, c);
    if (!value) return null;
    const [row, column] = [this.lines.rows[r], this.lines.columns[c]];
    const { base, blue, vermillion, grey } = this.inks;
    const diagonal = isDiagonal(row, column);
    if (this.side === "diff") {
      if (this.isChance(row, column)) return mix(base, grey, 0.35);
      const better = diagonal ? value > 0 : value < 0;
      return mix(base, better ? blue : vermillion, 0.25 + 0.75 * Math.min(1, Math.abs(value) / this.largest));
    }
    const share = value / (this.cells.support[r] || 1);
    return mix(base, diagonal ? blue : vermillion, diagonal ? 0.12 + 0.6 * share : 0.15 + 0.85 * Math.min(1, Math.sqrt(share / 0.6)));
  }

  isChance(row, column) {
    if (row.classes.length > 1 || column.classes.length > 1) return false;
    const test = this.data.tests.get(this.data.cellKey(row.classes[0], column.classes[0]));
    return !test || !(test.p < ALPHA);
  }

  drawNumbers(ctx) {
    const { left, top, cell } = this.layout;
    ctx.font = `${Math.min(13, cell * 0.42)}px ${this.colours.font}`;
    [ctx.textAlign, ctx.textBaseline] = ["center", "middle"];
    this.eachCell((r, c, value) => {
      if (!value) return;
      ctx.fillStyle = this.colours.ink;
      const text = this.side === "diff" ? signed(value) : String(value);
      ctx.fillText(text, left + (c + 0.5) * cell, top + (r + (cell >= SPARK_FROM ? 0.32 : 0.52)) * cell);
    });
  }

  drawSparks(ctx) {
    const { left, top, cell } = this.layout;
    this.eachCell((r, c) => {
      const spark = this.sparkOf(r, c);
      if (!spark) return;
      const box = [left + (c + 0.12) * cell, top + (r + 0.56) * cell, cell * 0.74, cell * 0.32];
      const most = Math.max(1, ...Object.values(spark).flatMap((row) => [...row]));
      for (const [side, row] of Object.entries(spark))
        if (this.side === "diff" || this.side === side)
          sparkline(ctx, ...box, row, side === "b" && this.side === "diff" ? this.colours.blue : this.colours.ink, most);
    });
  }

  sparkOf(r, c) {
    const [row, column] = [this.lines.rows[r], this.lines.columns[c]];
    if (row.classes.length > 1 || column.classes.length > 1) return null;
    return this.data.spark(row.classes[0], column.classes[0]);
  }

  eachCell(fn) {
    this.lines.rows.forEach((_, r) => this.lines.columns.forEach((__, c) => fn(r, c, this.value(r, c))));
  }

  drawClusters(ctx) {
    if (this.show !== "all") return;
    const { left, top, cell } = this.layout;
    const { rows } = this.lines;
    ctx.strokeStyle = this.colours.muted;
    ctx.lineWidth = 1;
    for (let from = 0; from < rows.length; ) {
      let to = from;
      while (to < rows.length && rows[to].cluster === rows[from].cluster) to += 1;
      if (to - from > 1) ctx.strokeRect(left + from * cell - 0.5, top + from * cell - 0.5, (to - from) * cell, (to - from) * cell);
      from = to;
    }
  }

  drawNames(ctx) {
    const { left, top, cell, named, characters } = this.layout;
    ctx.font = `${Math.min(11, Math.max(8, cell * 0.95))}px ${this.colours.font}`;
    const chosen = this.state.anchor >= 0 ? new Set(this.data.members(this.state.anchor)) : new Set();
    const write = (line, at, along) => {
      const marked = line.classes.length === 1 && chosen.has(line.classes[0]);
      const near = this.cursor && this.cursor[along] === at;
      if (!named && !near) return;
      ctx.save();
      ctx.fillStyle = marked || near ? this.colours.accent : this.colours.ink;
      if (along === 0) ctx.translate(left - 5, top + (at + 0.5) * cell);
      else ctx.translate(left + (at + 0.5) * cell, top - 5);
      if (along === 1) ctx.rotate(-Math.PI / 2);
      [ctx.textAlign, ctx.textBaseline] = [along === 0 ? "right" : "left", "middle"];
      if (named) ctx.fillText(shorten(line.name, characters), 0, 0);
      else ctx.fillRect(along === 0 ? -4 : 0, -1.5, 7, 3); // where the pointer is; the tooltip names it
      ctx.restore();
    };
    this.lines.rows.forEach((line, at) => write(line, at, 0));
    this.lines.columns.forEach((line, at) => write(line, at, 1));
  }

  drawChosen(ctx) {
    const { left, top, cell } = this.layout;
    const { rows, columns } = this.lines;
    const { state, data } = this;
    const outline = (r, c, width, dash = []) => {
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.strokeRect(left + c * cell - 0.5, top + r * cell - 0.5, cell, cell);
      ctx.setLineDash([]);
    };
    ctx.strokeStyle = this.colours.accent;
    if (state.anchor >= 0 && this.show === "all") {
      const members = new Set(data.members(state.anchor));
      const at = rows.flatMap((row, r) => (members.has(row.classes[0]) ? [r] : []));
      for (const r of at) for (const c of at) outline(r, c, cell > 7 ? 1.2 : 0.8);
    }
    if (state.cell) {
      const find = (lines, k) => lines.findIndex((line) => line.classes.includes(k));
      const [r, c] = [find(rows, state.cell[0]), find(columns, state.cell[1])];
      if (r >= 0 && c >= 0) outline(r, c, 3);
    }
    ctx.strokeStyle = this.colours.ink;
    if (this.cursor?.every((at) => at >= 0)) outline(...this.cursor, 1.5, [3, 2]);
  }

  /** [row, column] under a point; -1 on the names. */
  at([x, y]) {
    const { left, top, cell } = this.layout;
    const [c, r] = [Math.floor((x - left) / cell), Math.floor((y - top) / cell)];
    if (r >= this.lines.rows.length || c >= this.lines.columns.length || (r < 0 && c < 0)) return null;
    return [Math.max(-1, r), Math.max(-1, c)];
  }

  hover(event) {
    if (!this.layout) return;
    const at = this.at(pointIn(event, this.box.canvas));
    if (String(at) !== String(this.cursor)) {
      this.cursor = at;
      this.box.redraw();
    }
    if (!at) return this.tooltip.hide();
    this.tooltip.show(event, ...this.describe(at));
  }

  describe([r, c]) {
    if (r < 0 || c < 0) {
      const line = r < 0 ? this.lines.columns[c] : this.lines.rows[r];
      const names = line.classes.map((k) => this.data.classes[k]);
      const more = names.length > 8 ? [`and ${names.length - 8} more`] : [];
      return names.length > 1 ? [...names.slice(0, 8), ...more] : [names[0], "Click: its ambiguous group"];
    }
    const at = r * this.lines.columns.length + c;
    const { a, b, support } = this.cells;
    const lines = cellWords(this.data, this.lines.rows[r], this.lines.columns[c], a[at], b ? b[at] : null, support[r]);
    const spark = this.sparkOf(r, c);
    return spark ? [...lines, this.sparkCanvas(spark)] : lines;
  }

  /** The confusion through training, for the tooltip. */
  sparkCanvas(spark) {
    const canvas = h("canvas", { width: 320, height: 64, style: { width: "160px", height: "32px" } });
    const ctx = canvas.getContext("2d");
    ctx.scale(2, 2);
    const most = Math.max(1, ...Object.values(spark).flatMap((row) => [...row]));
    const colours = { a: this.data.pair ? this.colours.vermillion : this.colours.ink, b: this.colours.blue };
    for (const [side, row] of Object.entries(spark)) sparkline(ctx, 4, 4, 152, 24, row, colours[side], most);
    const label = h("div", { class: "frx-muted", text: `clips there by epoch (most: ${most})${this.data.pair ? "; A orange, B blue" : ""}` });
    return h("div", {}, canvas, label);
  }

  leave() {
    this.cursor = null;
    this.tooltip.hide();
    this.box.redraw();
  }

  click(event) {
    const at = this.at(pointIn(event, this.box.canvas));
    if (at) this.choose(at);
  }

  choose([r, c]) {
    const [row, column] = [this.lines.rows[r], this.lines.columns[c]];
    const side = this.side === "b" ? "b" : "a";
    if (!row || !column) {
      const line = row ?? column;
      if (line.classes.length === 1) this.state.setAnchor(line.classes[0]);
      else this.state.setSelection(this.data.where((i) => line.classes.includes(this.data.label[i])));
    } else if (row.classes.length === 1 && column.classes.length === 1 && this.side !== "diff") {
      this.state.setCell(row.classes[0], column.classes[0], side);
    } else this.state.setSelection(this.clipsOf(row, column));
  }

  /** Clips of several cells at once; of a change: those that only one of the models puts there. */
  clipsOf(row, column) {
    const { label, predicted } = this.data;
    const inside = (k) => column.classes.includes(k);
    return this.data.where((i) => {
      if (!row.classes.includes(label[i])) return false;
      if (this.side !== "diff") return inside(predicted[this.side][i]);
      return inside(predicted.a[i]) !== inside(predicted.b[i]);
    });
  }

  key(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const [r, c] = this.cursor ?? [0, 0];
    if (step) {
      const clamp = (at, count) => Math.min(count - 1, Math.max(0, at));
      this.cursor = this.cursor
        ? [clamp(r + step[0], this.lines.rows.length), clamp(c + step[1], this.lines.columns.length)]
        : [0, 0];
      this.state.say(this.describe(this.cursor).filter((line) => typeof line === "string").join(". "));
      this.box.redraw();
    } else if (event.key === "Enter" && this.cursor) this.choose(this.cursor);
    else if (event.key.toLowerCase() === "g" && this.cursor) this.choose([r, -1]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has shortcuts of its own
  }
}
