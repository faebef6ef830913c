// A few drawn signs: letters that look like them differ from machine to machine.

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  play: "M4.5 2.5v11l9-5.5z",
  pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z",
  loop: "M4 5h6.5a2.8 2.8 0 0 1 2.8 2.8M12 11H5.5a2.8 2.8 0 0 1-2.8-2.8M6 2.6 3.6 5 6 7.4M10 8.6l2.4 2.4L10 13.4",
  follow: "M4.5 8a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0M8 1.5v3M8 11.5v3M1.5 8h3M11.5 8h3",
  trails: "M2 12.5C4 5 8 3.5 11 5.5M11 5.5a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0M2 9c1-2.5 2.4-4 4-4.8",
};
const OUTLINED = new Set(["loop", "trails", "follow"]);

/** An icon of 16 pixels in the text's colour; what it means is said by its button's label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const set = (el, attributes) => Object.entries(attributes).forEach(([key, value]) => el.setAttribute(key, value));
  set(svg, { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", class: "frx-icon" });
  const line = { fill: "none", stroke: "currentColor", "stroke-width": 1.4, "stroke-linecap": "round", "stroke-linejoin": "round" };
  set(path, { d: PATHS[name], ...(OUTLINED.has(name) ? line : { fill: "currentColor" }) });
  svg.append(path);
  return svg;
}
