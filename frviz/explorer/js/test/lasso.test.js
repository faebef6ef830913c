import assert from "node:assert/strict";
import { test } from "node:test";
import { pointsInside, simplify } from "../lasso.js";

test("a square, and a point outside each of its sides", () => {
  const xs = [5, -1, 11, 5, 5, 9.9];
  const ys = [5, 5, 5, -1, 11, 0.1];
  const square = [[0, 0], [10, 0], [10, 10], [0, 10]];
  assert.deepEqual([...pointsInside(xs, ys, square)], [0, 5]);
  assert.deepEqual([...pointsInside(xs, ys, square, (i) => i !== 0)], [5]);
});

test("a horseshoe holds nothing in its mouth; a figure of eight holds both loops", () => {
  const horseshoe = [[0, 0], [10, 0], [10, 10], [7, 10], [7, 3], [3, 3], [3, 10], [0, 10]];
  assert.deepEqual([...pointsInside([5, 1, 8], [8, 8, 8], horseshoe)], [1, 2]);
  const eight = [[0, 0], [10, 10], [10, 0], [0, 10]];
  assert.deepEqual([...pointsInside([1, 9, 5, 5], [5, 5, 1, 9], eight)], [0, 1]);
});

test("the same as the plain rule on random points and polygons", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 20; round += 1) {
    const polygon = Array.from({ length: 3 + (round % 40) }, () => [100 * random(), 100 * random()]);
    const xs = Array.from({ length: 300 }, () => 120 * random() - 10);
    const ys = Array.from({ length: 300 }, () => 120 * random() - 10);
    const plain = xs.flatMap((x, i) => {
      let inside = false;
      polygon.forEach(([x1, y1], e) => {
        const [x2, y2] = polygon[(e + 1) % polygon.length];
        if (y1 > ys[i] !== y2 > ys[i] && x < ((x2 - x1) * (ys[i] - y1)) / (y2 - y1) + x1) inside = !inside;
      });
      return inside ? [i] : [];
    });
    assert.deepEqual([...pointsInside(xs, ys, polygon)], plain);
  }
});

test("less than a triangle holds nothing, a flat one neither", () => {
  assert.equal(pointsInside([1], [1], [[0, 0], [2, 2]]).length, 0);
  assert.equal(pointsInside([1], [1], [[0, 1], [2, 1], [1, 1]]).length, 0);
});

test("vertices that hardly move are left out", () => {
  assert.deepEqual(simplify([[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [9, 9]]), [[0, 0], [3, 0], [9, 9]]);
  assert.deepEqual(simplify([]), []);
});
