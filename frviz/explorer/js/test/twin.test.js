// The words and numbers of the twin view, of the score bars and of the learning history.
import assert from "node:assert/strict";
import { test } from "node:test";
import { learningWords, sparkline } from "../history.js";
import { topOf } from "../scores.js";
import { summaryOf } from "../strip.js";
import { noteOf, titleOf } from "../twin_words.js";

const CLASSES = ["writing", "reading", "typing"];
/** One clip of "writing" and what the models say of it. */
const data = (...said) => ({
  classes: CLASSES,
  label: [0],
  ids: ["s1"],
  pair: said.length === 2,
  sides: said.length === 2 ? ["a", "b"] : ["a"],
  predicted: { a: [said[0]], b: [said[1]] },
  name: (k) => CLASSES[k] ?? "",
});
const chosen = { role: "chosen", class: 0 };

test("the chosen clip's title says for what it was taken, and by whom", () => {
  assert.equal(titleOf(data(1), 0, chosen), "This clip: writing, taken for reading");
  assert.equal(titleOf(data(0), 0, chosen), "This clip: writing, recognised");
  assert.equal(titleOf(data(0, 1), 0, chosen), "This clip: writing, taken for reading by B");
  assert.equal(titleOf(data(1, 1), 0, chosen), "This clip: writing, taken for reading");
  assert.equal(titleOf(data(1, 2), 0, chosen), "This clip: writing, taken for reading by A, typing by B");
});

test("neighbours are named by their class", () => {
  assert.equal(titleOf(data(1), 0, { role: "true", class: 0 }), "Nearest of its class: writing");
  assert.equal(titleOf(data(1), 0, { role: "predicted", class: 1 }), "Nearest of reading");
  assert.equal(titleOf(data(0), 0, { role: "predicted", class: 2 }), "Nearest of the second best, typing");
});

test("a neighbour's note has distances, the turn, and its own fate", () => {
  const clip = { id: "s9", class: 1, predicted: 2, distance: 0.1234 };
  assert.equal(
    noteOf(data(1), clip, { distance: 0.456, yaw: -Math.PI / 2 }),
    "s9 \u00B7 features 0.123 apart \u00B7 postures 0.46 apart \u00B7 turned 90\u00B0 \u00B7 itself taken for typing",
  );
  assert.equal(noteOf(data(1), { id: "s9", class: 1, predicted: 1, distance: null }, { distance: NaN, yaw: 0.01 }), "s9");
});

test("a clip is learnt from where on it stays right", () => {
  const epochs = [10, 11, 12, 13, 14];
  assert.equal(learningWords(epochs, [false, false, true, true, true]), "learnt at epoch 12");
  assert.equal(learningWords(epochs, [true, false, true, false, true]), "learnt at epoch 14, forgotten twice");
  assert.equal(learningWords(epochs, [true, true, true, true, true]), "learnt at epoch 10");
  assert.equal(learningWords(epochs, [false, true, false, false, false]), "first right at epoch 11, forgotten once, wrong at the end");
  assert.equal(learningWords(epochs, [false, false, false, false, false]), "never learnt");
});

test("an epoch that did not see the clip changes nothing", () => {
  assert.equal(learningWords([1, 2, 3, 4], [true, null, null, true]), "learnt at epoch 1");
  assert.equal(learningWords([1, 2, 3, 4], [null, false, null, true]), "learnt at epoch 4");
  assert.equal(learningWords([1, 2], [null, null]), "never seen");
  assert.equal(learningWords([1, 2, 3, 4, 5, 6, 7], [true, false, true, false, true, false, true]), "learnt at epoch 7, forgotten 3 times");
});

test("a sparkline begins on the left, ends on the right, its largest value on top", () => {
  const points = [];
  const ctx = { beginPath() {}, stroke() {}, fill() {}, moveTo: (...p) => points.push(p), lineTo: (...p) => points.push(p), arc: (...p) => points.push(p.slice(0, 2)) };
  sparkline(ctx, 10, 20, 40, 8, [0, 4, 2], "red");
  assert.deepEqual(points, [[10, 28], [30, 20], [50, 24], [50, 24]]);
  points.length = 0;
  sparkline(ctx, 0, 0, 10, 10, [5], "red", 10);
  assert.deepEqual(points, [[5, 5], [5, 5]]);
  sparkline(ctx, 0, 0, 10, 10, [], "red");
  sparkline(ctx, 0, 0, 10, 10, [0, 0], "red", 0);
  assert.ok(points.flat().every(Number.isFinite));
});

test("the largest difference is found with its joint and frame; the unknown does not count", () => {
  const found = summaryOf(Float32Array.of(1, NaN, 2, 5, NaN, 3), ["hip", "hand"]); // (3, 2)
  assert.deepEqual([found.joint, found.frame, found.value], [1, 1, 5]);
  assert.deepEqual(found.mean, [1.5, 4]);
  assert.equal(summaryOf(Float32Array.of(NaN, NaN), ["hip", "hand"]), null);
});

test("the best classes of a clip are read from its row", () => {
  const arrays = { top_class_a: Uint16Array.of(0, 1, 2, 65535), top_p_a: Uint16Array.of(65535, 0, 13107, 0) };
  const payload = { arrays, header: { arrays: { top_class_a: { shape: [2, 2] } } }, numClasses: 3 };
  assert.deepEqual(topOf(payload, 1, "a"), [{ k: 2, p: 0.2 }]);
  assert.deepEqual(topOf(payload, 0, "a").map((row) => row.k), [0, 1]);
  assert.equal(topOf(payload, 0, "b"), null);
});
