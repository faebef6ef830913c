// Rows, columns and cells of the confusion matrix: all classes, clusters, or one group. Pure.

import { mcnemarP } from "./statistics.js";

/**
 * @typedef {{classes: number[], name: string, cluster: number, tail?: string}} Line a row or a
 *   column; tail: the end of its name that stays when it is shortened
 * @typedef {{row: Line, column: Line, side: "a"|"b"|"diff"}} Area a cell of one or several classes
 * @param {import("./data.js").Data} data
 * @param {"all"|"clusters"|"group"} show
 * @param {number} anchor of the group; without one "group" shows all
 * @returns {{rows: Line[], columns: Line[]}}
 */
export function matrixLines(data, show, anchor) {
  const { order, cluster } = data.header;
  const line = (k) => ({ classes: [k], name: data.classes[k], cluster: cluster[k] });
  if (show === "group" && anchor >= 0) {
    const members = data.members(anchor);
    const others = order.filter((k) => !members.includes(k));
    const rows = members.map(line);
    const rest = { classes: others, name: "other classes", cluster: -1 };
    return { rows, columns: others.length ? [...rows, rest] : rows };
  }
  if (show !== "clusters") {
    const rows = order.map(line);
    return { rows, columns: rows };
  }
  const byCluster = new Map();
  for (const k of order) byCluster.set(cluster[k], [...(byCluster.get(cluster[k]) ?? []), k]);
  const rows = [...byCluster].map(([number, classes]) => ({
    classes,
    name: data.clusterName(classes),
    tail: classes.length > 1 ? ` + ${classes.length - 1}` : "",
    cluster: number,
  }));
  return { rows, columns: rows };
}

/**
 * Clips by row and column.
 * @param {import("./data.js").Data} data
 * @param {{rows: Line[], columns: Line[]}} lines
 * @returns {{a: Float64Array, b: Float64Array|null, support: Float64Array}} (rows x columns), (rows)
 */
export function matrixCells(data, { rows, columns }) {
  const sum = (counts) => {
    const cells = new Float64Array(rows.length * columns.length);
    rows.forEach((row, r) =>
      columns.forEach((column, c) => {
        for (const t of row.classes) for (const p of column.classes) cells[r * columns.length + c] += counts[data.cellKey(t, p)];
      }),
    );
    return cells;
  };
  const support = Float64Array.from(rows, (row) => row.classes.reduce((n, k) => n + data.support[k], 0));
  const cells = { a: sum(data.counts.a), b: data.pair ? sum(data.counts.b) : null, support };
  return data.pair ? { ...cells, p: cellTests(data, rows, columns) } : cells;
}

/** Exact McNemar test of each cell, of clips that only one of the models puts there: (rows x columns). */
function cellTests(data, rows, columns) {
  const [rowOf, columnOf] = [rows, columns].map((lines) => {
    const of = new Int32Array(data.numClasses).fill(-1);
    lines.forEach((line, at) => line.classes.forEach((k) => (of[k] = at)));
    return of;
  });
  const only = { a: new Uint32Array(rows.length * columns.length), b: new Uint32Array(rows.length * columns.length) };
  for (let i = 0; i < data.size; i += 1) {
    const row = rowOf[data.label[i]];
    const [a, b] = [columnOf[data.predicted.a[i]], columnOf[data.predicted.b[i]]];
    if (row < 0 || a === b) continue;
    if (a >= 0) only.a[row * columns.length + a] += 1;
    if (b >= 0) only.b[row * columns.length + b] += 1;
  }
  return Float64Array.from(only.a, (n, at) => mcnemarP(n, only.b[at]));
}

/** Whether a cell holds clips that are right (a class, or a cluster with itself). */
export const isDiagonal = (row, column) => row.classes[0] === column.classes[0] && row.classes.length === column.classes.length;

/**
 * What a cell of single classes is, in words.
 * @returns {string[]} lines
 */
export function cellWords(data, row, column, a, b, support) {
  const percent = (n) => (support ? `${((100 * n) / support).toFixed(1)} %` : "no clips");
  const head = isDiagonal(row, column) ? `${row.name}: right` : `${row.name} taken for ${column.name}`;
  const [nameA, nameB] = data.header.names;
  const lines = [head, `${nameA}: ${a} of ${support} (${percent(a)})`];
  if (b !== null) {
    lines.push(`${nameB}: ${b} of ${support} (${percent(b)}), ${signed(b - a)}`);
  }
  const test = row.classes.length === 1 && column.classes.length === 1 ? data.tests.get(data.cellKey(row.classes[0], column.classes[0])) : null;
  if (test && a !== b) lines.push(`p = ${shortP(test.p)}, corrected for all cells ${shortP(test.holm)}`);
  return lines;
}

/** A cell in a few words: "writing right", "writing \u2192 typing". */
export const cellName = (row, column) => (isDiagonal(row, column) ? `${row.name} right` : `${row.name} \u2192 ${column.name}`);

/**
 * An area that is chosen, in words.
 * @param {import("./data.js").Data} data
 * @param {Area} area
 * @param {number} count of its clips; of a change, those that only one of the models puts there
 */
export function areaWords(data, { row, column, side }, count) {
  const name = cellName(row, column);
  if (side === "diff") return `B \u2212 A: ${name}, ${count.toLocaleString("en")} ${count === 1 ? "clip differs" : "clips differ"}`;
  return data.pair ? `${name} (${data.header.names[side === "b" ? 1 : 0]})` : name;
}

/**
 * Where some classes stand among rows or columns.
 * @param {Line[]} lines
 * @param {number[]} classes
 * @returns {[number, number]|null} first line and how many; null where they are not side by side
 */
export function spanOf(lines, classes) {
  const at = lines.flatMap((line, place) => (line.classes.some((k) => classes.includes(k)) ? [place] : []));
  return at.length && at.at(-1) - at[0] + 1 === at.length ? [at[0], at.length] : null;
}

/** A change as people write it: with its sign, and a true minus. */
export const signed = (n) => (n > 0 ? `+${n}` : String(n).replace("-", "\u2212"));

/** A p value as people write it. */
export function shortP(p) {
  if (!Number.isFinite(p)) return "unknown";
  return p < 0.001 ? p.toExponential(0) : p.toPrecision(2);
}

/** A name of at most so many characters: the end goes, an ellipsis says so. */
export function shorten(name, characters) {
  return name.length <= characters ? name : `${name.slice(0, Math.max(1, characters - 1)).trimEnd()}\u2026`;
}

/**
 * A name that fits into a room.
 * @param {string} name
 * @param {number} room pixels
 * @param {(text: string) => number} widthOf a text, pixels
 * @param {string} [tail] the name's end, which stays
 */
export function fitted(name, room, widthOf, tail = "") {
  const head = name.slice(0, name.length - tail.length);
  let characters = head.length;
  let text = name;
  while (characters > 1 && widthOf(text) > room) {
    characters -= 1;
    text = shorten(head, characters) + tail;
  }
  return text;
}
