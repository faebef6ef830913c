import assert from "node:assert/strict";
import { test } from "node:test";
import { matrixLines } from "../matrix_model.js";
import { plain } from "../plain.js";
import { smallData } from "./fixtures.js";

test("what turns the writing around or cannot be seen is shown, all else stays", () => {
  assert.equal(plain("\u202Eevil\u2066 \u0007\nB"), "?evil? ??B");
  for (const name of ["caf\u00E9", "\u0643\u062A\u0628", "a \u2192 b", "\u{1F600}"]) assert.equal(plain(name), name);
  assert.equal(plain(3), "3");
});

test("names of the matrix are shown so; the classes themselves stay what Python calls them", () => {
  const data = smallData({ classes: ["\u202Ewrite", "read", "wave"] });
  for (const show of ["all", "clusters", "group"])
    assert.ok(matrixLines(data, show, 0).rows.some((line) => line.name.startsWith("?write")));
  assert.equal(data.name(0), "\u202Ewrite");
});
