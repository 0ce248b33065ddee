// A new training: mapping, method, cost, and the button.
import { post, rowsWith, thumbnail } from "../lib/api.js";
import { $, figures, h, settled } from "../lib/dom.js";
import { bytes, count, plural, seconds } from "../lib/format.js";
import { ALPHA, METHODS, MORE } from "./options.js";

const COLORS = {
  shared: "One set of weights for the three channels.",
  separate: "Each channel has its own weights.",
  joint: "Each channel is predicted from all three.",
};

export class TrainForm {
  constructor(datasets, names, started) {
    this.datasets = datasets;
    this.names = new Set(names);
    this.started = started;
    this.named = false; // whether the visitor has given the model a name
    this.asked = null; // the plan under way
    const last = JSON.parse(sessionStorage.getItem("lesson") ?? "{}");
    $("images").replaceChildren(...datasets.map((one) => h("option", { value: one.name }, `${one.name} · ${plural(one.subjects ?? one.images, "person", "people")}, ${one.shape.join(" × ")}`)));
    if (datasets.some((one) => one.name === last.images)) $("images").value = last.images;
    $("method").replaceChildren(...METHODS.map(([name, label]) => h("option", { value: name }, label)));
    $("more").replaceChildren(...MORE.map(moreField));
    this.#fillLabels(last);
    this.#show();
    $("images").addEventListener("change", () => this.#fillLabels({}));
    $("name").addEventListener("input", () => (this.named = $("name").value !== ""));
    $("form").addEventListener("input", () => this.#show());
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
  }

  get dataset() {
    return this.datasets.find((one) => one.name === $("images").value);
  }

  get searching() {
    return document.forms.form.elements.penalty.value === "cv" && $("method").value in ALPHA;
  }

  #fillLabels({ source, target }) {
    const { labels } = this.dataset;
    for (const id of ["source", "target"]) $(id).replaceChildren(...labels.map((label) => h("option", {}, label)));
    const calm = labels.find((label) => /neutral/i.test(label)) ?? labels[0];
    $("source").value = labels.includes(source) ? source : calm;
    $("target").value = labels.includes(target) ? target : (labels.find((label) => /happy|smil/i.test(label)) ?? labels.find((label) => label !== calm) ?? labels[0]);
  }

  #show() {
    const method = $("method").value;
    const { elements } = document.forms.form;
    $("method-hint").textContent = METHODS.find(([name]) => name === method)[2];
    for (const field of document.querySelectorAll("[data-methods]")) field.hidden = !field.dataset.methods.split(" ").includes(method);
    $("alpha-field").hidden = !(method in ALPHA);
    $("alpha").hidden = this.searching;
    $("alpha").placeholder = String(ALPHA[method] ?? "");
    $("alpha-hint").textContent = this.searching
      ? "Chosen by the error on held-out people, in one pass over the images."
      : `For images in 0…1; ${ALPHA[method]} by default.`;
    for (const one of MORE) {
      const field = $(`more-${one.name}`);
      field.closest(".field").hidden = (one.methods !== null && !one.methods.includes(method)) || (one.search === true && !this.searching);
    }
    const colored = this.dataset.channels > 1;
    document.querySelector("[data-color]").hidden = !colored;
    const joint = [...elements.color].find((one) => one.value === "joint");
    joint.disabled = !["mr", "pixel"].includes(method);
    if (joint.checked && joint.disabled) elements.color.value = "shared";
    $("color-hint").textContent = COLORS[elements.color.value];
    if (!this.named) $("name").value = this.#freshName();
    this.#showPairs();
    this.#askPlan();
  }

