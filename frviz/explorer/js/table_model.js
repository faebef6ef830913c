// Columns, order and CSV of the table of clips. Pure.

import { INTEREST } from "./data.js";

const LEARNT = ["learnt", "forgotten", "never learnt"];
const UNKNOWN = 65535;
const TAIL = 10; // letters of a name's end that stay

/**
 * @typedef {{key: string, title: string, help?: string, width: string, numeric?: boolean, cut?: boolean,
 *   down?: boolean, text: (i: number) => string, value: (i: number) => number|string,
 *   tone?: (i: number) => string}} Column cut: where it does not fit, its middle is left out
 * @param {import("./data.js").Data} data
 * @returns {Column[]}
 */
export function columnsOf(data) {
  const { arrays, classes, header } = data;
  const longest = (texts) => texts.reduce((most, text) => Math.max(most, text.length), 0);
  const nameWidth = `minmax(clamp(6em, ${longest(classes)}ch, 9.5em), 1.2fr)`;
  const named = (key, title, codes, help) => ({
    key,
    title,
    help,
    width: nameWidth,
    cut: true,
    text: (i) => classes[codes[i]],
    value: (i) => classes[codes[i]],
  });
  const columns = [
    { key: "id", title: "clip", width: `minmax(clamp(6em, ${longest(data.ids) + 1}ch, 10.5em), 1.3fr)`, cut: true, text: (i) => data.ids[i], value: (i) => data.ids[i] },
    named("class", "true class", data.label, "What the clip shows"),
  ];
  data.sides.forEach((side, s) => {
    const title = data.pair ? `${side.toUpperCase()} says` : "predicted";
    const predicted = data.predicted[side];
    columns.push({
      ...named(`predicted_${side}`, title, predicted, header.names[s]),
      tone: (i) => (predicted[i] === data.label[i] ? "frx-right" : "frx-wrong"),
    });
  });
  columns.push({
    key: "outcome",
    title: "outcome",
    width: "6em",
    down: true,
    text: (i) => data.outcomes[data.outcome[i]],
    value: (i) => INTEREST[data.outcomes[data.outcome[i]]],
    tone: (i) => `frx-tone-${data.outcomes[data.outcome[i]].replace(" ", "-")}`,
  });
  data.sides.forEach((side, s) => {
    if (arrays[`p_true_${side}`])
      columns.push({
        key: `p_true_${side}`,
        title: data.pair ? `p true ${side.toUpperCase()}` : "p true",
        help: `Probability that ${header.names[s]} gives the true class`,
        width: "5em",
        numeric: true,
        text: (i) => data.pTrue(side, i).toFixed(2),
        value: (i) => arrays[`p_true_${side}`][i],
      });
  });
  data.sides.forEach((side, s) => {
    const [status, learnt] = [arrays[`status_${side}`], arrays[`learnt_at_${side}`]];
    if (status)
      columns.push({
        key: `status_${side}`,
        title: data.pair ? `training ${side.toUpperCase()}` : "training",
        help: `From which epoch on ${header.names[s]} was right, or how it ended`,
        width: "6.2em",
        text: (i) => (learnt[i] !== UNKNOWN ? `epoch ${learnt[i]}` : LEARNT[status[i]] ?? ""),
        value: (i) => (learnt[i] !== UNKNOWN ? learnt[i] : UNKNOWN + status[i]),
      });
  });
  if (data.carried?.size)
    columns.push({
      key: "carried",
      title: "plays",
      help: "Its skeleton is in this file",
      width: "3.4em",
      down: true,
      text: (i) => (data.carried.has(i) ? "yes" : ""),
      value: (i) => Number(data.carried.has(i)),
    });
  if (arrays.copy?.some(Boolean))
    columns.push({ key: "copy", title: "copy", help: "Its content is also among the training clips", width: "3.4em", text: (i) => (arrays.copy[i] ? "yes" : ""), value: (i) => arrays.copy[i] });
  return columns;
}

/**
 * A text in two, of which the first part may be cut: names and ids often differ at their end.
 * @param {string} text
 * @returns {[string, string]} the second is short, and begins at a word where there is one
 */
