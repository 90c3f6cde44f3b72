// Sort by a column, find a model. Without this the page is complete.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  for (const head of table.querySelectorAll("thead th:not([data-fixed])")) {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[head.cellIndex].dataset.v ?? row.cells[head.cellIndex].textContent;
      const rows = [...body.rows];
      const ranked = rows.filter((row) => row.className !== "outside");
      ranked.sort((a, b) => value(a).localeCompare(value(b), "en", { numeric: true }) * (down ? -1 : 1));
      body.append(...ranked, ...rows.filter((row) => row.className === "outside"));
    };
  }
  const find = table.closest("section").querySelector("input");
  if (find) {
    find.oninput = () => {
      for (const row of body.rows) {
        row.hidden = !row.querySelector("th").textContent.toLowerCase().includes(find.value.toLowerCase());
      }
    };
  }
}
