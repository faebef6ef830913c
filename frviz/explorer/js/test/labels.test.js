import assert from "node:assert/strict";
import { test } from "node:test";
import { placeLabels } from "../labels.js";

const pane = { width: 300, height: 200 };
const at = (x, y, width = 60) => ({ x, y, width });

test("a name stands to the right of its star, at the edge to the left", () => {
  assert.deepEqual(placeLabels([at(100, 50), at(280, 150)], pane, 12), [
    { left: 111, top: 44 },
    { left: 209, top: 144 },
  ]);
});

test("no two names touch, each is inside, and what has no room is left out", () => {
  const stars = Array.from({ length: 40 }, (_, k) => at(150 + (k % 7) * 9, 100 + ((k * 5) % 11) * 6));
  const places = placeLabels(stars, pane, 12);
  const boxes = places.flatMap((place) => (place ? [place] : []));
  assert.ok(places[0], "the most important one has its name");
  assert.ok(boxes.length > 4 && boxes.length < 40, `${boxes.length} names`);
  for (const { left, top } of boxes) assert.ok(left >= 0 && top >= 0 && left + 60 <= 300 && top + 12 <= 200);
  boxes.forEach((one, k) =>
    boxes.slice(k + 1).forEach((other) => {
      const apart = Math.abs(one.left - other.left) >= 60 || Math.abs(one.top - other.top) >= 12;
      assert.ok(apart, `${JSON.stringify(one)} covers ${JSON.stringify(other)}`);
    }),
  );
});

test("a name covers no other star where there is room beside it", () => {
  const [first] = placeLabels([at(150, 100), at(180, 102)], pane, 12);
  assert.deepEqual(first, { left: 79, top: 94 }); // to the left
});

test("a star outside the pane has no name, though there were room for it", () => {
  assert.deepEqual(placeLabels([at(-5, 50), at(150, 205)], pane, 12), [null, null]);
});
