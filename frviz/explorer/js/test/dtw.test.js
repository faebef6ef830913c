import assert from "node:assert/strict";
import { test } from "node:test";
import { timeWarp, warpClips } from "../dtw.js";
import { bodySize, pairings } from "../posture.js";

const NONE = [NaN, NaN, NaN];
// An arm of two bones, 1 long each: shoulder (the centre), elbow, hand.
const ARM = { bones: [[1, 0], [2, 1]], center: 0 };
const make = (frames, { M = 1, C = 3 } = {}) => {
  const data = Float32Array.from(frames.flat(2));
  return { T: frames.length, M, V: data.length / (frames.length * M * C), C, data };
};
/** The arm swings: straight along x at first, then the forearm rises. */
const arm = (angle, at = [0, 0, 0]) =>
  [[0, 0, 0], [1, 0, 0], [1 + Math.cos(angle), Math.sin(angle), 0]].map((p) => p.map((x, c) => x + at[c]));
const angles = [0, 0.2, 0.5, 0.9, 1.4, 1.1, 0.7];
const swing = make(angles.map((a) => arm(a)));
const close = (value, expected, tolerance = 1e-5) =>
  assert.ok(Math.abs(value - expected) < tolerance, `${value} is not ${expected}`);
const zero = (values) => values.forEach((value) => close(value, 0));

test("the cheapest path of a small matrix is the one found by hand", () => {
  const cost = Float32Array.of(0, 9, 9, 9, 1, 0, 0, 9, 9, 9, 9, 1); // (3, 4): right, right along row 1
  assert.deepEqual([...timeWarp(cost, 3, 4)], [0, 0, 1, 1, 1, 2, 2, 3]);
});

test("the total of the path is the least of all paths", () => {
  const [n, m] = [4, 5];
  const cost = Float32Array.from({ length: n * m }, (_, k) => ((k * 7919) % 13) / 4);
  const least = (i, j) => {
    const before = [];
    if (i && j) before.push(least(i - 1, j - 1));
    if (i) before.push(least(i - 1, j));
    if (j) before.push(least(i, j - 1));
    return cost[i * m + j] + (before.length ? Math.min(...before) : 0);
  };
  const path = timeWarp(cost, n, m);
  let total = 0;
  for (let k = 0; k < path.length; k += 2) total += cost[path[k] * m + path[k + 1]];
  close(total, least(n - 1, m - 1));
});

test("a band keeps the path near linear time, and a path always exists", () => {
  const cost = new Float32Array(100).fill(1);
  for (let j = 0; j < 10; j += 1) cost[j] = cost[j * 10 + 9] = 0; // along the first row, down the last column
  assert.ok([...timeWarp(cost, 10, 10)].some((_, k, p) => k % 2 === 0 && p[k] === 0 && p[k + 1] === 8));
  const narrow = timeWarp(cost, 10, 10, 0.1);
  for (let k = 0; k < narrow.length; k += 2) assert.ok(Math.abs(narrow[k] - narrow[k + 1]) <= 1);
  for (const [n, m] of [[1, 7], [7, 1], [3, 50], [50, 3], [1, 1]]) {
    const path = timeWarp(new Float32Array(n * m).fill(1), n, m, 0.01);
    assert.deepEqual([path[0], path[1], path.at(-2), path.at(-1)], [0, 0, n - 1, m - 1]);
  }
});

test("a clip is itself: identity path, no difference", () => {
  const warp = warpClips(swing, swing, ARM);
  assert.deepEqual([...warp.match], angles.map((_, t) => t));
  assert.deepEqual([...warp.path], angles.flatMap((_, t) => [t, t]));
  zero(warp.difference);
  close(warp.distance, 0);
  close(warp.yaw, 0);
});

test("a slowed copy matches frame by frame, without difference", () => {
  const slow = make(angles.flatMap((a) => [arm(a), arm(a), arm(a)]));
  const warp = warpClips(swing, slow, ARM);
  assert.deepEqual([...warp.match], angles.map((_, t) => 3 * t + 1)); // the middle of three equals
  zero(warp.difference);
  const back = warpClips(slow, swing, ARM);
  assert.deepEqual([...back.match], angles.flatMap((_, t) => [t, t, t]));
});

