// Two clips on one clock: dynamic time warping of poses, and how far apart their joints are.
//
// What is compared is posture. Every frame is centred on the skeleton's centre joint of the first
// person compared, divided by the clip's mean bone length, and the second clip is turned about the
// vertical axis by the one angle that brings it nearest (least squares, closed form): neither where
// somebody stands, nor how tall, nor which way the camera looked counts. Lengths are therefore in
// mean bone lengths.
//
// Several persons: as many are compared as both clips have, two at most, in whichever order is
// nearer (trackers number them freely). Their distance from one another counts, because both are
// centred on the first. A person who is in one clip only does not count. Gaps are bridged by the
// nearest known pose to find the path; the differences there are NaN.

import { isKnown, personsOf } from "./clip.js";
import { apart, bodySize, dense, knownInBoth, pairings, postures, turned, yawBetween } from "./posture.js";

const LIMIT = 400; // frames a clip that are warped; a longer one is thinned out
const ROUGH = 80; // frames a clip by which persons and the angle are found

/**
 * @typedef {{match: Float32Array, path: Int32Array, distance: number, difference: Float32Array,
 *   yaw: number, persons: number[][]}} Warp
 *   match (T): frame of the other clip for each of the chosen one; path: pairs (chosen, other);
 *   distance: mean over the path; difference (T, V); yaw: radians by which the other is turned
 */

/**
 * Aligns `other` with `chosen`.
 * @param {import("./clip.js").Clip} chosen
 * @param {import("./clip.js").Clip} other
 * @param {{bones: number[][], center: number}} skeleton
 * @param {{band?: number|null}} [options] band: how far a frame may be from its place in linear time,
 *   as a share of the longer clip (Sakoe and Chiba); null: anywhere
 * @returns {Warp}
 */
export function warpClips(chosen, other, skeleton, { band = null } = {}) {
  const found = nearestPairing(chosen, other, skeleton);
  if (!found) return unmatched(chosen, other);
  const { a, b, joints, pairing } = found;
  const yaw = chosen.C === 3 ? refinedYaw(found, band) : 0;
  const facing = turned(b, yaw);
  const [rows, columns] = [thinned(chosen.T, LIMIT), thinned(other.T, LIMIT)];
  const cost = costMatrix(a, facing, joints, rows, columns);
  const path = timeWarp(cost, rows.length, columns.length, band);
  const match = spread(matched(cost, path, rows.length, columns.length), rows, columns, chosen.T);
  const difference = differences(a, facing, match, { chosen, other, pairing });
  const distance = alongPath(cost, path, columns.length);
  return { match, path: framesOf(path, rows, columns), distance, difference, yaw, persons: pairing };
}

/**
 * The cheapest way through a cost matrix, from its first cell to its last, in steps of one.
 * @param {Float32Array} cost (n, m)
 * @param {number} n
 * @param {number} m
 * @param {number|null} [band] see `warpClips`
 * @returns {Int32Array} pairs (i, j), flat
 */
export function timeWarp(cost, n, m, band = null) {
  const slope = n > 1 ? (m - 1) / (n - 1) : 0;
  const width = band === null ? m : Math.max(band * Math.max(n, m), slope, n > 1 ? 1 : m);
  const total = new Float64Array(n * m).fill(Infinity);
  for (let i = 0; i < n; i += 1) {
    const last = Math.min(m - 1, Math.floor(i * slope + width));
    for (let j = Math.max(0, Math.ceil(i * slope - width)); j <= last; j += 1) {
      const at = i * m + j;
      let best = i || j ? Infinity : 0;
      if (i && j) best = total[at - m - 1];
      if (i && total[at - m] < best) best = total[at - m];
      if (j && total[at - 1] < best) best = total[at - 1];
      total[at] = best + cost[at];
    }
  }
  return backwards(total, n, m);
}

/** From the last cell back to the first; diagonal steps where several are as good. */
function backwards(total, n, m) {
  const path = [];
  let [i, j] = [n - 1, m - 1];
  while (i || j) {
    path.push(j, i);
    const at = i * m + j;
    const up = i ? total[at - m] : Infinity;
    const left = j ? total[at - 1] : Infinity;
    const both = i && j ? total[at - m - 1] : Infinity;
    if (both <= up && both <= left) [i, j] = [i - 1, j - 1];
    else if (up <= left) i -= 1;
    else j -= 1;
  }
  path.push(0, 0);
  return Int32Array.from(path.reverse());
}

/** Frame numbers: all, or `limit` of them evenly spaced. */
function thinned(T, limit) {
  const count = Math.min(T, limit);
  return Int32Array.from({ length: count }, (_, i) => (count > 1 ? Math.round((i * (T - 1)) / (count - 1)) : 0));
}

/** Linear time: both clips from their first frame to their last. */
function straightPath(n, m) {
  const steps = Math.max(n, m);
  const at = (k, count) => (steps > 1 ? Math.round((k * (count - 1)) / (steps - 1)) : 0);
  return Int32Array.from({ length: 2 * steps }, (_, k) => at(k >> 1, k % 2 ? m : n));
}

