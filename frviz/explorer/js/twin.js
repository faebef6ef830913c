// The clip in focus beside its nearest clips of the true class and of the rival: where and when do
// they differ? Time is warped so that like postures meet; the chosen clip leads.

import { clipsOf } from "./clip.js";
import { PlayerDeck } from "./deck.js";
import { fill, h, segmented, theme } from "./dom.js";
import { warpClips } from "./dtw.js";
import { historyStrip } from "./history.js";
import { aboveColour, scaleEnds, valueColour } from "./looks.js";
import { DifferenceStrip } from "./strip.js";
import { makeTooltip } from "./tooltip.js";
import { noteOf, titleOf } from "./twin_words.js";

const SETTLE = 60; // ms: who walks quickly through clips asks for the last one only
const QUIET = 150; // ms before "loading" is said
const DISTANCES =
  "Features: 1 \u2212 cosine of the model's features. Postures: mean distance of the joints after alignment, in mean bone lengths.";

/**
 * @param {import("./state.js").State} state
 * @returns {{el: HTMLElement, destroy: () => void}}
 */
export function twinView(state) {
  const view = new TwinView(state);
  return { el: view.el, destroy: () => view.destroy() };
}

class TwinView {
  constructor(state) {
    this.state = state;
    this.status = h("p", { class: "frx-note frx-twin-status", role: "status" });
    this.body = h("div", { class: "frx-twin-body" });
    this.el = h("div", { class: "frx-twin" }, this.status, this.body);
    this.tooltip = makeTooltip(this.el);
    this.memory = {}; // of the deck's settings, from clip to clip
    this.aligned = true;
    this.asked = 0; // the latest request; answers to others are stale
    this.parts = []; // what has to be taken down
    state.on("focus cell", () => this.#follow());
    state.on("play", () => this.deck?.toggle());
    state.on("theme", () => this.#repaint());
    this.#follow();
  }

  destroy() {
    this.asked = -1;
    clearTimeout(this.timer);
    this.#clear();
  }

  /** Asks for the clip in focus, unless it is the one that is shown or asked for. */
  #follow() {
    if (this.asked < 0) return; // destroyed
    const { focus, side } = this.state;
    const wanted = `${focus} ${side}`;
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.asked += 1;
    clearTimeout(this.timer);
    if (focus < 0) return this.#say("Choose a clip, in the table or on a map, to see it beside its nearest clips.", true);
    const request = this.asked;
    this.timer = setTimeout(() => this.#ask(focus, side, request), SETTLE);
  }

  async #ask(focus, side, request) {
    const { data } = this.state;
    this.timer = setTimeout(() => this.#say(`Loading ${data.ids[focus]}\u2026`), QUIET);
    try {
      const details = await this.state.ask({ kind: "details", id: data.ids[focus], side });
      if (request === this.asked) this.#show(focus, details);
    } catch (error) {
      if (request !== this.asked) return;
      this.#say(this.state.data.header.missing?.clips || error.message, true);
    } finally {
      if (request === this.asked) clearTimeout(this.timer);
    }
  }

  /** A line instead of clips; `alone` takes away what is still shown. */
  #say(text, alone = false) {
    this.status.textContent = text;
    this.body.classList.toggle("frx-stale", Boolean(text) && !alone);
    if (alone) this.#clear();
  }

  #clear() {
    this.tooltip.hide();
    for (const part of this.parts) part.destroy();
    this.parts = [];
    this.deck = null;
    fill(this.body);
  }

