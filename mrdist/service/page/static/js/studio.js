// Studio: a photograph, a model, and the result.
import { get, part, request, rowsWith, thumbnail } from "./lib/api.js";
import { $, facts, h, latest, message, roving, ruled, speak } from "./lib/dom.js";
import { crowd } from "./lib/format.js";
import { offerFaces, offerTraining } from "./lib/begin.js";
import { hasDials, hasField, kind, loadMethods, named, takes } from "./lib/methods.js";
import "./lib/shell.js";
import { Dials } from "./studio/dials.js";
import { Picture, drawFace } from "./studio/picture.js";
import { Pupils } from "./studio/pupils.js";
import { Stage } from "./studio/stage.js";

const TOGETHER = 8; // models that the service takes on one photograph
const stage = new Stage($("view"), $("divider"));
const made = new Map(); // request -> {bitmap, alignment, timing}; the newest few
let models = [];
let datasets = [];
let model = null;
let picture = null;
const CLICK = "Click the two pupils, or press Enter for two marks to move.";
const MANY = 8; // models, from which on they are searched
const invitation = [...$("photograph-name").childNodes];

ruled($("strength"), $("strength-value"), (value) => `${value} %`);
ruled($("radius"), $("radius-value"), (value) => `${value} % of the side`);
roving($("strip"));

// ---- asking for a picture

const dials = new Dials($("dial-fields"), () => synthesise());
const refining = (one) => hasField(one) && $("refine").checked;

function form({ file = picture.sent, points = picture.pupils(), names = [model.name], refined = refining(model), turned = dials.values } = {}) {
  const asked = new FormData();
  asked.append("photograph", file, picture.name);
  for (const name of names) asked.append("model", name);
  asked.append("refine", String(refined));
  if (refined) asked.append("radius", String($("radius").value / 100));
  if (points) asked.append("points", points);
  for (const [name, value] of turned) asked.append(name, value);
  return asked;
}

const subject = () => JSON.stringify([picture.id, model.name, picture.pupils()]);
const key = () => JSON.stringify([subject(), refining(model) && $("radius").value, dials.values]);

async function fetchMade() {
  const wanted = key();
  if (!made.has(wanted)) {
    const started = performance.now();
    const response = await request("POST", "/synthesis", { form: form() });
    const bitmap = await createImageBitmap(await response.blob());
    made.set(wanted, {
      bitmap,
      alignment: response.headers.get("X-Mrdist-Alignment"),
      points: response.headers.get("X-Mrdist-Points")?.split(",").map(Number) ?? null,
      warning: response.headers.get("X-Mrdist-Warning"),
      timing: timings(response.headers.get("Server-Timing")),
      total: performance.now() - started,
    });
    if (made.size > 48) made.delete(made.keys().next().value);
  }
  return [wanted, made.get(wanted)];
}

function timings(header) {
  const milliseconds = {};
  for (const [, name, time] of (header ?? "").matchAll(/([\w-]+)\s*;\s*dur=([\d.]+)/g)) milliseconds[name] = Number(time);
  return milliseconds;
}

const synthesise = latest(async () => {
  if (!picture || !model) return;
  $("stage").classList.add("busy");
  const shown = subject();
  try {
    const [wanted, result] = await fetchMade();
    if (shown !== subject()) return; // another photograph, model or face meanwhile
    stage.show(result.bitmap); // also while a slider moves on: the next request begins when this one has ended
    $("stage-notice").hidden = true;
    tellReadout(result);
    if (wanted === key()) speak(`${model.target} by ${model.name}${["", ...dials.words].join(", ")}, ready.`);
    $("download").disabled = false;
    if ($("overlay").checked) showOverlay();
  } catch (error) {
    $("download").disabled = true;
    const alone = error.body?.type === "urn:mrdist:problem:alignment";
    tellNotice(alone ? `${(error.body.reason ?? error.message).replace(/\.$/, "")}. ${CLICK}` : error.message);
    $("readout").replaceChildren();
    if (alone) setPupils();
  } finally {
    $("stage").classList.remove("busy");
  }
});

/** Words under the picture, where they cover nothing of it. */
function tellNotice(words, { mild = false } = {}) {
  $("stage-notice").textContent = words;
  $("stage-notice").classList.toggle("mild", mild);
  $("stage-notice").hidden = false;
}

function tellReadout({ alignment, warning, timing, total }) {
  const how = { aligned: "already aligned", points: "located by the pupils", landmarks: "located by landmarks", detection: "found by the detector", registration: "located by likeness" }[alignment];
  facts($("readout"), [
    ["Picture", `${Math.round(picture.bitmap.width / picture.scale)} × ${Math.round(picture.bitmap.height / picture.scale)}`],
    ["Face", how],
    ["Note", warning?.split("; ")[0]], // the rest is about files beside the photograph
    ["Model", timing.model === undefined ? null : `${timing.model.toFixed(1)} ms`],
    ["Upload to picture", `${Math.round(total)} ms`],
  ]);
  const pairs = [...$("readout").children];
  $("readout").replaceChildren(...pairs.filter((_, index) => index % 2 === 0).map((dt, index) => h("div", {}, dt, pairs[2 * index + 1])));
  $("forget-pupils").hidden = picture.points === null;
  $("pupils-row").hidden = alignment === "aligned";
}

