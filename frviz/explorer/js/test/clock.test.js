import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock } from "../clock.js";

/** A clock on a screen of our own: `screen.tick(now)` is a frame of it. */
function onScreen(options) {
  const screen = { waiting: null, drawn: [], changes: 0 };
  let count = 0;
  const clock = new Clock({
    fps: 30,
    draw: (time) => screen.drawn.push(time),
    change: () => (screen.changes += 1),
    request: (fn) => ((screen.waiting = fn), (count += 1)),
    cancel: () => (screen.waiting = null),
    ...options,
  });
  screen.tick = (now) => {
    const fn = screen.waiting;
    screen.waiting = null;
    fn?.(now);
  };
  return [clock, screen];
}
const close = (value, expected) => assert.ok(Math.abs(value - expected) < 1e-9, `${value} is not ${expected}`);

test("time passes by the wall clock: 100 ms are 3 frames at 30 a second", () => {
  const [clock, screen] = onScreen({ length: 50 });
  clock.play();
  screen.tick(1000);
  screen.tick(1100);
  close(clock.time, 3);
  clock.speed = 0.25;
  screen.tick(1200);
  close(clock.time, 3.75);
  assert.equal(clock.frame, 4);
  assert.equal(screen.drawn.length, 2); // the first tick changed nothing
});

test("a stall does not throw the clip ahead", () => {
  const [clock, screen] = onScreen({ length: 500 });
  clock.play();
  screen.tick(0);
  screen.tick(60_000);
  close(clock.time, 7.5);
});

test("a loop begins anew, after its last frame has been seen", () => {
  const [clock, screen] = onScreen({ length: 4 });
  clock.play();
  screen.tick(0);
  screen.tick(110);
  close(clock.time, 3.3);
  assert.equal(clock.frame, 3);
  screen.tick(150);
  close(clock.time, 0.5);
});

test("without a loop it stops on the last frame, and plays from the first again", () => {
  const [clock, screen] = onScreen({ length: 4 });
  clock.loop = false;
  clock.play();
  screen.tick(0);
  screen.tick(240);
  assert.deepEqual([clock.time, clock.playing, screen.waiting], [3, false, null]);
  clock.play();
  assert.deepEqual([clock.time, clock.playing], [0, true]);
  assert.equal(screen.changes, 3);
});

test("it asks for frames of the screen only while it plays and is seen", () => {
  const [clock, screen] = onScreen({ length: 9 });
  assert.equal(screen.waiting, null);
  clock.play();
  assert.ok(screen.waiting);
  clock.hold(true);
  assert.equal(screen.waiting, null);
  assert.equal(clock.playing, true);
  clock.hold(false);
  assert.ok(screen.waiting);
  clock.pause();
  assert.equal(screen.waiting, null);
  clock.hold(true);
  clock.play();
  assert.equal(screen.waiting, null);
});

test("steps stop it on whole frames within the clip", () => {
  const [clock] = onScreen({ length: 9 });
  clock.seek(3.4);
  clock.step(1);
  assert.equal(clock.time, 4);
  clock.step(-10);
  assert.equal(clock.time, 0);
  clock.step(100);
  assert.equal(clock.time, 8);
});

test("a clip of one frame does not play; a shorter clip keeps the time within", () => {
  const [clock, screen] = onScreen({ length: 1 });
  clock.play();
  assert.equal(clock.playing, false);
  clock.resize(10);
  clock.seek(9);
  clock.resize(5);
  assert.equal(clock.time, 4);
  clock.destroy();
  const before = screen.drawn.length;
  clock.seek(0);
  assert.equal(screen.drawn.length, before);
});
