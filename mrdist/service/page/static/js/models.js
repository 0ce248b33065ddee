// Models: scores and faces side by side, and the details of one.
import { get, modelPath, part, rowsWith, thumbnail } from "./lib/api.js";
import { $, h } from "./lib/dom.js";
import { plural } from "./lib/format.js";
import { offerFaces, offerTraining } from "./lib/begin.js";
import { how, loadMethods } from "./lib/methods.js";
import "./lib/shell.js";
import { showDetail } from "./models/detail.js";
import { ScoreTable } from "./models/table.js";

const PEOPLE = 7;
let models = [];
let datasets = [];

const mappingOf = (model) => `${model.source} → ${model.target}`;

/** The dataset that a model was trained on, or else one that fits it. */
function datasetOf(model) {
  const fits = (one) => one.complete && one.labels.includes(model.source) && one.labels.includes(model.target) && one.shape.join() === model.shape.join();
  return (datasets.find((one) => one.name === model.dataset && fits(one)) ?? datasets.find(fits))?.name ?? null;
}

const table = new ScoreTable($("scores"), (name) => {
  choose(name);
  $("detail").scrollIntoView({ behavior: "smooth", block: "nearest" });
});

function choose(name) {
  const model = models.find((one) => one.name === name);
  history.replaceState(null, "", `/models?model=${part(name)}`);
  table.choose(name);
  for (const who of $("gallery").querySelectorAll(".who")) who.classList.toggle("current", who.dataset.model === name);
  showDetail(model, datasetOf(model), load);
}

function showMapping(name) {
  const mapping = $("mapping").value;
  const shown = models.filter((model) => mappingOf(model) === mapping);
  table.show(shown, datasetOf);
  showGallery(shown);
  choose(shown.some((one) => one.name === name) ? name : shown[0].name);
}

async function showGallery(shown) {
  const gallery = $("gallery");
  const of = $("mapping").value;
  gallery.replaceChildren();
  const dataset = shown.map(datasetOf).find(Boolean);
  const [{ source, target }] = shown;
  if (!dataset) {
    $("gallery-what").textContent = "The catalogue no longer has the dataset that these models were trained on.";
    return;
  }
  const rows = await rowsWith(dataset, "test", [source, target], PEOPLE);
  if ($("mapping").value !== of) return;
  $("gallery-what").textContent = `${plural(rows.length, "person", "people")} of ${dataset} that no model was trained on, between the input and the target.`;
  gallery.style.setProperty("--people", String(rows.length));
  const line = (head, url, alt) => [head, ...rows.map((row) => h("img", { class: "face", loading: "lazy", alt: `${alt}, person ${row.subject}`, src: url(row) }))];
  gallery.replaceChildren(
    ...line(h("span", { class: "who end" }, source), (row) => thumbnail(dataset, row.row, source, 192), source),
    ...shown.slice(0, 8).flatMap((model) =>
      line(h("span", { class: "who", "data-model": model.name }, model.name, h("small", {}, how(model))), (row) => modelPath(model.name, `faces/${part(dataset)}/${row.row}.png`), `${target} by ${model.name}`),
    ),
    ...line(h("span", { class: "who end" }, target), (row) => thumbnail(dataset, row.row, target, 192), target),
  );
  for (const who of gallery.querySelectorAll(".who")) who.classList.toggle("current", who.dataset.model === $("detail").dataset.model);
}

async function load() {
  const [listed, sets] = await Promise.all([get("/models"), get("/datasets"), loadMethods()]);
  models = listed.models.filter((one) => one.complete);
  datasets = sets.datasets;
  $("models").hidden = models.length === 0;
  $("empty").hidden = models.length > 0;
  if (models.length === 0) {
    if (datasets.some((one) => one.complete)) offerTraining();
    else offerFaces();
    return;
  }
  const mappings = [...new Set(models.map(mappingOf))].sort();
  const asked = models.find((one) => one.name === new URLSearchParams(location.search).get("model")) ?? models[0];
  $("models-what").textContent = `${plural(models.length, "model")} of ${plural(mappings.length, "mapping")}; each is scored on people that it was not trained on.`;
  $("mapping").replaceChildren(...mappings.map((mapping) => h("option", {}, mapping)));
  $("mapping").value = mappingOf(asked);
  showMapping(asked.name);
}

$("mapping").addEventListener("change", () => showMapping(null));
await load();
