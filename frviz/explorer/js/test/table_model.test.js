import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf, fileColumns, fileName, headAndTail, rowsOf, toCsv } from "../table_model.js";
import { smallData } from "./fixtures.js";

const none = { key: "", down: false };

test("columns follow what is known", () => {
  const keys = (data) => columnsOf(data).map((column) => column.key);
  assert.deepEqual(keys(smallData()), ["id", "class", "predicted_a", "predicted_b", "outcome", "p_true_a"]);
  assert.deepEqual(keys(smallData({ names: ["plain"] }, { p_true_a: undefined, copy: Uint8Array.of(1) })), ["id", "class", "predicted_a", "outcome", "copy"]);
});

test("which clips play is told where some do and some do not", () => {
  const plays = (carried) => columnsOf(smallData({ carried })).find(({ key }) => key === "carried");
  assert.equal(plays([]), undefined); // nothing plays
  assert.equal(plays(null), undefined); // everything may
  assert.deepEqual([0, 1].map(plays([1]).text), ["", "yes"]);
});

test("of a long name the end stays: it often tells names apart", () => {
  assert.deepEqual(headAndTail("pick up with one hand"), ["pick up with ", "one hand"]);
  assert.deepEqual(headAndTail("pick up with two hands"), ["pick up with ", "two hands"]);
  assert.deepEqual(headAndTail("S001C001P001R001A012"), ["S001C001P0", "01R001A012"]);
  assert.deepEqual(headAndTail("a02_s02_e00_v03"), ["a02_s02_", "e00_v03"]);
  assert.deepEqual(headAndTail("drop trash"), ["drop trash", ""]);
  assert.equal(headAndTail("\u{1F44B}".repeat(30)).join(""), "\u{1F44B}".repeat(30));
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

// As in Python's samples_table; tests/frviz/explorer/test_in_page.py holds one against the other.
test("a file has the names and the values of Python's table", () => {
  const more = {
    p_true_b: new Uint16Array(8),
    top_p_a: Uint16Array.from({ length: 16 }, (_, at) => (at === 2 ? 32768 : 65535)),
    copy: Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 0),
    status_a: Uint8Array.of(0, 1, 2, 255, 0, 0, 0, 0),
    learnt_at_a: Uint16Array.of(12, 65535, 65535, 65535, 1, 1, 1, 1),
    forgettings_a: Uint16Array.of(0, 3, 0, 0, 0, 0, 0, 0),
    map0_a: new Uint16Array(16),
    map0_b: Uint16Array.of(0, 0, 65535, 65535, ...Array(12).fill(0)), // 3 and 4 away
  };
  const maps = [{ arrays: { a: "map0_a", b: "map0_b", bounds: [-1, -2, 2, 2] } }];
  const lines = (data) => toCsv([0, 1, 3], fileColumns(data)).split("\r\n");
  const arrays = { top_p_a: { shape: [8, 2] } };
  assert.deepEqual(lines(smallData({ maps, arrays }, more)), [
    "sample_id,class,a_predicted,b_predicted,outcome,a_confidence,a_p_true,b_p_true,copy,a_status,a_learnt_at,a_forgettings,displacement",
    "clip0,write,write,write,both right,1.00000,0.91554,0.00000,False,learnt,12,0,0.00000",
    "clip1,write,read,write,fixed,0.50001,0.30518,0.00000,True,forgotten,,3,5.00000",
    "clip3,read,read,read,both right,1.00000,0.76295,0.00000,False,,,,0.00000",
    "",
  ]);
  const [head] = lines(smallData({ names: ["=1+1"], maps, arrays }, more));
  assert.equal(head, "sample_id,class,predicted,outcome,confidence,p_true,copy,status,learnt_at,forgettings");
});

test("a file is called after its models, whatever they are called", () => {
  assert.equal(fileName(["plain model", "FR Head"]), "clips_plain-model_FR-Head.csv");
  assert.equal(fileName(["../../etc/x", '<a href="b">']), "clips_etc-x_a-href-b.csv");
  assert.equal(fileName(["CTR-GCN v1.2", "\u00FCbung"]), "clips_CTR-GCN-v1.2_\u00FCbung.csv");
  assert.equal(fileName(["//", "x".repeat(200)]), `clips_${"x".repeat(60)}.csv`);
});
