import assert from "node:assert/strict";
import { test } from "node:test";
import { clipsOf, decodeClip, isKnown, isThere, personsOf, poseAt } from "../clip.js";

const header = { id: "s1", title: "wave", frames: 2, persons: 2, channels: 3, scale: 0.5, origin: [1, 2, 3] };
const A = -32768;
// (2, 2, 1, 3): the second person comes in the second frame
const values = Int16Array.of(0, 2, -4, A, A, A, 2, 2, 2, 10, 0, 0);

test("coordinates are origin + value * scale, absent persons NaN", () => {
  const clip = decodeClip(header, values);
  assert.deepEqual([clip.T, clip.M, clip.V, clip.C], [2, 2, 1, 3]);
  assert.deepEqual([...clip.data], [1, 3, 1, NaN, NaN, NaN, 2, 3, 4, 6, 2, 3]);
  assert.equal(isThere(clip, 0, 1), false);
  assert.equal(isKnown(clip, 1, 1, 0), true);
  assert.deepEqual(personsOf(clip), [0, 1]);
});

test("two coordinates a joint are decoded alike", () => {
  const flat = { ...header, frames: 1, persons: 1, channels: 2, origin: [10, 20] };
  assert.deepEqual([...decodeClip(flat, Int16Array.of(2, 4, -2, 0)).data], [11, 22, 9, 20]);
});

test("a clip in which nobody is has no persons", () => {
  const clip = decodeClip({ ...header, frames: 1, persons: 1 }, new Int16Array(6).fill(A));
  assert.deepEqual(personsOf(clip), []);
});

test("joints that do not fit the header are refused", () => {
  assert.throws(() => decodeClip(header, new Int16Array(13)), /do not fit/);
  assert.throws(() => decodeClip(header, new Int16Array(0)), /do not fit/);
});

test("clips of a payload come with their headers", () => {
  const [one] = clipsOf({ header: { clips: [{ ...header, joints: "j" }] }, arrays: { j: values } });
  assert.equal(one.header.id, "s1");
  assert.equal(one.clip.data[4 * 3 - 3], 6);
});

test("between frames joints are interpolated; a gap takes the nearer frame", () => {
  const clip = decodeClip(header, values);
  const out = new Float32Array(6);
  assert.deepEqual([...poseAt(clip, 0.25, out)], [1.25, 3, 1.75, NaN, NaN, NaN]);
  assert.deepEqual([...poseAt(clip, 0.5, out)], [1.5, 3, 2.5, 6, 2, 3]);
});

test("before the first and after the last frame the clip stands still", () => {
  const clip = decodeClip(header, values);
  const out = new Float32Array(6);
  assert.deepEqual([...poseAt(clip, -3, out)].slice(0, 3), [1, 3, 1]);
  assert.deepEqual([...poseAt(clip, 99, out)].slice(0, 3), [2, 3, 4]);
});