export function headAndTail(text) {
  const letters = [...text]; // no letter outside the first plane is halved
  if (letters.length <= TAIL + 4) return [text, ""];
  const end = letters.slice(-TAIL).join("");
  const word = end.search(/(?<=[\s_-])[^\s_-]/u);
  const tail = word > 0 ? end.slice(word) : end;
  return [text.slice(0, text.length - tail.length), tail];
}

/**
 * Clips to show: the chosen ones (or all) that pass the filter, sorted; ties by id order.
 * @returns {Int32Array|number[]}
 */
export function rowsOf(data, selection, filter, columns, sort) {
  const words = filter.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const names = data.classes.map((name) => name.toLowerCase());
  const passes = (i) => {
    const text = [data.ids[i].toLowerCase(), names[data.label[i]], ...data.sides.map((side) => names[data.predicted[side][i]])].join(" ");
    return words.every((word) => text.includes(word));
  };
  const rows = selection.length ? [...selection] : Array.from(data.ids.keys());
  const kept = words.length ? rows.filter(passes) : rows;
  const column = columns.find((c) => c.key === sort.key);
  if (!column) return kept;
  const values = new Array(data.size); // looked up once a clip, not once a comparison
  for (const i of kept) values[i] = column.value(i);
  const sign = sort.down ? -1 : 1;
  return kept.sort((x, y) => {
    const [a, b] = [values[x], values[y]];
    return (a < b ? -sign : a > b ? sign : 0) || x - y;
  });
}

/**
 * What a file says of a clip: names and values as in Python's `explorer.selected`, so that both can
 * be joined. Probabilities and places of a page have 16 bits: five decimals.
 * @param {import("./data.js").Data} data
 * @returns {{title: string, text: (i: number) => string}[]}
 */
export function fileColumns(data) {
  const { arrays, classes } = data;
  const columns = [
    { title: "sample_id", text: (i) => data.ids[i] },
    { title: "class", text: (i) => classes[data.label[i]] },
  ];
  const add = (side, name, text) => columns.push({ title: data.pair ? `${side}_${name}` : name, text });
  for (const side of data.sides) add(side, "predicted", (i) => classes[data.predicted[side][i]]);
  columns.push({ title: "outcome", text: (i) => data.outcomes[data.outcome[i]] });
  for (const side of data.sides) if (arrays[`top_p_${side}`]) add(side, "confidence", (i) => data.confidence(side, i).toFixed(5));
  for (const side of data.sides) if (arrays[`p_true_${side}`]) add(side, "p_true", (i) => data.pTrue(side, i).toFixed(5));
  columns.push({ title: "copy", text: (i) => (arrays.copy[i] ? "True" : "False") });
  for (const side of data.sides) {
    const [status, learnt, lost] = ["status", "learnt_at", "forgettings"].map((name) => arrays[`${name}_${side}`]);
    if (!status) continue;
    add(side, "status", (i) => LEARNT[status[i]] ?? "");
    add(side, "learnt_at", (i) => (learnt[i] === UNKNOWN ? "" : String(learnt[i])));
    add(side, "forgettings", (i) => (status[i] in LEARNT ? String(lost[i]) : ""));
  }
  const moved = data.displacement();
  if (moved) columns.push({ title: "displacement", text: (i) => moved(i).toFixed(5) });
  return columns;
}

/**
 * "clips_plain-model_FR-Head.csv": the heads of a file do not say which models they are of.
 * @param {string[]} names of the models
 */
export function fileName(names) {
  const plain = (name) => [...name.replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "")].slice(0, 60).join("");
  return `${["clips", ...names.map(plain)].filter(Boolean).join("_")}.csv`;
}

/**
 * RFC 4180; a cell that a spreadsheet would run as a formula gets an apostrophe before it.
 * @param {Iterable<number>} rows
 * @param {{title: string, text: (i: number) => string}[]} columns
 */
export function toCsv(rows, columns) {
  const cell = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [columns.map((c) => cell(c.title)).join(",")];
  for (const i of rows) lines.push(columns.map((c) => cell(c.text(i))).join(","));
  return `${lines.join("\r\n")}\r\n`;
}
