// Right and wrong of A against right and wrong of B (of one model: right, wrong). A click chooses
// those of the chosen group, or of all clips; Shift adds them.

import { h, refill } from "./dom.js";

/** @param {import("./state.js").State} state */
export function transitionView(state) {
  const { data } = state;
  const el = h("div", { class: "frx-transition" });
  const total = tally(data, null);
  const draw = () => {
    const chosen = state.selection.length ? tally(data, state.selection) : null;
    const own = state.anchor < 0 ? total : tally(data, data.clipsInGroup(state.anchor)); // what a click chooses
    refill(el, (data.pair ? pairTable : oneTable)(state, (outcome) => button(state, outcome, { total, chosen, own })));
  };
  state.on("selection anchor", draw);
  draw();
  return { el, controls: [] };
}

function tally(data, clips) {
  const counts = new Array(data.outcomes.length).fill(0);
  if (clips) for (const i of clips) counts[data.outcome[i]] += 1;
  else for (const outcome of data.outcome) counts[outcome] += 1;
  return counts;
}

function button(state, outcome, { total, chosen, own }) {
  const { data } = state;
  const name = data.outcomes[outcome];
  const whose = state.anchor < 0 ? "" : ` of the group of ${data.name(state.anchor)}`;
  const choose = ({ shiftKey }) => state.setSelection(data.where((i) => data.outcome[i] === outcome && state.inGroup(i)), shiftKey);
  const part = chosen ? `${chosen[outcome].toLocaleString("en")} of ` : "";
  return h(
    "button",
    {
      type: "button",
      class: `frx-outcome frx-${name.replace(" ", "-")}`,
      title: `Choose clips${whose}: ${own[outcome].toLocaleString("en")} ${name} (with Shift: add them)`,
      on: { click: choose },
    },
    h("b", { text: part + total[outcome].toLocaleString("en") }),
    h("span", { text: name }),
  );
}

function pairTable(state, field) {
  const [nameA, nameB] = state.data.header.names;
  const cell = (outcome) => h("td", {}, field(outcome));
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

function oneTable(_, field) {
  return h("div", { class: "frx-outcomes-one" }, field(0), field(1));
}
