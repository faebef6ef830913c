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
    clusters ? { value: "clusters", text: "clusters", title: view.clusterWords() } : null,
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
    canvas.addEventListener("blur", () => this.leave());
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
    const what = "Rows: true class; columns: predicted. Blue: right; orange: confused (share of the row).";
    return this.show === "clusters" ? `${this.clusterWords()} ${what}` : what;
  }

  /** Which classes a row of clusters takes together, and how many rows that makes. */
  clusterWords() {
    const { cluster, cluster_share: share } = this.data.header;
    const rows = `${new Set(cluster).size} rows for ${this.data.numClasses} classes`;
    return `${rows}: a row's classes take, on average, ${Number((100 * share).toPrecision(2))} % or more of each other's clips.`;
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
      return line.classes.length > 1 ? this.membersOf(line) : [line.name, "Click: its ambiguous group"];
    }
    const at = r * this.lines.columns.length + c;
    const { a, b, support } = this.cells;
    const [row, column] = [this.lines.rows[r], this.lines.columns[c]];
    const lines = cellWords(this.data, row, column, a[at], b ? b[at] : null, support[r]);
    for (const line of new Set([row, column])) if (line.tail) lines.push(`${line.name}: ${this.membersOf(line).join(", ")}`);
    const spark = this.sparkOf(r, c);
    return spark ? [...lines, this.sparkCanvas(spark)] : lines;
  }

  membersOf({ classes }) {
    const more = classes.length > 8 ? [`and ${classes.length - 8} more`] : [];
    return [...classes.slice(0, 8).map((k) => this.data.classes[k]), ...more];
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
    } else this.state.setArea({ row, column, side: this.side }, this.clipsOf(row, column));
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

  /** The middle of a cell in the window, where the tooltip of the keys goes. */
  placeOf([r, c]) {
    const { left, top, cell } = this.layout;
    const box = this.box.canvas.getBoundingClientRect();
    return { clientX: box.left + left + (c + 0.5) * cell, clientY: box.top + top + (r + 0.5) * cell };
  }

  key(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const [r, c] = this.cursor ?? [0, 0];
    if (step && this.layout) {
      const clamp = (at, count) => Math.min(count - 1, Math.max(0, at));
      const spans = this.chosenSpans(); // the keys begin there
      this.cursor = this.cursor
        ? [clamp(r + step[0], this.lines.rows.length), clamp(c + step[1], this.lines.columns.length)]
        : [spans?.rows[0] ?? 0, spans?.columns[0] ?? 0];
      const words = this.describe(this.cursor);
      this.state.say(words.filter((line) => typeof line === "string").join(". "));
      this.tooltip.show(this.placeOf(this.cursor), ...words);
      this.box.redraw();
    } else if (event.key === "Enter" && this.cursor) this.choose(this.cursor);
    else if (event.key.toLowerCase() === "g" && this.cursor) this.choose([r, -1]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has shortcuts of its own
  }
}
