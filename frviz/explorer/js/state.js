// What is chosen. Views listen to it and to nothing else; it also speaks with the host (kernel or page).

import { decode, INTEREST } from "./data.js";

/** Clips, anchor class, cell, focus and hover; the first three are traits of the Python side. */
export class State {
  /**
   * @param {import("./data.js").Data} data
   * @param {any} model the host's widget model, or a page's stand-in
   */
  constructor(data, model) {
    this.data = data;
    this.model = model;
    this.selection = new Int32Array(0);
    this.anchor = -1;
    this.cell = null;
    this.area = null; // a cell that `cell` cannot say; the page alone knows of it
    this.side = "a";
    this.focus = -1;
    this.hover = -1;
    this.options = {};
    this.listeners = new Map();
    this.requests = new Map();
    this.stops = [];
    this.unsaid = new Set(); // traits that the host does not know yet
    this.timer = null;
    this.#listen();
    this.#read();
  }

  /** Calls `fn` after changes of any of these (space-separated) kinds. */
  on(kinds, fn) {
    for (const kind of kinds.split(" ")) {
      if (!this.listeners.has(kind)) this.listeners.set(kind, []);
      this.listeners.get(kind).push(fn);
    }
  }

  /** Tells the views; a view that listens to several kinds is called once. */
  emit(...kinds) {
    const called = new Set(kinds.flatMap((kind) => this.listeners.get(kind) ?? []));
    for (const fn of called) fn();
  }

  /** Some clips, by hand: no longer those of a cell. */
  setSelection(clips) {
    this.selection = Int32Array.from(clips);
    [this.cell, this.area] = [null, null];
    this.#write("selection", "cell");
    this.#focusFirst();
    this.emit("selection", "cell", "focus");
  }

  /** An anchor class: its group's clips are chosen; -1: none. */
  setAnchor(anchor) {
    this.anchor = anchor;
    [this.cell, this.area] = [null, null];
    this.selection = anchor < 0 ? new Int32Array(0) : this.data.clipsInGroup(anchor);
    this.#write("anchor", "cell", "selection");
    this.#focusFirst();
    this.emit("anchor", "cell", "selection", "focus");
  }

  /** A cell of a model's confusion matrix: its clips are chosen. */
  setCell(t, p, side) {
    [this.cell, this.area] = [[t, p], null];
    this.side = side;
    this.selection = this.data.clipsInCell(t, p, side);
    this.#write("cell", "side", "selection");
    this.#focusFirst();
    this.emit("cell", "selection", "focus");
  }

  /**
   * A cell of a change, or of several classes: the host hears of its clips only.
   * @param {import("./matrix_model.js").Area} area
   * @param {Iterable<number>} clips
   */
  setArea(area, clips) {
    [this.cell, this.area] = [null, area];
    this.selection = Int32Array.from(clips);
    this.#write("cell", "selection");
    this.#focusFirst();
    this.emit("cell", "selection", "focus");
  }

  /** The clip that the sample view shows; -1: none. */
  setFocus(clip) {
    if (clip === this.focus) return;
    this.focus = clip;
    this.emit("focus");
  }

  setHover(clip) {
    if (clip === this.hover) return;
    this.hover = clip;
    this.emit("hover");
  }

  setOption(name, value) {
    this.options[name] = value;
    this.emit("options");
  }

  /** Words for screen readers. */
  say(words) {
    this.spoken = words;
    this.emit("say");
  }

  /** Nothing chosen. */
  clear() {
    [this.anchor, this.cell, this.area] = [-1, null, null];
    [this.selection, this.focus] = [new Int32Array(0), -1];
    this.#write("anchor", "cell", "selection");
    this.emit("anchor", "cell", "selection", "focus");
  }

