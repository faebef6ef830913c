import assert from "node:assert/strict";
import { test } from "node:test";
import { aboveColour, headOf, jointColours, mix, partsOf, scaleEnds, stepOf, trailJoints, valueColour, valueScale } from "../looks.js";

const BODY = {
  joints: ["hip", "head", "left hand", "right hand", "left foot", "tail"],
  bones: [[1, 0], [2, 0], [3, 0], [4, 0], [5, 0]],
  parts: { trunk: [0, 1], "left arm": [2], "right arm": [3], "left leg": [4] },
  left_right: [[2, 3]],
};

test("left is blue, right is orange, the rest is grey, as in Python", () => {
  assert.deepEqual(jointColours(BODY), ["#8A8F98", "#8A8F98", "#0072B2", "#D55E00", "#56B4E9", "#8A8F98"]);
  assert.deepEqual(partsOf(BODY).map((p) => p.name), ["", "trunk", "left arm", "right arm", "left leg"]);
});

test("every joint is in one row of a strip", () => {
  const all = partsOf(BODY).flatMap((part) => part.joints).sort();
  assert.deepEqual(all, [0, 1, 2, 3, 4, 5]);
});

test("a body without parts is coloured by its pairs, one without pairs is grey", () => {
  assert.deepEqual(jointColours({ ...BODY, parts: {} })[2], "#0072B2");
  assert.deepEqual(jointColours({ ...BODY, parts: {} })[3], "#D55E00");
  assert.ok(jointColours({ ...BODY, parts: {}, left_right: [] }).every((c) => c === "#8A8F98"));
});

test("a part called like a property of all objects is no side", () => {
  assert.equal(partsOf({ ...BODY, parts: { constructor: [0], "left hand": [2] } })[1].colour, "#8A8F98");
});

test("parts without sides have a colour each, as in Python", () => {
  const hand = { ...BODY, parts: { thumb: [1], "first finger": [2], "second finger": [3] } };
  assert.deepEqual(partsOf(hand).map((part) => part.colour), ["#8A8F98", "#0072B2", "#D55E00", "#009E73"]);
});

test("trails are of hands and feet, else of wrists and ankles, else of the ends", () => {
  assert.deepEqual(trailJoints(BODY), [2, 3, 4]);
  const named = (joints) => trailJoints({ ...BODY, joints });
  assert.deepEqual(named(["a", "b", "left wrist", "c", "left ankle", "d"]), [2, 4]);
  assert.deepEqual(named(["a", "b", "c", "d", "e", "f"]), [1, 2, 3, 4, 5]);
  assert.equal(headOf(BODY), 1);
});

test("the scale moves away from the page, its lightness in one direction", () => {
  const light = (hex) => [1, 3, 5].reduce((sum, at, i) => sum + parseInt(hex.slice(at, at + 2), 16) * [0.299, 0.587, 0.114][i], 0);
  for (const [dark, sign] of [[false, -1], [true, 1]])
    for (let k = 1; k <= 20; k += 1)
      assert.ok(sign * (light(valueColour(k / 20, dark)) - light(valueColour((k - 1) / 20, dark))) > 0);
  assert.equal(valueColour(7, false), valueColour(1, false));
  assert.equal(mix("#000000", "#ff8040", 0.5), "#804020");
});

test("the scale's upper end ignores the largest two of a hundred", () => {
  assert.deepEqual(scaleEnds(Array.from({ length: 101 }, (_, k) => k)), { most: 98, largest: 100 });
  assert.deepEqual(scaleEnds([NaN]), { most: 1, largest: 1 });
  assert.deepEqual(scaleEnds([0, 0]), { most: 1, largest: 1 });
});

test("what lies above the scale has a colour that is not of the scale", () => {
  for (const dark of [false, true]) {
    const scale = valueScale(dark);
    assert.equal(scale[stepOf(0, 2)], valueColour(0, dark));
    assert.equal(scale[stepOf(2, 2)], valueColour(1, dark));
    assert.equal(scale[stepOf(2.001, 2)], aboveColour(dark));
    assert.equal(scale.filter((colour) => colour === aboveColour(dark)).length, 1);
  }
});
