// Where names stand beside the stars of a map, so that none is printed over another. Pure.

const GAP = 11; // CSS pixels between the middle of a star and its name
const STAR = 7; // and its radius

/**
 * @typedef {{x: number, y: number, width: number}} Star its middle, and how wide its name is
 * @param {Star[]} stars the most important first: it gets the room
 * @param {{width: number, height: number}} pane
 * @param {number} tall height of a name
 * @param {number} [scale] pixels a CSS pixel
 * @returns {({left: number, top: number}|null)[]} the corner of each name; null: no room
 */
export function placeLabels(stars, pane, tall, scale = 1) {
  const taken = [];
  const [gap, reach, half] = [GAP * scale, STAR * scale, tall / 2];
  return stars.map(({ x, y, width }) => {
    if (x < 0 || y < 0 || x > pane.width || y > pane.height) return null; // nor a name without its star
    const corners = [
      { left: x + gap, top: y - half },
      { left: x - gap - width, top: y - half },
      { left: x - width / 2, top: y - gap - tall },
      { left: x - width / 2, top: y + gap },
    ];
    const free = ({ left, top }) => {
      if (left < 0 || top < 0 || left + width > pane.width || top + tall > pane.height) return false;
      return taken.every((box) => left >= box.right || left + width <= box.left || top >= box.bottom || top + tall <= box.top);
    };
    const covers = ({ left, top }) => stars.some((star) => star.x > left - reach && star.x < left + width + reach && star.y > top - reach && star.y < top + tall + reach);
    const corner = corners.find((one) => free(one) && !covers(one)) ?? corners.find(free) ?? null;
    if (corner) taken.push({ ...corner, right: corner.left + width, bottom: corner.top + tall });
    return corner;
  });
}
