// The payload of both hosts: a JSON header and typed arrays; and what follows from them.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, f4: Float32Array };
const MAGIC = 0x31585246; // "FRX1"

/**
 * @param {DataView|ArrayBuffer} source
 * @returns {{header: any, arrays: Record<string, any>}} arrays are flat and typed
 */
export function decode(source) {
  let { buffer, byteOffset: start, byteLength: size } =
    source instanceof ArrayBuffer ? { buffer: source, byteOffset: 0, byteLength: source.byteLength } : source;
  if (start % 8) [buffer, start] = [buffer.slice(start, start + size), 0]; // typed arrays want to be aligned
  const view = new DataView(buffer, start, size);
  if (size < 8 || view.getUint32(0, true) !== MAGIC) throw new Error("This is no data of the explorer.");
  const length = view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, start + 8, length)));
  const arrays = {};
  for (const [name, { dtype, shape, offset }] of Object.entries(header.arrays)) {
    const count = shape.reduce((product, n) => product * n, 1);
    arrays[name] = new TYPES[dtype](buffer, start + 8 + length + offset, count);
  }
  return { header, arrays };
}

export const OUTCOMES = ["both right", "fixed", "broken", "both wrong"];
// What one looks for first.
export const INTEREST = { broken: 4, fixed: 3, "both wrong": 2, wrong: 2, "both right": 1, right: 1 };
export const OUTCOMES_ONE = ["right", "wrong"];

/** Everything that the views ask about the clips of one or two models. */
export class Data {
  /** @param {{header: any, arrays: Record<string, any>}} payload of kind "explorer" */
  constructor({ header, arrays }) {
    this.header = header;
    this.arrays = arrays;
    this.classes = header.classes;
    this.ids = header.ids;
    this.size = header.ids.length;
    this.numClasses = header.classes.length;
    this.pair = header.names.length === 2;
    this.sides = this.pair ? ["a", "b"] : ["a"];
    this.label = arrays.label;
    this.predicted = { a: arrays.predicted_a, b: arrays.predicted_b };
    this.outcome = this.#outcomes();
    this.outcomes = this.pair ? OUTCOMES : OUTCOMES_ONE;
    this.counts = Object.fromEntries(this.sides.map((side) => [side, this.#count(side)]));
    this.support = new Uint32Array(this.numClasses);
    for (const k of this.label) this.support[k] += 1;
    this.groupOf = new Map(header.groups.map((group) => [group.anchor, group]));
    this.carried = header.carried ? new Set(header.carried) : null; // clips with joints; null: all
    this.tests = new Map();
    for (let q = 0; q < (arrays.cell_true?.length ?? 0); q += 1)
      this.tests.set(this.cellKey(arrays.cell_true[q], arrays.cell_pred[q]), {
        p: arrays.cell_p[q],
        holm: arrays.cell_holm[q],
      });
    this.sparks = new Map();
    for (let s = 0; s < (arrays.spark_true?.length ?? 0); s += 1)
      this.sparks.set(this.cellKey(arrays.spark_true[s], arrays.spark_pred[s]), s);
  }

  cellKey(t, p) {
    return t * this.numClasses + p;
  }

  /** The place of a sample id; -1 for one that is not here. */
  place(id) {
    this.places ??= new Map(this.ids.map((name, i) => [name, i]));
    return this.places.get(id) ?? -1;
  }

  /** Name of a class, or "" for none. */
  name(k) {
    return k >= 0 ? this.classes[k] : "";
  }

  /** A clip in words, for screen readers. */
  words(i) {
    if (i < 0) return "No clip.";
    const says = this.sides.map((side, s) => `${this.header.names[s]} says ${this.classes[this.predicted[side][i]]}`);
    return `${this.ids[i]}: ${this.classes[this.label[i]]}; ${says.join(", ")}; ${this.outcomes[this.outcome[i]]}.`;
  }

  /** Some classes by the one that is confused most with the others: "writing + 3". */
  clusterName(classes) {
    const confused = (k) => classes.reduce((n, j) => n + (j === k ? 0 : this.sides.reduce((m, side) => m + this.counts[side][this.cellKey(k, j)] + this.counts[side][this.cellKey(j, k)], 0)), 0);
    const heart = classes.reduce((best, k) => (confused(k) > confused(best) ? k : best), classes[0]);
    return this.classes[heart] + (classes.length > 1 ? ` + ${classes.length - 1}` : "");
  }

  /** Clips of a cell of a model's confusion matrix. */
  clipsInCell(t, p, side) {
    const predicted = this.predicted[side];
    return this.where((i) => this.label[i] === t && predicted[i] === p);
  }

  /** Classes of an anchor's ambiguous group, the anchor first. */
  members(anchor) {
    return this.groupOf.get(anchor)?.members ?? [anchor];
  }

  /** Clips whose true class is in an anchor's group. */
  clipsInGroup(anchor) {
    const inside = new Uint8Array(this.numClasses);
    for (const k of this.members(anchor)) inside[k] = 1;
    return this.where((i) => inside[this.label[i]]);
  }

  /** Numbers of the clips that pass a test, in order. */
  where(test) {
    const found = [];
    for (let i = 0; i < this.size; i += 1) if (test(i)) found.push(i);
    return Int32Array.from(found);
  }

  /** Probability of the true class, or NaN. */
  pTrue(side, i) {
    const values = this.arrays[`p_true_${side}`];
    return values ? values[i] / 65535 : NaN;
  }

  /** Clips in a cell by epoch, per side, or null. */
  spark(t, p) {
    const s = this.sparks.get(this.cellKey(t, p));
    if (s === undefined) return null;
    const rows = {};
    for (const side of this.sides) {
      const epochs = this.header.epochs?.[side]?.length ?? 0;
      if (epochs) rows[side] = this.arrays[`spark_${side}`].subarray(s * epochs, (s + 1) * epochs);
    }
    return rows;
  }

  #outcomes() {
    const { a, b } = this.predicted;
    const outcome = new Uint8Array(this.size);
    for (let i = 0; i < this.size; i += 1) {
      const right = a[i] === this.label[i];
      if (!this.pair) outcome[i] = right ? 0 : 1;
      else outcome[i] = b[i] === this.label[i] ? (right ? 0 : 1) : right ? 2 : 3;
    }
    return outcome;
  }

  #count(side) {
    const counts = new Uint32Array(this.numClasses ** 2);
    const predicted = this.predicted[side];
    for (let i = 0; i < this.size; i += 1) counts[this.cellKey(this.label[i], predicted[i])] += 1;
    return counts;
  }
}
