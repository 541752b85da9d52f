// The page of one upload: its progress, and then its result in NiiVue.
"use strict";

const job = document.getElementById("job");
const status = job.dataset.status;
const POLL_MS = 1000;
const REGIONS = "segmentation.nii.gz";
const TRUTH = "ground_truth.nii.gz";
const OUTLINES = { 1: { name: "Result", rgb: [255, 150, 40] }, 2: { name: "Ground truth", rgb: [60, 200, 255] }, 3: { name: "Both", rgb: [255, 255, 255] } };
const NAMES = { WT: "Whole tumour", TC: "Tumour core", ET: "Enhancing tumour", NCR: "Necrotic core", ED: "Edema" };
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

function item(text) {
  const line = document.createElement("li");
  line.textContent = text;
  return line;
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

function labelColours(labels, wanted) {
  const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  for (const [value, one] of Object.entries(labels)) {
    table.R.push(one.rgb[0]); table.G.push(one.rgb[1]); table.B.push(one.rgb[2]);
    table.A.push(wanted.includes(value) ? 255 : 0);
    table.I.push(Number(value)); table.labels.push(one.name);
  }
  return table;
}

// The voxels of a mask with a neighbour outside it in one plane: `axis` is the axis across that plane.
function edge(mask, dims, axis) {
  const steps = [1, dims[0], dims[0] * dims[1]];
  const found = new Uint8Array(mask.length);
  for (let at = 0; at < mask.length; at += 1) {
    if (!mask[at]) continue;
    for (let along = 0; along < 3 && !found[at]; along += 1) {
      if (along === axis || dims[along] === 1) continue;
      const place = Math.floor(at / steps[along]) % dims[along];
      if (place === 0 || place === dims[along] - 1 || !mask[at - steps[along]] || !mask[at + steps[along]]) found[at] = 1;
    }
  }
  return found;
}

// The axis of a volume's voxels that runs along an axis of the patient: 0 to the right, 1 to the front, 2 to the head.
function voxelAxis(volume, patientAxis) {
  const along = [0, 1, 2].map((axis) => Math.abs(volume.hdr.affine[patientAxis][axis]));
  return along.indexOf(Math.max(...along));
}

async function look(findings, now) {
  const { Niivue } = await import("/niivue/index.js");
  const viewer = new Niivue({ backColor: [0, 0, 0, 1], crosshairWidth: 0.5, multiplanarShowRender: 1, multiplanarLayout: 2, tileMargin: 4, isRadiologicalConvention: true, logLevel: "error",
    onLocationChange: (place) => { document.getElementById("place").textContent = place.string; slide(); } });
  const pick = (id) => document.getElementById(id);
  const of = (name) => `${status}/files/${name}`;
  const images = now.files.filter((name) => name.startsWith("image_"));
  for (const name of images) pick("sequence").add(new Option(name.slice(6, -7).toUpperCase(), name));
  pick("overlay").add(new Option("Regions", REGIONS));
  for (const name of now.files.filter((one) => /^(probability|uncertainty)_/.test(one))) {
    const [kind, region] = name.slice(0, -7).split("_");
    pick("overlay").add(new Option(`${kind === "probability" ? "Probability" : "Disagreement"}, ${NAMES[region.toUpperCase()].toLowerCase()}`, name));
  }
  if (now.files.includes(TRUTH)) pick("overlay").add(new Option("Outlines: result and ground truth", TRUTH), 0);
  pick("overlay").add(new Option("None", ""));
  pick("overlay").selectedIndex = 0;
  const preferred = images.find((name) => name === "image_t1ce.nii.gz") || images.find((name) => name === "image_flair.nii.gz") || images[0];
  pick("sequence").value = preferred;

  let drawn = null; // the labels of result and ground truth, while their outlines are shown
  function outline() {
    const wanted = new Set(pick("region").value.split(",").map(Number));
    const [volume] = viewer.volumes.slice(1);
    const dims = volume.hdr.dims.slice(1, 4);
    const steps = volume.hdr.pixDims.slice(1, 4);
    const axis = axes[plane()] === undefined || plane() === "multi" ? steps.indexOf(Math.max(...steps)) : voxelAxis(volume, axes[plane()]);
    const [result, truth] = drawn.map((labels) => edge(Uint8Array.from(labels, (value) => wanted.has(value)), dims, axis));
    volume.img = volume.img.constructor.from(result, (value, at) => value + 2 * truth[at]);
    volume.setColormapLabel(labelColours(OUTLINES, Object.keys(OUTLINES)));
    viewer.updateGLVolume();
  }

  async function load() {
    const overlay = pick("overlay").value;
    const volumes = [{ url: of(pick("sequence").value), name: pick("sequence").value, colormap: "gray" }];
    const outlines = overlay === TRUTH;
    if (outlines) {
      volumes.push({ url: of(REGIONS), name: REGIONS, opacity: 1 }, { url: of(TRUTH), name: TRUTH, opacity: 0 });
    } else if (overlay) {
      const heat = overlay !== REGIONS;
      volumes.push({ url: of(overlay), name: overlay, opacity: Number(pick("opacity").value), ...(heat ? { colormap: "inferno", cal_min: 0.05, cal_max: 1 } : {}) });
    }
    await viewer.loadVolumes(volumes);
    drawn = outlines ? viewer.volumes.slice(1).map((volume) => volume.img.slice()) : null;
    paint();
    slide();
    document.body.dataset.shown = overlay || "none";
  }

  function paint() {
    const labels = pick("overlay").value === REGIONS;
    pick("region").disabled = !(labels || drawn);
    pick("legend").hidden = !(labels || drawn);
    legend(drawn ? OUTLINES : Object.fromEntries(Object.entries(findings.labels).filter(([value]) => findings.present.includes(Number(value)))));
    if (drawn) outline();
    else if (labels && viewer.volumes.length > 1) {
      viewer.volumes[1].setColormapLabel(labelColours(findings.labels, pick("region").value.split(",")));
      viewer.updateGLVolume();
    }
  }

  function legend(labels) {
    pick("legend").replaceChildren(...Object.values(labels).map((one) => {
      const line = item(one.name);
      const mark = document.createElement("span");
      mark.style.background = `rgb(${one.rgb.join(",")})`;
      line.prepend(mark);
      return line;
    }));
  }

  // The slider moves through the slices of the plane that is shown, or of the axial one where all are.
  const axes = { axial: 2, coronal: 1, sagittal: 0, multi: 2 };
  const plane = () => document.querySelector("input[name=plane]:checked").value;
  function slide() {
    const axis = axes[plane()];
    pick("slices").hidden = axis === undefined;
    if (axis === undefined || !viewer.volumes.length) return;
    const count = viewer.volumes[0].dimsRAS[axis + 1];
    pick("slice").max = count - 1;
    pick("slice").value = Math.round(viewer.scene.crosshairPos[axis] * count - 0.5);
  }

  await viewer.attachTo("view");
  const kinds = { multi: viewer.sliceTypeMultiplanar, axial: viewer.sliceTypeAxial, coronal: viewer.sliceTypeCoronal, sagittal: viewer.sliceTypeSagittal, render: viewer.sliceTypeRender };
  pick("sequence").addEventListener("change", load);
  pick("overlay").addEventListener("change", load);
  pick("region").addEventListener("change", paint);
  pick("opacity").addEventListener("input", () => viewer.volumes.length > 1 && viewer.setOpacity(1, Number(pick("opacity").value)));
  pick("slice").addEventListener("input", () => {
    const axis = axes[plane()];
    viewer.scene.crosshairPos[axis] = (Number(pick("slice").value) + 0.5) / viewer.volumes[0].dimsRAS[axis + 1];
    viewer.drawScene();
  });
  for (const radio of document.querySelectorAll("input[name=plane]")) {
    radio.addEventListener("change", () => { viewer.setSliceType(kinds[radio.value]); slide(); if (drawn) outline(); });
  }
  await load();
  const centre = findings.regions.WT.centroid_lps_mm;
  if (centre) {
    viewer.scene.crosshairPos = viewer.mm2frac([-centre[0], -centre[1], centre[2]]);
    viewer.drawScene();
    slide();
  }
  if (viewer.volumes[0].dimsRAS[3] === 1) document.querySelector("input[value=axial]").click();
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
  if (!document.querySelector(".bench").hidden) await look(findings, now);
}
