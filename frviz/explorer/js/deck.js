// One or several skeletons with one clock, one camera and one transport bar.

import { VIEWS, common, orbited, zoomed } from "./projection.js";
import { Clock } from "./clock.js";
import { dropdown, h, onTheme, reducedMotion, segmented } from "./dom.js";
import { icon } from "./icons.js";
import { KEYS, SkeletonPlayer } from "./player.js";

const SPEEDS = [0.25, 0.5, 1, 2];
const DIFFERENCE = "How far each joint is from the chosen clip's";

/**
 * @typedef {{clip: import("./clip.js").Clip, title?: string, note?: string,
 *   values?: Float32Array|null}} DeckItem values: (T of the first clip, V), drawn as colours
 * @typedef {{length: number, times: ((frame: number) => number)[], turns: number[]}} Timing
 *   frames that the deck plays; each clip's own time at a frame; degrees each clip is turned by
 */

/** Players side by side. `el` goes into the page, `destroy()` stops all of it. */
export class PlayerDeck {
  /**
   * @param {DeckItem[]} items
   * @param {import("./looks.js").Skeleton} skeleton
   * @param {{fps?: number, label?: string, most?: number, memory?: Record<string, any>,
   *   onTime?: (time: number) => void}} [options] most: the upper end of the values' colours;
   *   memory: what the reader set, kept for the next deck (camera, speed, trails, ...)
   */
  constructor(items, skeleton, { fps = 30, label = "Skeleton player", most = 1, memory = {}, onTime } = {}) {
    this.memory = memory;
    const flat = items.every((item) => item.clip.C === 2);
    this.first = flat ? VIEWS.front : VIEWS.oblique;
    this.valued = items.some((item) => item.values);
    this.look = {
      camera: { ...(memory.camera ?? this.first) },
      follow: memory.follow ?? true,
      trails: memory.trails ?? !reducedMotion(),
      colours: memory.colours ?? "parts",
      theme: null,
      orbit: (camera) => this.#view(camera),
    };
    this.onTime = onTime ?? (() => {});
    this.players = items.map(({ clip, ...rest }) => new SkeletonPlayer(clip, skeleton, this.look, { ...rest, most }));
    this.#follow(this.look.follow);
    this.timing = ownTimes(this.players);
    this.clock = new Clock({
      length: this.timing.length,
      fps,
      draw: (time) => this.#show(time),
      change: () => this.#showPlaying(),
    });
    this.clock.loop = memory.loop ?? true;
    this.el = h("div", {
      class: "frx-deck",
      role: "group",
      "aria-label": label,
      on: { keydown: (event) => this.#key(event) },
    });
    this.stage = h("div", { class: "frx-stage", "data-players": this.players.length }, ...this.players.map((p) => p.el));
    this.el.append(this.stage, this.#bar(flat));
    this.stops = [onTheme(() => this.#repaint()), this.#watch()];
    this.#setSpeed(memory.speed ?? 1);
    this.#view(this.look.camera);
    this.#show(0);
    if (memory.playing ?? !reducedMotion()) this.clock.play();
  }

  /** Other times (or turns) for the clips; the frame that is shown stays. */
  setTiming(timing) {
    this.timing = timing ?? ownTimes(this.players);
    this.players.forEach((player, k) => (player.turn = this.timing.turns[k]));
    this.range.max = String(this.timing.length - 1);
    this.clock.resize(this.timing.length);
    this.#offerColours();
    this.redraw();
  }

  /** By body part, or by the players' values. */
  setColours(colours) {
    this.look.colours = this.memory.colours = colours;
    this.redraw();
  }

  toggle() {
    this.clock.toggle();
    this.memory.playing = this.clock.playing;
  }

  seek(frame) {
    this.clock.seek(frame);
  }

  redraw() {
    for (const player of this.players) player.redraw();
  }

  destroy() {
    this.clock.destroy();
    for (const stop of this.stops) stop();
    for (const player of this.players) player.destroy();
  }

  #show(time) {
    this.players.forEach((player, k) => player.show(this.timing.times[k](time), time));
    const frame = Math.min(this.timing.length - 1, Math.round(time));
    if (frame !== this.shown) {
      this.shown = frame;
      this.range.value = String(frame);
      this.#count();
    }
    this.onTime(time);
  }

  /** "12 / 64": frames are counted from 0, as in Python. */
  #count() {
    this.counter.textContent = `${this.shown} / ${this.timing.length - 1}`;
    this.range.setAttribute("aria-valuetext", `frame ${this.shown} of 0 to ${this.timing.length - 1}`);
  }

  #showPlaying() {
    const { playing } = this.clock;
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.playButton.title = playing ? "Pause (space)" : "Play (space)";
  }

  #view(camera) {
    this.look.camera = this.memory.camera = camera;
    const preset = Object.keys(VIEWS).find((name) => same(VIEWS[name], camera));
    this.views?.select(preset ?? "");
    this.redraw();
  }

