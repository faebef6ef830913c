// Maps of the clips of A and B in one layout: choice of space and method, colours, legend.

import { colouring } from "./colours.js";
import { dropdown, fill, h, refill } from "./dom.js";
import { mapChoice } from "./map_choice.js";
import { MANY, MapPane, MOST_ARROWS } from "./map_pane.js";

/** @param {import("./state.js").State} state @param {ReturnType<import("./tooltip.js").makeTooltip>} tooltip */
export function mapsView(state, tooltip) {
  const { maps, map_choices: choices } = state.data.header;
  if (!maps.length && !choices?.length) return null;
  return new Maps(state, tooltip);
}

class Maps {
  constructor(state, tooltip) {
    const { data } = state;
    Object.assign(this, { state, tooltip, by: "outcome", view: { scale: 1, x: 0, y: 0 } });
    this.maps = data.header.maps.map((map) => unpack(map, data.arrays));
    const listeners = { changed: () => this.redraw(), hover: (event, clip) => this.hover(event, clip) };
    this.panes = data.sides.map((side) => new MapPane(state, side, this.view, listeners));
    this.legend = h("div", { class: "frx-legend" });
    this.note = h("p", { class: "frx-note" });
    this.hints = h("p", { class: "frx-note" });
    this.el = h("div", { class: "frx-maps-view" }, h("div", { class: "frx-maps" }, ...this.panes.map((pane) => pane.el)), this.legend, this.hints, this.note);
    this.controls = this.makeControls();
    state.on("selection anchor", () => this.update());
    state.on("hover focus", () => this.panes.forEach((pane) => pane.drawOver()));
    state.on("theme", () => this.redraw());
    if (this.maps.length) this.choose(this.maps[0].key);
    else fill(this.note, "No map has been made yet: choose one above.");
    this.update();
  }

  makeControls() {
    const { data } = this.state;
    const colours = [
      { value: "outcome", text: data.pair ? "fixed and broken" : "right and wrong" },
      { value: "class", text: "class" },
      ...(data.arrays.p_true_a ? [{ value: "p_true", text: "probability" }] : []),
    ];
    const button = (text, title, click) => h("button", { type: "button", class: "frx-button", text, title, "aria-label": title, on: { click } });
    const toggle = (name, text, title) => {
      const box = h("input", { type: "checkbox", on: { change: () => this.toggle(name, box.checked) } });
      return h("label", { class: "frx-field", title }, box, h("span", { text }));
    };
    const pane = this.panes[0];
    return [
      ...mapChoice([...this.maps, ...(data.header.map_choices ?? [])], this.maps[0], (key) => this.choose(key)),
      dropdown("colour", colours, this.by, (by) => ((this.by = by), this.update())),
      toggle("stars", "stars", "Prototypes of this space, or means of the clips that are right"),
      data.pair ? toggle("arrows", "arrows", "From a clip's place in A to its place in B, for up to 400 chosen clips") : null,
      button("+", "Zoom in (Ctrl and wheel)", () => pane.zoom(1.4)),
      button("\u2212", "Zoom out", () => pane.zoom(1 / 1.4)),
      button("chosen", "Zoom to the chosen clips", () => pane.zoomToChosen()),
      button("all", "Show all (double click)", () => pane.zoom(0)),
    ].filter(Boolean);
  }

  toggle(name, on) {
    for (const pane of this.panes) {
      pane[name] = on;
      pane.drawOver();
    }
    this.hint();
  }

  /** Says why arrows are not drawn. */
  hint() {
    const count = this.state.selection.length;
    const none = this.panes[0].arrows && !(count > 0 && count <= MOST_ARROWS);
    this.hints.textContent = none ? `Arrows: choose up to ${MOST_ARROWS} clips.` : "";
  }

  async choose(key) {
    if (!key) return;
    this.wanted = key;
    let map = this.maps.find((m) => m.key === key);
    if (!map) {
      const at = key.lastIndexOf("/");
      const stopWaiting = this.wait(key);
      try {
        const { header, arrays } = await this.state.ask({ kind: "map", space: key.slice(0, at), method: key.slice(at + 1) });
        map = unpack(header.map, arrays);
        this.maps.push(map);
      } catch (error) {
        if (this.wanted === key) fill(this.note, error.message);
        return;
      } finally {
        stopWaiting();
      }
    }
    if (this.wanted !== key) return; // another one was chosen meanwhile
    this.map = map;
    for (const pane of this.panes) pane.setMap(map);
    fill(this.note, this.words(map));
  }

