import assert from "node:assert/strict";
import { test } from "node:test";
import { placed, viewOn, WHOLE } from "../map_view.js";

const bounds = [0, 0, 10, 10];
const size = { width: 400, height: 300 };
const quantised = (points) => Uint16Array.from(points.flat(), (v) => (v / 10) * 65535);
// Three clips; in B the first two are far from where they are in A.
const maps = [[[1, 1], [2, 1.5], [9, 9]], [[4, 6], [5, 5], [9, 9]]].map(quantised);
const panesIn = (view) =>
  maps.map((map) => {
    const [xs, ys] = placed(map, bounds, view, size);
    return { xs, ys, ...size };
  });

test("all of a map fits into its pane, the right way up", () => {
  const [xs, ys] = placed(quantised([[0, 0], [10, 10]]), bounds, WHOLE, { ...size, ratio: 2 });
  assert.deepEqual([...xs], [2 * (200 - 136), 2 * (200 + 136)]);
  assert.deepEqual([...ys], [2 * (300 - 14), 2 * 14]);
});

test("the chosen clips fill the panes and each is inside all of them", () => {
  const panes = panesIn(viewOn([0, 1], panesIn(WHOLE)));
  const all = (places) => panes.flatMap((pane) => [...pane[places].slice(0, 2)]);
  for (const [places, end] of [["xs", 400], ["ys", 300]])
    assert.ok(all(places).every((at) => at > 27.9 && at < end - 27.9), `${places}: ${all(places)}`);
  const [low, high] = [Math.min(...all("ys")), Math.max(...all("ys"))];
  assert.ok(Math.abs(high - low - (300 - 56)) < 0.1, `${low} to ${high} do not fill the pane`);
});

test("a single place is seen no closer than the closest, in the middle", () => {
  const view = viewOn([2], panesIn(WHOLE));
  assert.equal(view.scale, 60);
  const [{ xs, ys }] = panesIn(view);
  assert.ok(Math.abs(xs[2] - 200) < 0.1 && Math.abs(ys[2] - 150) < 0.1);
});
