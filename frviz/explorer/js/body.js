// Draws bodies on a canvas: floor, trails, bones from far to near, joints, head.

import { poseAt } from "./clip.js";
import { headOf, jointColours, mix, stepOf, trailJoints, valueScale } from "./looks.js";
import { extentOf, farToNear, floorLines, project } from "./projection.js";
import { bodySize } from "./posture.js";

const TRAIL = 12; // frames that a trail goes back
const PALER = 0.42; // how much of the page a second person takes on
const SHADES = 8; // steps by which the far end of a body fades
const [ON_LIGHT, ON_DARK] = [false, true].map((dark) => valueScale(dark));

/** What of a clip does not change while it plays. */
export class Body {
  /**
   * @param {import("./clip.js").Clip} clip
   * @param {import("./looks.js").Skeleton} skeleton
   */
  constructor(clip, skeleton) {
    this.clip = clip;
    this.skeleton = skeleton;
    this.extent = extentOf(clip);
    this.bone = bodySize(clip, skeleton);
    this.colours = jointColours(skeleton);
    this.head = headOf(skeleton);
    this.trails = trailJoints(skeleton);
    this.pose = new Float32Array(clip.M * clip.V * clip.C);
    this.points = new Float32Array(clip.M * clip.V * 3);
    this.shades = new Map();
  }

  /**
   * @param {CanvasRenderingContext2D} ctx
   * @param {{time: number, camera: import("./projection.js").Camera,
   *   view: import("./projection.js").View, room: {radius: number, half: number},
   *   page: string, line: string, muted: string, dark: boolean, trails: boolean,
   *   values: Float32Array|null, most: number}} how page, line, muted: "#rrggbb";
   *   values: one a joint, drawn as colours up to `most`
   * @returns {boolean} whether anybody is there
   */
  draw(ctx, how) {
    const { clip, pose, points } = this;
    ctx.lineCap = ctx.lineJoin = "round";
    this.#floor(ctx, how);
    if (how.trails) this.#trails(ctx, how);
    project(poseAt(clip, how.time, pose), clip.C, how.camera, how.view, points);
    const order = farToNear(points, this.skeleton.bones, clip.V);
    for (const { person, bone, joint, depth } of order)
      if (joint === undefined) this.#bone(ctx, how, person, bone, depth);
      else this.#joint(ctx, how, person, joint, depth);
    return order.length > 0;
  }

  /** Where a joint is drawn, or null. */
  place(person, joint) {
    const at = 3 * (person * this.clip.V + joint);
    return Number.isNaN(this.points[at]) ? null : [this.points[at], this.points[at + 1]];
  }

