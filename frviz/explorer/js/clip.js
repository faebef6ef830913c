// A clip as it plays: joints as floats, NaN where nobody is. Letters as everywhere: T frames,
// M persons, V joints, C channels.

const ABSENT = -32768;

/**
 * @typedef {{id: string, title: string, T: number, M: number, V: number, C: number,
 *   data: Float32Array}} Clip data is (T, M, V, C), y up; NaN where a person or a joint is not known
 */

/**
 * Coordinates of an encoded clip: origin + value * scale.
 * @param {{id: string, title: string, frames: number, persons: number, channels: number,
 *   scale: number, origin: number[]}} header
 * @param {Int16Array} values (T, M, V, C)
 * @returns {Clip}
 */
export function decodeClip(header, values) {
  const { frames: T, persons: M, channels: C, scale, origin } = header;
  const V = values.length / (T * M * C);
  if (!Number.isInteger(V) || V < 1) throw new Error("This clip's joints do not fit its header.");
  const data = new Float32Array(values.length);
  for (let i = 0; i < values.length; i += 1)
    data[i] = values[i] === ABSENT ? NaN : origin[i % C] + values[i] * scale;
  return { id: header.id ?? "", title: header.title ?? "", T, M, V, C, data };
}

/**
 * The clips of a payload, each with its header.
 * @param {{header: any, arrays: Record<string, Int16Array>}} payload of kind "player" or "details"
 * @returns {{header: any, clip: Clip}[]}
 */
export function clipsOf({ header, arrays }) {
  return header.clips.map((one) => ({ header: one, clip: decodeClip(one, arrays[one.joints]) }));
}

/** Whether a joint of a person is known in a frame. */
export function isKnown({ M, V, C, data }, t, m, v) {
  return !Number.isNaN(data[((t * M + m) * V + v) * C]);
}

/** Whether any joint of a person is known in a frame. */
export function isThere(clip, t, m) {
  for (let v = 0; v < clip.V; v += 1) if (isKnown(clip, t, m, v)) return true;
  return false;
}

/** Numbers of the persons who are there in at least one frame. */
export function personsOf(clip) {
  const found = [];
  for (let m = 0; m < clip.M; m += 1)
    for (let t = 0; t < clip.T; t += 1)
      if (isThere(clip, t, m)) {
        found.push(m);
        break;
      }
  return found;
}

/**
 * All joints of all persons at a time between frames, linearly interpolated, so that slow motion
 * is smooth. A joint that is known on one side only is taken from the nearer frame.
 * @param {Clip} clip
 * @param {number} time in frames, from 0 to T - 1; beyond them the first and last frame stand still
 * @param {Float32Array} out (M, V, C)
 */
export function poseAt(clip, time, out) {
  const size = clip.M * clip.V * clip.C;
  const at = Math.min(Math.max(time, 0), clip.T - 1);
  const first = Math.floor(at);
  const share = at - first;
  const [a, b] = [first * size, Math.min(first + 1, clip.T - 1) * size];
  for (let i = 0; i < size; i += 1) {
    const [p, q] = [clip.data[a + i], clip.data[b + i]];
    const mixed = p + (q - p) * share;
    out[i] = Number.isNaN(mixed) ? (share < 0.5 ? p : q) : mixed;
  }
  return out;
}
