import assert from "node:assert/strict";
import { test } from "node:test";
import { colouring } from "../colours.js";
import { smallData } from "./fixtures.js";

test("outcomes have a colour each", () => {
  const { colourOf, legend } = colouring(smallData(), "outcome", -1, "a");
  assert.deepEqual([...colourOf], [0, 1, 3, 0, 1, 2, 0, 3]);
  assert.deepEqual(legend.map((key) => key.text), ["both right", "fixed", "broken", "both wrong"]);
  assert.deepEqual(legend.map((key) => key.code), [0, 1, 2, 3]); // as in colourOf
});

test("with an anchor its group has the colours, the rest is grey", () => {
  const { colourOf, legend, palette } = colouring(smallData(), "class", 2, "a");
  assert.deepEqual(legend.map((key) => [key.text, key.anchor]), [["wave", 2], ["read", 1], ["other classes", undefined]]);
  assert.deepEqual([...colourOf], [7, 7, 7, 1, 1, 1, 0, 0]);
  assert.deepEqual(legend.map((key) => key.code), [0, 1, 7]);
  assert.equal(palette.length, 8);
});

test("many classes are coloured by cluster", () => {
  const classes = Array.from({ length: 12 }, (_, k) => `class ${k}`);
  const cluster = classes.map((_, k) => (k < 3 ? 0 : k < 5 ? 1 : k));
  const data = smallData({ classes, cluster, order: classes.map((_, k) => k), groups: [] });
  const { legend, colourOf } = colouring(data, "class", -1, "a");
  assert.deepEqual(legend.map((key) => key.text), ["class 1 + 2", "class 3 + 1", "others"]);
  assert.deepEqual([...new Set(colourOf)], [0]); // labels 0 to 2 are in the first cluster
});

test("probabilities run from one end of the scale to the other; without them outcomes are shown", () => {
  const { colourOf } = colouring(smallData(), "p_true", -1, "a");
  assert.equal(colourOf[6], 20);
  assert.equal(colourOf[7], 0);
  assert.deepEqual([...colouring(smallData(), "p_true", -1, "b").colourOf], [0, 1, 3, 0, 1, 2, 0, 3]);
});
