// One map: points on a canvas; lasso, hover, stars and arrows on another one above it.

import { quadtree } from "d3-quadtree";
import { backgroundOf, canvasBox, h, pointIn, theme, timed } from "./dom.js";
import { pointsInside, simplify } from "./lasso.js";
import { drawManyPoints, drawPoints, glyph, paint, pointRadius } from "./points.js";

const PAD = 14; // pixels around the points
export const MOST_ARROWS = 400;
export const MANY = 8000; // points from which on they are drawn without blending
const NEAR = 12; // pixels within which a point is under the pointer

/**
 * @typedef {{key: string, a: Uint16Array, b?: Uint16Array, bounds: number[],
 *   stars: null|{classes: number[], kind: string, a: Uint16Array, b?: Uint16Array}}} MapData
 */
export class MapPane {
  /**
   * @param {import("./state.js").State} state
   * @param {"a"|"b"} side
   * @param {{scale: number, x: number, y: number}} view zoom and shift, shared by the panes
   * @param {{changed: () => void, hover: (event: PointerEvent, clip: number) => void}} listeners
   */
  constructor(state, side, view, listeners) {
    Object.assign(this, { state, side, view, listeners, map: null, lasso: null, colours: null });
    this.name = state.data.header.names[side === "a" ? 0 : 1];
    this.box = canvasBox({
      label: `Map of ${this.name}. Drag: choose clips. Arrow keys: next clip; with Shift: move; Enter: choose it or not; + and - zoom, F to the chosen, 0 shows all. The buttons of the legend choose many clips.`,
      class: "frx-map-canvas",
      draw: (ctx, width, height) => this.draw(ctx, width, height),
      keyboard: (event) => this.key(event),
    });
    this.over = h("canvas", { class: "frx-over", "aria-hidden": "true" });
    this.box.el.append(this.over);
    this.el = h("figure", { class: "frx-map" }, h("figcaption", { text: this.name }), this.box.el);
    this.glyphOf = Uint8Array.from(state.data.label, (k, i) => Number(state.data.predicted[side][i] !== k));
    this.listenTo(this.box.canvas);
  }

  /** @param {MapData} map */
  setMap(map) {
    this.map = map;
    [this.tree, this.xs] = [null, null];
    this.box.redraw();
  }

  /** Device pixels of every clip, for this size and zoom. */
  project(width, height, ratio) {
    const { bounds } = this.map;
    const [spanX, spanY] = [bounds[2] - bounds[0] || 1, bounds[3] - bounds[1] || 1];
    const fit = Math.min((width - 2 * PAD) / spanX, (height - 2 * PAD) / spanY) * this.view.scale;
    const place = (values) => {
      const count = values.length / 2;
      const [xs, ys] = [new Float32Array(count), new Float32Array(count)];
      const [stepX, stepY] = [(fit * spanX) / 65535, (fit * spanY) / 65535];
      const left = width / 2 - (fit * spanX) / 2 + this.view.x;
      const bottom = height / 2 + (fit * spanY) / 2 + this.view.y;
      for (let i = 0; i < count; i += 1) {
        xs[i] = ratio * (left + stepX * values[2 * i]);
        ys[i] = ratio * (bottom - stepY * values[2 * i + 1]);
      }
      return [xs, ys];
    };
    this.place = place;
    [this.xs, this.ys] = place(this.map[this.side]);
    this.ratio = ratio;
    this.tree = null;
  }

  draw(ctx, width, height) {
    this.theme = theme(this.box.el);
    if (!this.map || !this.colouring) return;
    const { width: w, height: hgt } = ctx.canvas;
    this.project(width, height, w / width);
    if (this.image?.width !== w || this.image?.height !== hgt) this.image = ctx.createImageData(w, hgt);
    paint(this.image, backgroundOf(this.theme));
    const radius = pointRadius(this.state.data.size) * this.ratio;
    const { dimmed, chosen } = this.layers;
    this.drawLayer(dimmed, radius, chosen.length ? 0.13 : 0.75);
    if (chosen.length) this.drawLayer(chosen, radius * 1.25, 0.95);
    ctx.putImageData(this.image, 0, 0);
    this.drawOver();
  }

  /** Some points: discs for clips that are right, rings for wrong ones. */
  drawLayer(order, radius, alpha) {
    const many = this.state.data.size > MANY; // too small for rings
    const glyphs = [glyph("disc", radius), many ? glyph("disc", radius) : glyph("ring", radius * 1.35)];
    const style = { ...this.colouring, glyphOf: this.glyphOf, glyphs, alpha };
    if (many) drawManyPoints(this.image, this.xs, this.ys, order, style, backgroundOf(this.theme));
    else drawPoints(this.image, this.xs, this.ys, order, style);
  }

