// Postures: a clip's joints made comparable. Centred, in bone lengths, gaps bridged, and turned
// about the vertical. `dtw.js` says what that means and why.

/** Mean length of all bones of all persons in all frames; 1 where there is none. */
export function bodySize(clip, skeleton) {
  const { T, M, V, C, data } = clip;
  let [sum, count] = [0, 0];
  for (let body = 0; body < T * M; body += 1)
    for (const [child, parent] of skeleton.bones) {
      let squares = 0;
      for (let c = 0; c < C; c += 1)
        squares += (data[(body * V + child) * C + c] - data[(body * V + parent) * C + c]) ** 2;
      if (Number.isNaN(squares)) continue;
      sum += Math.sqrt(squares);
      count += 1;
    }
  return sum / count || 1;
}

/** Ways to pair the persons of two clips: [[of the first, of the second], ...], two pairs at most. */
export function pairings(first, second) {
  const count = Math.min(first.length, second.length, 2);
  if (count === 0) return [];
  if (count === 1) return first.flatMap((p) => second.map((q) => [[p, q]]));
  const found = [];
  for (let i = 0; i < first.length; i += 1)
    for (let k = i + 1; k < first.length; k += 1)
      for (const p of second)
        for (const q of second) if (p !== q) found.push([[first[i], p], [first[k], q]]);
  return found;
}

/** (T, P * V, 3) postures of some persons: gaps bridged, centred on the first, in bone lengths. */
export function postures(clip, persons, centre, size) {
  const { T, V } = clip;
  const joints = persons.length * V;
  const out = new Float32Array(T * joints * 3);
  persons.forEach((person, p) => {
    for (let v = 0; v < V; v += 1)
      for (let c = 0; c < clip.C; c += 1) bridge(clip, person, v, c, out, p * V + v, joints);
  });
  for (let t = 0; t < T; t += 1) {
    const start = t * joints * 3;
    const middle = out.slice(start + centre * 3, start + centre * 3 + 3);
    for (let i = 0; i < joints * 3; i += 1) out[start + i] = (out[start + i] - (middle[i % 3] || 0)) / size;
  }
  return { data: out, T, joints };
}

/** One coordinate through time; gaps take the nearest known value (an earlier one where it ties). */
function bridge({ T, M, V, C, data }, person, v, c, out, joint, joints) {
  const read = (t) => data[((t * M + person) * V + v) * C + c];
  let before = -1;
  for (let t = 0; t < T; t += 1) {
    if (Number.isNaN(read(t))) continue;
    for (let gap = before + 1; gap <= t; gap += 1) {
      const earlier = before >= 0 && gap < t && gap - before <= t - gap;
      out[(gap * joints + joint) * 3 + c] = read(earlier ? before : t);
    }
    before = t;
  }
  for (let gap = before + 1; gap < T; gap += 1)
    out[(gap * joints + joint) * 3 + c] = before < 0 ? NaN : read(before);
}

/** Joints that both clips know at least once. */
export function knownInBoth(a, b) {
  const all = Array.from({ length: a.joints }, (_, k) => k);
  return Int32Array.from(all.filter((k) => !Number.isNaN(a.data[3 * k]) && !Number.isNaN(b.data[3 * k])));
}

/** The angle about the vertical that brings the second clip's joints nearest to the first's. */
export function yawBetween(a, b, joints, rows, columns, path) {
  let [along, across] = [0, 0];
  for (let k = 0; k < path.length; k += 2) {
    const [p, q] = [rows[path[k]] * a.joints * 3, columns[path[k + 1]] * b.joints * 3];
    for (const joint of joints) {
      const [x, z] = [a.data[p + 3 * joint], a.data[p + 3 * joint + 2]];
      const [u, w] = [b.data[q + 3 * joint], b.data[q + 3 * joint + 2]];
      along += x * u + z * w;
      across += z * u - x * w;
    }
  }
  return Math.atan2(across, along);
}

/** Postures turned about the vertical: x' = x cos - z sin, z' = x sin + z cos. */
export function turned(postures, yaw) {
  if (!yaw) return postures;
  const [cos, sin] = [Math.cos(yaw), Math.sin(yaw)];
  const data = postures.data.slice();
  for (let i = 0; i < data.length; i += 3) {
    const [x, z] = [data[i], data[i + 2]];
    data[i] = x * cos - z * sin;
    data[i + 2] = x * sin + z * cos;
  }
  return { ...postures, data };
}

/** Mean distance of some joints between two postures, that start at p and q. */
export function apart(x, p, y, q, joints) {
  let sum = 0;
  for (let k = 0; k < joints.length; k += 1) {
    const at = 3 * joints[k];
    const dx = x[p + at] - y[q + at];
    const dy = x[p + at + 1] - y[q + at + 1];
    const dz = x[p + at + 2] - y[q + at + 2];
    sum += Math.sqrt(dx * dx + dy * dy + dz * dz);
  }
  return sum / joints.length;
}

/** (frames, joints, 3) of the chosen frames and joints, doubles: no conversion in the loop. */
export function dense({ data, joints: all }, joints, frames) {
  const out = new Float64Array(frames.length * joints.length * 3);
  let at = 0;
  for (const t of frames)
    for (const joint of joints) {
      const start = (t * all + joint) * 3;
      for (let c = 0; c < 3; c += 1, at += 1) out[at] = data[start + c];
    }
  return out;
}