  #floor(ctx, { camera, view, room, line }) {
    const { points, channels } = floorLines(this.extent, room, [view.origin[0], view.origin[2]]);
    const ends = project(points, channels, camera, view, new Float32Array((points.length / channels) * 3));
    ctx.strokeStyle = line;
    ctx.lineWidth = 0.75;
    ctx.beginPath();
    for (let i = 0; i < ends.length; i += 6) {
      ctx.moveTo(ends[i], ends[i + 1]);
      ctx.lineTo(ends[i + 3], ends[i + 4]);
    }
    ctx.stroke();
  }

  /** The last frames' ways of hands and feet: thinner and paler the longer ago. */
  #trails(ctx, how) {
    const { clip } = this;
    let before = null;
    for (let ago = Math.min(TRAIL, how.time); ago >= 0; ago = ago > 0 && ago < 1 ? 0 : ago - 1) {
      const now = project(poseAt(clip, how.time - ago, this.pose), clip.C, how.camera, how.view, new Float32Array(this.points.length));
      const fresh = 1 - ago / TRAIL;
      ctx.lineWidth = 0.6 + 1.6 * fresh;
      for (let m = 0; before && m < clip.M; m += 1)
        for (const v of this.trails) {
          const at = 3 * (m * clip.V + v);
          if (Number.isNaN(now[at] + before[at])) continue;
          // Where colours are values, a way has none.
          ctx.strokeStyle = mix(how.page, how.values ? how.muted : this.colours[v], (m ? 0.35 : 0.65) * fresh);
          ctx.beginPath();
          ctx.moveTo(before[at], before[at + 1]);
          ctx.lineTo(now[at], now[at + 1]);
          ctx.stroke();
        }
      before = now;
    }
  }

  #bone(ctx, how, person, bone, depth) {
    const { points, skeleton, clip } = this;
    const [child, parent] = skeleton.bones[bone];
    const [a, b] = [3 * (person * clip.V + child), 3 * (person * clip.V + parent)];
    const [dx, dy] = [points[b] - points[a], points[b + 1] - points[a + 1]];
    const length = Math.hypot(dx, dy);
    const start = child === this.head ? this.#headRadius(how) / length : 0; // a neck ends at the chin
    if (!(start < 1)) return;
    const width = this.#width(how) * (1 - 0.2 * Math.max(-1, Math.min(1, this.#relative(depth, how))));
    const stroke = (from, to, cap, colour, wide) => {
      ctx.beginPath();
      ctx.moveTo(points[a] + from * dx, points[a + 1] + from * dy);
      ctx.lineTo(points[a] + to * dx, points[a + 1] + to * dy);
      [ctx.lineCap, ctx.strokeStyle, ctx.lineWidth] = [cap, colour, wide];
      ctx.stroke();
    };
    // A rim in the page's colour shows which bone is in front; not at its ends, where others meet it.
    const rim = Math.min(0.5, (1.2 * width) / length);
    if (rim < 0.4) stroke(Math.max(start, rim), 1 - rim, "butt", how.page, width + 2.4);
    stroke(start, 1, "round", this.#colour(how, person, child, parent, depth), width);
  }

  #joint(ctx, how, person, joint, depth) {
    const { points, clip } = this;
    const at = 3 * (person * clip.V + joint);
    const head = joint === this.head;
    const radius = head ? this.#headRadius(how) : this.#width(how) * (how.values ? 0.95 : 0.72);
    ctx.beginPath();
    ctx.arc(points[at], points[at + 1], radius, 0, 2 * Math.PI);
    if (head) {
      ctx.strokeStyle = how.page;
      ctx.lineWidth = 2;
      ctx.stroke();
    }
    ctx.fillStyle = this.#colour(how, person, joint, joint, depth);
    ctx.fill();
  }

  #headRadius({ view }) {
    return Math.max(3, 0.46 * this.bone * view.scale);
  }

  /** Pixels of a bone in the middle of the room. */
  #width({ view }) {
    return Math.min(7, Math.max(1.8, 0.19 * this.bone * view.scale));
  }

  /** Depth in body heights, about -1 (near) to 1 (far). */
  #relative(depth, { view, room }) {
    return view.flat ? -1 : (depth * view.radius) / room.half;
  }

  /** By value, or by part: then the far end and further persons take on the page's colour. */
  #colour(how, person, child, parent, depth) {
    if (how.values) return this.#valued(how, child, parent);
    const own = this.colours[child];
    const far = Math.round(SHADES * Math.max(0, Math.min(1, 0.35 + 0.65 * this.#relative(depth, how))));
    const key = `${own}${how.page}${person ? 1 : 0}${far}`;
    if (this.shades.size > 4000) this.shades.clear();
    if (!this.shades.has(key)) {
      const paler = mix(own, how.page, person ? PALER : 0);
      this.shades.set(key, mix(paler, how.page, 0.36 * (far / SHADES)));
    }
    return this.shades.get(key);
  }

  #valued({ values, most, dark, line }, child, parent) {
    const value = (values[child] + values[parent]) / 2;
    return Number.isNaN(value) ? mix(line, dark ? "#ffffff" : "#000000", 0.15) : (dark ? ON_DARK : ON_LIGHT)[stepOf(value, most)];
  }
}
