// Models: scores and faces side by side, and the details of one.
import { get, modelPath, part, rowsWith, thumbnail } from "./lib/api.js";
import { $, h } from "./lib/dom.js";
import { crowd, plural } from "./lib/format.js";
import { offerFaces, offerTraining } from "./lib/begin.js";
import { how, loadMethods, named } from "./lib/methods.js";
import "./lib/shell.js";
import { showComparisons } from "./models/comparisons.js";
import { showDetail } from "./models/detail.js";
import { ScoreTable } from "./models/table.js";

const PEOPLE = 7;
const ROWS = 8;
const MANY = 8; // models, from which on they are searched
let models = [];
let datasets = [];
let shown = []; // the models that are compared now

const mappingOf = (model) => `${model.source} → ${model.target}`;

const fits = (model, one) => one.complete && one.labels.includes(model.source) && one.labels.includes(model.target) && one.shape.join() === model.shape.join();

/** The dataset that a model was trained on, or else one that fits it. */
function datasetOf(model) {
  return (datasets.find((one) => one.name === model.dataset && fits(model, one)) ?? datasets.find((one) => fits(model, one)))?.name ?? null;
}

/** The people that a model is scored on, in words: only models of the same people are compared. */
function peopleOf(model) {
  const dataset = datasetOf(model);
  if (dataset === null) return "no dataset here";
  return dataset === model.dataset ? dataset : `${dataset}, trained elsewhere`;
}

const table = new ScoreTable($("scores"), (name) => {
  choose(name);
  $("detail").scrollIntoView({ behavior: "smooth", block: "nearest" });
});

function choose(name) {
  const model = models.find((one) => one.name === name);
  history.replaceState(null, "", `/models?model=${part(name)}`);
  table.choose(name);
  showDetail(model, datasetOf(model), load);
  showGallery(name);
}

const asked = () => $("find").value.toLowerCase().split(/\s+/).filter(Boolean);

/** Whether a model is like the words that are looked for. */
function alike(model) {
  const told = [model.name, how(model), mappingOf(model), peopleOf(model)].join(" ").toLowerCase();
  return asked().every((word) => told.includes(word));
}

/** Show the rows that are looked for, and name the models that are not in the table. */
function find() {
  const here = models.filter((model) => mappingOf(model) === $("mapping").value);
  const searched = asked().length > 0;
  const apart = (searched ? models.filter(alike) : here).filter((model) => !shown.includes(model));
  const where = (model) => (searched ? `${mappingOf(model)}, ${peopleOf(model)}` : peopleOf(model));
  table.pick(alike);
  $("nothing").hidden = shown.some(alike);
  $("apart").hidden = apart.length === 0;
  $("apart").replaceChildren(searched ? "Of other mappings or people: " : "Apart, since other people cannot be compared: ", ...apart.slice(0, 12).flatMap((model, index) => [index ? ", " : "", linkTo(model), ` (${where(model)})`]), apart.length > 12 ? ", …" : "");
}

function showMapping(name) {
  const of = models.filter((model) => mappingOf(model) === $("mapping").value);
  const first = of.find((one) => one.name === name) ?? of[0];
  const people = [...new Set(of.map(peopleOf))].sort();
  $("people").replaceChildren(...people.map((each) => h("option", {}, each)));
  $("people").value = peopleOf(first);
  showPeople(first.name);
}

function showPeople(name) {
  const of = models.filter((model) => mappingOf(model) === $("mapping").value);
  shown = of.filter((model) => peopleOf(model) === $("people").value);
  const first = shown.find((one) => one.name === name) ?? shown[0];
  const dataset = datasets.find((one) => one.name === datasetOf(first));
  const tested = dataset?.splits.test ?? 0;
  const seen = first.dataset === dataset?.name ? "" : " They were trained on people that the catalogue does not have, perhaps on some of these.";
  $("scores-what").textContent = dataset ? `All on the same ${dataset.linked ? "images" : "people"}: ${plural(tested, "row")} of the dataset ${dataset.name} to test on.${seen}` : "The catalogue has no dataset that fits these models, so they have no scores.";
  $("gallery-title").textContent = dataset?.linked ? "The same images" : "The same people";
  table.show(shown, datasetOf);
  find();
  choose(first.name);
}