test("who stands elsewhere, is larger, and faces another way, makes the same movement", () => {
  const [cos, sin] = [Math.cos(2), Math.sin(2)];
  const other = make(
    angles.map((a) => arm(a).map(([x, y, z]) => [1.7 * (x * cos - z * sin) + 4, 1.7 * y - 1, 1.7 * (x * sin + z * cos) + 9])),
  );
  const warp = warpClips(swing, other, ARM);
  zero(warp.difference);
  close(warp.yaw, -2, 1e-4);
  close(bodySize(other, ARM), 1.7);
});

test("a turned copy that is slower at its end is still matched without difference", () => {
  const times = [0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 6];
  const other = make(times.map((t) => arm(angles[t]).map(([x, y, z]) => [-z, y, x])));
  const warp = warpClips(swing, other, ARM);
  close(warp.yaw, -Math.PI / 2, 1e-4);
  assert.deepEqual([...warp.match].map((j) => times[j]), angles.map((_, t) => t));
});

test("a difference is a joint's distance in mean bone lengths", () => {
  const still = make([arm(0), arm(0)]);
  const raised = make([arm(Math.PI / 2), arm(Math.PI / 2)]); // hand at (1, 1) instead of (2, 0)
  const warp = warpClips(still, raised, ARM);
  [0, 0, Math.SQRT2, 0, 0, Math.SQRT2].forEach((value, i) => close(warp.difference[i], value));
  close(warp.distance, Math.SQRT2 / 3);
});

test("two persons: the order of the tracker does not matter, their distance does", () => {
  const pair = (swap, apart) =>
    make(
      angles.map((a) => {
        const both = [arm(a), arm(-a, [0, apart, 0])];
        return (swap ? both.reverse() : both).flat();
      }),
      { M: 2 },
    );
  const warp = warpClips(pair(false, 3), pair(true, 3), ARM);
  assert.deepEqual(warp.persons, [[0, 1], [1, 0]]);
  zero(warp.difference);
  const farther = warpClips(pair(false, 3), pair(false, 4), ARM);
  [0.5, 0.5, 0.5].forEach((value, v) => close(farther.difference[v], value)); // 0 and 1, their mean
});

test("a person in one clip only does not count", () => {
  const alone = make(angles.map((a) => [...arm(a), NONE, NONE, NONE]), { M: 2 });
  const two = make(angles.map((a) => [...arm(-a, [9, 9, 9]), ...arm(a)]), { M: 2 });
  const warp = warpClips(alone, two, ARM);
  assert.deepEqual(warp.persons, [[0, 1]]);
  zero(warp.difference);
});

test("in a gap there is a match and no difference", () => {
  const gap = make(angles.map((a, t) => (t === 2 ? [NONE, NONE, NONE] : arm(a))));
  const warp = warpClips(gap, swing, ARM);
  assert.ok([0, 1, 2].every((v) => Number.isNaN(warp.difference[2 * 3 + v])));
  assert.ok(warp.match.every((j, t) => t === 0 || j >= warp.match[t - 1]));
  zero(warp.difference.filter((value) => !Number.isNaN(value)));
});

test("one frame, nobody, and two coordinates", () => {
  const one = make([arm(0.5)]);
  assert.deepEqual([...warpClips(one, swing, ARM).match], [2]);
  assert.deepEqual([...warpClips(swing, one, ARM).match], angles.map(() => 0));
  const nobody = warpClips(make([[NONE, NONE, NONE], [NONE, NONE, NONE]]), swing, ARM);
  assert.ok(Number.isNaN(nobody.distance) && nobody.difference.every(Number.isNaN));
  assert.deepEqual([...nobody.match], [0, 6]);
  const flat = make(angles.map((a) => arm(a).map(([x, y]) => [x, y])), { C: 2 });
  const warp = warpClips(flat, flat, ARM);
  zero(warp.difference);
  assert.equal(warp.yaw, 0);
});

test("clips of more frames than are warped are thinned out, and matched all the same", () => {
  const long = make(Array.from({ length: 900 }, (_, t) => arm(t / 600)));
  const warp = warpClips(long, swing, ARM);
  assert.equal(warp.match.length, 900);
  assert.ok(warp.match.every((j, t) => t === 0 || j >= warp.match[t - 1]));
  zero(warpClips(long, long, ARM).difference);
});

test("persons are paired in every order, two at most", () => {
  assert.deepEqual(pairings([0], [0, 1]), [[[0, 0]], [[0, 1]]]);
  assert.deepEqual(pairings([0, 1], [2, 3]), [[[0, 2], [1, 3]], [[0, 3], [1, 2]]]);
  assert.deepEqual(pairings([], [0]), []);
});