/** How much of the change is taken of a model without dials. */
const share = () => (hasDials(model) ? 1 : $("strength").value / 100);

// ---- the importance map

const showOverlay = latest(async () => {
  if (!$("overlay").checked || !picture || !hasField(model)) return stage.lay(null);
  const asked = form({ refined: true });
  asked.append("overlay", "importance");
  const response = await request("POST", "/synthesis", { form: asked });
  stage.lay(await createImageBitmap(await response.blob()));
});

// ---- choosing

async function openPicture(next) {
  next.id = openPicture.count = (openPicture.count ?? 0) + 1;
  picture?.bitmap.close();
  picture = next;
  made.clear();
  endPupils();
  stage.open(picture.bitmap);
  $("photograph-name").replaceChildren(...(picture.example ? invitation : [picture.name]));
  for (const button of $("strip").children) button.setAttribute("aria-pressed", String(button.dataset.row === String(picture.example?.row)));
  markFitting();
  await synthesise();
  showFaces();
}

async function openFile(file) {
  try {
    await openPicture(await Picture.open(file, file.name));
  } catch (error) {
    message(error.message, { bad: true });
  }
}

async function openExample(dataset, row, label) {
  const response = await fetch(thumbnail(dataset.name, row.row, label));
  const next = await Picture.open(await response.blob(), `${row.subject}-${label}.png`);
  next.example = { row: row.row, dataset: dataset.name };
  await openPicture(next);
}

function showModels() {
  $("models").replaceChildren(
    ...models.map((one) =>
      h(
        "label",
        { class: "model", "data-words": `${one.name} ${kind(one)}`.toLowerCase() },
        h("input", { type: "radio", name: "model", value: one.name, checked: one === model, onchange: () => chooseModel(one) }),
        h("canvas", { class: "face", width: 128, height: 128, "aria-hidden": "true", "data-model": one.name }),
        h("span", {}, h("b", {}, one.name), h("small", { class: "small" }, `${kind(one)} · ${takes(one)}`)),
      ),
    ),
  );
  $("find-model").hidden = models.length <= MANY;
}

/** Whether a model takes the photograph. */
const fit = (one) => one.aligns || !picture || [picture.bitmap.height, picture.bitmap.width].map((side) => Math.round(side / picture.scale)).join() === one.shape.join();

function markFitting() {
  for (const [index, label] of [...$("models").children].entries()) {
    label.classList.toggle("unfit", !fit(models[index]));
    label.title = fit(models[index]) ? "" : `It takes ${takes(models[index])}.`;
  }
}

/** The output of every model for the photograph, beside the models' names. */
const showFaces = latest(async () => {
  const result = made.get(key());
  if (!picture || !result) return;
  const of = picture.id;
  const tried = result.points ? await picture.small(result.points) : { file: picture.sent, points: null };
  const fitting = models.filter((one) => fit(one) && (result.points ? one.aligns : one.shape.join() === model.shape.join()));
  const groups = [true, false].flatMap((refined) => {
    const names = fitting.filter((one) => refining(one) === refined).map((one) => one.name);
    return Array.from({ length: Math.ceil(names.length / TOGETHER) }, (_, index) => ({ refined, names: names.slice(index * TOGETHER, (index + 1) * TOGETHER) }));
  });
  for (const { refined, names } of groups) {
    try {
      const response = await request("POST", "/synthesis", { form: form({ names, refined, turned: [], ...tried }) });
      if (picture.id !== of) return;
      if (names.length === 1) await showFace(names[0], await response.blob(), tried.points);
      else for (const { model: name, png } of (await response.json()).pictures) await showFace(name, pngOf(png), tried.points);
    } catch {
      return; // the stage shows the reason, if it concerns the chosen model
    }
  }
});

async function showFace(name, blob, points) {
  const bitmap = await createImageBitmap(blob);
  drawFace($("models").querySelector(`canvas[data-model="${CSS.escape(name)}"]`), bitmap, points?.split(",").map(Number));
  bitmap.close();
}

const pngOf = (text) => new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" });

async function chooseModel(next) {
  model = next;
  history.replaceState(null, "", `?model=${part(model.name)}`);
  dials.show(model.dials);
  $("dials").hidden = !hasDials(model);
  $("share").hidden = hasDials(model); // whose strength is a dial
  $("refinement").hidden = hasDials(model) && !hasField(model);
  stage.setStrength(share());
  for (const id of ["refine", "overlay"]) $(id).disabled = !hasField(model);
  $("radius").disabled = !refining(model);
  $("refinement-none").hidden = hasField(model);
  for (const field of document.querySelectorAll("[data-field]")) field.hidden = !hasField(model);
  $("caption-before").textContent = model.source;
  $("caption-after").textContent = model.target;
  $("view").querySelector(".before").setAttribute("aria-label", `Before: ${model.source}`);
  $("view").querySelector(".after").setAttribute("aria-label", `After: ${model.target}, made by ${model.name}`);
  await showExamples();
  if (picture) await synthesise();
}