function linkTo(model) {
  const open = (event) => {
    event.preventDefault();
    showMapping(model.name);
  };
  return h("a", { href: `/models?model=${part(model.name)}`, onclick: open }, model.name);
}

/** Faces by the first models of the table, and by the chosen one in any case. */
async function showGallery(chosen) {
  const gallery = $("gallery");
  const dataset = datasets.find((one) => one.name === datasetOf(shown[0]));
  const first = shown.slice(0, ROWS);
  const pictured = first.some((model) => model.name === chosen) ? first : [...first.slice(0, -1), shown.find((model) => model.name === chosen)];
  const of = JSON.stringify([$("mapping").value, $("people").value, pictured.map((model) => model.name)]);
  const mark = () => gallery.querySelectorAll(".who").forEach((who) => who.classList.toggle("current", who.dataset.model === $("detail").dataset.model));
  if (gallery.dataset.of === of) return mark();
  gallery.replaceChildren();
  gallery.dataset.of = of;
  const [{ source, target }] = shown;
  if (!dataset) {
    $("gallery-what").textContent = "The catalogue has no dataset that fits these models.";
    return;
  }
  const rows = await rowsWith(dataset.name, "test", [source, target], PEOPLE);
  if (gallery.dataset.of !== of) return;
  const unseen = shown[0].dataset === dataset.name ? " that these models were not trained on" : "";
  const left = shown.length > ROWS ? ` ${ROWS} of ${shown.length} models are shown, the chosen one among them.` : "";
  $("gallery-what").textContent = rows.length ? `${crowd(rows.length, dataset)} of ${dataset.name}${unseen}, between the input and the target.${left}` : `${dataset.name} has nobody to test on with both ${source} and ${target}.`;
  if (rows.length === 0) return;
  gallery.style.setProperty("--people", String(rows.length));
  const line = (head, url, alt) => [head, ...rows.map((row) => h("img", { class: "face", loading: "lazy", alt: `${alt}, person ${row.subject}`, src: url(row) }))];
  gallery.replaceChildren(
    ...line(h("span", { class: "who end" }, source), (row) => thumbnail(dataset.name, row.row, source, 192), source),
    ...pictured.flatMap((model) =>
      line(h("span", { class: "who", "data-model": model.name }, model.name, h("small", {}, how(model))), (row) => modelPath(model.name, `faces/${part(dataset.name)}/${row.row}.png`), `${target} by ${model.name}`),
    ),
    ...line(h("span", { class: "who end" }, target), (row) => thumbnail(dataset.name, row.row, target, 192), target),
  );
  mark();
}

async function load() {
  const [listed, sets] = await Promise.all([get("/models"), get("/datasets"), loadMethods()]);
  models = listed.models.filter((one) => one.complete);
  datasets = sets.datasets;
  $("models").hidden = models.length === 0;
  $("empty").hidden = models.length > 0;
  await showComparisons();
  if (models.length === 0) {
    if (datasets.some((one) => one.complete)) offerTraining();
    else offerFaces();
    return;
  }
  const mappings = [...new Set(models.map(mappingOf))].sort();
  const first = named(models, new URLSearchParams(location.search).get("model")) ?? models[0];
  $("models-what").textContent = `${plural(models.length, "model")} of ${plural(mappings.length, "mapping")}; only those of the same people are compared.`;
  $("mapping").replaceChildren(...mappings.map((mapping) => h("option", {}, mapping)));
  $("mapping").value = mappingOf(first);
  $("find-box").hidden = models.length <= MANY;
  showMapping(first.name);
}

$("mapping").addEventListener("change", () => showMapping(null));
$("people").addEventListener("change", () => showPeople(null));
$("find").addEventListener("input", find);
await load();
