// One small box that follows the pointer, shared by the views.

import { fill, h } from "./dom.js";

/** @param {HTMLElement} root of the explorer; the box stays inside it */
export function makeTooltip(root) {
  const el = h("div", { class: "frx-tooltip", hidden: true, "aria-hidden": "true" });
  root.append(el);
  return {
    /** Shows lines (text or elements) near a point of the window. */
    show(event, ...lines) {
      fill(el, ...lines.map((line) => (line instanceof Node ? line : h("div", { text: line }))));
      el.hidden = false;
      const [frame, box] = [root.getBoundingClientRect(), el.getBoundingClientRect()];
      const x = Math.min(event.clientX - frame.left + 14, frame.width - box.width - 4);
      const below = event.clientY - frame.top + 16;
      const y = event.clientY + box.height + 24 > innerHeight ? below - box.height - 30 : below;
      el.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
    },
    hide() {
      el.hidden = true;
    },
  };
}
