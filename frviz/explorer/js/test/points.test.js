import assert from "node:assert/strict";
import { test } from "node:test";
import { drawManyPoints, drawPoints, glyph, paint, pointRadius } from "../points.js";

const blank = (width, height) => {
  const image = { data: new Uint8ClampedArray(4 * width * height), width, height };
  paint(image, [10, 20, 30]);
  return image;
};
const pixel = ({ data, width }, x, y) => [...data.slice(4 * (y * width + x), 4 * (y * width + x) + 4)];
const style = { glyphs: [glyph("disc", 2)], glyphOf: Uint8Array.of(0, 0), palette: [[200, 100, 0]], colourOf: Uint8Array.of(0, 0), alpha: 1 };

test("a disc covers its area, a ring leaves its middle free", () => {
  const area = (shape) => glyph(shape, 6).cover.reduce((sum, value) => sum + value / 255, 0);
  assert.ok(Math.abs(area("disc") - Math.PI * 36) < 3);
  const { size, cover } = glyph("ring", 6);
  assert.equal(cover[(size * size - 1) / 2], 0);
  assert.ok(area("ring") > 0.4 * Math.PI * 36);
});

test("points are drawn where they are, in their colour, over what is there", () => {
  const image = blank(11, 9);
  drawPoints(image, [5], [4], [0], style);
  assert.deepEqual(pixel(image, 5, 4), [200, 100, 0, 255]);
  assert.deepEqual(pixel(image, 0, 0), [10, 20, 30, 255]);
  drawPoints(image, [5], [4], [0], { ...style, palette: [[0, 0, 0]], alpha: 0.5 });
  assert.deepEqual(pixel(image, 5, 4), [100, 50, 0, 255]);
});

test("many points: whole pixels, mixed with the background, the last on top", () => {
  const image = blank(11, 12);
  const two = { ...style, palette: [[200, 100, 0], [0, 0, 0]], colourOf: Uint8Array.of(0, 1), alpha: 0.5 };
  drawManyPoints(image, [5, 5], [4, 6], [0, 1], two, [10, 20, 30]);
  assert.deepEqual(pixel(image, 5, 3), [105, 60, 15, 255]);
  assert.deepEqual(pixel(image, 5, 6), [5, 10, 15, 255]);
  assert.deepEqual(pixel(image, 5, 4), [5, 10, 15, 255]);
  assert.deepEqual(pixel(image, 2, 4), [10, 20, 30, 255]);
  const area = [...glyph("disc", 2).cover].filter((value) => value > 127).length;
  drawManyPoints(image, [5], [4], [0], { ...style, palette: [[1, 2, 3]] }, [0, 0, 0]);
  let found = 0;
  for (let at = 0; at < image.data.length; at += 4) found += image.data[at] === 1 && image.data[at + 1] === 2;
  assert.equal(found, area);
});

test("points that are not asked for, or off the edge, leave nothing", () => {
  const image = blank(11, 9);
  const before = image.data.slice();
  for (const draw of [drawPoints, drawManyPoints]) {
    draw(image, [5, -3], [4, 4], [1], style, [0, 0, 0]);
    draw(image, [12, 0], [20, 0], [0, 1], style, [0, 0, 0]);
  }
  assert.deepEqual(image.data, before);
});

test("points are smaller where there are many", () => {
  assert.equal(pointRadius(10), 4.5);
  assert.ok(pointRadius(500) > pointRadius(5000) && pointRadius(5000) > pointRadius(50_919));
  assert.ok(pointRadius(10 ** 7) >= 1.2);
});