  #repaint() {
    this.look.theme = null;
    this.redraw();
  }

  /** A camera that goes with the bodies shows them larger. */
  #follow(follow) {
    this.look.follow = follow;
    this.look.room = common(this.players.map((player) => player.body.extent), follow);
    this.redraw();
  }

  /** Out of sight (scrolled away, another tab, taken out of the page) nothing is drawn. */
  #watch() {
    let inView = true;
    const update = () => this.clock.hold(document.hidden || !inView);
    const observer = new IntersectionObserver((entries) => {
      inView = entries.at(-1).isIntersecting;
      update();
    });
    observer.observe(this.el);
    document.addEventListener("visibilitychange", update);
    return () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", update);
    };
  }

  #bar(flat) {
    this.playButton = h("button", { type: "button", class: "frx-button frx-play", on: { click: () => this.toggle() } });
    this.range = h("input", {
      type: "range",
      class: "frx-range",
      min: 0,
      max: this.timing.length - 1,
      step: 1,
      value: 0,
      "aria-label": "Frame",
      on: { input: () => (this.clock.pause(), this.seek(Number(this.range.value))) },
    });
    this.counter = h("span", { class: "frx-counter" });
    this.help = h("p", { class: "frx-note frx-keys", hidden: true, text: KEYS });
    this.#showPlaying();
    const time = h("div", { class: "frx-transport" }, this.playButton, this.range, this.counter, this.#helpButton());
    return h("div", { class: "frx-deck-bar" }, time, h("div", { class: "frx-controls" }, ...this.#choices(flat)), this.help);
  }

  #choices(flat) {
    this.speed = dropdown("Speed", SPEEDS.map((s) => ({ value: String(s), text: `${s}\u00D7` })), "1", (value) => this.#setSpeed(Number(value)));
    const loop = toggle("Loop", "loop", this.clock.loop, (on) => (this.clock.loop = this.memory.loop = on));
    const trails = toggle("Trails of hands and feet", "trails", this.look.trails, (on) => {
      this.look.trails = this.memory.trails = on;
      this.redraw();
    });
    const follow = toggle("Follow the body", "follow", this.look.follow, (on) => this.#follow((this.memory.follow = on)));
    this.colours = segmented("Colours", [
      { value: "parts", text: "Parts", title: "Left blue, right orange" },
      { value: "values", text: "Difference", title: DIFFERENCE },
    ], this.look.colours, (value) => this.setColours(value));
    this.views = segmented("View", ["front", "side", "top"].map((value) => ({ value, text: value[0].toUpperCase() + value.slice(1) })), "", (name) => this.#view({ ...VIEWS[name] }));
    return [this.speed, loop, trails, follow, this.valued ? this.colours : null, flat ? null : this.views].filter(Boolean);
  }

  /** Without values (in its own time no frame was compared) parts are drawn, whatever is wanted. */
  #offerColours() {
    const known = this.players.some((player) => player.values);
    const button = this.colours.querySelector("[data-value=values]");
    button.disabled = !known;
    button.title = known ? DIFFERENCE : "In its own time a clip is not compared: choose Aligned";
    this.colours.select(known ? this.look.colours : "parts");
  }

  #helpButton() {
    const button = h("button", { type: "button", class: "frx-button", text: "?", title: KEYS, "aria-label": "Keys", "aria-expanded": "false" });
    button.addEventListener("click", () => {
      this.help.hidden = !this.help.hidden;
      button.setAttribute("aria-expanded", String(!this.help.hidden));
    });
    return button;
  }

  #setSpeed(speed) {
    this.clock.speed = this.memory.speed = speed;
    this.speed.querySelector("select").value = String(speed);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select")) return;
    // A focused button is pressed by space, as everywhere.
    if (event.key === " " && event.target.closest("button")) return;
    const act = this.#actions()[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(event.shiftKey ? 10 : 1);
  }

  #actions() {
    const { clock, look } = this;
    const faster = (by) => this.#setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.indexOf(clock.speed) + by))]);
    const orbit = (right, down) => () => this.#view(orbited(look.camera, right, down));
    const zoom = (factor) => () => this.#view(zoomed(look.camera, factor));
    return {
      " ": () => this.toggle(),
      ArrowLeft: (frames) => clock.step(-frames),
      ArrowRight: (frames) => clock.step(frames),
      Home: () => clock.step(-clock.length),
      End: () => clock.step(clock.length),
      "+": () => faster(1),
      "=": () => faster(1),
      "-": () => faster(-1),
      r: () => this.#view({ ...this.first }),
      a: orbit(-15, 0),
      d: orbit(15, 0),
      w: orbit(0, 10),
      s: orbit(0, -10),
      z: zoom(1.25),
      x: zoom(0.8),
    };
  }
}

/** Every clip in its own time; a shorter one waits on its last frame. */
function ownTimes(players) {
  const length = Math.max(...players.map((player) => player.clip.T));
  return { length, times: players.map(() => (time) => time), turns: players.map(() => 0) };
}

const same = (a, b) => a.azimuth === b.azimuth && a.elevation === b.elevation && a.zoom === b.zoom;

/** A button that stays pressed. */
function toggle(label, sign, on, change) {
  const button = h("button", { type: "button", class: "frx-button frx-toggle", title: label, "aria-label": label, "aria-pressed": String(on) }, icon(sign));
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(pressed));
    change(pressed);
  });
  return button;
}
