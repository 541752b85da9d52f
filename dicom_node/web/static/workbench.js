// The upload form of the workbench: chosen files with the sequence that their names suggest, sent with a progress bar.
"use strict";

const form = document.getElementById("upload");
const drop = document.getElementById("drop");
const table = document.getElementById("chosen");
const summary = document.getElementById("summary");
const button = form.querySelector("button");
const bar = form.querySelector("progress");
const message = document.getElementById("message");
const roles = form.dataset.roles.split(",");
const TRUTH = "truth";
const IMAGE = /\.(png|jpe?g|tiff?)$/i;
const NAMED = /\.(nii(\.gz)?|png|jpe?g|tiff?)$/i; // files that state no sequence themselves
const MOST_ROWS = 12;
const MOST_GUESSED = 100;
let chosen = [];

async function guess(names) {
  const answer = await fetch("/api/v1/segment/roles", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ names }),
  });
  return answer.ok ? answer.json() : names.map(() => "");
}

function say(text, bad) {
  message.textContent = text;
  message.className = bad ? "bad" : "";
}

function size(bytes) {
  return bytes < 1048576 ? `${Math.max(1, Math.round(bytes / 1024))} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
}

function row(one) {
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = one.path;
  const bytes = document.createElement("td");
  bytes.textContent = size(one.file.size);
  const kind = document.createElement("td");
  if (NAMED.test(one.file.name) || one.role === TRUTH) {
    const select = document.createElement("select");
    select.setAttribute("aria-label", `Sequence of ${one.path}`);
    for (const role of ["", ...roles, TRUTH]) {
      select.add(new Option(role === TRUTH ? "ground truth" : role || "choose …", role, false, role === one.role));
    }
    select.addEventListener("change", () => { one.role = select.value; check(); });
    kind.append(select);
  } else {
    kind.textContent = "from its header";
  }
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "quiet";
  remove.textContent = "Remove";
  remove.addEventListener("click", () => { chosen = chosen.filter((other) => other !== one); show(); });
  const last = document.createElement("td");
  last.append(remove);
  line.append(name, bytes, kind, last);
  return line;
}

function problem() {
  const total = chosen.reduce((sum, one) => sum + one.file.size, 0);
  if (total > Number(form.dataset.most)) return `These files have ${size(total)}; at most ${size(Number(form.dataset.most))} can be sent.`;
  const named = chosen.filter((one) => NAMED.test(one.file.name) && one.role !== TRUTH);
  if (named.length > 1 && named.some((one) => !one.role)) return "Choose the sequence of each file.";
  const double = chosen.find((one) => one.role && chosen.some((other) => other !== one && other.role === one.role));
  if (double) return `Two files are given as ${double.role === TRUTH ? "ground truth" : double.role}; change one of them.`;
  return chosen.every((one) => one.role === TRUTH) ? "Add the images that the ground truth belongs to." : "";
}

function check() {
  const text = chosen.length ? problem() : "";
  button.disabled = !chosen.length || text !== "";
  say(text, true);
}

function show() {
  const body = table.tBodies[0];
  body.replaceChildren(...chosen.slice(0, MOST_ROWS).map(row));
  table.hidden = !chosen.length;
  document.getElementById("pixels").hidden = !chosen.some((one) => IMAGE.test(one.file.name));
  summary.hidden = chosen.length <= MOST_ROWS;
  summary.textContent = `… and ${chosen.length - MOST_ROWS} more, ${size(chosen.reduce((sum, one) => sum + one.file.size, 0))} in all.`;
  check();
}

// A path has the folders that were chosen or dropped: they may tell the sequence.
async function add(files, role = "") {
  const added = files.filter(({ file }) => !file.name.startsWith(".")).map((one) => ({ ...one, role }));
  const named = added.filter((one) => !role && NAMED.test(one.file.name)).slice(0, MOST_GUESSED);
  if (named.length) {
    const guessed = await guess(named.map((one) => one.path.slice(-255)));
    named.forEach((one, number) => { one.role = guessed[number]; });
  }
  chosen.push(...added);
  show();
}

const withPaths = (files) => [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

async function entries(item) {
  if (item.isFile) {
    const file = await new Promise((done, failed) => item.file(done, failed));
    return [{ file, path: item.fullPath.replace(/^\//, "") }];
  }
  const reader = item.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return (await Promise.all(found.map(entries))).flat();
    found.push(...some);
  }
}

for (const id of ["files", "folder"]) {
  document.getElementById(id).addEventListener("change", (event) => { add(withPaths(event.target.files)); event.target.value = ""; });
}
document.getElementById("truth").addEventListener("change", (event) => {
  chosen = chosen.filter((one) => one.role !== TRUTH);
  add(withPaths(event.target.files), TRUTH);
  event.target.value = "";
});
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  drop.addEventListener(kind, () => drop.classList.remove("over"));
}
drop.addEventListener("drop", async (event) => {
  event.preventDefault();
  const items = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const files = items.length ? (await Promise.all(items.map(entries))).flat() : withPaths(event.dataTransfer.files);
  add(files);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = new FormData();
  for (const one of chosen) body.append(one.role ? one.role.toLowerCase() : "files", one.file, one.path);
  if (!document.getElementById("pixels").hidden) body.append("pixel_mm", document.getElementById("pixel_mm").value);
  const call = new XMLHttpRequest();
  call.open("POST", "/api/v1/segment");
  call.responseType = "json";
  call.upload.addEventListener("progress", (step) => {
    bar.value = step.total ? step.loaded / step.total : 0;
    say(`Sending: ${Math.round(100 * bar.value)} %`);
  });
  call.addEventListener("load", () => {
    if (call.status === 202) location.assign(`/workbench/${call.response.id}`);
    else if (call.status === 401) location.assign("/login");
    else { end(call.response?.detail || "The node did not take these files."); }
  });
  call.addEventListener("error", () => end("The node did not answer. Is it still running?"));
  button.disabled = true;
  bar.hidden = false;
  call.send(body);
});

function end(text) {
  bar.hidden = true;
  button.disabled = false;
  say(text, true);
}

document.getElementById("example").addEventListener("click", async (event) => {
  event.target.disabled = true;
  const answer = await fetch("/api/v1/segment/example", { method: "POST" });
  const content = await answer.json();
  if (answer.ok) return location.assign(`/workbench/${content.id}`);
  event.target.disabled = false;
  document.getElementById("example-message").textContent = content.detail;
});
