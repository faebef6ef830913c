// Where the places of a map are on a pane, and the view that shows some of them. Pure.

const PAD = 14; // pixels around the points
const CLOSEST = 60; // times as large as the whole map

/** @typedef {{scale: number, x: number, y: number}} View zoom and shift (pixels), shared by all panes */

export const WHOLE = { scale: 1, x: 0, y: 0 }; // the view that shows all of a map

/**
 * Device pixels of places on a pane.
 * @param {ArrayLike<number>} values flat x, y, quantised: 65535 is the upper end of the bounds
 * @param {number[]} bounds least x and y, greatest x and y
 * @param {View} view
 * @param {{width: number, height: number, ratio?: number}} pane CSS pixels; device pixels for each
 * @returns {[Float32Array, Float32Array]} xs, ys
 */
export function placed(values, bounds, view, { width, height, ratio = 1 }) {
  const [spanX, spanY] = [bounds[2] - bounds[0] || 1, bounds[3] - bounds[1] || 1];
  const fit = Math.min((width - 2 * PAD) / spanX, (height - 2 * PAD) / spanY) * view.scale;
  const [stepX, stepY] = [(fit * spanX) / 65535, (fit * spanY) / 65535];
  const left = width / 2 - (fit * spanX) / 2 + view.x;
  const bottom = height / 2 + (fit * spanY) / 2 + view.y;
  const count = values.length / 2;
  const [xs, ys] = [new Float32Array(count), new Float32Array(count)];
  for (let i = 0; i < count; i += 1) {
    xs[i] = ratio * (left + stepX * values[2 * i]);
    ys[i] = ratio * (bottom - stepY * values[2 * i + 1]);
  }
  return [xs, ys];
}

export const zoomOf = (scale) => Math.min(CLOSEST, Math.max(1, scale));

/**
 * The view in which clips fill the panes: all share it, so each clip counts at its place in each.
 * @param {Iterable<number>} clips one or more
 * @param {{xs: ArrayLike<number>, ys: ArrayLike<number>, width: number, height: number}[]} panes
 *   with all clips as the view WHOLE places them, in CSS pixels
 * @returns {View}
 */
export function viewOn(clips, panes) {
  const axis = (places, size) => {
    let [low, high, room] = [Infinity, -Infinity, Infinity];
    for (const pane of panes) {
      room = Math.min(room, pane[size] - 4 * PAD);
      for (const i of clips) {
        const at = pane[places][i] - pane[size] / 2; // from the middle, which zooming keeps
        [low, high] = [Math.min(low, at), Math.max(high, at)];
      }
    }
    return { middle: (low + high) / 2, scale: room / Math.max(high - low, 1e-6) };
  };
  const [x, y] = [axis("xs", "width"), axis("ys", "height")];
  const scale = zoomOf(Math.min(x.scale, y.scale));
  return { scale, x: -scale * x.middle, y: -scale * y.middle };
}