  /** Says that the kernel works, and for how long; another map can be looked at meanwhile. */
  wait(key) {
    const start = performance.now();
    const say = () => {
      const seconds = Math.round((performance.now() - start) / 1000);
      if (this.wanted === key) fill(this.note, `The clips are being laid out (${seconds} s); this can take a minute.`);
    };
    say();
    const timer = setInterval(say, 1000);
    return () => clearInterval(timer);
  }

  words(map) {
    const lines = map.note ? [`${map.note}.`] : [];
    if (Number.isFinite(map.displacement) && map.method === "pca") lines.push(`Median displacement from A to B ${map.displacement.toFixed(2)}.`);
    else if (Number.isFinite(map.displacement))
      lines.push(`Median displacement from A to B ${map.displacement.toFixed(2)}; another seed of the same model moves clips by ${map.floor.toFixed(2)}.`);
    if (map.stars?.classes.length) lines.push(`Stars: ${map.stars.kind === "prototype" ? "the head's prototypes" : "means of each class's clips that are right"}.`);
    if (this.state.data.size <= MANY) lines.push("Discs: right; rings: wrong.");
    lines.push("Drag, or press a key of the legend, to choose clips (Shift adds; a lasso in a group takes its clips alone); Ctrl and drag to move.");
    return lines.join(" ");
  }

  /** Colours and what is chosen. */
  update() {
    const { data, selection, anchor } = this.state;
    const isChosen = new Uint8Array(data.size);
    for (const i of selection) isChosen[i] = 1;
    const layers = { dimmed: data.where((i) => !isChosen[i]), chosen: selection };
    const inGroup = anchor >= 0 ? new Set(data.members(anchor)) : null;
    let shown = null;
    for (const pane of this.panes) {
      pane.colouring = { by: this.by, ...colouring(data, this.by, anchor, pane.side) };
      pane.layers = layers;
      pane.counts = inGroup ? (i) => inGroup.has(data.label[i]) : undefined;
      shown = pane.colouring;
    }
    refill(this.legend, ...shown.legend.map((key) => this.key(key, shown.colourOf)));
    this.hint();
    this.redraw();
  }

  /** A colour of the legend: it chooses its clips, that of a class its group; with Shift it adds its clips. */
  key({ colour, text, code, anchor }, colourOf) {
    const parts = [h("i", { style: { background: colour } }), h("span", { text })];
    if (code === undefined) return h("span", { class: "frx-key" }, ...parts);
    const { state } = this;
    const choose = ({ shiftKey }) => {
      const clips = state.data.where((i) => colourOf[i] === code);
      if (shiftKey) state.setSelection(new Set([...state.selection, ...clips]));
      else if (anchor === undefined) state.setSelection(clips);
      else state.setAnchor(anchor);
      state.say(`${state.selection.length} clips chosen`);
    };
    const title = `Choose ${anchor === undefined ? "the clips" : "the group"}: ${text} (with Shift: add its clips)`;
    return h("button", { type: "button", class: "frx-key", title, on: { click: choose } }, ...parts);
  }

  redraw() {
    for (const pane of this.panes) pane.box.redraw();
  }

  hover(event, clip) {
    this.state.setHover(clip);
    if (clip < 0) return this.tooltip.hide();
    const { data } = this.state;
    const sure = (side) => (Number.isNaN(data.pTrue(side, clip)) ? "" : `, p true ${data.pTrue(side, clip).toFixed(2)}`);
    const says = data.sides.map((side, s) => `${data.header.names[s]}: ${data.classes[data.predicted[side][clip]]}${sure(side)}`);
    const outcome = data.outcomes[data.outcome[clip]];
    this.tooltip.show(event, h("b", { text: data.classes[data.label[clip]] }), ...says, outcome, h("div", { class: "frx-muted", text: data.ids[clip] }));
  }

  destroy() {
    for (const pane of this.panes) pane.box.destroy();
  }
}

function unpack(map, arrays) {
  const { a, b, bounds } = map.arrays;
  const stars = map.stars && { ...map.stars, a: arrays[map.stars.a], b: arrays[map.stars.b] };
  return { ...map, a: arrays[a], b: arrays[b], bounds, stars };
}
