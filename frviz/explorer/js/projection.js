// From a body in a room to points on a screen: an orbiting camera, one scale for several clips.
// As in Python's `clip_strip`: x to the camera's left, y up, z away; azimuth is how far the camera
// walks around the clip to its right, elevation how far it looks down. C = 2 is drawn flat.

const PERSPECTIVE = 0.12; // what is a radius farther away is drawn 12 % smaller
const OVER = 0.03; // radii by which a joint counts as nearer: it covers the ends of its bones
const MARGIN = 14; // pixels
const HEADROOM = 1.12; // a head is drawn around its joint, and what is nearer is drawn larger
const SMOOTH = 2; // frames before and after over which a camera that follows is steadied

/**
 * @typedef {{azimuth: number, elevation: number, zoom: number}} Camera degrees; zoom 1 fits
 * @typedef {{centre: number[], radius: number, half: number, floor: number, flat: boolean,
 *   way: Float32Array, near: number}} Extent radius: reach from the vertical axis through the
 *   centre; half: of the height; floor: lowest y; way (T, 2): x and z of the body's middle through
 *   time; near: reach from there
 * @typedef {{origin: number[], radius: number, scale: number, x: number, y: number, flat: boolean}}
 *   View origin: the place in the room that falls on (x, y) of the screen; scale: pixels a unit
 */

/** @type {Record<string, Camera>} */
export const VIEWS = {
  oblique: { azimuth: 24, elevation: 10, zoom: 1 },
  front: { azimuth: 0, elevation: 0, zoom: 1 },
  side: { azimuth: 90, elevation: 0, zoom: 1 },
  top: { azimuth: 0, elevation: 90, zoom: 1 },
};

/** A camera turned by some degrees; it looks neither from below nor beyond the top. */
export function orbited(camera, right, down) {
  const azimuth = ((((camera.azimuth + right + 180) % 360) + 360) % 360) - 180;
  return { ...camera, azimuth, elevation: Math.min(90, Math.max(-20, camera.elevation + down)) };
}

/** A camera that looks closer (factor > 1) or from farther away. */
export function zoomed(camera, factor) {
  return { ...camera, zoom: Math.min(8, Math.max(0.4, camera.zoom * factor)) };
}

/**
 * The room that a clip needs, over all its frames and from all sides.
 *
 * A few coordinates may stick out, trackers throw joints away: a half per cent up and down, and to
 * the sides the frames of which a body leaves its room (2 %, 5 % where the camera follows).
 * @param {import("./clip.js").Clip} clip
 * @returns {Extent}
 */
export function extentOf(clip) {
  const { C, data } = clip;
  const axes = [0, 1, 2].map((c) => (c < C ? sorted(data, c, C) : Float32Array.of(0)));
  const [low, high] = [axes.map((a) => quantile(a, 0.005)), axes.map((a) => quantile(a, 0.995))];
  const centre = low.map((value, c) => (value + high[c]) / 2);
  const half = (high[1] - low[1]) / 2;
  const way = wayOf(clip, centre);
  const reach = reachFrom(clip, 0.95, (t) => [way[2 * t], way[2 * t + 1]]);
  const radius = reachFrom(clip, 0.98, () => [centre[0], centre[2]]);
  const sizes = { radius: radius || half || 1, near: reach || half || 1, half: half || radius || 1 };
  return { centre, ...sizes, floor: low[1], flat: C === 2, way };
}

/** Known values of a channel in ascending order; one 0 where there is none. */
function sorted(data, channel, channels) {
  const values = [];
  for (let i = channel; i < data.length; i += channels) if (!Number.isNaN(data[i])) values.push(data[i]);
  return values.length ? Float32Array.from(values).sort() : Float32Array.of(0);
}

function quantile(ordered, share) {
  const outside = Math.floor(Math.min(share, 1 - share) * ordered.length);
  return ordered[share < 0.5 ? outside : ordered.length - 1 - outside];
}

/** How far the outermost joint is from a vertical axis that may move, in that share of frames. */
function reachFrom({ T, C, data }, share, axis) {
  const reaches = [];
  const size = data.length / T;
  for (let t = 0; t < T; t += 1) {
    const [x, z] = axis(t);
    let farthest = -1;
    for (let i = t * size; i < (t + 1) * size; i += C) {
      const far = Math.hypot(data[i] - x, C === 3 ? data[i + 2] - z : 0);
      if (far > farthest) farthest = far; // not so for NaN
    }
    if (farthest >= 0) reaches.push(farthest);
  }
  return quantile(Float32Array.from(reaches).sort(), share);
}

/** (T, 2) x and z of the middle of all who are there, steadied; where nobody is, of the clip. */
function wayOf({ T, C, data }, centre) {
  const size = data.length / T;
  const [sums, way] = [new Float64Array(3 * T), new Float32Array(2 * T)];
  for (let i = 0; i < data.length; i += C) {
    if (Number.isNaN(data[i])) continue;
    const at = 3 * Math.floor(i / size);
    sums[at] += data[i];
    sums[at + 1] += C === 3 ? data[i + 2] : 0;
    sums[at + 2] += 1;
  }
  for (let t = 0; t < T; t += 1) {
    let [x, z, frames] = [0, 0, 0];
    for (let s = Math.max(0, t - SMOOTH); s <= Math.min(T - 1, t + SMOOTH); s += 1) {
      if (!sums[3 * s + 2]) continue;
      x += sums[3 * s] / sums[3 * s + 2];
      z += sums[3 * s + 1] / sums[3 * s + 2];
      frames += 1;
    }
    [way[2 * t], way[2 * t + 1]] = frames ? [x / frames, z / frames] : [centre[0], centre[2]];
  }
  return way;
}

