// Shows the result of a C-ECHO in its row without reloading the page. Without this file, the form does the same.
"use strict";

async function call(form) {
  const button = form.querySelector("button");
  const result = form.closest("tbody").querySelector("[role=status]");
  button.disabled = true;
  result.className = "";
  result.textContent = "Sending C-ECHO …";
  try {
    const answer = await fetch(form.dataset.echo, { method: "POST" });
    if (answer.status === 401) {
      location.assign("/login");
      return;
    }
    const body = await answer.json();
    result.className = body.ok ? "good" : "bad";
    result.textContent = body.sentence || body.detail;
  } catch {
    result.className = "bad";
    result.textContent = "The panel did not answer. Is the node still running?";
  } finally {
    button.disabled = false;
  }
}

for (const form of document.querySelectorAll("form[data-echo]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    call(form);
  });
}
