// The page of one upload: its progress, and then its result in NiiVue.
"use strict";

import { item, look, NAMES } from "/static/result_viewer.js";

const job = document.getElementById("job");
const status = job.dataset.status;
const POLL_MS = 1000;
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

async function ask(address) {
  const answer = await fetch(address);
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

function show(now) {
  const line = document.getElementById("state");
  const steps = [...document.querySelectorAll(".steps li")];
  const at = steps.findIndex((step) => step.dataset.step === now.step);
  steps.forEach((step, number) => {
    step.classList.toggle("done", number < at);
    if (number === at) step.setAttribute("aria-current", "step"); else step.removeAttribute("aria-current");
  });
  const bar = document.querySelector("#progress progress");
  if (now.state === "waiting") {
    line.textContent = now.place === 1 ? "Next in the queue. Studies of the clinic come first." : `Place ${now.place} in the queue.`;
    bar.removeAttribute("value");
  } else if (now.state === "stopping") {
    line.textContent = "Being stopped …";
    bar.removeAttribute("value");
  } else {
    line.textContent = at < 0 ? "Starting …" : `${steps[at].textContent} …`;
    bar.value = Math.max(0, at);
  }
}

const gone = () => location.assign("/workbench");
let events = null;
let ended = false;

function take(now) {
  ended = now.state === "done" || now.state === "failed";
  if (!ended) return show(now);
  hush();
  location.reload();
}

function hush() {
  if (events) events.close();
  events = null;
}

// A browser opens six connections to a node, so a page that nobody looks at keeps none.
function follow() {
  if (document.hidden) return hush();
  if (events || ended) return;
  events = new EventSource(`${status}/events`);
  events.addEventListener("message", (event) => take(JSON.parse(event.data)));
  events.addEventListener("removed", () => { hush(); gone(); });
  events.addEventListener("error", () => {
    hush();
    document.removeEventListener("visibilitychange", follow);
    poll();
  });
}

async function poll() {
  while (!ended) {
    try {
      const answer = await fetch(status);
      if (answer.status === 401) return location.assign("/login");
      if (answer.status === 404) return gone();
      if (!answer.ok) throw new Error(`${status}: ${answer.status}`);
      take(await answer.json());
    } catch {
      document.getElementById("state").textContent = "The node does not answer; trying again.";
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

// Volume, area where a slice's pixels have a known size, or pixels.
function amount(one) {
  if (one.volume_ml !== null) return `${one.volume_ml.toFixed(1)} ml`;
  return one.area_mm2 === null ? `${one.voxels} pixels` : `${one.area_mm2.toFixed(0)} mm²`;
}

function cells(row, texts) {
  for (const text of texts) {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.append(cell);
  }
  return row;
}

function compare(comparison) {
  document.getElementById("comparison").hidden = false;
  const note = document.getElementById("truth-note");
  note.textContent = comparison.problem ? `Not compared. ${sentence(comparison.problem)}` : `Ground truth: ${comparison.ground_truth}. ${comparison.note}`;
  note.classList.toggle("bad", Boolean(comparison.problem));
  document.getElementById("compared").hidden = Boolean(comparison.problem);
  if (comparison.problem) return;
  const number = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits));
  const rows = Object.entries(comparison.regions).map(([region, one]) => {
    const line = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = NAMES[region];
    line.append(name);
    const sizes = one.volume_ml === null ? [`${one.voxels} pixels`, `${one.reference_voxels} pixels`] : [`${one.volume_ml.toFixed(1)} ml`, `${one.reference_ml.toFixed(1)} ml`];
    return cells(line, [number(one.dice), number(one.iou), number(one.precision), number(one.recall), one.hd95_mm === null ? "–" : `${number(one.hd95_mm, 1)} mm`, ...sizes]);
  });
  document.querySelector("#figures tbody").replaceChildren(...rows);
  document.getElementById("report").textContent = comparison.report;
}

function tell(findings, now) {
  document.getElementById("state").textContent = sentence(findings.no_tumour || `${amount(findings.regions.WT)} of tumour, found on ${findings.sequences.join(", ")}`);
  const flags = document.getElementById("flags");
  flags.hidden = !findings.flags.length;
  flags.replaceChildren(...findings.flags.map((flag) => item(sentence(flag.sentence))));
  const rows = Object.keys(NAMES).filter((region) => region in findings.regions).map((region) => {
    const one = findings.regions[region];
    const line = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = NAMES[region];
    const volume = document.createElement("td");
    volume.textContent = amount(one);
    const interval = document.createElement("td");
    const known = one.interval_ml && one.volume_ml !== null;
    interval.textContent = known ? `${one.interval_ml[0].toFixed(1)} to ${one.interval_ml[1].toFixed(1)} ml` : "–";
    line.append(name, volume, interval);
    return line;
  });
  document.querySelector("#volumes tbody").replaceChildren(...rows);
  document.getElementById("files").replaceChildren(...now.files.filter((name) => name !== "result.zip").map((name) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = `${status}/files/${name}`;
    link.textContent = name;
    link.download = name;
    line.append(link);
    return line;
  }));
  document.getElementById("decisions").replaceChildren(...findings.decisions.map((one) => item(`${one.subject}: ${one.reason}`)));
  document.getElementById("model").textContent = `Model ${findings.model.name} ${findings.model.version}, ${findings.quality.arithmetic}.`;
}

const remove = document.getElementById("remove");
remove.addEventListener("click", async () => {
  remove.disabled = true;
  const answer = await fetch(status, { method: "DELETE" }).catch(() => null);
  if (answer?.status === 202) show(await answer.json()); // its end is told as any other change
  else if (answer?.ok || answer?.status === 404) return gone();
  else if (answer?.status === 401) return location.assign("/login");
  else document.getElementById("state").textContent = "The node did not answer; try again.";
  remove.disabled = false;
});

if (["waiting", "running", "stopping"].includes(job.dataset.state)) {
  document.addEventListener("visibilitychange", follow);
  follow();
} else if (job.dataset.state === "done") {
  const [findings, now] = await Promise.all([ask(`${status}/files/findings.json`), ask(status)]);
  tell(findings, now);
  if (now.files.includes("comparison.json")) compare(await ask(`${status}/files/comparison.json`));
  if (!document.querySelector(".bench").hidden) await look(`${status}/files`, findings, now.files);
}
