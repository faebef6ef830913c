// The widget: one explorer or one player, in a notebook cell or in a page of its own.

import { Data, decode } from "./data.js";
import { fill, h } from "./dom.js";
import { explorer } from "./explorer.js";
import { deckOf } from "./player_view.js";

/** @param {{model: any, el: HTMLElement}} host as anywidget calls it; returns what takes it down */
function render({ model, el }) {
  const root = h("div", { class: "frx-root", tabindex: -1 }); // a click anywhere brings the keys here
  el.append(root);
  let destroy = () => {};
  const draw = () => {
    destroy();
    fill(root);
    try {
      const payload = decode(model.get("payload"));
      destroy = payload.header.kind === "player" ? deckOf(root, payload) : explorer(root, new Data(payload), model);
    } catch (error) {
      console.error(error);
      fill(root, h("p", { class: "frx-note", role: "alert", text: `The explorer could not be drawn: ${error.message}` }));
    }
  };
  model.on("change:payload", draw);
  const stopGuard = guardKeys(root);
  draw();
  return () => {
    stopGuard();
    model.off("change:payload", draw);
    destroy();
  };
}

/**
 * Plain keys pressed in here are ours: JupyterLab's command mode has other uses for them. Those with
 * Ctrl or Cmd stay with JupyterLab. It listens on the document, so this has to come before it.
 */
function guardKeys(root) {
  const guard = ({ target, ctrlKey, metaKey }) => {
    // JupyterLab asks the element that has the focus, before those around it
    if (root.contains(target)) target.toggleAttribute("data-lm-suppress-shortcuts", !ctrlKey && !metaKey);
  };
  window.addEventListener("keydown", guard, true);
  return () => window.removeEventListener("keydown", guard, true);
}

export default { render };
