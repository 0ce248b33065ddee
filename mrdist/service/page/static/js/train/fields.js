// Fields for options of trainings, made of what the service says of each: its kind, limits, choices and default.
import { h } from "../lib/dom.js";

const SEARCHED = "Chosen by the error on held-out people.";
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const listed = (option) => !option.single || option.kind === "pair";

/** The field of an option: `show` it as a method has it, then ask for its `value`. */
export class OptionField {
  constructor(option) {
    this.option = option;
    this.id = `option-${option.name}`;
    this.hint = h("small", { id: `${this.id}-hint` });
    const radios = option.prominent && (option.choices.length || option.suggested.length);
    this.input = radios ? null : option.choices.length ? h("select", { id: this.id }) : this.#makeInput();
    if (radios || option.cv) this.element = this.#makeGroup(radios);
    else this.element = h("div", { class: "field" }, h("label", { for: this.id }, option.label), this.input, this.hint);
  }

  #makeInput() {
    const { option, id } = this;
    const text = listed(option) || option.kind === "size";
    return h("input", {
      id,
      name: option.name,
      type: text ? "text" : "number",
      step: text ? null : option.kind === "number" ? "any" : option.odd ? "2" : "1",
      min: text ? null : String(option.minimum ?? option.exclusive_minimum ?? ""),
      max: text ? null : String(option.maximum ?? ""),
      "aria-label": option.cv ? option.label : null,
      autocomplete: "off",
      spellcheck: "false",
    });
  }

  /** Radio buttons: the choices, sides of squares to choose from, or a fixed value and cross-validation. */
  #makeGroup(radios) {
    const { option, id } = this;
    const name = radios ? option.name : `${option.name}-how`;
    const taken = String(radios ? option.default : "fixed");
    const offers = option.choices.length
      ? option.choices.map(({ value }) => [value, capital(String(value))])
      : radios
        ? option.suggested.map((side) => [side, option.odd ? `${side} × ${side}` : side])
        : [["fixed", "Fixed"], ["cv", "Cross-validation"]];
    this.radios = offers.map(([value]) => h("input", { type: "radio", name, value: String(value), checked: String(value) === taken }));
    return h(
      "div",
      { class: "field" },
      h("span", { class: "label", id: `${id}-label` }, option.label),
      h("div", { class: "choices", role: "radiogroup", "aria-labelledby": `${id}-label` }, ...offers.map(([, words], index) => h("label", {}, this.radios[index], String(words)))),
      this.input,
      this.hint,
    );
  }

  get #taken() {
    return this.radios?.find((radio) => radio.checked)?.value;
  }

  /** Whether cross-validation chooses the value. */
  get searched() {
    return this.option.cv && this.#taken === "cv";
  }

  /** Show the field of an option as a method has it; hide it without one. */
  show(option) {
    this.element.hidden = option === null;
    if (option === null) return;
    const before = this.#usual;
    this.option = option;
    this.element.title = `${option.help} By default ${option.usual}.`;
    if (this.input?.tagName === "SELECT") {
      const kept = this.input.value;
      const decided = option.choices.some(({ value }) => String(value) === this.#usual) ? [] : [h("option", { value: this.#usual }, this.#usual)]; // by the service
      this.input.replaceChildren(...decided, ...option.choices.map(({ value, label }) => h("option", { value: String(value) }, label || String(value))));
      this.input.value = kept !== before && option.choices.some(({ value }) => String(value) === kept) ? kept : this.#usual;
    } else if (this.input) {
      this.input.placeholder = option.usual;
      this.input.hidden = this.searched;
    }
    if (!option.cv) for (const radio of this.radios ?? []) radio.disabled = option.choices.length > 0 && !option.choices.some(({ value }) => value === radio.value);
    if (this.radios?.some((radio) => radio.checked && radio.disabled)) this.radios.find((radio) => radio.value === this.#usual).checked = true;
    this.hint.textContent = this.#hintOf(option);
    this.hint.hidden = this.hint.textContent === "";
  }

  get #usual() {
    return String(this.option.default ?? this.option.usual);
  }

  #hintOf(option) {
    if (this.searched) return SEARCHED;
    if (!option.prominent || option.suggested.length) return "";
    const choice = option.choices.find(({ value }) => value === this.#taken);
    return choice ? `${capital(choice.label)}.` : `${option.help.slice(0, -1)}; ${option.usual} by default.`;
  }

  /** What was chosen, as the service takes it; undefined for the default. */
  get value() {
    const { option } = this;
    if (this.element.hidden) return undefined;
    if (this.searched) return "cv";
    const text = (this.input ? this.input.value : this.#taken).trim();
    if (text === "" || (!listed(option) && text === this.#usual)) return undefined;
    if (listed(option)) return text.split(/[\s,;]+/).filter(Boolean).map(Number);
    if (option.kind === "boolean") return text === "true";
    return option.kind === "integer" || option.kind === "number" ? Number(text) : text;
  }

  /** The side of the square that was chosen, where sides are offered; part of a model's name. */
  get side() {
    return !this.element.hidden && this.option.suggested.length ? this.#taken : null;
  }
}
