// Keeps the queue fresh by server-sent events, and the ages in it. Without this file, the page shows the queue as it was when loaded.
"use strict";

const queue = document.getElementById("queue");
const freshness = document.getElementById("freshness");
const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
let next = null;

function age(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - since) / 1000));
  const [unit, length] = units.find(([, size]) => seconds >= size) || units[3];
  return `${Math.floor(seconds / length)} ${unit}`;
}

function say(text) {
  if (freshness.textContent !== text) freshness.textContent = text;
}

// A list of steps that somebody has opened stays as it is until they are done.
function show() {
  const focused = document.activeElement;
  if (next === null) return;
  if (focused && focused.tagName === "SELECT" && queue.contains(focused)) {
    say("Changes wait until you have chosen a step.");
    return;
  }
  say("Live: changes appear by themselves.");
  const id = focused && queue.contains(focused) ? focused.id : "";
  const chosen = [...queue.querySelectorAll("select")].map((one) => [one.id, one.value]);
  queue.innerHTML = next;
  next = null;
  for (const [name, value] of chosen) {
    const list = document.getElementById(name);
    if (list && [...list.options].some((one) => one.value === value)) list.value = value;
  }
  if (id) document.getElementById(id)?.focus();
}

function follow() {
  const events = new EventSource(queue.dataset.events);
  events.addEventListener("queue", (event) => {
    next = event.data;
    show();
  });
  events.addEventListener("ended", () => {
    events.close();
    say("Your session has ended. Log in and load the page again.");
  });
  events.addEventListener("error", () => {
    say(events.readyState === EventSource.CLOSED ? "No longer live; load the page again." : "The panel does not answer; trying again …");
  });
}

queue.addEventListener("focusout", () => setTimeout(show));
setInterval(() => {
  for (const moment of queue.querySelectorAll("time")) moment.textContent = age(Date.parse(moment.dateTime));
}, 5000);
follow();
