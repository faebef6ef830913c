// Tens of thousands of points, drawn by hand into pixels: anti-aliased, one pass a layer. Pure.

/**
 * How much of each pixel a glyph covers.
 * @param {"disc"|"ring"} shape
 * @param {number} radius device pixels
 * @returns {{size: number, cover: Uint8Array}} size x size values, 0 to 255
 */
export function glyph(shape, radius) {
  const half = Math.ceil(radius + 0.5);
  const size = 2 * half + 1;
  const cover = new Uint8Array(size * size);
  const width = Math.max(1, radius * 0.38); // of the ring's line
  for (let row = 0; row < size; row += 1)
    for (let column = 0; column < size; column += 1) {
      const distance = Math.hypot(row - half, column - half);
      const edge =
        shape === "ring" ? width / 2 + 0.5 - Math.abs(distance - (radius - width / 2)) : radius + 0.5 - distance;
      cover[row * size + column] = Math.round(255 * Math.min(1, Math.max(0, edge)));
    }
  return { size, cover };
}

/**
 * Draws points one after the other over what is there.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image opaque pixels
 * @param {ArrayLike<number>} xs device pixels
 * @param {ArrayLike<number>} ys
 * @param {ArrayLike<number>} order numbers of the points to draw
 * @param {{glyphs: ReturnType<typeof glyph>[], glyphOf: Uint8Array, palette: number[][],
 *   colourOf: Uint8Array, alpha: number}} style
 */
export function drawPoints(image, xs, ys, order, { glyphs, glyphOf, palette, colourOf, alpha }) {
  const { data, width, height } = image;
  for (const i of order) {
    const { size, cover } = glyphs[glyphOf[i]];
    const [r, g, b] = palette[colourOf[i]];
    const left = Math.round(xs[i]) - (size >> 1);
    const top = Math.round(ys[i]) - (size >> 1);
    if (left < 0 || top < 0 || left + size > width || top + size > height) continue;
    let at = 4 * (top * width + left);
    for (let row = 0, c = 0; row < size; row += 1, at += 4 * (width - size))
      for (let column = 0; column < size; column += 1, c += 1, at += 4) {
        if (!cover[c]) continue;
        const share = (cover[c] * alpha) / 255;
        data[at] += (r - data[at]) * share;
        data[at + 1] += (g - data[at + 1]) * share;
        data[at + 2] += (b - data[at + 2]) * share;
      }
  }
}

/**
 * The same without blending, several times faster: whole pixels, in colours that were mixed with
 * the background before. For maps of so many points that none is seen alone.
 */
export function drawManyPoints(image, xs, ys, order, { glyphs, glyphOf, palette, colourOf, alpha }, background) {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer);
  const colours = palette.map((colour) => packed(colour.map((v, c) => Math.round(background[c] + (v - background[c]) * alpha))));
  const offsets = glyphs.map(({ size, cover }) => {
    const half = size >> 1;
    const inside = [...cover.keys()].filter((c) => cover[c] > 127);
    return Int32Array.from(inside, (c) => (Math.floor(c / size) - half) * width + (c % size) - half);
  });
  const edge = Math.max(...glyphs.map(({ size }) => size >> 1));
  for (const i of order) {
    const x = Math.round(xs[i]);
    const y = Math.round(ys[i]);
    if (x < edge || y < edge || x >= width - edge || y >= height - edge) continue;
    const at = y * width + x;
    const own = offsets[glyphOf[i]];
    const colour = colours[colourOf[i]];
    for (let o = 0; o < own.length; o += 1) pixels[at + own[o]] = colour;
  }
}

/** Radius of a point in CSS pixels: small where there are many. */
export function pointRadius(count) {
  return Math.min(4.5, Math.max(1.2, 4.5 * (500 / Math.max(count, 500)) ** 0.32));
}

/** Fills an image with one opaque colour. */
export function paint(image, colour) {
  new Uint32Array(image.data.buffer).fill(packed(colour));
}

/** An opaque colour as the 32 bits of a pixel (little-endian, as all machines that run browsers). */
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
