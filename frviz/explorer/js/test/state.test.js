import assert from "node:assert/strict";
import { test } from "node:test";
import { State } from "../state.js";
import { FakeModel, packed, smallData } from "./fixtures.js";

const made = (traits) => {
  const model = new FakeModel(traits);
  return { model, state: new State(smallData(), model) };
};

const said = () => new Promise((resolve) => setTimeout(resolve, 5));

test("a cell's clips are chosen and the host hears all of it in one message", async () => {
  const { model, state } = made();
  const heard = [];
  state.on("cell selection", () => heard.push("once"));
  state.setCell(0, 1, "b");
  assert.deepEqual([...state.selection], [2]);
  assert.equal(state.focus, 2);
  assert.deepEqual(heard, ["once"]);
  assert.equal(model.saved.length, 0); // the views come first
  await said();
  assert.equal(model.saved.length, 1);
  assert.deepEqual(model.saved[0], { selection: ["clip2"], anchor: "", cell: ["write", "read"], side: "b" });
});

test("an anchor chooses its group; a lasso afterwards keeps the anchor and leaves the cell", async () => {
  const { model, state } = made();
  state.setAnchor(2);
  await said();
  assert.deepEqual(model.traits.selection, ["clip3", "clip4", "clip5", "clip6", "clip7"]);
  state.setCell(2, 1, "a");
  state.setSelection([3, 4]);
  assert.equal(state.anchor, 2);
  assert.equal(state.cell, null);
  await said();
  assert.deepEqual(model.traits, { selection: ["clip3", "clip4"], anchor: "wave", cell: [], side: "a" });
  state.setAnchor(-1);
  await said();
  assert.deepEqual(model.traits.selection, []);
});

test("what the host chose moves the views, without an answer", () => {
  const { model, state } = made({ anchor: "write", selection: ["clip0", "clip9"] });
  assert.equal(state.anchor, 0);
  assert.deepEqual([...state.selection], [0]); // unknown ids are left out
  let heard = 0;
  state.on("selection", () => (heard += 1));
  model.set("selection", ["clip4", "clip1"]);
  assert.deepEqual([...state.selection], [4, 1]);
  assert.equal(state.focus, 4);
  model.set("selection", ["clip4", "clip1"]);
  assert.equal(heard, 1);
  assert.equal(model.saved.length, 0);
});

test("the focus steps through the chosen clips, round and round; through all where none is chosen", () => {
  const { state } = made();
  state.step(1);
  assert.equal(state.focus, 0);
  state.step(-1);
  assert.equal(state.focus, 7);
  state.setSelection([2, 5]);
  assert.equal(state.focus, 5); // broken, so looked at before one that both get wrong
  state.step(1);
  assert.equal(state.focus, 2);
  state.step(1);
  assert.equal(state.focus, 5);
});

test("a question is answered by its own answer alone", async () => {
  const { model, state } = made();
  const answer = state.ask({ kind: "details", id: "clip1" });
  const other = state.ask({ kind: "details", id: "clip2" });
  const [{ request }, { request: second }] = model.sent;
  assert.notEqual(request, second);
  const payload = new DataView(packed({ kind: "details", arrays: {} }, []).buffer);
  model.fire("msg:custom", { kind: "details", request: 12 }, [payload]); // of another page
  model.fire("msg:custom", { kind: "details", request: second, error: "no such clip" }, []);
  model.fire("msg:custom", { kind: "details", request, error: null }, [payload]);
  assert.equal((await answer).header.kind, "details");
  await assert.rejects(other, /no such clip/);
});

test("a state that is gone has said all and hears nothing", () => {
  const { model, state } = made();
  state.setSelection([1]);
  state.destroy();
  assert.deepEqual(model.traits.selection, ["clip1"]);
  model.set("selection", ["clip4"]);
  assert.deepEqual([...state.selection], [1]);
});

test("a change is chosen like a cell: the page knows of which, the host hears of its clips", async () => {
  const { model, state } = made({ cell: ["write", "read"], selection: ["clip1", "clip2"] });
  const heard = [];
  state.on("cell", () => heard.push("cell"));
  const area = { row: { classes: [0], name: "write" }, column: { classes: [1], name: "read" }, side: "diff" };
  state.setArea(area, [1]);
  assert.equal(state.area, area);
  assert.equal(state.cell, null);
  assert.deepEqual(heard, ["cell"]);
  await said();
  assert.deepEqual(model.traits, { selection: ["clip1"], anchor: "", cell: [], side: "a" });
  model.set("selection", ["clip1"]); // the same clips: it is still that cell
  assert.equal(state.area, area);
  model.set("selection", ["clip2"]);
  assert.equal(state.area, null);
});

test("whatever is chosen next leaves the area", () => {
  const { state } = made();
  const area = { row: { classes: [0], name: "write" }, column: { classes: [1], name: "read" }, side: "diff" };
  for (const next of [() => state.setSelection([1]), () => state.setAnchor(-1), () => state.setCell(0, 1, "b"), () => state.clear()]) {
    state.setArea(area, [1]);
    next();
    assert.equal(state.area, null);
  }
});
