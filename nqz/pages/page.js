"use strict";
const root = document.documentElement;
root.classList.add("js");
const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));

// the scheme of the system, until another is chosen
const scheme = document.querySelector("#scheme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const label = () => { scheme.textContent = isDark() ? "Light" : "Dark"; };
scheme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
dark.addEventListener("change", label);
label();

const fold = (button, open) => {
  button.setAttribute("aria-expanded", open);
  button.closest("tr").nextElementSibling.classList.toggle("open", open);
};

for (const side of all(".side")) {
  const table = side.querySelector("table.tensors");
  if (!table) continue;
  const body = table.tBodies[0];
  const rows = all("tr[id]", body).map((head) => ({
    head, kind: head.dataset.kind || "matrix", more: head.nextElementSibling, text: head.querySelector("bdi").textContent.toLowerCase(),
  }));
  const columns = all("th", table);
  for (const { head, more } of rows) fold(head.querySelector("button"), more.classList.contains("open"));

  const key = (row, column) => {
    const cell = row.head.cells[column];
    if (column === 0) return row.text;
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return columns[column].classList.contains("n") ? null : cell.textContent;
  };
  const natural = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (typeof a === "number" ? a - b : natural.compare(a, b));
  columns.forEach((heading, column) => heading.addEventListener("click", () => {
    // what is largest comes first, names from the start; a second click turns that around
    const before = heading.getAttribute("aria-sort");
    const first = heading.classList.contains("n") ? "descending" : "ascending";
    const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
    columns.forEach((one) => one.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = rows.map((row, place) => ({ row, place, key: key(row, column) }));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
      return sign * compare(a.key, b.key) || a.place - b.place;
    });
    body.append(...keyed.flatMap(({ row }) => [row.head, row.more]));
  }));

  const input = side.querySelector("input");
  const kinds = all(".kinds button", side);
  const shown = side.querySelector("output");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = kinds.find((button) => button.getAttribute("aria-pressed") === "true").dataset.kind;
    let count = 0;
    for (const { head, kind: own, more, text } of rows) {
      const right = kind === "all" || (kind === "marked" ? head.classList.contains("m") : own === kind);
      const good = right && words.every((word) => text.includes(word));
      head.hidden = more.hidden = !good;
      count += good;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  };
  if (input) {
    input.addEventListener("input", filter);
    kinds.forEach((button) => button.addEventListener("click", () => {
      kinds.forEach((one) => one.setAttribute("aria-pressed", one === button));
      filter();
    }));
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) fold(button, button.getAttribute("aria-expanded") !== "true");
  });

  // long names fold where they have joints
  for (const { head } of rows) {
    const bdi = head.querySelector("bdi");
    const parts = bdi.textContent.match(/[^._/]*[._/]*/g);
    if (parts.length > 1) bdi.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
  }

  // names are in the table once; drawings show them where they are pointed at
  for (const link of all("svg a", side)) {
    link.addEventListener("pointerenter", () => {
      if (link.querySelector("title")) return;
      const cells = document.getElementById(link.getAttribute("href").slice(1)).cells;
      const title = document.createElementNS(link.namespaceURI, "title");
      const [name, bits, bytes, off] = [cells[0].querySelector("bdi"), cells[3], cells[4], cells[6]];
      title.textContent = `${name.textContent}\n${bytes.textContent}, ${bits.textContent} bits, ${off.textContent} off`;
      link.prepend(title);
    });
  }

  // what is chosen in a drawing is unfolded in the table, whatever the filter
  const follow = () => {
    const head = document.getElementById(location.hash.slice(1));
    if (!head || !body.contains(head) || !head.id) return;
    if (head.hidden) {
      input.value = "";
      kinds.forEach((one) => one.setAttribute("aria-pressed", one.dataset.kind === "all"));
      filter();
      head.scrollIntoView();
    }
    fold(head.querySelector("button"), true);
  };
  addEventListener("hashchange", follow);
  follow();
}
