// Right and wrong of A against right and wrong of B (of one model: right, wrong). A click chooses.

import { h, refill } from "./dom.js";

/** @param {import("./state.js").State} state */
export function transitionView(state) {
  const { data } = state;
  const el = h("div", { class: "frx-transition" });
  const total = tally(data, null);
  const draw = () => {
    const chosen = state.selection.length ? tally(data, state.selection) : null;
    refill(el, data.pair ? pairTable(state, total, chosen) : oneTable(state, total, chosen));
  };
  state.on("selection", draw);
  draw();
  return { el, controls: [] };
}

function tally(data, clips) {
  const counts = new Array(data.outcomes.length).fill(0);
  if (clips) for (const i of clips) counts[data.outcome[i]] += 1;
  else for (const outcome of data.outcome) counts[outcome] += 1;
  return counts;
}

function button(state, outcome, total, chosen) {
  const { data } = state;
  const name = data.outcomes[outcome];
  const part = chosen ? `${chosen[outcome].toLocaleString("en")} of ` : "";
  return h(
    "button",
    {
      type: "button",
      class: `frx-outcome frx-${name.replace(" ", "-")}`,
      title: `Choose the ${total[outcome]} clips: ${name}`,
      on: { click: () => state.setSelection(data.where((i) => data.outcome[i] === outcome)) },
    },
    h("b", { text: part + total[outcome].toLocaleString("en") }),
    h("span", { text: name }),
  );
}

function pairTable(state, total, chosen) {
  const [nameA, nameB] = state.data.header.names;
  const cell = (outcome) => h("td", {}, button(state, outcome, total, chosen));
  const head = (text) => h("th", { scope: "col", text });
  return h(
    "table",
    { class: "frx-outcomes" },
    h("thead", {}, h("tr", {}, h("td"), head(`${nameB} right`), head(`${nameB} wrong`))),
    h(
      "tbody",
      {},
      h("tr", {}, h("th", { scope: "row", text: `${nameA} right` }), cell(0), cell(2)),
      h("tr", {}, h("th", { scope: "row", text: `${nameA} wrong` }), cell(1), cell(3)),
    ),
  );
}

function oneTable(state, total, chosen) {
  return h("div", { class: "frx-outcomes-one" }, button(state, 0, total, chosen), button(state, 1, total, chosen));
}
