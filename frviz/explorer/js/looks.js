// Which colour a bone has and which joints are special: by body part, or by a value. Pure.

import { PALETTE, rgb } from "./dom.js";

const { blue, sky, vermillion, orange, grey, green, purple } = PALETTE;
// By the first word of a part's name, as in Python's `clip_strip`: left is blue, right is orange.
const SIDES = { left: [blue, sky], right: [vermillion, orange], "": [grey, green, purple] };
const NO_SIDES = { "": [blue, vermillion, green, orange, purple, sky] }; // a hand's fingers, say

// From nothing to much; lightness alone says it, so that it reads without colour vision, and it
// moves away from the page: darker on white, lighter on black.
const ON_LIGHT = ["#DDE1E6", "#F4C98F", "#E58A3C", "#B8402A", "#5E1233"];
const ON_DARK = ["#363B43", "#74492F", "#C26A2C", "#F2A83F", "#FFF1B8"];

/**
 * @typedef {{name: string, joints: string[], bones: number[][], center: number,
 *   parts: Record<string, number[]>, left_right: number[][]}} Skeleton
 */

/**
 * The named parts with their colours; what is in none comes first under the name "".
 * @param {Skeleton} skeleton
 * @returns {{name: string, colour: string, joints: number[]}[]}
 */
export function partsOf(skeleton) {
  const named = Object.entries(skeleton.parts ?? {});
  const pairs = skeleton.left_right ?? [];
  if (!named.length && pairs.length)
    named.push(["left", pairs.map((pair) => pair[0])], ["right", pairs.map((pair) => pair[1])]);
  const wordOf = (name) => name.toLowerCase().split(" ")[0];
  const sides = named.some(([name]) => ["left", "right"].includes(wordOf(name))) ? SIDES : NO_SIDES;
  const turns = { left: 0, right: 0, "": 0 };
  const parts = named.map(([name, joints]) => {
    const side = Object.hasOwn(sides, wordOf(name)) ? wordOf(name) : "";
    const colour = sides[side][turns[side] % sides[side].length];
    turns[side] += 1;
    return { name, colour, joints: [...joints] };
  });
  const known = new Set(parts.flatMap((part) => part.joints));
  const rest = skeleton.joints.map((_, v) => v).filter((v) => !known.has(v));
  return rest.length ? [{ name: "", colour: grey, joints: rest }, ...parts] : parts;
}

/** Colour of each joint (and of the bone whose child it is). */
export function jointColours(skeleton) {
  const colours = new Array(skeleton.joints.length).fill(grey);
  for (const { colour, joints } of partsOf(skeleton)) for (const v of joints) colours[v] = colour;
  return colours;
}

/** Joints whose ways are drawn: hands and feet, or wrists and ankles, or the ends of the tree. */
export function trailJoints(skeleton) {
  const named = (pattern) => skeleton.joints.flatMap((name, v) => (pattern.test(name) ? [v] : []));
  for (const pattern of [/\b(hand|foot)$/i, /\b(wrist|ankle)$/i]) {
    const found = named(pattern);
    if (found.length) return found;
  }
  const parents = new Set(skeleton.bones.map((bone) => bone[1]));
  return skeleton.bones.map((bone) => bone[0]).filter((v) => !parents.has(v)).slice(0, 6);
}

/** The joint that is drawn as a head; -1: none is called so. */
export const headOf = (skeleton) => skeleton.joints.findIndex((name) => /^head$/i.test(name));

/** "#rrggbb" between two colours, share 0 to 1. */
export function mix(from, to, share) {
  const [a, b] = [rgb(from), rgb(to)];
  const hex = (i) => Math.round(a[i] + (b[i] - a[i]) * share).toString(16).padStart(2, "0");
  return `#${hex(0)}${hex(1)}${hex(2)}`;
}

/**
 * Colour of a value on a sequential scale.
 * @param {number} share 0 to 1; beyond them the ends
 * @param {boolean} dark whether the page is dark
 */
export function valueColour(share, dark) {
  const stops = dark ? ON_DARK : ON_LIGHT;
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const first = Math.min(stops.length - 2, Math.floor(at));
  return mix(stops[first], stops[first + 1], at - first);
}

/** The scale in 64 steps, for drawing many cells; after them the colour of what lies above it. */
export const valueScale = (dark) => [...Array.from({ length: 64 }, (_, k) => valueColour(k / 63, dark)), aboveColour(dark)];

/** The colour of values above the scale, which has nothing like it: not to the colour-blind either. */
export const aboveColour = (dark) => (dark ? sky : blue);

/** A value's place in `valueScale`. */
export const stepOf = (value, most) => (value > most ? 64 : Math.max(0, Math.round((63 * value) / most)));

/**
 * A scale of differences: its upper end, below which 98 of 100 of them lie, and the largest.
 * @returns {{most: number, largest: number}}
 */
export function scaleEnds(...arrays) {
  const known = arrays.flatMap((values) => [...values].filter((value) => !Number.isNaN(value)));
  if (!known.length) return { most: 1, largest: 1 };
  known.sort((a, b) => a - b);
  const largest = known.at(-1) || 1;
  return { most: known[Math.floor(0.98 * (known.length - 1))] || largest, largest };
}
