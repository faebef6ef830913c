import assert from "node:assert/strict";
import { test } from "node:test";
import { VIEWS, common, extentOf, farToNear, floorLines, middleOf, orbited, project, viewOf, zoomed } from "../projection.js";

const clip = (data, V, C, M = 1) => ({ T: data.length / (M * V * C), M, V, C, data: Float32Array.from(data) });
const near = (found, expected, tolerance = 1e-4) =>
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < tolerance, `${[...found]} is not ${expected}`));

// A view whose perspective does not show: depth is counted in an immense radius.
const plain = { origin: [0, 0, 0], radius: 1e9, scale: 100, x: 200, y: 100, flat: false };
const see = (point, camera, view = plain) =>
  project(Float32Array.from(point), point.length, camera, view, new Float32Array(3));

test("from the front, the camera's left is the screen's left and up is up", () => {
  near(see([1, 0.5, 3], VIEWS.front), [100, 50, 0]);
});

test("from its right side, what is away from the camera is on the right", () => {
  near(see([1, 0.5, 1], VIEWS.side), [300, 50, 0]);
});

test("from the top, what is away from the camera is up", () => {
  near(see([1, 0.5, 0.25], VIEWS.top), [100, 75, 0]);
});

test("at 30 degrees both coordinates mix as the sine and cosine say", () => {
  const [sin, cos] = [0.5, Math.sqrt(3) / 2];
  near(see([1, 0, 2], { azimuth: 30, elevation: 0, zoom: 1 }), [200 + 100 * (2 * sin - cos), 100, 0]);
});

test("what is a radius away is smaller by the perspective, and its depth is 1", () => {
  const view = { ...plain, radius: 2 };
  near(see([-1, 1, 2], VIEWS.front, view), [200 + 100 / 1.12, 100 - 100 / 1.12, 1], 1e-3);
});

test("two coordinates are drawn flat, whatever the camera", () => {
  near(see([1, 0.5], VIEWS.top, { ...plain, flat: true }), [300, 50, 0]);
});

test("unknown points stay unknown", () => {
  assert.ok(see([NaN, NaN, NaN], VIEWS.front).every(Number.isNaN));
});

test("a clip's extent is its middle, its reach, its height and its floor", () => {
  const found = extentOf(clip([-1, 0, 2, 3, 2, 5, NaN, NaN, NaN], 3, 3));
  near(found.centre, [1, 1, 3.5]);
  near([found.radius, found.half, found.floor], [2.5, 1, 0]);
  assert.equal(found.flat, false);
});

test("a flat clip, a point and an empty clip have an extent too", () => {
  const flat = extentOf(clip([0, 0, 4, 2], 2, 2));
  near([flat.radius, flat.half, flat.floor], [2, 1, 0]);
  assert.equal(flat.flat, true);
  const point = extentOf(clip([5, 6, 7], 1, 3));
  near([...point.centre, point.radius, point.half], [5, 6, 7, 1, 1]);
  const empty = extentOf(clip([NaN, NaN, NaN], 1, 3));
  near([...empty.centre, empty.radius, empty.half], [0, 0, 0, 1, 1]);
});

test("a few joints that a tracker threw away do not shrink the body", () => {
  const many = Array.from({ length: 1000 }, (_, i) => [i % 2, (i >> 1) % 2, 0]).flat();
  many.splice(0, 3, 900, 900, 900);
  near([extentOf(clip(many, 10, 3)).half], [0.5]);
});

test("several clips have one scale and one height of the floor", () => {
  const small = extentOf(clip([0, 0, 0, 2, 1, 0], 2, 3));
  const large = extentOf(clip([0, 5, 0, 4, 9, 0], 2, 3));
  const room = common([small, large]);
  near([room.radius, room.half], [2, 2]);
  const views = [small, large].map((extent) => viewOf(extent, room, VIEWS.front, 228, 128));
  assert.equal(views[0].scale, views[1].scale);
  near([views[0].scale], [Math.min(200 / 4, 100 / 4 / 1.12)]); // room for heads
  const floors = [small, large].map((extent, i) => see([extent.centre[0], extent.floor, 0], VIEWS.front, views[i])[1]);
  near(floors, [114, 114], 1e-3); // the margin above the lower edge
});

test("turning does not zoom; a look from the top makes room for the depth", () => {
  const extent = extentOf(clip([-3, 0, 0, 3, 1, 0], 2, 3));
  const scale = (camera) => viewOf(extent, extent, camera, 500, 100).scale;
  assert.equal(scale(VIEWS.front), scale(VIEWS.side));
  assert.ok(scale(VIEWS.top) < scale(VIEWS.front));
});

test("orbits wrap around and stop at the top; zoom has bounds", () => {
  assert.equal(orbited({ azimuth: 170, elevation: 80, zoom: 1 }, 20, 30).azimuth, -170);
  assert.equal(orbited({ azimuth: 170, elevation: 80, zoom: 1 }, 20, 30).elevation, 90);
  assert.equal(zoomed({ azimuth: 0, elevation: 0, zoom: 1 }, 1e9).zoom, 8);
});

test("bones are drawn from far to near, and without unknown ends", () => {
  const points = Float32Array.of(0, 0, 0, 0, 0, 2, 0, 0, -1, NaN, NaN, NaN); // (1, 4, 3)
  const order = farToNear(points, [[1, 0], [2, 0], [3, 0]], 4);
  assert.deepEqual(order.map(({ bone, joint }) => (joint === undefined ? `bone ${bone}` : `joint ${joint}`)), [
    "joint 1", // 2 away
    "bone 0", // 1, from 2 to 0
    "joint 0",
    "bone 1", // -0.5
    "joint 2",
  ]);
});

test("bones of a second person follow the first person's joints", () => {
  const points = Float32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 3); // (2, 2, 3)
  assert.deepEqual(farToNear(points, [[1, 0]], 2).map((o) => o.person), [1, 1, 1, 0, 0, 0]);
});

test("the floor is a grid under a body, a line under a flat one", () => {
  const extent = extentOf(clip([-1, 0, 2, 3, 2, 5], 2, 3));
  const room = { radius: 2, half: 2 }; // cells of 1: lines at -2 .. 2 around (0, 0)
  const grid = floorLines(extent, room, [0, 0]);
  assert.equal(grid.points.length, (5 + 5) * 2 * 3);
  assert.ok(grid.points.every((value, i) => i % 3 !== 1 || value === extent.floor));
  near([...floorLines(extent, room, [0.25, 0]).points].slice(0, 6), [-1, 0, -2, -1, 0, 2]); // lines stay
  const flat = extentOf(clip([0, 0, 4, 2], 2, 2));
  near([...floorLines(flat, { radius: 2, half: 1 }, [2, 0]).points], [0, 0, 4, 0]);
});

test("a camera that follows needs the room of the body, not of its way", () => {
  const frames = 60;
  const walk = Array.from({ length: frames }, (_, t) => [t - 0.5, 0, 4, t + 0.5, 2, 4]).flat(); // one unit a frame
  const extent = extentOf(clip(walk, 2, 3));
  near([extent.radius], [(frames - 1 + 1) / 2]);
  near([...extent.way].slice(60, 62), [30, 4]); // in the middle the average of 5 frames is the place
  near([extent.near], [1]); // at the ends the steadied place lags: by 1 and by 0.5 of a frame
  near(middleOf(extent, 30.5, true), [30.5, 4]);
  near(middleOf(extent, 30.5, false), [29.5, 4]);
  near([common([extent], true).radius], [extent.near]);
});