async function showExamples() {
  const fits = (one) => one.complete && one.labels.includes(model.source) && one.shape.join() === model.shape.join();
  const dataset = datasets.find((one) => one.name === model.dataset && fits(one)) ?? datasets.find(fits);
  $("examples").hidden = dataset === undefined;
  if (dataset === undefined) return;
  const shown = `${dataset.name}/${model.source}`;
  if ($("strip").dataset.shown === shown) return;
  $("strip").dataset.shown = shown;
  const split = dataset.splits.test ? "test" : null;
  $("examples-title").textContent = `${dataset.linked ? "Images" : "People"} ${split === "test" ? "that no model was trained on" : "of the dataset"}`;
  const rows = await rowsWith(dataset.name, split, [model.source], 40);
  $("examples-where").textContent = `${crowd(rows.length, dataset)} of the dataset ${dataset.name}`;
  $("strip").replaceChildren(
    ...rows.map((row, index) =>
      h(
        "button",
        { type: "button", "aria-pressed": String(picture?.example?.row === row.row), tabIndex: index ? -1 : 0, "data-row": String(row.row), onclick: () => openExample(dataset, row, model.source) },
        h("img", { class: "face", alt: `Person ${row.subject}, ${model.source}`, loading: "lazy", src: thumbnail(dataset.name, row.row, model.source, 96) }),
      ),
    ),
  );
  if (!picture && rows.length) await openExample(dataset, rows[0], model.source);
}

// ---- the pupils

const pupils = new Pupils($("view"), [$("pupil-left"), $("pupil-right")], (points) => {
  picture.points = points;
  $("stage-notice").hidden = true;
  $("set-pupils").textContent = "Done";
  synthesise();
});

function setPupils() {
  const known = picture.points ?? made.get(key())?.points ?? null;
  pupils.begin([picture.bitmap.width, picture.bitmap.height], known);
  $("pupils-row").hidden = false;
  $("set-pupils").setAttribute("aria-pressed", "true");
  $("set-pupils").textContent = "Done";
  speak(known ? "Move the marks onto the pupils." : CLICK);
  if (!known && $("stage-notice").hidden) tellNotice(CLICK, { mild: true });
}

function endPupils() {
  pupils.end();
  $("set-pupils").setAttribute("aria-pressed", "false");
  $("set-pupils").textContent = "Set the pupils";
}

$("set-pupils").addEventListener("click", () => (pupils.placing ? endPupils() : setPupils()));
$("forget-pupils").addEventListener("click", () => {
  picture.points = null;
  endPupils();
  synthesise();
});

// ---- what the visitor does

$("strength").addEventListener("input", () => stage.setStrength(share()));
$("radius").addEventListener("input", () => synthesise());
$("refine").addEventListener("change", () => {
  $("radius").disabled = !refining(model);
  synthesise();
  showFaces();
});
$("overlay").addEventListener("change", showOverlay);
$("photograph").addEventListener("change", () => $("photograph").files[0] && openFile($("photograph").files[0]));
$("controls").addEventListener("submit", (event) => event.preventDefault());

for (const target of [$("stage"), $("drop")]) {
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
  });
}
addEventListener("paste", (event) => event.clipboardData.files[0] && openFile(event.clipboardData.files[0]));

$("find-model").addEventListener("input", () => {
  const words = $("find-model").value.toLowerCase().split(/\s+/);
  for (const label of $("models").children) label.hidden = !words.every((word) => label.dataset.words.includes(word));
});

$("download").addEventListener("click", async () => {
  const asked = form({ file: picture.file, points: picture.pupils(true) });
  if (!hasDials(model)) asked.append("strength", String(share()));
  $("download").disabled = true;
  try {
    const blob = await (await request("POST", "/synthesis", { form: asked })).blob();
    const link = h("a", { href: URL.createObjectURL(blob), download: `${picture.name.replace(/\.[^.]*$/, "")}-${model.target}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } finally {
    $("download").disabled = false;
  }
});

// ---- the beginning

const [listed, sets] = await Promise.all([get("/models"), get("/datasets"), loadMethods()]);
models = listed.models.filter((one) => one.complete);
datasets = sets.datasets;
if (models.length === 0) {
  if (datasets.some((one) => one.complete)) offerTraining();
  else offerFaces();
} else {
  const asked = new URLSearchParams(location.search).get("model");
  model = named(models, asked) ?? models[0];
  $("studio").hidden = false;
  $("download").disabled = true;
  showModels();
  const chosen = $("models").querySelector(":checked").closest("label");
  $("models").scrollTop = chosen.offsetTop - $("models").offsetTop - chosen.offsetHeight;
  await chooseModel(model);
}