  #show(focus, details) {
    clearTimeout(this.timer);
    this.#clear();
    this.#say("");
    const { data } = this.state;
    const { header } = details;
    const clips = clipsOf(details);
    const chosen = clips.find((one) => one.header.role === "chosen");
    const notes = [header.note, chosen ? "" : data.header.missing?.clips].filter(Boolean);
    if (chosen && data.header.skeleton) this.#showClips(focus, [chosen, ...clips.filter((c) => c !== chosen)]);
    const history = historyStrip(header.history ?? {}, data.classes, data.label[focus], data.pair ? { a: "A", b: "B" } : {});
    this.history = history;
    this.parts.push(history);
    if (notes.length) this.body.append(h("p", { class: "frx-note", text: [...new Set(notes)].join(" ") }));
    this.body.append(history.el);
  }

  /** The deck, the choice of time, and a strip under each neighbour. */
  #showClips(focus, clips) {
    const { data } = this.state;
    const { skeleton } = data.header;
    const lead = clips[0].clip;
    this.warps = clips.slice(1).map(({ clip }) => warpClips(lead, clip, skeleton));
    const ends = scaleEnds(...this.warps.map((warp) => warp.difference));
    const { most } = ends;
    const items = clips.map(({ clip, header: one }, k) => ({
      clip,
      title: titleOf(data, focus, one),
      note: k ? noteOf(data, one, this.warps[k - 1]) : data.ids[focus],
      values: this.warps[k - 1]?.difference ?? null,
    }));
    this.deck = new PlayerDeck(items, skeleton, {
      most,
      memory: this.memory,
      label: `Clip ${data.ids[focus]} beside its nearest clips`,
      onTime: (time) => this.strips?.forEach((strip) => strip.show(time)),
    });
    for (const { noteLine } of this.deck.players.slice(1)) noteLine.title = DISTANCES;
    this.strips = this.warps.map((warp, k) => this.#strip(warp, skeleton, data.name(clips[k + 1].header.class), most));
    this.parts.push(this.deck, ...this.strips);
    if (this.strips.length) this.deck.el.append(this.#under(ends));
    this.body.append(this.deck.el);
    this.#setAligned(this.aligned);
  }

  #strip(warp, skeleton, from, most) {
    const seek = (frame) => {
      this.deck.clock.pause();
      this.deck.seek(frame);
    };
    return new DifferenceStrip(warp.difference, skeleton, { from, most, seek, tooltip: this.tooltip });
  }

  /** Under the chosen clip what the colours say; under each neighbour its strip. */
  #under({ most, largest }) {
    const time = segmented(
      "Time",
      [
        { value: "aligned", text: "Aligned", title: "The neighbours show the frame that matches (dynamic time warping), turned to face alike" },
        { value: "own", text: "Own time", title: "Every clip as it was recorded" },
      ],
      this.aligned ? "aligned" : "own",
      (value) => this.#setAligned(value === "aligned"),
    );
    this.scale = h("i", { class: "frx-scale-colours" });
    this.above = h("i", { class: "frx-scale-above" });
    this.#paintScale();
    const beyond = largest > most ? [this.above, h("span", { text: `above, up to ${largest.toFixed(2)}` })] : [];
    const legend = h("div", { class: "frx-scale-legend" }, h("span", { text: "0" }), this.scale, h("span", { text: most.toFixed(2) }), ...beyond);
    const says = "Distance of each joint from the chosen clip, in mean bone lengths, after centring, scaling and turning.";
    const key = h("div", { class: "frx-strip-key" }, time, legend, h("p", { class: "frx-note", text: says }));
    return h("div", { class: "frx-strips", "data-players": this.strips.length + 1 }, key, ...this.strips.map((strip) => strip.el));
  }

  #paintScale() {
    const { dark } = theme(this.el);
    const stops = Array.from({ length: 9 }, (_, k) => valueColour(k / 8, dark));
    this.scale.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    this.above.style.background = aboveColour(dark);
  }

  /** One clock for like postures, or every clip as it was recorded. */
  #setAligned(aligned) {
    this.aligned = aligned;
    const { deck, warps } = this;
    // In its own time a neighbour's frame is not the one that was compared: no colours then.
    deck.players.slice(1).forEach((player, k) => (player.values = aligned ? warps[k].difference : null));
    if (!aligned) return deck.setTiming(null);
    const times = [(time) => time, ...warps.map(({ match }) => (time) => between(match, time))];
    const turns = [0, ...warps.map(({ yaw }) => (yaw * 180) / Math.PI)];
    deck.setTiming({ length: deck.players[0].clip.T, times, turns });
  }

  #repaint() {
    if (this.scale) this.#paintScale();
    this.strips?.forEach((strip) => strip.repaint());
    this.history?.redraw();
  }
}

/** A match between two frames: slow motion stays smooth. */
function between(match, time) {
  const first = Math.min(match.length - 1, Math.max(0, Math.floor(time)));
  const next = match[Math.min(match.length - 1, first + 1)];
  return match[first] + (next - match[first]) * Math.min(1, Math.max(0, time - first));
}
