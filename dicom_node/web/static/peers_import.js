// Puts the content of a chosen file into the text to import. Without this file, the text is pasted.
"use strict";

const file = document.querySelector("[data-into]");
file.closest("[hidden]").hidden = false;
file.addEventListener("change", async () => {
  if (file.files.length) document.getElementById(file.dataset.into).value = await file.files[0].text();
});
