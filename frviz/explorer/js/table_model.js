// Columns, order and CSV of the table of clips. Pure.

import { INTEREST } from "./data.js";

const LEARNT = ["learnt", "forgotten", "never learnt"];
const UNKNOWN = 65535;

/**
 * @typedef {{key: string, title: string, csv?: string, help?: string, width: string, numeric?: boolean,
 *   down?: boolean, text: (i: number) => string, value: (i: number) => number|string,
 *   tone?: (i: number) => string}} Column csv: its head in a file, which says whose it is
 * @param {import("./data.js").Data} data
 * @returns {Column[]}
 */
export function columnsOf(data) {
  const { arrays, classes, header } = data;
  const named = (key, title, codes, help) => ({
    key,
    title,
    help,
    width: "minmax(5em, 1.2fr)",
    text: (i) => classes[codes[i]],
    value: (i) => classes[codes[i]],
  });
  // As in Python's `selected`, and with the name: a file is read far from the page.
  const head = (what, s) => `${data.pair ? `${data.sides[s]}_` : ""}${what} (${header.names[s]})`;
  const columns = [
    { key: "id", title: "clip", width: "minmax(6.5em, 1.3fr)", text: (i) => data.ids[i], value: (i) => data.ids[i] },
    { ...named("class", "true class", data.label, "What the clip shows"), width: "minmax(5.4em, 1.2fr)" },
  ];
  data.sides.forEach((side, s) => {
    const title = data.pair ? `${side.toUpperCase()} says` : "predicted";
    const predicted = data.predicted[side];
    columns.push({
      ...named(`predicted_${side}`, title, predicted, header.names[s]),
      csv: head("predicted", s),
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
        csv: head("p_true", s),
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
        csv: head("training", s),
        help: `From which epoch on ${header.names[s]} was right, or how it ended`,
        width: "6.2em",
        text: (i) => (learnt[i] !== UNKNOWN ? `epoch ${learnt[i]}` : LEARNT[status[i]] ?? ""),
        value: (i) => (learnt[i] !== UNKNOWN ? learnt[i] : UNKNOWN + status[i]),
      });
  });
  if (data.carried)
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
 * RFC 4180; a cell that a spreadsheet would run as a formula gets an apostrophe before it.
 * @param {Iterable<number>} rows
 * @param {Column[]} columns
 */
export function toCsv(rows, columns) {
  const cell = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [columns.map((c) => cell(c.csv ?? c.title)).join(",")];
  for (const i of rows) lines.push(columns.map((c) => cell(c.text(i))).join(","));
  return `${lines.join("\r\n")}\r\n`;
}
