import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "../data.js";
import { packed, smallData } from "./fixtures.js";

const header = {
  kind: "explorer",
  arrays: { small: { dtype: "u1", shape: [3], offset: 0 }, wide: { dtype: "i2", shape: [2, 2], offset: 8 } },
};
const blocks = [Uint8Array.of(1, 2, 255), Int16Array.of(-1, 2, -300, 4)];

test("a payload is decoded, wherever it lies in its buffer", () => {
  const bytes = packed(header, blocks);
  for (const shift of [0, 3, 8]) {
    const moved = new Uint8Array(bytes.length + shift);
    moved.set(bytes, shift);
    const { header: found, arrays } = decode(new DataView(moved.buffer, shift, bytes.length));
    assert.equal(found.kind, "explorer");
    assert.deepEqual([...arrays.small], [1, 2, 255]);
    assert.deepEqual([...arrays.wide], [-1, 2, -300, 4]);
  }
});

test("something else is refused", () => {
  assert.throws(() => decode(new ArrayBuffer(4)), /no data of the explorer/);
  assert.throws(() => decode(new TextEncoder().encode("<html>and more").buffer), /no data of the explorer/);
});

test("counts, outcomes and cells follow from labels and predictions", () => {
  const data = smallData();
  assert.deepEqual([...data.counts.a], [1, 2, 0, 1, 2, 0, 0, 1, 1]);
  assert.deepEqual([...data.counts.b], [2, 1, 0, 0, 2, 1, 0, 1, 1]);
  assert.deepEqual([...data.support], [3, 3, 2]);
  assert.deepEqual(Array.from(data.outcome, (o) => data.outcomes[o]), [
    "both right", "fixed", "both wrong", "both right", "fixed", "broken", "both right", "both wrong",
  ]);
  assert.deepEqual([...data.clipsInCell(0, 1, "a")], [1, 2]);
  assert.deepEqual([...data.clipsInCell(0, 1, "b")], [2]);
  assert.deepEqual([...data.clipsInGroup(2)], [3, 4, 5, 6, 7]);
  assert.equal(data.place("clip5"), 5);
  assert.equal(data.place("nobody"), -1);
  assert.ok(Math.abs(data.pTrue("a", 1) - 20000 / 65535) < 1e-12);
  assert.ok(Number.isNaN(data.pTrue("b", 1)));
});

test("a confusion's course through training is found by its cell", () => {
  const data = smallData();
  assert.deepEqual([...data.spark(0, 1).a], [3, 2]);
  assert.deepEqual([...data.spark(0, 1).b], [3, 2, 1]);
  assert.deepEqual([...data.spark(2, 1).a], [1, 1]);
  assert.deepEqual([...data.spark(2, 1).b], [0, 1, 1]);
  assert.equal(data.spark(1, 0), null);
});

test("one model has two outcomes", () => {
  const data = smallData({ names: ["plain"] });
  assert.deepEqual(Array.from(data.outcome, (o) => data.outcomes[o]), [
    "right", "wrong", "wrong", "right", "wrong", "right", "right", "wrong",
  ]);
});

test("several classes are called after the one that is confused most with the others", () => {
  const data = smallData();
  assert.equal(data.clusterName([2, 0, 1]), "read + 2"); // read: 7 clips of A and B; write: 4; wave: 3
  assert.equal(data.clusterName([0, 2]), "write + 1"); // never confused: the first one
  assert.equal(data.clusterName([2]), "wave");
});
