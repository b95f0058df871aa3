"use strict";

// Tables: a click on a column's name sorts by it, a second one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.sort;
    const number = head.classList.contains("number");
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      // What has no value comes last either way.
      if (x === "" || y === "") return (x === "") - (y === "");
      return (up ? 1 : -1) * (number ? x - y : x.localeCompare(y));
    });
    table.tBodies[0].append(...rows);
  }));
}

// Figures: enlarged in a dialog, where the wheel, the buttons and dragging move the view.
const dialog = document.getElementById("zoom");
const view = dialog.querySelector(".view");
let whole = null;

function box() {
  return view.firstElementChild.getAttribute("viewBox").split(" ").map(Number);
}

function setBox(values) {
  view.firstElementChild.setAttribute("viewBox", values.join(" "));
}

// Scales about a point of the view, given as shares of its width and height.
function zoom(factor, atX = 0.5, atY = 0.5) {
  const [x, y, width, height] = box();
  const least = whole[2] / 40;
  const wanted = Math.min(Math.max(width * factor, least), whole[2]);
  const scale = wanted / width;
  setBox([x + atX * width * (1 - scale), y + atY * height * (1 - scale), wanted, height * scale]);
  if (wanted === whole[2]) setBox(whole);
}

function enlarge(figure) {
  const plot = [...figure.querySelectorAll(".plot")].find((p) => p.offsetWidth > 0);
  view.replaceChildren(plot.querySelector("svg").cloneNode(true));
  whole = box();
  dialog.showModal();
}

for (const figure of document.querySelectorAll("figure")) {
  figure.querySelector(".enlarge").addEventListener("click", () => enlarge(figure));
  figure.querySelectorAll(".plot").forEach((p) => p.addEventListener("click", () => enlarge(figure)));
}

dialog.addEventListener("close", () => view.replaceChildren());
dialog.querySelector(".tools").addEventListener("click", (event) => {
  const what = event.target.dataset.zoom;
  if (what === "in") zoom(0.7);
  if (what === "out") zoom(1 / 0.7);
  if (what === "reset") setBox(whole);
  if (what === "close") dialog.close();
});
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const area = view.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 0.85 : 1 / 0.85, (event.clientX - area.x) / area.width, (event.clientY - area.y) / area.height);
}, { passive: false });
view.addEventListener("pointerdown", (event) => view.setPointerCapture(event.pointerId));
view.addEventListener("pointermove", (event) => {
  if (event.buttons !== 1) return;
  const [x, y, width, height] = box();
  const area = view.getBoundingClientRect();
  // The figure keeps its shape, so one scale holds for both directions.
  const scale = Math.max(width / area.width, height / area.height);
  setBox([x - event.movementX * scale, y - event.movementY * scale, width, height]);
});
