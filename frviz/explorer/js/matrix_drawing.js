// How the confusion matrix looks: cells, numbers, curves through training, names, what is chosen.

import { backgroundOf, rgb, theme } from "./dom.js";
import { sparkline } from "./history.js";
import { fitted, isDiagonal, signed, spanOf } from "./matrix_model.js";

const ALPHA = 0.05; // changes with a larger p (not corrected) are grey, as in frviz.figures
const READABLE = 9; // pixels of a font that is read at a glance
const LABEL = 18; // height of the labels of the crosshair
const SPARK_FROM = 46; // pixels that a cell needs to hold its curve through training
const mix = (a, b, t) => `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * t)).join(",")})`;

/** What `Matrix` draws; it sets `lines`, `cells`, `largest`, `side`, `show`, `cursor` and `box`. */
export class MatrixDrawing {
  /** @param {import("./state.js").State} state */
  constructor(state) {
    [this.state, this.data] = [state, state.data];
  }

  /** Where things are, for a canvas of this size. */
  place(ctx, width, height) {
    const { rows, columns } = this.lines;
    const room = Math.min(width, height);
    const named = (room - 60) / columns.length >= 6.5; // else names would overlap
    const font = Math.min(11, Math.max(7, ((room - 80) / columns.length) * 0.95));
    ctx.font = `${font}px ${this.colours.font}`;
    const widthOf = (text) => ctx.measureText(text).width;
    const longest = Math.max(...columns.map((line) => widthOf(line.name)));
    const margin = named ? Math.min(longest + 12, room * 0.3) : 12;
    const cell = Math.min((width - margin - 4) / columns.length, (height - margin - 4) / rows.length);
    const names = named ? new Map([...rows, ...columns].map((line) => [line, fitted(line.name, margin - 10, widthOf, line.tail)])) : null;
    return { left: margin, top: margin, cell, font, names };
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
    if (this.cursor) this.drawCrosshair(ctx, width, height);
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
      if (!(this.cells.p[r * this.lines.columns.length + c] < ALPHA)) return mix(base, grey, 0.35);
      const better = diagonal ? value > 0 : value < 0;
      return mix(base, better ? blue : vermillion, 0.25 + 0.75 * Math.min(1, Math.abs(value) / this.largest));
    }
    const share = value / (this.cells.support[r] || 1);
    return mix(base, diagonal ? blue : vermillion, diagonal ? 0.12 + 0.6 * share : 0.15 + 0.85 * Math.min(1, Math.sqrt(share / 0.6)));
  }

  /** Black or white, whichever is read more easily on a cell. */
  inkOn(r, c) {
    const colour = this.colourOf(r, c);
    if (!colour) return this.colours.ink;
    const [red, green, blue] = colour.match(/\d+/g).map((v) => (v / 255) ** 2.2);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000" : "#fff";
  }

  drawNumbers(ctx) {
    const { left, top, cell } = this.layout;
    ctx.font = `${Math.min(13, cell * 0.42)}px ${this.colours.font}`;
    [ctx.textAlign, ctx.textBaseline] = ["center", "middle"];
    this.eachCell((r, c, value) => {
      if (!value) return;
      ctx.fillStyle = this.inkOn(r, c);
      const text = this.side === "diff" ? signed(value) : String(value);
      ctx.fillText(text, left + (c + 0.5) * cell, top + (r + (cell >= SPARK_FROM ? 0.32 : 0.52)) * cell);
    });
  }

  drawSparks(ctx) {
    const { left, top, cell } = this.layout;
    this.eachCell((r, c) => {
      const at = r * this.lines.columns.length + c;
      const spark = this.cells.a[at] || this.cells.b?.[at] ? this.sparkOf(r, c) : null;
      if (!spark) return; // nor where nothing is left of a confusion: the tooltip has it
      const box = [left + (c + 0.12) * cell, top + (r + 0.56) * cell, cell * 0.74, cell * 0.32];
      const most = Math.max(1, ...Object.values(spark).flatMap((row) => [...row]));
      for (const [side, row] of Object.entries(spark))
        if (this.side === "diff" || this.side === side)
          sparkline(ctx, ...box, row, this.inkOn(r, c), most, side === "b" && this.side === "diff" ? 2.2 : 1.1);
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
    const { left, top, cell, font, names } = this.layout;
    ctx.font = `${font}px ${this.colours.font}`;
    const chosen = this.state.anchor >= 0 ? new Set(this.data.members(this.state.anchor)) : new Set();
    const write = (line, at, along) => {
      const marked = line.classes.length === 1 && chosen.has(line.classes[0]);
      const near = this.cursor && this.cursor[along] === at;
      if (!names) return;
      ctx.save();
      ctx.fillStyle = marked || near ? this.colours.accent : this.colours.ink;
      if (along === 0) ctx.translate(left - 5, top + (at + 0.5) * cell);
      else ctx.translate(left + (at + 0.5) * cell, top - 5);
      if (along === 1) ctx.rotate(-Math.PI / 2);
      [ctx.textAlign, ctx.textBaseline] = [along === 0 ? "right" : "left", "middle"];
      ctx.fillText(names.get(line), 0, 0);
      ctx.restore();
    };
    this.lines.rows.forEach((line, at) => write(line, at, 0));
    this.lines.columns.forEach((line, at) => write(line, at, 1));
  }

  /** Where the chosen cell or area is in what is shown; null: nowhere. */
  chosenSpans() {
    const { cell, area } = this.state;
    if (!cell && !area) return null;
    const [t, p] = cell ? cell.map((k) => [k]) : [area.row.classes, area.column.classes];
    const [rows, columns] = [spanOf(this.lines.rows, t), spanOf(this.lines.columns, p)];
    return rows && columns ? { rows, columns } : null;
  }

  drawChosen(ctx) {
    const { left, top, cell } = this.layout;
    const { rows, columns } = this.lines;
    const { state, data } = this;
    const outline = (r, c, width, dash = [], [tall, wide] = [1, 1]) => {
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.strokeRect(left + c * cell - 0.5, top + r * cell - 0.5, wide * cell, tall * cell);
      ctx.setLineDash([]);
    };
    ctx.strokeStyle = this.colours.accent;
    if (state.anchor >= 0 && this.show === "all") {
      const members = new Set(data.members(state.anchor));
      const at = rows.flatMap((row, r) => (members.has(row.classes[0]) ? [r] : []));
      for (const r of at) for (const c of at) outline(r, c, cell > 7 ? 1.2 : 0.8);
    }
    const chosen = this.chosenSpans();
    if (chosen) outline(chosen.rows[0], chosen.columns[0], 3, [], [chosen.rows[1], chosen.columns[1]]);
    ctx.strokeStyle = this.colours.ink;
    if (this.cursor?.every((at) => at >= 0)) outline(...this.cursor, 1.5, [3, 2]);
  }

  /**
   * Row and column under the pointer or the keys. Where their names are left out, shortened or
   * small, they stand on labels at the edges, on the far side of the cell.
   */
  drawCrosshair(ctx, width, height) {
    const [r, c] = this.cursor;
    const { left, top, cell, font, names } = this.layout;
    const { rows, columns } = this.lines;
    [ctx.fillStyle, ctx.globalAlpha] = [this.colours.accent, 0.13];
    if (r >= 0) ctx.fillRect(left, top + r * cell, cell * columns.length, cell);
    if (c >= 0) ctx.fillRect(left + c * cell, top, cell, cell * rows.length);
    ctx.globalAlpha = 1;
    ctx.font = `600 12px ${this.colours.font}`;
    const label = (line, place) => {
      if (!line || (font >= READABLE && names?.get(line) === line.name)) return;
      const text = fitted(line.name, width * 0.45, (part) => ctx.measureText(part).width, line.tail);
      const wide = ctx.measureText(text).width + 12;
      const [x, y] = place(wide);
      [ctx.fillStyle, ctx.strokeStyle, ctx.lineWidth] = [this.colours.panel, this.colours.accent, 1];
      ctx.fillRect(x, y, wide, LABEL);
      ctx.strokeRect(x + 0.5, y + 0.5, wide - 1, LABEL - 1);
      [ctx.fillStyle, ctx.textAlign, ctx.textBaseline] = [this.colours.ink, "left", "middle"];
      ctx.fillText(text, x + 6, y + LABEL / 2 + 1);
    };
    const [x, y] = [left + (c + 0.5) * cell, top + (r + 0.5) * cell];
    const within = (at, most) => Math.min(most, Math.max(0, at));
    label(rows[r], (wide) => [x < wide + 2 * LABEL ? width - wide : 0, within(y - LABEL / 2, height - LABEL)]);
    label(columns[c], (wide) => [within(x - wide / 2, width - wide), y < 3 * LABEL ? height - LABEL : 0]);
  }
}
