// Draws the plain values of app/ui/table.py. Cells are text, never markup.
// With props.can_choose a row is opened by click or by the button in its first cell: "choose" carries {id}.

import { h } from "./dom.js";

export function mount({ element, props, trigger, watch }) {
  let drawn; // what is on the page, as JSON; a redraw takes the keyboard's place in the table along

  const headRow = (columns) =>
    h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.is_number && "number" }, column.label)));

  function bodyRow(entry, { columns, chosen }) {
    const cells = entry.cells.map((text, index) => {
      const content = index === 0 && props.can_choose ? h("button", { type: "button" }, text) : text;
      return h("td", { class: columns[index].is_number && "number" }, content);
    });
    const open = props.can_choose && (() => trigger("choose", { id: entry.id }));
    return h("tr", { "data-id": entry.id, "aria-current": entry.id === chosen && "true", onclick: open }, cells);
  }

  function drawing(value) {
    if (!value.rows.length) return h("p", { class: "empty" }, value.empty);
    const rows = value.rows.map((entry) => bodyRow(entry, value));
    const table = h(
      "table",
      {},
      h("caption", {}, h("span", {}, value.caption)),
      h("thead", {}, headRow(value.columns)),
      h("tbody", {}, rows),
    );
    return h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": value.caption }, table);
  }

  function draw() {
    const now = JSON.stringify(props.value);
    if (now === drawn) return;
    drawn = now;
    const before = element.querySelector(".scroller");
    const [left, top, focused] = [before?.scrollLeft ?? 0, before?.scrollTop ?? 0, document.activeElement];
    const hadFocus = element.contains(focused);
    const row = hadFocus ? focused.closest("tr")?.dataset.id : undefined;
    element.replaceChildren(...(props.value ? [drawing(props.value)] : []));
    const after = element.querySelector(".scroller");
    const same = [...element.querySelectorAll("tr")].find((one) => row !== undefined && one.dataset.id === row);
    const next = same ?? element.querySelector("tr[aria-current]");
    if (hadFocus) ((focused !== before && next?.querySelector("button")) || after)?.focus({ preventScroll: true });
    after?.scrollTo(left, top);
  }

  element.classList.add("lab-table");
  draw();
  watch("value", draw);
}
