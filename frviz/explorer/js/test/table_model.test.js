import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf, rowsOf, toCsv } from "../table_model.js";
import { smallData } from "./fixtures.js";

const none = { key: "", down: false };

test("columns follow what is known", () => {
  const keys = (data) => columnsOf(data).map((column) => column.key);
  assert.deepEqual(keys(smallData()), ["id", "class", "predicted_a", "predicted_b", "outcome", "p_true_a"]);
  assert.deepEqual(keys(smallData({ names: ["plain"] }, { p_true_a: undefined, copy: Uint8Array.of(1) })), ["id", "class", "predicted_a", "outcome", "copy"]);
});

test("what changed comes first, ties in the order of the clips", () => {
  const data = smallData();
  const columns = columnsOf(data);
  assert.deepEqual(rowsOf(data, [], "", columns, { key: "outcome", down: true }), [5, 1, 4, 2, 7, 0, 3, 6]);
  assert.deepEqual(rowsOf(data, [7, 0, 5], "", columns, { key: "p_true_a", down: false }), [7, 5, 0]);
});

test("every word of the filter must be in the id or a class", () => {
  const data = smallData();
  const columns = columnsOf(data);
  assert.deepEqual(rowsOf(data, [], "WAVE", columns, none), [5, 6, 7]); // 5: B says so
  assert.deepEqual(rowsOf(data, [], "wave clip7", columns, none), [7]);
  assert.deepEqual(rowsOf(data, [], "nothing", columns, none), []);
});

test("training is told by the epoch from which on a clip was right, or by how it ended", () => {
  const data = smallData({}, { status_a: Uint8Array.of(0, 1, 2, 255), learnt_at_a: Uint16Array.of(12, 65535, 65535, 65535) });
  const column = columnsOf(data).find(({ key }) => key === "status_a");
  assert.deepEqual([0, 1, 2, 3].map(column.text), ["epoch 12", "forgotten", "never learnt", ""]);
});

test("CSV quotes what needs it and starts no formula", () => {
  const columns = [{ title: "clip", text: (i) => ["a,b", 'say "hi"', "=1+1", "-2.5", "@x"][i] }];
  assert.equal(toCsv([0, 1, 2, 3, 4], columns), "clip\r\n\"a,b\"\r\n\"say \"\"hi\"\"\"\r\n'=1+1\r\n-2.5\r\n'@x\r\n");
});

test("a file says whose a column is, each head once; a model's name starts no formula", () => {
  const more = { p_true_b: new Uint16Array(8), status_a: new Uint8Array(8), learnt_at_a: new Uint16Array(8), status_b: new Uint8Array(8), learnt_at_b: new Uint16Array(8) };
  const headOf = (names) => toCsv([], columnsOf(smallData({ names }, more))).trim();
  assert.equal(
    headOf(["plain", "FR Head"]),
    "clip,true class,a_predicted (plain),b_predicted (FR Head),outcome,a_p_true (plain),b_p_true (FR Head),a_training (plain),b_training (FR Head)",
  );
  assert.equal(new Set(headOf(["same", "same"]).split(",")).size, 9);
  assert.equal(headOf(["=1+1"]), "clip,true class,predicted (=1+1),outcome,p_true (=1+1),training (=1+1)");
  assert.match(headOf(["joint, bone", 'say "hi"']), /,"a_predicted \(joint, bone\)","b_predicted \(say ""hi""\)",/);
});
