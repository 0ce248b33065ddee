// Datasets: their people, and how to add new ones.
import { follow, get, part, post, remove, rowsWith, thumbnail } from "./lib/api.js";
import { $, confirmed, h, message, speak } from "./lib/dom.js";
import { bytes, count, crowd, percent, plural } from "./lib/format.js";
import { FIRST } from "./lib/begin.js";
import "./lib/shell.js";
import { Upload, understand } from "./datasets/upload.js";

const EXPRESSIONS = ["neutral", "afraid", "angry", "disgusted", "happy", "sad", "surprised"];
const PEOPLE = 8;
/** What the text of a field stands for, by the kind of its option; others stay texts. */
const READ = {
  integer: Number,
  boolean: (text) => text === "true",
  pair: (text) => (text.includes(",") ? text.split(",").map(Number) : Number(text)),
};
let names = new Set();

async function load() {
  const { datasets } = await get("/datasets");
  names = new Set(datasets.map((one) => one.name));
  $("datasets").hidden = false;
  $("none").hidden = datasets.length > 0;
  $("list").replaceChildren(...datasets.map(card));
  if (!names.has($("g-name").value)) $("g-name").value ||= fresh("faces");
}

function fresh(stem) {
  let name = stem;
  for (let number = 2; names.has(name); number += 1) name = `${stem}-${number}`;
  return name;
}

function card(dataset) {
  const title = `dataset-${dataset.name}`;
  const people = h("div", { class: "people" });
  if (dataset.complete) fill(people, dataset);
  else tellMaking(people, dataset);
  return h(
    "article",
    { class: "panel dataset", "aria-labelledby": title },
    h(
      "div",
      { class: "about" },
      h("div", {}, h("h2", { id: title }, dataset.name), dataset.shape && h("p", { class: "soft small" }, `${dataset.shape.join(" × ")} pixels, ${dataset.channels > 1 ? "colour" : "gray"}, ${bytes(dataset.bytes) ?? dataset.dtype}`)),
      dataset.complete && splits(dataset),
      dataset.complete && h("div", { class: "small soft" }, Object.entries(dataset.present).map(([label, number]) => `${count(number)} ${label}`).join(" · ")),
      h(
        "div",
        { class: "row" },
        dataset.complete && h("a", { class: "button slim main", href: "/train", "data-needs": "train", onclick: () => sessionStorage.setItem("lesson", JSON.stringify({ images: dataset.name })) }, "Train on it"),
        h("button", { class: "button slim danger", type: "button", "data-needs": "admin", "aria-label": `Delete ${dataset.name}`, onclick: () => forget(dataset) }, "Delete"),
      ),
    ),
    people,
  );
}

/** Say why a dataset is not there yet: its job is at it, or has stopped. */
async function tellMaking(box, dataset) {
  const { jobs } = await get(`/jobs?search=${part(dataset.name)}&limit=20`).catch(() => ({ jobs: [] }));
  const job = jobs.find((one) => one.name === dataset.name && ["generate", "ingest"].includes(one.verb));
  const active = job && ["queued", "running", "stopping"].includes(job.state);
  const words = active ? "A job is still making it: " : job ? "It is not complete; its job has not finished it: " : (dataset.problem ?? "It is not complete, and no job is at it.");
  box.append(h("p", { class: "soft" }, words, job && h("a", { href: `/train?job=${part(job.id)}` }, "look at the job"), job && "."));
}

function splits(dataset) {
  const { splits: parts, subjects, images } = dataset;
  const order = ["train", "val", "test"].filter((name) => parts[name]);
  return h(
    "div",
    { class: "splits" },
    h("p", {}, h("b", {}, crowd(subjects ?? images, dataset)), subjects !== null && subjects !== images ? `, ${plural(images, "row")}` : ""),
    h("div", { class: "bars", "aria-hidden": "true" }, ...order.map((name) => h("i", { class: name, style: { "--n": String(parts[name]) } }))),
    h("ul", {}, ...order.map((name) => h("li", { class: name }, `${name} ${count(parts[name])}`))),
  );
}