/** The room that each of several clips needs: one scale for all, and floors at one height. */
export function common(extents, follow = false) {
  const room = (key) => Math.max(...extents.map((extent) => extent[key]));
  return { radius: room(follow ? "near" : "radius"), half: room("half") };
}

/** The place on the floor that the camera looks at: the clip's centre, or where the body is. */
export function middleOf({ centre, way }, time, follow) {
  if (!follow) return [centre[0], centre[2]];
  const at = Math.min(Math.max(time, 0), way.length / 2 - 1);
  const [first, share] = [2 * Math.floor(at), at % 1];
  const next = Math.min(first + 2, way.length - 2);
  return [0, 1].map((c) => way[first + c] + (way[next + c] - way[first + c]) * share);
}

/**
 * Where a clip falls in a box. The scale depends on no azimuth, so turning does not zoom.
 * @param {Extent} extent of the clip
 * @param {{radius: number, half: number}} room from `common`
 * @param {Camera} camera
 * @param {number} width of the box, pixels
 * @param {number} height
 * @param {number[]} [middle] from `middleOf`
 * @returns {View}
 */
export function viewOf(extent, room, camera, width, height, middle = middleOf(extent)) {
  const down = radians(extent.flat ? 0 : camera.elevation);
  const tall = room.half * Math.cos(down) + room.radius * Math.abs(Math.sin(down));
  const [w, h] = [Math.max(1, width - 2 * MARGIN), Math.max(1, height - 2 * MARGIN)];
  const scale = Math.min(w / (2 * room.radius), h / (2 * tall * HEADROOM)) * camera.zoom;
  const origin = [middle[0], extent.floor + room.half, middle[1]];
  const y = height / 2 + tall * scale * (HEADROOM - 1); // all of it above, none below the floor
  return { origin, radius: room.radius, scale, x: width / 2, y, flat: extent.flat };
}

/**
 * Points of a pose on the screen.
 * @param {Float32Array} pose (P, C) coordinates of P points
 * @param {number} channels C
 * @param {Camera} camera
 * @param {View} view
 * @param {Float32Array} out (P, 3): x to the right, y down (pixels), depth (away, in radii)
 */
export function project(pose, channels, camera, view, out) {
  const { origin, scale, radius, flat } = view;
  const [turn, down] = [radians(camera.azimuth), radians(camera.elevation)];
  const [sinA, cosA, sinE, cosE] = [Math.sin(turn), Math.cos(turn), Math.sin(down), Math.cos(down)];
  for (let i = 0, o = 0; i < pose.length; i += channels, o += 3) {
    const [x, y] = [pose[i] - origin[0], pose[i + 1] - origin[1]];
    if (flat) {
      out[o] = view.x + x * scale;
      out[o + 1] = view.y - y * scale;
      out[o + 2] = Number.isNaN(x) ? NaN : 0;
      continue;
    }
    const z = pose[i + 2] - origin[2];
    const right = z * sinA - x * cosA;
    const away = z * cosA + x * sinA;
    const depth = (away * cosE - y * sinE) / radius;
    const near = scale / Math.max(0.2, 1 + PERSPECTIVE * depth);
    out[o] = view.x + right * near;
    out[o + 1] = view.y - (y * cosE + away * sinE) * near;
    out[o + 2] = depth;
  }
  return out;
}

/**
 * Bones and joints of all persons from far to near; what is not known is left out.
 * @param {Float32Array} points (M, V, 3) from `project`
 * @param {number[][]} bones pairs (child, parent)
 * @param {number} joints V
 * @returns {{person: number, bone?: number, joint?: number, depth: number}[]}
 */
export function farToNear(points, bones, joints) {
  const found = [];
  const persons = points.length / (3 * joints);
  for (let person = 0; person < persons; person += 1) {
    const depthOf = (joint) => points[3 * (person * joints + joint) + 2];
    bones.forEach(([child, parent], bone) => found.push({ person, bone, depth: (depthOf(child) + depthOf(parent)) / 2 }));
    for (let joint = 0; joint < joints; joint += 1) found.push({ person, joint, depth: depthOf(joint) - OVER });
  }
  return found.filter(({ depth }) => !Number.isNaN(depth)).sort((a, b) => b.depth - a.depth);
}

/**
 * Lines of the floor as pairs of points in the room: a grid that stays where it is when the camera
 * follows a body over it, or one line for a flat clip.
 * @param {Extent} extent
 * @param {{radius: number, half: number}} room
 * @param {number[]} middle from `middleOf`
 * @returns {{points: Float32Array, channels: number}} (lines * 2, C)
 */
export function floorLines({ floor, flat }, room, [x, z]) {
  const reach = Math.max(room.radius, room.half);
  if (flat) return { points: Float32Array.of(x - reach, floor, x + reach, floor), channels: 2 };
  const cell = Math.max(room.half / 2, reach / 10);
  const lines = [];
  for (let k = Math.ceil((x - reach) / cell); k <= (x + reach) / cell; k += 1)
    lines.push(k * cell, floor, z - reach, k * cell, floor, z + reach);
  for (let k = Math.ceil((z - reach) / cell); k <= (z + reach) / cell; k += 1)
    lines.push(x - reach, floor, k * cell, x + reach, floor, k * cell);
  return { points: Float32Array.from(lines), channels: 3 };
}

const radians = (degrees) => (degrees * Math.PI) / 180;