  #freshName() {
    const side = document.forms.form.elements.receptive_field.value;
    const method = $("method").value;
    const stem = `${$("target").value}-${method === "mr" ? `${side}x${side}` : method}${this.searching ? "-cv" : ""}`.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
    let name = stem;
    for (let number = 2; this.names.has(name); number += 1) name = `${stem}-${number}`;
    return name;
  }

  /** Options of `train` that differ from its defaults. */
  options() {
    const method = $("method").value;
    const { elements } = document.forms.form;
    const options = { images: $("images").value, source: $("source").value, target: $("target").value };
    if (method !== "mr") options.method = method;
    else options.receptive_field = Number(elements.receptive_field.value);
    if (this.searching) options.alpha = "cv";
    else if (method in ALPHA && $("alpha").value !== "") options.alpha = Number($("alpha").value);
    if (this.dataset.channels > 1 && elements.color.value !== "shared") options.color = elements.color.value;
    for (const { name, choices, list, text } of MORE) {
      const field = $(`more-${name}`);
      const value = field.value.trim();
      if (value === "" || field.closest(".field").hidden) continue;
      if (name === "penalize_intercept") options[name] = false;
      else if (list) options[name] = value.split(/[\s,;]+/).filter(Boolean).map(Number);
      else options[name] = choices || text ? value : Number(value);
    }
    return options;
  }

  #askPlan() {
    $("plan").classList.add("stale");
    this.plan ??= settled(() => this.#plan(), 300);
    this.plan();
  }

  async #plan() {
    this.asked?.abort();
    this.asked = new AbortController();
    try {
      const plan = await post("/plans", { verb: "train", options: this.options() }, { signal: this.asked.signal });
      this.#tellPlan(plan);
    } catch (error) {
      if (error.name === "AbortError") return;
      $("plan-body").replaceChildren(h("p", { class: "notice" }, error.message));
    }
    $("plan").classList.remove("stale");
  }

  #tellPlan(plan) {
    const list = h("dl", { class: "figures" });
    const blocks = plan.blocks ?? plan.n_blocks;
    figures(list, [
      ["time", seconds(plan.seconds) ?? "not predicted"],
      ["memory of a worker", bytes(plan.peak_memory_bytes ?? plan.peak_memory)],
      ["data to read", bytes(plan.bytes_read)],
      ["data to write", bytes(plan.bytes_written)],
      [Array.isArray(plan.block) ? `blocks of ${plan.block.join(" × ")}` : "blocks", blocks === undefined ? null : count(blocks)],
    ]);
    $("plan-body").replaceChildren(list, ...(plan.advice ? [h("p", { class: "notice mild" }, plan.advice)] : []));
  }

  async #showPairs() {
    const [dataset, source, target] = [$("images").value, $("source").value, $("target").value];
    const shown = [dataset, source, target].join("/");
    if ($("pairs").dataset.shown === shown) return;
    $("pairs").dataset.shown = shown;
    sessionStorage.setItem("lesson", JSON.stringify({ images: dataset, source, target }));
    const split = this.dataset.splits.train ? "train" : null;
    const rows = await rowsWith(dataset, split, [source, target], 12);
    if ($("pairs").dataset.shown !== shown) return;
    const people = split ? this.dataset.splits.train : this.dataset.images;
    $("pairs-count").textContent = rows.length ? `${rows.length} of ${plural(people, "pair")} to train on` : "";
    $("pairs").replaceChildren(
      ...rows.map((row) =>
        h(
          "div",
          { class: "pair" },
          ...[source, target].map((label) => h("img", { class: "face", loading: "lazy", src: thumbnail(dataset, row.row, label, 192), alt: `Person ${row.subject}, ${label}` })),
        ),
      ),
      ...(rows.length ? [] : [h("p", { class: "soft" }, `No person in this dataset has both ${source} and ${target}.`)]),
    );
  }

  async #start() {
    $("form-error").hidden = true;
    if (!$("form").reportValidity()) return;
    $("start").disabled = true;
    try {
      const job = await post("/jobs", { verb: "train", name: $("name").value, options: this.options() }, { headers: { "Idempotency-Key": crypto.randomUUID() } });
      this.started(job);
    } catch (error) {
      $("form-error").textContent = error.message;
      $("form-error").hidden = false;
    } finally {
      $("start").disabled = false;
    }
  }
}

function moreField({ name, label, usual, choices, list, text }) {
  const id = `more-${name}`;
  const input = choices
    ? h("select", { id }, ...choices.map(([value, words]) => h("option", { value }, words)))
    : h("input", { id, type: list || text ? "text" : "number", step: "any", min: list || text ? null : "0", placeholder: usual, autocomplete: "off", spellcheck: "false" });
  return h("div", { class: "field" }, h("label", { for: id }, label), input);
}
