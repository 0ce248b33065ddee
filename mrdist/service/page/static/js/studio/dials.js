// What can be turned when a model is applied, made of what the service says of each: its kind, limits and choices.
import { h, ruled } from "../lib/dom.js";

const STEP = 0.05;
const capital = (text) => text[0].toUpperCase() + text.slice(1);

export class Dials {
  /** Fields in `box`; `changed` is called whenever one is turned. */
  constructor(box, changed) {
    this.box = box;
    this.changed = changed;
    this.options = [];
    this.made = null; // what the fields are made of
    box.addEventListener("input", () => this.changed());
  }

  /** Show the dials of a model, if it has some; they stay as they are from one to the next that has the same. */
  show(options) {
    this.options = options;
    const made = JSON.stringify(options);
    if (options.length === 0 || made === this.made) return;
    this.made = made;
    this.box.replaceChildren(...options.map((option) => (option.choices.length ? this.#choice(option) : this.#slider(option))));
  }

  /** Their values by name, as the service takes them; none for a model without dials. */
  get values() {
    return this.options.map(({ name }) => [name, this.box.querySelector(`[name=${name}]:is([type=range], :checked)`).value]);
  }

  /** The same in words. */
  get words() {
    return this.values.map(([name, value]) => `${this.options.find((option) => option.name === name).label.toLowerCase()} ${value}`);
  }

  #slider({ name, label, help, minimum, maximum, default: value }) {
    const id = `dial-${name}`;
    const input = h("input", { type: "range", id, name, min: String(minimum), max: String(maximum), step: String(STEP), "aria-describedby": `${id}-hint` });
    input.value = String(value); // after the limits, which would cut it off
    const output = h("output", { for: id });
    ruled(input, output, String);
    return h(
      "div",
      { class: "slider" },
      h("label", { for: id }, label),
      output,
      input,
      h("i", { class: "scale", "aria-hidden": "true", style: { "--ticks": String(Math.round(10 * (maximum - minimum))) } }),
      h("small", { class: "sr", id: `${id}-hint` }, help),
    );
  }

  #choice({ name, label, choices, default: value }) {
    const id = `dial-${name}`;
    const told = choices.filter((choice) => choice.label);
    return h(
      "div",
      { class: "field" },
      h("span", { class: "label", id }, label),
      h(
        "div",
        { class: "choices", role: "radiogroup", "aria-labelledby": id, "aria-describedby": `${id}-hint` },
        ...choices.map((choice) => h("label", {}, h("input", { type: "radio", name, value: choice.value, checked: choice.value === value }), capital(choice.value))),
      ),
      h("small", { id: `${id}-hint` }, told.map((choice) => `${capital(choice.value)}: ${choice.label}.`).join(" ")),
    );
  }
}
