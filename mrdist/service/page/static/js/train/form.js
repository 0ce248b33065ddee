// A new training: mapping, method, cost, and the button.
import { post, rowsWith, thumbnail } from "../lib/api.js";
import { $, figures, h, settled } from "../lib/dom.js";
import { bytes, count, crowd, plural, seconds } from "../lib/format.js";
import { OptionField } from "./fields.js";

const ALL = "all"; // target of a training of every mapping from a source

export class TrainForm {
  /** `methods`: all methods and their options, as the service describes them. */
  constructor(datasets, methods, names, started) {
    this.datasets = datasets;
    this.methods = methods;
    this.fields = new Map();
    this.names = new Set(names);
    this.started = started;
    this.named = false; // whether the visitor has given the model a name
    this.asked = null; // the plan under way
    const last = JSON.parse(sessionStorage.getItem("lesson") ?? "{}");
    $("images").replaceChildren(...datasets.map((one) => h("option", { value: one.name }, `${one.name} · ${crowd(one.subjects ?? one.images, one)}, ${one.shape.join(" × ")}`)));
    if (datasets.some((one) => one.name === last.images)) $("images").value = last.images;
    $("method").replaceChildren(...methods.map(({ name, label }) => h("option", { value: name }, label)));
    this.#makeFields();
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

  get method() {
    return this.methods.find(({ name }) => name === $("method").value);
  }

  /** Whether cross-validation chooses an option of the method. */
  get searching() {
    return this.method.options.some(({ name }) => this.fields.get(name).searched);
  }

  #makeFields() {
    for (const option of this.methods.flatMap(({ options }) => options)) {
      if (this.fields.has(option.name)) continue;
      this.fields.set(option.name, new OptionField(option));
    }
  }

  /** Put the fields into the order of the method's options. */
  #placeFields() {
    if (this.placed === this.method) return;
    this.placed = this.method;
    for (const { name, prominent } of this.method.options) $(prominent ? "prominent" : "more").append(this.fields.get(name).element);
  }

  #fillLabels({ source, target }) {
    const { labels } = this.dataset;
    for (const id of ["source", "target"]) $(id).replaceChildren(...labels.map((label) => h("option", {}, label)));
    if (labels.length > 2) $("target").append(h("option", { value: ALL }, "every other"));
    const calm = labels.find((label) => /neutral/i.test(label)) ?? labels[0];
    $("source").value = labels.includes(source) ? source : calm;
    $("target").value = labels.includes(target) || (target === ALL && labels.length > 2) ? target : (labels.find((label) => /happy|smil/i.test(label)) ?? labels.find((label) => label !== calm) ?? labels[0]);
  }

  #show() {
    const { help, options } = this.method;
    const { searching } = this;
    $("method-hint").textContent = help;
    for (const option of $("target").options) option.disabled = option.value === $("source").value;
    if ($("target").selectedOptions[0]?.disabled) $("target").value = [...$("target").options].find((option) => !option.disabled).value;
    this.#placeFields();
    for (const [name, field] of this.fields) {
      const option = options.find((one) => one.name === name);
      const shown = option && (searching || !option.search) && (name !== "color" || this.dataset.channels > 1);
      field.show(shown ? option : null);
    }
    if (!this.named) $("name").value = this.#freshName();
    this.#showPairs();
    this.#askPlan();
  }

  #freshName() {
    const sides = [...this.fields.values()].filter((field) => field.side).map(({ side }) => `${side}x${side}`);
    const method = this.method === this.methods[0] && sides.length ? [] : [this.method.name];
    const stem = [$("target").value, ...method, ...sides, ...(this.searching ? ["cv"] : [])].join("-").toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
    let name = stem;
    for (let number = 2; this.names.has(name); number += 1) name = `${stem}-${number}`;
    return name;
  }

  /** Options of `train` that differ from its defaults. */
  options() {
    const options = { images: $("images").value, source: $("source").value, target: $("target").value };
    if (this.method !== this.methods[0]) options.method = this.method.name;
    for (const [name, { value }] of this.fields) if (value !== undefined) options[name] = value;
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
      ["time", seconds(plan.total_seconds ?? plan.seconds) ?? "not predicted"],
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
    const pair = [source, target === ALL ? this.dataset.labels.find((label) => label !== source) : target];
    const rows = await rowsWith(dataset, split, pair, 12);
    if ($("pairs").dataset.shown !== shown) return;
    const people = split ? this.dataset.splits.train : this.dataset.images;
    $("pairs-count").textContent = rows.length ? `${rows.length} of ${plural(people, "pair")} to train on` : "";
    $("pairs").replaceChildren(
      ...rows.map((row) =>
        h(
          "div",
          { class: "pair" },
          ...pair.map((label) => h("img", { class: "face", loading: "lazy", src: thumbnail(dataset, row.row, label, 192), alt: `Person ${row.subject}, ${label}` })),
        ),
      ),
      ...(rows.length ? [] : [h("p", { class: "soft" }, `No person in this dataset has both ${pair.join(" and ")}.`)]),
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
