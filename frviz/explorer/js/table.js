// The chosen clips (or all), a row each; only the rows in sight are in the page.

import { fill, h, refill } from "./dom.js";
import { columnsOf, rowsOf, toCsv } from "./table_model.js";

const ROW = 26; // pixels, as in the style sheet

/** @param {import("./state.js").State} state */
export function tableView(state) {
  return new Table(state);
}

class Table {
  constructor(state) {
    this.state = state;
    this.columns = columnsOf(state.data);
    [this.sort, this.filter, this.rows] = [{ key: "outcome", down: true }, "", []];
    this.head = h("div", { class: "frx-row frx-row-head", role: "row" });
    this.space = h("div", { class: "frx-space" });
    this.scroll = h(
      "div",
      {
        class: "frx-rows",
        role: "grid",
        tabindex: 0,
        "aria-label": "Clips. Arrow keys move, space plays.",
        on: { scroll: () => this.draw(), keydown: (event) => this.key(event) },
      },
      this.head,
      this.space,
    );
    this.count = h("span", { class: "frx-muted" });
    const search = h("input", {
      type: "search",
      class: "frx-search",
      placeholder: "filter by id or class",
      "aria-label": "Filter clips by id or class",
      on: {
        input: () => ((this.filter = search.value), this.refresh()),
        keydown: (event) => event.stopPropagation(),
      },
    });
    const csv = h("button", { type: "button", class: "frx-button", text: "CSV", title: "Save these rows", on: { click: () => this.save() } });
    this.controls = [this.count, search, csv];
    this.el = h("div", { class: "frx-table", style: { "--frx-columns": this.columns.map((c) => c.width).join(" ") } }, this.scroll);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.scroll);
    state.on("selection", () => this.refresh());
    state.on("focus", () => this.showFocus());
    this.refresh();
  }

  refresh() {
    const { data, selection } = this.state;
    this.rows = rowsOf(data, selection, this.filter, this.columns, this.sort);
    const of = selection.length || data.size;
    const what = selection.length ? "chosen" : "in all";
    this.count.textContent = this.rows.length === of ? `${of.toLocaleString("en")} ${what}` : `${this.rows.length.toLocaleString("en")} of ${of.toLocaleString("en")} ${what}`;
    this.space.style.height = `${this.rows.length * ROW}px`;
    this.scroll.scrollTop = 0;
    this.drawHead();
    this.showFocus();
  }

  drawHead() {
    const cells = this.columns.map((column) => {
      const mine = this.sort.key === column.key;
      const arrow = mine ? (this.sort.down ? " \u2193" : " \u2191") : "";
      const sort = () => {
        this.sort = { key: column.key, down: mine ? !this.sort.down : column.down ?? false };
        this.refresh();
      };
      const button = h("button", { type: "button", text: column.title + arrow, title: column.help, on: { click: sort } });
      const direction = mine ? (this.sort.down ? "descending" : "ascending") : "none";
      return h("div", { role: "columnheader", "aria-sort": direction, class: column.numeric ? "frx-number" : "" }, button);
    });
    refill(this.head, ...cells);
  }

  draw() {
    const { scrollLeft, clientWidth, scrollWidth } = this.scroll;
    this.el.classList.toggle("frx-more", scrollLeft + clientWidth < scrollWidth - 2);
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW) - 4);
    const count = Math.ceil((this.scroll.clientHeight || 300) / ROW) + 8;
    const shown = this.rows.slice(first, first + count);
    fill(this.space, ...Array.from(shown, (clip, at) => this.row(clip, first + at)));
  }

  row(clip, at) {
    const { state } = this;
    const cells = this.columns.map((column) => {
      const text = column.text(clip);
      const tone = column.tone?.(clip) ?? "";
      return h("div", { role: "gridcell", class: `${column.numeric ? "frx-number" : ""} ${tone}`, text, title: text });
    });
    return h(
      "div",
      {
        class: "frx-row",
        role: "row",
        "aria-selected": String(clip === state.focus),
        style: { top: `${at * ROW}px` },
        on: {
          click: () => state.setFocus(clip),
          pointerenter: () => state.setHover(clip),
          pointerleave: () => state.setHover(-1),
        },
      },
      ...cells,
    );
  }

  showFocus() {
    const at = this.rows.indexOf(this.state.focus);
    if (at >= 0) {
      const room = this.scroll.clientHeight - ROW; // the head stays in sight
      const top = at * ROW;
      if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
      else if (room > 0 && top + ROW > this.scroll.scrollTop + room) this.scroll.scrollTop = top + ROW - room;
    }
    this.draw();
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (!step || !this.rows.length) return;
    const at = this.rows.indexOf(this.state.focus);
    const next = at < 0 ? 0 : Math.min(this.rows.length - 1, Math.max(0, at + step));
    this.state.setFocus(this.rows[next]);
    this.state.say(this.columns.map((c) => `${c.title} ${c.text(this.rows[next])}`).join(", "));
    event.preventDefault();
    event.stopPropagation();
  }

  save() {
    const url = URL.createObjectURL(new Blob([toCsv(this.rows, this.columns)], { type: "text/csv" }));
    const link = h("a", { href: url, download: "clips.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  destroy() {
    this.observer.disconnect();
  }
}