/** Which persons are compared, in the order that is nearest in linear time; null: nobody. */
function nearestPairing(chosen, other, skeleton) {
  const [rows, columns] = [thinned(chosen.T, ROUGH), thinned(other.T, ROUGH)];
  const straight = straightPath(rows.length, columns.length);
  const sizes = [chosen, other].map((clip) => bodySize(clip, skeleton));
  let nearest = null;
  for (const pairing of pairings(personsOf(chosen), personsOf(other))) {
    const a = postures(chosen, pairing.map((pair) => pair[0]), skeleton.center, sizes[0]);
    const b = postures(other, pairing.map((pair) => pair[1]), skeleton.center, sizes[1]);
    const joints = knownInBoth(a, b);
    const yaw = chosen.C === 3 ? yawBetween(a, b, joints, rows, columns, straight) : 0;
    const seen = { a, b: turned(b, yaw), joints, rows, columns };
    const distance = joints.length ? meanAlong(seen, straight) : NaN;
    if (joints.length && !(nearest?.distance <= distance))
      nearest = { a, b, joints, yaw, distance, pairing, rows, columns };
  }
  return nearest;
}

/** The angle along the path that a first, rough warp finds: linear time pairs unlike postures. */
function refinedYaw({ a, b, joints, yaw, rows, columns }, band) {
  const cost = costMatrix(a, turned(b, yaw), joints, rows, columns);
  const path = timeWarp(cost, rows.length, columns.length, band);
  return yawBetween(a, b, joints, rows, columns, path);
}

/** (n, m) mean joint distances. Postures are laid out densely first: this is the time of a warp. */
function costMatrix(a, b, joints, rows, columns) {
  const [x, y, width] = [dense(a, joints, rows), dense(b, joints, columns), 3 * joints.length];
  const cost = new Float32Array(rows.length * columns.length);
  for (let p = 0, at = 0; p < x.length; p += width)
    for (let q = 0; q < y.length; q += width, at += 1) {
      let sum = 0;
      for (let k = 0; k < width; k += 3) {
        const dx = x[p + k] - y[q + k];
        const dy = x[p + k + 1] - y[q + k + 1];
        const dz = x[p + k + 2] - y[q + k + 2];
        sum += Math.sqrt(dx * dx + dy * dy + dz * dz);
      }
      cost[at] = sum / joints.length;
    }
  return cost;
}

function meanAlong({ a, b, joints, rows, columns }, path) {
  let sum = 0;
  for (let k = 0; k < path.length; k += 2)
    sum += apart(a.data, rows[path[k]] * a.joints * 3, b.data, columns[path[k + 1]] * b.joints * 3, joints);
  return sum / (path.length / 2);
}

function alongPath(cost, path, m) {
  let sum = 0;
  for (let k = 0; k < path.length; k += 2) sum += cost[path[k] * m + path[k + 1]];
  return sum / (path.length / 2);
}

/** For each i the j of its path cells that is nearest in posture; of equals the middle one. */
function matched(cost, path, n, m) {
  const cells = Array.from({ length: n }, () => []);
  for (let k = 0; k < path.length; k += 2) cells[path[k]].push(path[k + 1]);
  return Int32Array.from(cells, (row, i) => {
    const least = Math.min(...row.map((j) => cost[i * m + j])) + 1e-6;
    const best = row.filter((j) => cost[i * m + j] <= least);
    return best[(best.length - 1) >> 1];
  });
}

/** Matches of thinned frames to matches of all frames. */
function spread(match, rows, columns, T) {
  const out = new Float32Array(T);
  for (let i = 0; i < rows.length; i += 1) {
    const [from, to] = [rows[i], rows[i + 1] ?? rows[i]];
    const [start, end] = [columns[match[i]], columns[match[i + 1] ?? match[i]]];
    for (let t = from; t <= to; t += 1) out[t] = to > from ? start + ((end - start) * (t - from)) / (to - from) : start;
  }
  return out;
}

function framesOf(path, rows, columns) {
  return path.map((at, k) => (k % 2 ? columns : rows)[at]);
}

/** (T, V) distance of each joint, the mean over the persons of whom both clips know it. */
function differences(a, b, match, { chosen, other, pairing }) {
  const { T, V } = chosen;
  const out = new Float32Array(T * V);
  for (let t = 0; t < T; t += 1) {
    const j = Math.round(match[t]);
    for (let v = 0; v < V; v += 1) {
      let [sum, count] = [0, 0];
      pairing.forEach(([p, q], pair) => {
        if (!isKnown(chosen, t, p, v) || !isKnown(other, j, q, v)) return;
        sum += apart(a.data, t * a.joints * 3, b.data, j * b.joints * 3, [pair * V + v]);
        count += 1;
      });
      out[t * V + v] = count ? sum / count : NaN;
    }
  }
  return out;
}

/** Linear time and no number, where a clip shows nobody. */
function unmatched(chosen, other) {
  const match = Float32Array.from({ length: chosen.T }, (_, t) => ((other.T - 1) * t) / Math.max(1, chosen.T - 1));
  const difference = new Float32Array(chosen.T * chosen.V).fill(NaN);
  return { match, path: straightPath(chosen.T, other.T), distance: NaN, difference, yaw: 0, persons: [] };
}
