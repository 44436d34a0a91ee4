// Draws the plain values of app/ui/table.py. Cells are text, never markup.
// With props.can_choose a row is opened by click or by the button in its first cell: "choose" carries {id}.

import { h } from "./dom.js";

export function mount({ element, props, trigger, watch }) {
  const headRow = (columns) =>
    h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.is_number && "number" }, column.label)));

  function bodyRow(entry, { columns, chosen }) {
    const cells = entry.cells.map((text, index) => {
      const content = index === 0 && props.can_choose ? h("button", { type: "button" }, text) : text;
      return h("td", { class: columns[index].is_number && "number" }, content);
    });
    const open = props.can_choose && (() => trigger("choose", { id: entry.id }));
    return h("tr", { "aria-current": entry.id === chosen && "true", onclick: open }, cells);
  }

  function drawing(value) {
    if (!value.rows.length) return h("p", { class: "empty" }, value.empty);
    const rows = value.rows.map((entry) => bodyRow(entry, value));
    const table = h(
      "table",
      {},
      h("caption", {}, value.caption),
      h("thead", {}, headRow(value.columns)),
      h("tbody", {}, rows),
    );
    return h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": value.caption }, table);
  }

  function draw() {
    const hadFocus = element.contains(document.activeElement);
    const scrolled = element.querySelector(".scroller")?.scrollTop ?? 0;
    element.replaceChildren(...(props.value ? [drawing(props.value)] : []));
    if (hadFocus) element.querySelector("tr[aria-current] button")?.focus({ preventScroll: true });
    element.querySelector(".scroller")?.scrollTo(0, scrolled);
  }

  element.classList.add("lab-table");
  draw();
  watch("value", draw);
}
