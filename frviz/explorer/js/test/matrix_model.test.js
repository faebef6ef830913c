import assert from "node:assert/strict";
import { test } from "node:test";
import { areaWords, cellWords, fitted, matrixCells, matrixLines, shorten, shortP, spanOf } from "../matrix_model.js";
import { smallData } from "./fixtures.js";

test("all classes stand in the order of their clusters", () => {
  const data = smallData();
  const lines = matrixLines(data, "all", -1);
  assert.deepEqual(lines.rows.map((row) => row.name), ["wave", "write", "read"]);
  const cells = matrixCells(data, lines);
  assert.deepEqual([...cells.a], [1, 0, 1, 0, 1, 2, 0, 1, 2]);
  assert.deepEqual([...cells.b], [1, 0, 1, 0, 2, 1, 1, 0, 2]);
  assert.deepEqual([...cells.support], [2, 3, 3]);
});

test("clusters are summed, no clip is lost", () => {
  const data = smallData();
  const lines = matrixLines(data, "clusters", -1);
  assert.deepEqual(lines.rows.map((row) => row.name), ["wave", "write + 1"]);
  assert.deepEqual([...matrixCells(data, lines).a], [1, 1, 0, 6]);
});

test("a group has a last column for all other classes", () => {
  const data = smallData();
  const lines = matrixLines(data, "group", 2);
  assert.deepEqual(lines.rows.map((row) => row.name), ["wave", "read"]);
  assert.deepEqual(lines.columns.map((column) => column.name), ["wave", "read", "other classes"]);
  assert.deepEqual([...matrixCells(data, lines).a], [1, 1, 0, 0, 2, 1]);
  assert.equal(matrixLines(data, "group", -1).rows.length, 3); // no anchor: all classes
});

test("a cell is told in words", () => {
  const data = smallData();
  const [write, read] = [0, 1].map((k) => ({ classes: [k], name: data.classes[k] }));
  assert.deepEqual(cellWords(data, write, read, 2, 1, 3), [
    "write taken for read", "plain: 2 of 3 (66.7 %)", "FR Head: 1 of 3 (33.3 %), \u22121", "p = 0.50, corrected for all cells 1.0",
  ]);
  assert.equal(cellWords(data, write, write, 1, 1, 3)[0], "write: right");
  assert.equal(cellWords(data, write, read, 0, 0, 0)[1], "plain: 0 of 0 (no clips)");
});

test("names are shortened at their end, p values as people write them", () => {
  assert.equal(shorten("drink water", 20), "drink water");
  assert.equal(shorten("drink water", 7), "drink\u2026");
  const widthOf = (text) => 10 * text.length;
  assert.equal(fitted("drink water", 110, widthOf), "drink water");
  assert.equal(fitted("drink water", 109, widthOf), "drink wat\u2026");
  assert.equal(fitted("drink water", 0, widthOf), "d\u2026");
  assert.equal(fitted("drink water + 3", 110, widthOf, " + 3"), "drink\u2026 + 3"); // how many is kept
  assert.equal(shortP(0.0312), "0.031");
  assert.equal(shortP(0.00004), "4e-5");
  assert.equal(shortP(NaN), "unknown");
});

test("what B changed is tested in every cell, of single classes and of several", () => {
  const data = smallData();
  const { p } = matrixCells(data, matrixLines(data, "all", -1)); // order: wave, write, read
  // write taken for read: clips 1 and 2 by A, 2 by B: one clip by A alone, p = 1
  assert.equal(p[1 * 3 + 2], 1);
  const clusters = matrixCells(data, matrixLines(data, "clusters", -1)).p;
  assert.equal(clusters.length, 4);
  assert.equal(clusters[2], 1); // clip 5 alone goes to wave, by B
});

test("what is chosen is named: a cell, a change, several classes", () => {
  const data = smallData();
  const [wave, writes] = matrixLines(data, "clusters", -1).rows;
  const write = { classes: [0], name: "write" };
  assert.equal(areaWords(data, { row: write, column: wave, side: "diff" }, 7), "B \u2212 A: write \u2192 wave, 7 clips differ");
  assert.equal(areaWords(data, { row: write, column: write, side: "diff" }, 1), "B \u2212 A: write right, 1 clip differs");
  assert.equal(areaWords(data, { row: writes, column: wave, side: "b" }, 2), "write + 1 \u2192 wave (FR Head)");
  assert.equal(areaWords(smallData({ names: ["plain"] }), { row: write, column: wave, side: "a" }, 2), "write \u2192 wave");
});

test("classes are outlined where they stand side by side, and nowhere else", () => {
  const data = smallData();
  const { rows } = matrixLines(data, "all", -1); // wave, write, read
  assert.deepEqual(spanOf(rows, [0]), [1, 1]);
  assert.deepEqual(spanOf(rows, [0, 1]), [1, 2]);
  assert.equal(spanOf(rows, [2, 1]), null); // write stands between them
  assert.deepEqual(spanOf(matrixLines(data, "clusters", -1).rows, [1]), [1, 1]); // the cluster it is in
  assert.equal(spanOf(matrixLines(data, "group", 2).rows, [0]), null); // not of the group
});
