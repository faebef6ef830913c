// A skeleton on a canvas, that turns and zooms under the pointer. Its deck (deck.js) owns its time.

import { Body } from "./body.js";
import { canvasBox, h, pointIn, theme } from "./dom.js";
import { middleOf, orbited, viewOf, zoomed } from "./projection.js";

const TURN = 0.5; // degrees a pixel
const REACH = 14; // pixels: how near to a joint the pointer must be

export const KEYS =
  "Space plays. Left and Right step by a frame, with Shift by ten; Home and End. + and \u2212 change the speed. " +
  "Drag, or A D W S, to turn; Ctrl + wheel, or Z X, to zoom; R resets the view.";

/**
 * What all players of a deck share.
 * @typedef {{camera: import("./projection.js").Camera, room: {radius: number, half: number},
 *   follow: boolean, trails: boolean, colours: "parts"|"values", theme: ReturnType<typeof pageColours>|null,
 *   orbit: (camera: import("./projection.js").Camera) => void}} Look
 */

/** One clip. A deck owns its time, its camera and its colours. */
export class SkeletonPlayer {
  /**
   * @param {import("./clip.js").Clip} clip
   * @param {import("./looks.js").Skeleton} skeleton
   * @param {Look} look
   * @param {{title?: string, note?: string, values?: Float32Array|null, most?: number}} [options]
   *   values: (T', V) of the deck's frames, drawn as colours up to `most`
   */
  constructor(clip, skeleton, look, { title = "", note = "", values = null, most = 1 } = {}) {
    this.body = new Body(clip, skeleton);
    Object.assign(this, { clip, skeleton, look, values, most });
    this.time = 0; // of this clip, in frames
    this.lead = 0; // the deck's frame, which `values` follow
    this.turn = 0; // degrees that this clip is turned to face like the others
    this.over = null; // the joint under the pointer
    this.box = canvasBox({
      label: `Skeleton${title ? `: ${title}` : ""}`,
      class: "frx-player-canvas",
      draw: (ctx, width, height) => this.#draw(ctx, width, height),
    });
    this.box.canvas.setAttribute("aria-description", KEYS);
    this.titleLine = h("div", { class: "frx-player-title", text: title });
    this.noteLine = h("div", { class: "frx-player-note frx-muted", text: note });
    const head = title || note ? [this.titleLine, this.noteLine] : [];
    this.el = h("figure", { class: "frx-player" }, ...head, this.box.el);
    this.#listen();
  }

  /** What is said under the title. */
  setNote(note) {
    this.noteLine.textContent = note;
  }

  /** Shows a time of the clip; `lead` is the deck's frame. Drawn at once: the deck's clock ticks. */
  show(time, lead) {
    this.time = time;
    this.lead = lead;
    this.box.drawNow();
  }

  redraw() {
    this.box.redraw();
  }

  destroy() {
    this.box.destroy();
  }

  #draw(ctx, width, height) {
    const { body, look } = this;
    look.theme ??= pageColours(this.el, ctx);
    const { page, line, dark, muted, font } = look.theme;
    const camera = { ...look.camera, azimuth: look.camera.azimuth + this.turn };
    const middle = middleOf(body.extent, this.time, look.follow);
    const view = viewOf(body.extent, look.room, camera, width, height, middle);
    const values = look.colours === "values" ? this.#valuesNow() : null;
    const how = { time: this.time, camera, view, room: look.room, page, line, muted, dark };
    const seen = body.draw(ctx, { ...how, trails: look.trails, values, most: this.most });
    ctx.fillStyle = muted;
    ctx.font = `12px ${font}`;
    ctx.textAlign = "center";
    if (!seen) ctx.fillText("nobody in this frame", width / 2, height / 2);
    else if (this.over) this.#name(ctx, width);
  }

  /** (V) values of the deck's frame, or null. */
  #valuesNow() {
    if (!this.values) return null;
    const V = this.clip.V;
    const frame = Math.min(Math.round(this.lead), this.values.length / V - 1);
    return this.values.subarray(frame * V, (frame + 1) * V);
  }

  /** The name of the joint under the pointer. */
  #name(ctx, width) {
    const { person, joint } = this.over;
    const place = this.body.place(person, joint);
    if (!place) return;
    const text = this.skeleton.joints[joint] + (person ? ", second person" : "");
    const half = ctx.measureText(text).width / 2;
    const [x, y] = [Math.min(width - half - 6, Math.max(half + 6, place[0])), Math.max(16, place[1] - 12)];
    ctx.lineWidth = 3;
    ctx.strokeStyle = this.look.theme.page;
    ctx.strokeText(text, x, y);
    ctx.fillStyle = this.look.theme.ink;
    ctx.fillText(text, x, y);
  }

  #listen() {
    const { canvas } = this.box;
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      from = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return this.#hover(pointIn(event, canvas));
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      from = [event.clientX, event.clientY];
      if (!this.body.extent.flat) this.look.orbit(orbited(this.look.camera, -dx * TURN, dy * TURN));
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(end, () => (from = null));
    canvas.addEventListener("pointerleave", () => this.#hover(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** A plain wheel scrolls the page; with ctrl (or a pinch of the touchpad) it zooms. */
  #wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    this.look.orbit(zoomed(this.look.camera, Math.exp(-event.deltaY * lines * 0.003)));
  }

  #hover(point) {
    const found = point && this.#nearest(point);
    if (found?.joint === this.over?.joint && found?.person === this.over?.person) return;
    this.over = found;
    this.redraw();
  }

  #nearest([x, y]) {
    let [best, reach] = [null, REACH];
    for (let person = 0; person < this.clip.M; person += 1)
      for (let joint = 0; joint < this.clip.V; joint += 1) {
        const place = this.body.place(person, joint);
        const far = place ? Math.hypot(place[0] - x, place[1] - y) : Infinity;
        if (far < reach) [best, reach] = [{ person, joint }, far];
      }
    return best;
  }
}

/** The page's colours, those that are mixed as "#rrggbb" whatever the theme writes. */
function pageColours(el, ctx) {
  const colours = theme(el);
  const plain = (colour, fallback) => {
    ctx.fillStyle = fallback;
    ctx.fillStyle = colour || fallback;
    return /^#[0-9a-f]{6}$/i.test(ctx.fillStyle) ? ctx.fillStyle : fallback;
  };
  const { dark } = colours;
  const page = plain(colours.panel, dark ? "#1d1f23" : "#ffffff");
  const line = plain(colours.line, dark ? "#3a3f47" : "#d5d9e0");
  return { ...colours, page, line, muted: plain(colours.muted, "#7a808a") };
}
