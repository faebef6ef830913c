import assert from "node:assert/strict";
import { test } from "node:test";

import { nextMethod } from "../map_choice.js";

test("another space keeps the method where it has it", () => {
  const maps = [
    { space: "backbone", method: "tsne" },
    { space: "backbone", method: "pca" },
    { space: "fin.spatial", method: "umap" },
    { space: "fin.spatial", method: "pca" },
  ];
  assert.equal(nextMethod(maps, "fin.spatial", "pca"), "pca");
  assert.equal(nextMethod(maps, "fin.spatial", "tsne"), "umap");
  assert.equal(nextMethod(maps, "backbone", ""), "tsne");
});
