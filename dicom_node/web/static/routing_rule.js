// Adds a row for another condition. Without this file, each trial of the rule offers more rows.
"use strict";

const more = document.getElementById("more");
const rows = document.getElementById("conditions");
more.hidden = false;
more.querySelector("button").addEventListener("click", () => {
  const row = rows.lastElementChild.cloneNode(true);
  for (const part of row.children) {
    if (part.tagName === "INPUT") part.value = "";
    part.setAttribute("aria-label", part.getAttribute("aria-label").replace(/\d+$/, rows.children.length + 1));
  }
  rows.append(row);
  row.firstElementChild.focus();
});
