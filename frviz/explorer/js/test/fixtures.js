// A payload by hand: 3 classes, 8 clips, two models.
import { Data } from "../data.js";

const label = [0, 0, 0, 1, 1, 1, 2, 2];
const a = [0, 1, 1, 1, 0, 1, 2, 1];
const b = [0, 0, 1, 1, 1, 2, 2, 1];

/** @param {object} [changes] of the header @param {object} [more] arrays */
export function smallData(changes = {}, more = {}) {
  const header = {
    kind: "explorer",
    names: ["plain", "FR Head"],
    classes: ["write", "read", "wave"],
    ids: label.map((_, i) => `clip${i}`),
    order: [2, 0, 1],
    cluster: [1, 1, 0],
    cluster_share: 0.05,
    groups: [
      { anchor: 0, members: [0, 1], clips: 6, a: 0.5, b: 4 / 6, difference: 1 / 6, low: -0.1, high: 0.4, p_holm: 0.5 },
      { anchor: 1, members: [1, 0], clips: 6, a: 0.5, b: 4 / 6, difference: 1 / 6, low: -0.1, high: 0.4, p_holm: 0.5 },
      { anchor: 2, members: [2, 1], clips: 5, a: 0.6, b: 0.6, difference: 0, low: -0.2, high: 0.2, p_holm: 1 },
    ],
    accuracy: [0.5, 0.625],
    maps: [],
    missing: {},
    epochs: { a: [1, 2], b: [1, 2, 3] },
    ...changes,
  };
  const arrays = {
    label: Uint16Array.from(label),
    predicted_a: Uint16Array.from(a),
    predicted_b: Uint16Array.from(b),
    p_true_a: Uint16Array.from([60000, 20000, 10000, 50000, 100, 40000, 65535, 0]),
    copy: new Uint8Array(8),
    cell_true: Uint16Array.from([0]),
    cell_pred: Uint16Array.from([1]),
    cell_p: Float32Array.from([0.5]),
    cell_holm: Float32Array.from([1]),
    spark_true: Uint16Array.from([0, 2]),
    spark_pred: Uint16Array.from([1, 1]),
    spark_a: Uint16Array.from([3, 2, 1, 1]),
    spark_b: Uint16Array.from([3, 2, 1, 0, 1, 1]),
    ...more,
  };
  return new Data({ header, arrays });
}

/** A host's widget model without a host. */
export class FakeModel {
  constructor(traits = {}) {
    this.traits = { selection: [], anchor: "", cell: [], side: "a", ...traits };
    this.listeners = new Map();
    this.saved = [];
    this.sent = [];
  }
  get(name) {
    return this.traits[name];
  }
  set(name, value) {
    this.traits[name] = value;
    this.fire(`change:${name}`);
  }
  save_changes() {
    this.saved.push(structuredClone(this.traits));
  }
  send(message) {
    this.sent.push(message);
  }
  on(event, fn) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), fn]);
  }
  off(event, fn) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((other) => other !== fn));
  }
  fire(event, ...values) {
    for (const fn of this.listeners.get(event) ?? []) fn(...values);
  }
}

/** A payload as the Python side packs it. */
export function packed(header, blocks) {
  let text = JSON.stringify(header);
  text += " ".repeat((8 - ((8 + text.length) % 8)) % 8);
  const size = blocks.reduce((n, block) => n + Math.ceil(block.byteLength / 8) * 8, 0);
  const bytes = new Uint8Array(8 + text.length + size);
  bytes.set(new TextEncoder().encode("FRX1"));
  new DataView(bytes.buffer).setUint32(4, text.length, true);
  bytes.set(new TextEncoder().encode(text), 8);
  let at = 8 + text.length;
  for (const block of blocks) {
    bytes.set(new Uint8Array(block.buffer, block.byteOffset, block.byteLength), at);
    at += Math.ceil(block.byteLength / 8) * 8;
  }
  return bytes;
}
