import assert from "node:assert/strict";
import { test } from "node:test";
import { mcnemarP, wilson } from "../statistics.js";

test("the exact McNemar test, by hand", () => {
  assert.equal(mcnemarP(0, 0), 1);
  assert.ok(Math.abs(mcnemarP(0, 5) - 2 / 32) < 1e-12);
  assert.ok(Math.abs(mcnemarP(1, 5) - (2 * (1 + 6)) / 64) < 1e-12);
  assert.ok(Math.abs(mcnemarP(8, 1) - mcnemarP(1, 8)) < 1e-15);
  assert.ok(mcnemarP(748, 892) > 3e-4 && mcnemarP(748, 892) < 5e-4); // scipy: 0.00041
  assert.equal(mcnemarP(4000, 4000), 1);
});

test("Wilson's interval is that of scipy", () => {
  // binomtest(k, n).proportion_ci(method="wilson")
  const known = [[7, 10, [0.3967781475, 0.8922087326]], [0, 24, [0.0000000000, 0.1379762047]], [24, 24, [0.8620237953, 1.0000000000]], [905, 1104, [0.7959749642, 0.8413003375]]];
  for (const [right, clips, limits] of known)
    wilson(right / clips, clips).forEach((limit, end) => assert.ok(Math.abs(limit - limits[end]) < 1e-9));
  assert.equal(wilson(NaN, 10), null);
  assert.equal(wilson(null, 10), null);
  assert.equal(wilson(0, 0), null);
});
