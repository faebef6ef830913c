// Confusion matrix of A, of B, or what B changed: click a cell for its clips, a name for its group.

import { canvasBox, fill, h, pointIn, segmented } from "./dom.js";
import { sparkline } from "./history.js";
import { MatrixDrawing } from "./matrix_drawing.js";
import { cellWords, matrixCells, matrixLines, shorten } from "./matrix_model.js";

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
  if (data.pair) {
    view.sideButtons = segmented("Model shown", sides, view.side, (side) => view.setSide(side));
    controls.unshift(view.sideButtons);
  }
  return { el: h("div", { class: "frx-matrix" }, view.box.el, view.note), controls, destroy: () => view.box.destroy() };
}

class Matrix extends MatrixDrawing {
  constructor(state, tooltip) {
    super(state);
    this.tooltip = tooltip;
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
    state.on("cell", () => this.cellChanged());
    state.on("selection theme", () => this.box.redraw());
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

  /** A cell of the other model, chosen from Python: its matrix is shown. */
  cellChanged() {
    const { cell, side } = this.state;
    if (cell && this.side !== "diff" && this.side !== side) {
      this.sideButtons?.select(side);
      this.setSide(side);
    } else this.box.redraw();
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
