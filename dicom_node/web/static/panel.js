// Shows the result of a C-ECHO without reloading the page, and the steps of a connection test as they end.
// Without this file, the forms and links of the page do the same.
"use strict";

async function call(form) {
  const button = form.querySelector("button");
  const result = form.closest("[data-answer]").querySelector("[role=status]");
  button.disabled = true;
  result.classList.remove("good", "bad");
  result.textContent = "Sending C-ECHO …";
  try {
    const answer = await fetch(form.dataset.echo, { method: "POST" });
    if (answer.status === 401) {
      location.assign("/login");
      return;
    }
    const body = await answer.json();
    result.classList.add(body.ok ? "good" : "bad");
    result.textContent = body.sentence || body.detail;
    for (const [part, name] of [[body.advice, "advice"], [body.measured, "hint"]]) {
      if (!part) continue;
      const span = document.createElement("span");
      span.className = name;
      span.textContent = part;
      result.append(" ", span);
    }
  } catch {
    result.classList.add("bad");
    result.textContent = "The panel did not answer. Is the node still running?";
  } finally {
    button.disabled = false;
  }
}

function listen(part) {
  for (const form of part.querySelectorAll("form[data-echo]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      call(form);
    });
  }
}

// Replaces the part of the page that shows a running test, until the test has ended.
async function follow(part) {
  await new Promise((after) => setTimeout(after, 1000));
  try {
    const answer = await fetch(location.pathname);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById(part.id);
    if (!next) return location.reload();
    part.replaceWith(next);
    listen(next);
    if ("running" in next.dataset) follow(next);
  } catch {
    follow(part);
  }
}

listen(document);
const running = document.querySelector("[data-running]");
if (running) follow(running);
