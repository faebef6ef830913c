// Which points lie in a hand-drawn polygon. Pure.

const BANDS = 32;

/**
 * Leaves out vertices that hardly move, so that a slow hand costs no more than a quick one.
 * @param {number[][]} polygon [x, y] in pixels
 * @param {number} step pixels
 */
export function simplify(polygon, step = 3) {
  const kept = [];
  for (const point of polygon) {
    const last = kept.at(-1);
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= step) kept.push(point);
  }
  return kept;
}

/**
 * Even-odd rule. Edges are sorted into bands of y, so a point meets only those near it.
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys
 * @param {number[][]} polygon three vertices or more
 * @param {(i: number) => boolean} [counts] points that count; all by default
 * @returns {Int32Array} numbers of the points inside, in order
 */
export function pointsInside(xs, ys, polygon, counts = () => true) {
  if (polygon.length < 3) return new Int32Array(0);
  const [left, right] = range(polygon, 0);
  const [top, bottom] = range(polygon, 1);
  const bands = edgeBands(polygon, top, bottom);
  const found = [];
  for (let i = 0; i < xs.length; i += 1) {
    const x = xs[i];
    const y = ys[i];
    if (x < left || x > right || y < top || y > bottom || !counts(i)) continue;
    const band = bands.edges[Math.min(BANDS - 1, Math.floor((y - top) * bands.perPixel))];
    let inside = false;
    for (let e = 0; e < band.length; e += 4) {
      const y1 = band[e + 1];
      const y2 = band[e + 3];
      if (y1 > y !== y2 > y && x < band[e] + ((y - y1) * (band[e + 2] - band[e])) / (y2 - y1)) inside = !inside;
    }
    if (inside) found.push(i);
  }
  return Int32Array.from(found);
}

function range(polygon, axis) {
  const values = polygon.map((point) => point[axis]);
  return [Math.min(...values), Math.max(...values)];
}

/** For each band the flat [x1, y1, x2, y2, ...] of the edges that cross it. */
function edgeBands(polygon, top, bottom) {
  const perPixel = BANDS / (bottom - top || 1);
  const edges = Array.from({ length: BANDS }, () => []);
  polygon.forEach(([x1, y1], i) => {
    const [x2, y2] = polygon[(i + 1) % polygon.length];
    const first = Math.floor((Math.min(y1, y2) - top) * perPixel);
    const last = Math.floor((Math.max(y1, y2) - top) * perPixel);
    for (let band = first; band <= Math.min(last, BANDS - 1); band += 1) edges[band].push(x1, y1, x2, y2);
  });
  return { edges: edges.map((band) => Float64Array.from(band)), perPixel };
}
