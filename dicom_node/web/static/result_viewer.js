// A result in NiiVue: any sequence, with regions, probabilities or outlines over it; on the pages of uploads and of studies.
"use strict";

const FINE_MM = 1.5;
const REGIONS = "segmentation.nii.gz";
export const TRUTH = "ground_truth.nii.gz";
const OUTLINES = { 1: { name: "Result", rgb: [255, 150, 40] }, 2: { name: "Ground truth", rgb: [60, 200, 255] }, 3: { name: "Both", rgb: [255, 255, 255] } };
const BENCH = document.querySelector(".bench"); // none while an upload waits
export const NAMES = BENCH ? Object.fromEntries(JSON.parse(BENCH.dataset.names)) : {};

export function item(text) {
  const line = document.createElement("li");
  line.textContent = text;
  return line;
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

// Lines of one voxel are nearly lost where voxels are fine, since NiiVue makes labels fainter towards their edges.
function line(mask, dims, axis, isFine) {
  const outer = edge(mask, dims, axis);
  if (!isFine) return outer;
  const inner = edge(mask.map((value, at) => value && !outer[at]), dims, axis);
  return outer.map((value, at) => value || inner[at]);
}

// The axis of a volume's voxels that runs along an axis of the patient: 0 to the right, 1 to the front, 2 to the head.
function voxelAxis(volume, patientAxis) {
  const along = [0, 1, 2].map((axis) => Math.abs(volume.hdr.affine[patientAxis][axis]));
  return along.indexOf(Math.max(...along));
}

// Show a result: its files lie under an address; `findings` names labels, the centre of the tumour and the scale of probabilities.
export async function look(address, findings, files) {
  const { Niivue } = await import("/niivue/index.js");
  const viewer = new Niivue({ backColor: [0, 0, 0, 1], crosshairWidth: 0.5, crosshairColor: [0.45, 0.8, 0.95, 0.55], multiplanarShowRender: 1, multiplanarLayout: 2, tileMargin: 4, isRadiologicalConvention: true, logLevel: "error",
    onLocationChange: (place) => { document.getElementById("place").textContent = place.string; slide(); } });
  const scale = findings.probability_scale ?? 1;
  const pick = (id) => document.getElementById(id);
  const of = (name) => `${address}/${name}`;
  const images = files.filter((name) => name.startsWith("image_"));
  for (const name of images) pick("sequence").add(new Option(name.slice(6, -7).toUpperCase(), name));
  if (files.includes(REGIONS)) pick("overlay").add(new Option("Regions", REGIONS));
  for (const name of files.filter((one) => /^(probability|uncertainty)_/.test(one))) {
    const [kind, region] = name.slice(0, -7).split("_");
    pick("overlay").add(new Option(`${kind === "probability" ? "Probability" : "Disagreement"}, ${NAMES[region.toUpperCase()].toLowerCase()}`, name));
  }
  if (files.includes(TRUTH)) pick("overlay").add(new Option("Outlines of both", TRUTH), 0);
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
    const isFine = Math.min(...steps) < FINE_MM;
    const [result, truth] = drawn.map((labels) => line(Uint8Array.from(labels, (value) => wanted.has(value)), dims, axis, isFine));
    volume.img = volume.img.constructor.from(result, (value, at) => value + 2 * truth[at]);
    volume.setColormapLabel(labelColours(OUTLINES, Object.keys(OUTLINES)));
    viewer.updateGLVolume();
  }

  async function load() {
    const overlay = pick("overlay").value;
    const volumes = [{ url: of(pick("sequence").value), name: pick("sequence").value, colormap: "gray", ...(findings.grey ? { cal_min: findings.grey[0], cal_max: findings.grey[1] } : {}) }];
    const outlines = overlay === TRUTH;
    if (outlines) {
      volumes.push({ url: of(REGIONS), name: REGIONS, opacity: 1 }, { url: of(TRUTH), name: TRUTH, opacity: 0 });
    } else if (overlay) {
      const heat = overlay !== REGIONS;
      volumes.push({ url: of(overlay), name: overlay, opacity: Number(pick("opacity").value), ...(heat ? { colormap: "inferno", cal_min: 0.05 * scale, cal_max: scale } : {}) });
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
