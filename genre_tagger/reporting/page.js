"use strict";

// A click on a heading sorts the table. A second click reverses the order. Cells without a value are always last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", other === heading ? direction : "none"));
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(byColumn(column, direction === "ascending" ? 1 : -1)));
    });
  });
}

function byColumn(column, sign) {
  return (first, second) => {
    const [a, b] = [first, second].map((row) => row.cells[column].dataset);
    if (a.value === undefined || b.value === undefined) {
      return (a.value === undefined) - (b.value === undefined);
    }
    return sign * (a.kind === "number" ? Number(a.value) - Number(b.value) : a.value.localeCompare(b.value));
  };
}