async function fill(box, dataset) {
  const rows = await rowsWith(dataset.name, null, dataset.labels.slice(0, 1), PEOPLE);
  box.append(
    h(
      "div",
      { class: "people-grid wide", style: { "--people": String(rows.length) } },
      ...dataset.labels.slice(0, 8).flatMap((label) => [
        h("span", { class: "who" }, label),
        ...rows.map((row) =>
          row.labels.includes(label)
            ? h("img", { class: "face", loading: "lazy", alt: `Person ${row.subject}, ${label}`, src: thumbnail(dataset.name, row.row, label, 128) })
            : h("span", { class: "face", role: "img", "aria-label": `Person ${row.subject} has no ${label}` }),
        ),
      ]),
    ),
  );
}

async function forget(dataset) {
  const lost = dataset.linked ? "The catalogue forgets it; the arrays that it refers to stay where they are." : `${plural(dataset.images ?? 0, "row")} of faces are removed from the catalogue and cannot be restored.`;
  const what = dataset.complete ? `${lost} Models stay.` : "It is not complete; what is there of it is removed.";
  if (!(await confirmed(`Delete the dataset ${dataset.name}?`, what, "Delete the dataset"))) return;
  try {
    await remove(`/datasets/${part(dataset.name)}`);
    message(`${dataset.name} is deleted.`);
  } catch (error) {
    message(error.message, { bad: true });
  }
  load();
}

async function make(form, body) {
  const notice = form.querySelector(".notice[role=alert]");
  const button = form.querySelector("[type=submit]");
  notice.hidden = true;
  if (!form.reportValidity()) return;
  button.disabled = true;
  const failed = (sentence) => {
    notice.textContent = sentence;
    notice.hidden = false;
    button.disabled = false;
  };
  const words = button.textContent;
  try {
    const { id } = await post("/datasets", body(), { headers: { "Idempotency-Key": crypto.randomUUID() } });
    follow(id, {
      connection: () => {},
      blocks: () => {},
      gone: () => failed("The job was deleted."),
      job: (job) => {
        button.textContent = job.blocks ? `${percent(job)} % …` : "Waiting …";
        if (!["done", "failed", "cancelled"].includes(job.state)) return;
        button.textContent = words;
        button.disabled = false;
        if (job.state !== "done") return failed(job.last_error ?? "It was stopped.");
        message(`${job.name} is ready.`);
        speak(`${job.name} is ready.`);
        form.querySelector("input[type=text]").value = "";
        load();
      },
    });
  } catch (error) {
    failed(error.message);
  }
}

$("g-labels").append(
  ...EXPRESSIONS.map((name) => h("label", {}, h("input", { type: "checkbox", value: name, checked: FIRST.generate.labels.includes(name) }), name)),
);
$("g-images").value = FIRST.generate.images;
$("g-size").value = FIRST.generate.size;
$("g-seed").value = FIRST.generate.seed;
$("generate").addEventListener("submit", (event) => {
  event.preventDefault();
  make($("generate"), () => ({
    name: $("g-name").value,
    generate: {
      images: Number($("g-images").value),
      size: Number($("g-size").value),
      labels: [...$("g-labels").querySelectorAll(":checked")].map((one) => one.value),
      color: $("generate").elements["g-color"].value,
      seed: Number($("g-seed").value),
    },
  }));
});
$("ingest").addEventListener("submit", (event) => {
  event.preventDefault();
  make($("ingest"), () => {
    const ingest = { source: $("i-source").value };
    for (const { value, dataset } of $("ingest").querySelectorAll("[data-option]")) if (value.trim()) ingest[dataset.option] = READ[dataset.kind]?.(value) ?? value.trim();
    return { name: $("i-name").value, ingest };
  });
});

const upload = new Upload(async (source) => {
  await showSources();
  $("i-source").value = source;
  if (!$("i-name").value) $("i-name").value = fresh(source);
});

async function showSources() {
  const found = await get("/sources");
  $("i-sources").replaceChildren(...found.sources.map((name) => h("option", { value: name })));
  upload.tell(found);
}

for (const id of ["i-source", "i-layout"]) $(id).addEventListener("change", () => understand($("i-source").value));
showSources().catch(() => {});
await load();
$("makers").open = names.size === 0 || ["#makers", "#generate", "#ingest"].includes(location.hash);
if (location.hash && $("makers").open) document.querySelector(location.hash)?.scrollIntoView();