  /** Moves the focus through the chosen clips (all of them where none is chosen). */
  step(by) {
    const { selection, data } = this;
    const count = selection.length || data.size;
    if (!count) return;
    const at = selection.length ? selection.indexOf(this.focus) : this.focus;
    const next = at < 0 ? (by > 0 ? 0 : count - 1) : (at + by + count) % count;
    this.setFocus(selection.length ? selection[next] : next);
  }

  /**
   * Asks the host; resolves with a decoded payload, rejects with the host's words.
   * @param {Record<string, any>} message with a kind
   * @returns {Promise<{header: any, arrays: Record<string, any>}>}
   */
  ask(message) {
    const request = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER); // of this page alone
    return new Promise((resolve, reject) => {
      this.requests.set(request, { resolve, reject });
      this.model.send({ ...message, request });
    });
  }

  destroy() {
    if (this.timer) {
      clearTimeout(this.timer);
      this.#flush();
    }
    for (const stop of this.stops) stop();
    this.listeners.clear();
  }

  #answer(message, buffers) {
    const waiting = this.requests.get(message?.request);
    if (!waiting) return; // another view of the same widget asked
    this.requests.delete(message.request);
    if (message.error) waiting.reject(new Error(message.error));
    else waiting.resolve(decode(buffers[0]));
  }

  #listen() {
    const { model } = this;
    const hear = (event, fn) => {
      model.on(event, fn);
      this.stops.push(() => model.off(event, fn));
    };
    hear("msg:custom", (message, buffers) => this.#answer(message, buffers));
    for (const trait of ["selection", "anchor", "cell", "side"])
      hear(`change:${trait}`, () => {
        if (!this.writing && !this.timer) this.#read(); // else what the page says comes later, and counts
      });
  }

  /** Takes what the traits say, such as what Python chose. */
  #read() {
    const { data, model } = this;
    const before = this.#chosen();
    this.anchor = data.classes.indexOf(model.get("anchor") || null);
    const cell = (model.get("cell") ?? []).map((name) => data.classes.indexOf(name));
    this.cell = cell.length === 2 && Math.min(...cell) >= 0 ? cell : null;
    this.side = model.get("side") === "b" && data.pair ? "b" : "a";
    const places = (model.get("selection") ?? []).map((id) => data.place(id));
    this.selection = Int32Array.from(places.filter((place) => place >= 0));
    if (same(this.#chosen(), before)) return;
    this.area = null; // other clips than those of the area
    this.#focusFirst();
    this.emit("anchor", "cell", "selection", "focus");
  }

  #chosen() {
    return [this.anchor, ...(this.cell ?? [-1, -1]), this.side === "b" ? 1 : 0, ...this.selection];
  }

  /** Tells the host, once the views have been drawn: thousands of ids take their time. */
  #write(...traits) {
    for (const trait of traits) this.unsaid.add(trait);
    this.timer ??= setTimeout(() => this.#flush());
  }

  #flush() {
    const { data, model } = this;
    const values = {
      anchor: () => data.name(this.anchor),
      cell: () => (this.cell ? this.cell.map((k) => data.name(k)) : []),
      side: () => this.side,
      selection: () => Array.from(this.selection, (i) => data.ids[i]),
    };
    this.timer = null;
    this.writing = true;
    for (const trait of this.unsaid) model.set(trait, values[trait]());
    this.writing = false;
    this.unsaid.clear();
    model.save_changes();
  }

  /**
   * Of newly chosen clips, the first of those that one looks for: broken, fixed, wrong, right; in a
   * page, of those whose joints it carries, where there are any.
   */
  #focusFirst() {
    const { selection, data } = this;
    if (!selection.length || selection.includes(this.focus)) return;
    const plays = (i) => (!data.carried || data.carried.has(i) ? 10 : 0);
    const rank = (i) => plays(i) + INTEREST[data.outcomes[data.outcome[i]]];
    this.focus = selection.reduce((best, i) => (rank(i) > rank(best) ? i : best), selection[0]);
  }
}

const same = (a, b) => a.length === b.length && a.every((value, at) => value === b[at]);