  /** Stars, arrows, lasso, hover and focus; cheap, so that the pointer never waits. */
  drawOver() {
    if (!this.xs) return;
    const { over, box, ratio } = this;
    if (over.width !== box.canvas.width || over.height !== box.canvas.height)
      [over.width, over.height] = [box.canvas.width, box.canvas.height];
    const ctx = over.getContext("2d");
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, over.width, over.height);
    if (this.arrows && this.side === "b") this.drawArrows(ctx);
    this.drawStars(ctx);
    for (const [clip, width] of [[this.state.focus, 2.5], [this.state.hover, 1.5]])
      if (clip >= 0) {
        ctx.beginPath();
        ctx.arc(this.xs[clip], this.ys[clip], (pointRadius(this.state.data.size) + 5) * ratio, 0, 7);
        [ctx.strokeStyle, ctx.lineWidth] = [this.theme.ink, width * ratio];
        ctx.stroke();
      }
    if (this.lasso) this.drawLasso(ctx);
  }

  drawArrows(ctx) {
    const { selection } = this.state;
    if (!selection.length || selection.length > MOST_ARROWS) return;
    const [fromX, fromY] = this.place(this.map.a);
    [ctx.strokeStyle, ctx.lineWidth, ctx.globalAlpha] = [this.theme.muted, this.ratio, 0.7];
    ctx.beginPath();
    for (const i of selection) {
      ctx.moveTo(fromX[i], fromY[i]);
      ctx.lineTo(this.xs[i], this.ys[i]);
      const angle = Math.atan2(this.ys[i] - fromY[i], this.xs[i] - fromX[i]);
      for (const turn of [-2.6, 2.6]) {
        ctx.moveTo(this.xs[i], this.ys[i]);
        ctx.lineTo(this.xs[i] + 6 * this.ratio * Math.cos(angle + turn), this.ys[i] + 6 * this.ratio * Math.sin(angle + turn));
      }
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  drawStars(ctx) {
    const { stars } = this.map;
    const { anchor, data } = this.state;
    if (!stars || !this.stars) return;
    const members = anchor >= 0 ? data.members(anchor) : null;
    const [xs, ys] = this.place(stars[this.side]);
    stars.classes.forEach((k, s) => {
      if (members && !members.includes(k)) return;
      starPath(ctx, xs[s], ys[s], 8 * this.ratio);
      const at = data.label.indexOf(k);
      ctx.fillStyle = this.colouring.by === "class" && at >= 0 ? `rgb(${this.colouring.palette[this.colouring.colourOf[at]].join(",")})` : this.theme.yellow;
      [ctx.strokeStyle, ctx.lineWidth] = [this.theme.ink, 1.2 * this.ratio];
      ctx.fill();
      ctx.stroke();
      if (!members && stars.classes.length > 20) return; // names would cover the map
      ctx.font = `${11 * this.ratio}px ${this.theme.font}`;
      [ctx.textBaseline, ctx.lineWidth, ctx.strokeStyle, ctx.fillStyle] = ["middle", 3 * this.ratio, this.theme.background, this.theme.ink];
      const room = xs[s] + 11 * this.ratio + ctx.measureText(data.classes[k]).width < this.over.width;
      ctx.textAlign = room ? "left" : "right";
      const textAt = [data.classes[k], xs[s] + (room ? 11 : -11) * this.ratio, ys[s]];
      ctx.strokeText(...textAt);
      ctx.fillText(...textAt);
    });
  }

  drawLasso(ctx) {
    ctx.beginPath();
    for (const [x, y] of this.lasso) ctx.lineTo(x * this.ratio, y * this.ratio);
    ctx.closePath();
    [ctx.strokeStyle, ctx.fillStyle, ctx.lineWidth] = [this.theme.accent, this.theme.accent, 1.5 * this.ratio];
    ctx.globalAlpha = 0.12;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.stroke();
  }

  /** The clip under a point; -1 for none. */
  nearest([x, y]) {
    if (!this.xs) return -1;
    this.tree ??= quadtree()
      .x((i) => this.xs[i])
      .y((i) => this.ys[i])
      .addAll(Array.from(this.xs.keys()));
    return this.tree.find(x * this.ratio, y * this.ratio, NEAR * this.ratio) ?? -1;
  }

  /** The class whose star is under a point; -1 for none. */
  starAt([x, y]) {
    const { stars } = this.map;
    if (!stars || !this.stars) return -1;
    const [xs, ys] = this.place(stars[this.side]);
    const at = stars.classes.findIndex((_, s) => Math.hypot(xs[s] / this.ratio - x, ys[s] / this.ratio - y) < NEAR);
    return at < 0 ? -1 : stars.classes[at];
  }

  /** Puts the clip in focus among the chosen ones, or takes it out. */
  toggleFocus() {
    const { state } = this;
    if (state.focus < 0) return;
    const rest = [...state.selection].filter((i) => i !== state.focus);
    state.setSelection(rest.length < state.selection.length ? rest : [...rest, state.focus]);
  }

  /** The clips inside the lasso; with an anchor only those of its group, the ones that are bright. */
  inside() {
    const polygon = simplify(this.lasso).map((point) => point.map((v) => v * this.ratio));
    return timed("lasso", () => pointsInside(this.xs, this.ys, polygon, this.counts));
  }

  listenTo(canvas) {
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.xs || (event.button !== 0 && event.button !== 1)) return;
      const pan = event.ctrlKey || event.metaKey || event.button === 1;
      drag = { pan, from: pointIn(event, canvas), add: event.shiftKey };
      if (!pan) this.lasso = [drag.from];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const point = pointIn(event, canvas);
      if (drag?.pan) {
        this.shift(point[0] - drag.from[0], point[1] - drag.from[1]);
        drag.from = point;
      } else if (drag) {
        this.lasso.push(point);
        this.drawOver();
      } else timed("hover", () => this.listeners.hover(event, this.nearest(point)));
    });
    canvas.addEventListener("pointerup", (event) => {
      if (drag && !drag.pan) this.choose(drag, pointIn(event, canvas));
      [drag, this.lasso] = [null, null];
      this.drawOver();
    });
    canvas.addEventListener("pointercancel", () => ([drag, this.lasso] = [null, null]));
    canvas.addEventListener("pointerleave", (event) => this.listeners.hover(event, -1));
    canvas.addEventListener("dblclick", () => this.zoom(0));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  choose(drag, point) {
    const { state } = this;
    if (simplify(this.lasso).length < 4) {
      const star = this.starAt(point);
      if (star >= 0) return state.setAnchor(star);
      const clip = this.nearest(point);
      if (clip >= 0) state.setFocus(clip);
      return;
    }
    const inside = this.inside();
    if (drag.add) state.setSelection([...new Set([...state.selection, ...inside])]);
    else state.setSelection(inside);
    state.say(`${inside.length} clips chosen`);
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.004), pointIn(event, this.box.canvas));
  }

  /** Zooms around a point; factor 0 shows all again. */
  zoom(factor, [x, y] = [this.box.width / 2, this.box.height / 2]) {
    const { view } = this;
    const scale = factor ? Math.min(60, Math.max(1, view.scale * factor)) : 1;
    const [dx, dy] = [x - this.box.width / 2, y - this.box.height / 2];
    const ratio = scale / view.scale;
    view.x = scale === 1 ? 0 : dx - (dx - view.x) * ratio;
    view.y = scale === 1 ? 0 : dy - (dy - view.y) * ratio;
    view.scale = scale;
    this.listeners.changed();
  }

  /** Zooms so that the chosen clips fill the pane. */
  zoomToChosen() {
    const { selection } = this.state;
    if (!selection.length || !this.xs) return;
    const { width, height } = this.box;
    const range = (values, size) => {
      const places = Array.from(selection, (i) => values[i] / this.ratio);
      const [low, high] = [places.reduce((a, b) => Math.min(a, b)), places.reduce((a, b) => Math.max(a, b))];
      return [(low + high) / 2, (high - low) / (size - 4 * PAD)];
    };
    const [[x, wide], [y, tall]] = [range(this.xs, width), range(this.ys, height)];
    const { view } = this;
    const scale = Math.min(60, Math.max(1, view.scale / Math.max(wide, tall, 1e-6)));
    view.x = (view.x - (x - width / 2)) * (scale / view.scale);
    view.y = (view.y - (y - height / 2)) * (scale / view.scale);
    view.scale = scale;
    this.listeners.changed();
  }

  shift(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.listeners.changed();
  }

  key(event) {
    const step = (by) => {
      this.state.step(by);
      this.state.say(this.state.data.words(this.state.focus));
    };
    const pan = { ArrowRight: [-40, 0], ArrowLeft: [40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    const act = event.shiftKey && pan ? () => this.shift(...pan) : {
      ArrowRight: () => step(1),
      ArrowDown: () => step(1),
      ArrowLeft: () => step(-1),
      ArrowUp: () => step(-1),
      f: () => this.zoomToChosen(),
      "+": () => this.zoom(1.3),
      "=": () => this.zoom(1.3),
      "-": () => this.zoom(1 / 1.3),
      0: () => this.zoom(0),
      Enter: () => this.toggleFocus(),
    }[event.key];
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  }
}

function starPath(ctx, x, y, radius) {
  ctx.beginPath();
  for (let i = 0; i < 10; i += 1) {
    const r = i % 2 ? radius * 0.42 : radius;
    ctx.lineTo(x + r * Math.sin((i * Math.PI) / 5), y - r * Math.cos((i * Math.PI) / 5));
  }
  ctx.closePath();
}
