// Scores side by side, sorted by any column. No score is marked as the best: that takes evidence over people.
import { part, testScores } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { bytes, count, figure } from "../lib/format.js";
import { how } from "../lib/methods.js";

const of = (name) => (model) => model.test?.model?.[name] ?? null;
const COLUMNS = [
  { name: "Model", value: (model) => model.name, text: true },
  { name: "Method", value: how, text: true },
  { name: "Error", hint: "MSE relative to that of the unchanged face", value: (model) => (model.test?.identity ? model.test.model.mse / model.test.identity.mse : null), show: (value) => `${(100 * value).toFixed(1)} %` },
  { name: "MSE", value: of("mse"), show: figure },
  { name: "PSNR", hint: "in decibels", value: of("psnr"), show: (value) => value.toFixed(2) },
  { name: "SSIM", value: of("ssim"), show: (value) => value.toFixed(4) },
  { name: "R²", value: of("r2"), show: (value) => value.toFixed(4) },
  { name: "Numbers", hint: "weights and intercepts", value: (model) => model.nonzeros ?? model.parameters, show: count, best: Math.min },
  { name: "Size", value: (model) => model.bytes, show: bytes, best: Math.min },
];

export class ScoreTable {
  constructor(table, chosen) {
    this.table = table;
    this.chosen = chosen;
    this.column = 2;
    this.down = false;
    this.models = [];
    this.picked = () => true;
  }

  /** Show only the rows of models that `picked` is true of. */
  pick(picked) {
    this.picked = picked;
    this.draw();
  }

  /** Show these models; their test scores are fetched one after the other. */
  async show(models, datasetOf) {
    this.models = models;
    this.draw();
    for (const model of models) {
      if (model.test !== undefined) continue;
      const dataset = datasetOf(model);
      model.test = null;
      if (!dataset) continue;
      try {
        model.test = await testScores(model.name, dataset);
      } catch (error) {
        model.problem = error.message;
      }
      if (this.models === models) this.draw();
    }
  }

  choose(name) {
    this.current = name;
    this.draw();
  }

  draw() {
    const column = COLUMNS[this.column];
    const sorted = [...this.models].sort((one, other) => {
      const [a, b] = [column.value(one), column.value(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      return (this.down ? -1 : 1) * (column.text ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    });
    const best = COLUMNS.map(({ value, best: pick }) => {
      const values = this.models.map(value).filter((one) => one !== null && one !== undefined);
      return pick && values.length > 1 ? pick(...values) : null;
    });
    const held = this.table.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.table.replaceChildren(
      h("thead", {}, h("tr", {}, ...COLUMNS.map((one, index) => this.#head(one, index)))),
      h("tbody", {}, ...sorted.map((model) => this.#row(model, best))),
    );
    if (held) this.table.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  }

  #head({ name, hint }, index) {
    const sort = () => {
      this.down = this.column === index ? !this.down : ["PSNR", "SSIM", "R²"].includes(name);
      this.column = index;
      this.draw();
    };
    return h(
      "th",
      { scope: "col", title: hint, "aria-sort": this.column === index ? (this.down ? "descending" : "ascending") : null },
      h("button", { type: "button", onclick: sort, "data-key": `sort ${name}` }, name, hint ? h("span", { class: "sr" }, `, ${hint}`) : null),
    );
  }

  #row(model, best) {
    const choose = (event) => {
      event.preventDefault();
      this.chosen(model.name);
    };
    return h(
      "tr",
      { hidden: !this.picked(model), "aria-current": model.name === this.current ? "true" : null, onclick: choose },
      ...COLUMNS.map(({ value, show, text }, index) => {
        const cell = value(model);
        if (index === 0) return h("td", {}, h("a", { href: `/models?model=${part(model.name)}`, onclick: choose, "data-key": `model ${model.name}`, class: "name" }, cell), h("small", { class: "how" }, how(model)));
        if (cell === null || cell === undefined) return h("td", { class: "soft", title: model.problem }, model.test === undefined ? "…" : "–");
        const harm = COLUMNS[index].name === "Error" && model.test?.ratio?.mse?.low > 1 ? "worse than leaving the photograph as it is" : null;
        return h("td", { title: harm, class: best[index] === cell && !text ? "best" : null }, text ? cell : show(cell));
      }),
    );
  }
}
