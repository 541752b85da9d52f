// The page of one upload: its progress, and then its result in NiiVue.
"use strict";

const job = document.getElementById("job");
const status = job.dataset.status;
const POLL_MS = 1000;
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

function tell(findings, now) {
  const whole = findings.regions.WT;
  const found = whole.volume_ml === null ? `${whole.voxels} pixels of tumour` : `${whole.volume_ml.toFixed(1)} ml of tumour`;
  document.getElementById("state").textContent = sentence(findings.no_tumour || `${found}, found on ${findings.sequences.join(", ")}`);
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
    volume.textContent = one.volume_ml === null ? `${one.voxels} pixels` : `${one.volume_ml.toFixed(1)} ml`;
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

async function look(findings, now) {
  const { Niivue } = await import("/niivue/index.js");
  const viewer = new Niivue({ backColor: [0, 0, 0, 1], crosshairWidth: 0.5, multiplanarShowRender: 1, multiplanarLayout: 2, tileMargin: 4, isRadiologicalConvention: true, logLevel: "error",
    onLocationChange: (place) => { document.getElementById("place").textContent = place.string; slide(); } });
  const pick = (id) => document.getElementById(id);
  const of = (name) => `${status}/files/${name}`;
  const images = now.files.filter((name) => name.startsWith("image_"));
  for (const name of images) pick("sequence").add(new Option(name.slice(6, -7).toUpperCase(), name));
  pick("overlay").add(new Option("Regions", "segmentation.nii.gz"));
  for (const name of now.files.filter((one) => /^(probability|uncertainty)_/.test(one))) {
    const [kind, region] = name.slice(0, -7).split("_");
    pick("overlay").add(new Option(`${kind === "probability" ? "Probability" : "Disagreement"}, ${NAMES[region.toUpperCase()].toLowerCase()}`, name));
  }
  pick("overlay").add(new Option("None", ""));
  const preferred = images.find((name) => name === "image_t1ce.nii.gz") || images.find((name) => name === "image_flair.nii.gz") || images[0];
  pick("sequence").value = preferred;

  async function load() {
    const overlay = pick("overlay").value;
    const volumes = [{ url: of(pick("sequence").value), name: pick("sequence").value, colormap: "gray" }];
    if (overlay) {
      const heat = overlay !== "segmentation.nii.gz";
      volumes.push({ url: of(overlay), name: overlay, opacity: Number(pick("opacity").value), ...(heat ? { colormap: "inferno", cal_min: 0.05, cal_max: 1 } : {}) });
    }
    await viewer.loadVolumes(volumes);
    paint();
    slide();
    document.body.dataset.shown = overlay || "none";
  }

  function paint() {
    const labels = pick("overlay").value === "segmentation.nii.gz";
    pick("region").disabled = !labels;
    pick("legend").hidden = !labels;
    if (labels && viewer.volumes.length > 1) {
      viewer.volumes[1].setColormapLabel(labelColours(findings.labels, pick("region").value.split(",")));
      viewer.updateGLVolume();
    }
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
    radio.addEventListener("change", () => { viewer.setSliceType(kinds[radio.value]); slide(); });
  }
  pick("legend").replaceChildren(...Object.entries(findings.labels).filter(([value]) => findings.present.includes(Number(value))).map(([, one]) => {
    const line = item(one.name);
    const mark = document.createElement("span");
    mark.style.background = `rgb(${one.rgb.join(",")})`;
    line.prepend(mark);
    return line;
  }));
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
  if (!document.querySelector(".bench").hidden) await look(findings, now);
}
