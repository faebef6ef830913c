// Elements, hiDPI canvases and colours. Text from data only ever becomes text nodes.

/**
 * An element. `props`: class, text, style, on ({event: fn}); everything else is an attribute.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") el.className = value;
    else if (key === "text") el.textContent = value;
    else if (key === "style") for (const [name, to] of Object.entries(value)) setStyle(el, name, to);
    else if (key === "on") for (const [name, fn] of Object.entries(value)) el.addEventListener(name, fn);
    else el.setAttribute(key, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null));
  return el;
}

function setStyle(el, name, value) {
  if (name.startsWith("--")) el.style.setProperty(name, value);
  else el.style[name] = value;
}

/** Replaces all children. */
export function fill(el, ...children) {
  el.replaceChildren(...children.filter((child) => child !== null));
  return el;
}

/** Replaces all children; a button among them that has the focus hands it on to the new one in its place. */
export function refill(el, ...children) {
  const at = [...el.querySelectorAll("button")].indexOf(el.getRootNode().activeElement);
  fill(el, ...children);
  if (at >= 0) el.querySelectorAll("button")[at]?.focus({ preventScroll: true });
  return el;
}

/**
 * A row of buttons of which one is pressed.
 * @param {string} label for screen readers
 * @param {{value: string, text: string, title?: string}[]} choices
 * @param {string} value the one that is pressed
 * @param {(value: string) => void} choose
 * @returns {HTMLElement & {select: (value: string) => void}}
 */
export function segmented(label, choices, value, choose) {
  const buttons = choices.map((choice) =>
    h("button", {
      type: "button",
      class: "frx-segment",
      title: choice.title,
      text: choice.text,
      "data-value": choice.value,
      on: { click: () => (el.select(choice.value), choose(choice.value)) },
    }),
  );
  const el = h("div", { class: "frx-segmented", role: "group", "aria-label": label }, ...buttons);
  el.select = (chosen) =>
    buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.value === chosen)));
  el.select(value);
  return el;
}

/**
 * A labelled drop-down.
 * @param {string} label
 * @param {{value: string, text: string}[]} choices
 * @param {string} value
 * @param {(value: string) => void} choose
 */
export function dropdown(label, choices, value, choose) {
  const select = h("select", { class: "frx-select", on: { change: () => choose(select.value) } });
  const el = h("label", { class: "frx-field" }, h("span", { text: label }), select);
  el.offer = (offered, chosen) => fill(select, ...offered.map((c) => h("option", { value: c.value, text: c.text, selected: c.value === chosen })));
  el.offer(choices, value);
  return el;
}

/**
 * A canvas that fills its box and is drawn once a frame at most.
 * @param {{label: string, draw: (ctx: CanvasRenderingContext2D, width: number, height: number) => void,
 *   class?: string, keyboard?: (event: KeyboardEvent) => void}} options draw in CSS pixels
 * @returns {{el: HTMLElement, canvas: HTMLCanvasElement, redraw: () => void, drawNow: () => void,
 *   width: number, height: number, destroy: () => void}}
 */
export function canvasBox({ label, draw, class: className = "", keyboard = null }) {
  const canvas = h("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": label,
    on: keyboard ? { keydown: keyboard } : {},
  });
  const box = { el: h("div", { class: `frx-canvas ${className}` }, canvas), canvas, width: 0, height: 0 };
  const ctx = canvas.getContext("2d");
  let pending = 0;
  box.drawNow = () => {
    pending = 0;
    if (!box.width || !box.height) return;
    const ratio = globalThis.devicePixelRatio || 1;
    const [w, hgt] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (canvas.width !== w || canvas.height !== hgt) [canvas.width, canvas.height] = [w, hgt];
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, w, hgt);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    timed(`draw ${label}`, () => draw(ctx, box.width, box.height));
  };
  box.redraw = () => {
    pending ||= requestAnimationFrame(box.drawNow);
  };
  const observer = new ResizeObserver(([entry]) => {
    [box.width, box.height] = [entry.contentRect.width, entry.contentRect.height];
    box.redraw();
  });
  observer.observe(box.el);
  box.destroy = () => {
    observer.disconnect();
    cancelAnimationFrame(pending);
  };
  return box;
}

/** Runs `fn` and leaves how long it took where the browser's tools (and the benchmark) see it. */
export function timed(name, fn) {
  const start = performance.now();
  const result = fn();
  performance.clearMeasures(`frviz ${name}`);
  performance.measure(`frviz ${name}`, { start, end: performance.now() });
  return result;
}

/** Where a pointer is in an element, in CSS pixels. */
export function pointIn(event, el) {
  const box = el.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** Colours of data; the same on light and dark (Okabe and Ito). */
export const PALETTE = {
  blue: "#0072B2",
  vermillion: "#D55E00",
  green: "#009E73",
  orange: "#E69F00",
  sky: "#56B4E9",
  purple: "#CC79A7",
  yellow: "#F0E442",
  grey: "#8A8F98",
};

/**
 * Colours of the surroundings, from CSS variables.
 * @param {Element} el
 */
export function theme(el) {
  const style = getComputedStyle(el);
  const read = (name) => style.getPropertyValue(`--frx-${name}`).trim();
  return {
    ink: read("ink"),
    muted: read("muted"),
    line: read("line"),
    panel: read("panel"),
    background: read("bg"),
    accent: read("accent"),
    dark: luminance(read("bg")) < 0.4,
    font: style.fontFamily,
    ...PALETTE,
  };
}

/** Calls `fn` when the page turns dark or light; returns what stops it. */
export function onTheme(fn) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(fn);
  const attributes = ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-theme"];
  for (const el of [document.documentElement, document.body])
    observer.observe(el, { attributes: true, attributeFilter: attributes });
  media.addEventListener("change", fn);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", fn);
  };
}

/** Relative brightness of a CSS colour, 0 to 1. */
function luminance(colour) {
  const ctx = (luminance.ctx ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  ctx.fillStyle = "#fff";
  ctx.fillStyle = colour;
  ctx.fillRect(0, 0, 1, 1);
  const [r, g, b] = ctx.getImageData(0, 0, 1, 1).data;
  return (0.299 * r + 0.587 * g + 0.114 * b) / 255;
}

/** [r, g, b] of "#rrggbb". */
export function rgb(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** The background of a theme as [r, g, b]; a colour that is no "#rrggbb" as the nearest of two. */
export function backgroundOf({ background, dark }) {
  if (/^#[0-9a-f]{6}$/i.test(background)) return rgb(background);
  return dark ? [24, 25, 28] : [255, 255, 255];
}

/** Whether the reader asked for less motion. */
export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
