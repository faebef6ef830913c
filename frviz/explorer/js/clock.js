// The time of a deck: frames by the clock on the wall, not by how often the screen is drawn.

const LONGEST = 250; // ms: what a stall (a busy page, a tab in the background) may move the clip by

/** Plays, stops, seeks. `draw(time)` is called when the time has changed, and at no other time. */
export class Clock {
  /**
   * @param {{length: number, fps?: number, draw: (time: number) => void, change?: () => void,
   *   request?: (fn: (now: number) => void) => number, cancel?: (id: number) => void}} options
   *   change: called after it begins or stops to play
   */
  constructor({ length, fps = 30, draw, change = () => {}, request, cancel }) {
    Object.assign(this, { length, fps, draw, change });
    this.request = request ?? ((fn) => requestAnimationFrame(fn));
    this.cancel = cancel ?? ((id) => cancelAnimationFrame(id));
    this.time = 0; // in frames, with fractions
    this.speed = 1;
    this.loop = true;
    this.playing = false;
    this.held = false; // out of sight: it plays on when it is seen again
    this.pending = 0;
    this.before = NaN;
  }

  get last() {
    return Math.max(0, this.length - 1);
  }

  /** The frame that is shown: the nearest one. */
  get frame() {
    return Math.min(this.last, Math.round(this.time));
  }

  play() {
    if (this.playing || this.length < 2) return;
    if (this.time >= this.last) this.#move(0);
    this.playing = true;
    this.#run();
    this.change();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.#run();
    this.change();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Out of sight, or in sight again. */
  hold(held) {
    this.held = held;
    this.#run();
  }

  seek(time) {
    this.#move(Math.min(this.last, Math.max(0, time)));
  }

  /** Stops at a frame `by` from this one. */
  step(by) {
    this.pause();
    this.seek(this.frame + by);
  }

  /** Another length, such as that of another clip. */
  resize(length) {
    this.length = length;
    this.#move(Math.min(this.time, this.last), true);
  }

  destroy() {
    this.playing = false;
    this.#run();
    this.draw = this.change = () => {};
  }

  /** The animation runs exactly while it is needed. */
  #run() {
    const needed = this.playing && !this.held;
    if (needed === Boolean(this.pending)) return;
    if (!needed) {
      this.cancel(this.pending);
      this.pending = 0;
      return;
    }
    this.before = NaN;
    this.pending = this.request((now) => this.#tick(now));
  }

  #tick(now) {
    const passed = Number.isNaN(this.before) ? 0 : Math.min(LONGEST, Math.max(0, now - this.before));
    this.before = now;
    this.pending = this.request((later) => this.#tick(later));
    let time = this.time + (passed / 1000) * this.fps * this.speed;
    // The last frame is shown as long as any other before the clip begins anew.
    if (this.loop && time >= this.length) time %= this.length;
    this.#move(this.loop ? time : Math.min(time, this.last));
    if (!this.loop && time >= this.last) this.pause();
  }

  #move(time, always = false) {
    if (time === this.time && !always) return;
    this.time = time;
    this.draw(time);
  }
}
