// Shows the weights of the pixel under the pointer.
import { get, part } from "../lib/api.js";
import { h, latest, settled, speak } from "../lib/dom.js";
import { figure } from "../lib/format.js";

const NEGATIVE = [0, 114, 178];
const POSITIVE = [213, 94, 0];

/** Blue below zero, the paper at it, vermilion above. */
function colorOf(value, limit, paper) {
  const share = Math.min(1, Math.abs(value) / limit);
  const end = value < 0 ? NEGATIVE : POSITIVE;
  return paper.map((one, index) => Math.round(one + (end[index] - one) * share));
}

export class Explorer {
  constructor(model, face) {
    this.model = model;
    this.face = face;
    const [height, width] = model.shape;
    this.y = Math.round(height * 0.78); // the mouth, where the weights are interesting
    this.x = Math.round(width * 0.5);
    this.channel = 0;
    this.source = 0;
    this.load = latest(() => this.#load());
    this.tell = settled(() => this.#tell(), 350);
    this.element = this.#build();
    addEventListener("themechange", () => this.#draw());
    this.load();
  }

  #build() {
    const { model } = this;
    this.look = h("canvas", { width: this.face.width, height: this.face.height, "aria-hidden": "true" });
    this.marks = h("canvas", { "aria-hidden": "true" });
    this.weights = h("canvas", { class: "weights", width: 720, height: 720, role: "img", "aria-label": "Weights of the pixel" });
    this.caption = h("figcaption", {});
    this.where = h("figcaption", {}, "");
    this.scale = [h("span", {}), h("span", {})];
    this.look.getContext("2d").drawImage(this.face, 0, 0);
    const box = h(
      "div",
      { class: "look", tabIndex: 0, role: "application", "aria-label": "Face; the arrow keys move the pixel whose weights are shown", style: { "--aspect": String(model.shape[1] / model.shape[0]) } },
      this.look,
      this.marks,
    );
    box.addEventListener("pointermove", (event) => this.#point(event, box));
    box.addEventListener("pointerdown", (event) => this.#point(event, box));
    box.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 8 : 1;
      const move = { ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [-step, 0], ArrowDown: [step, 0] }[event.key];
      if (!move) return;
      event.preventDefault();
      this.#go(this.y + move[0], this.x + move[1]);
    });
    const choices = [];
    if (model.channels > 1 && model.color !== "shared") choices.push(this.#choice("Output channel", "channel"));
    if (model.channels > 1 && model.color === "joint") choices.push(this.#choice("Input channel", "source"));
    return h(
      "div",
      { class: "explorer" },
      h("figure", {}, box, this.where),
      h("figure", { class: "stack" }, this.weights, h("div", { class: "legend", "aria-hidden": "true" }, this.scale[0], h("i"), this.scale[1]), this.caption, ...choices),
    );
  }

  #choice(words, name) {
    const id = `explorer-${name}`;
    const choose = (index) => {
      this[name] = index;
      this.load();
    };
    return h(
      "div",
      { class: "field" },
      h("span", { class: "label", id }, words),
      h(
        "div",
        { class: "choices", role: "radiogroup", "aria-labelledby": id },
        ...["red", "green", "blue"].map((color, index) => h("label", {}, h("input", { type: "radio", name: id, checked: index === 0, onchange: () => choose(index) }), color)),
      ),
    );
  }

  #point(event, box) {
    const { left, top, width, height } = box.getBoundingClientRect();
    this.#go(Math.floor(((event.clientY - top) / height) * this.model.shape[0]), Math.floor(((event.clientX - left) / width) * this.model.shape[1]));
  }

  #go(y, x) {
    const [height, width] = this.model.shape;
    const to = [Math.min(height - 1, Math.max(0, y)), Math.min(width - 1, Math.max(0, x))];
    if (to[0] === this.y && to[1] === this.x) return;
    [this.y, this.x] = to;
    this.#mark();
    this.load();
  }

  async #load() {
    const { y, x, channel, source } = this;
    try {
      this.field = await get(`/models/${part(this.model.name)}/receptive-field?y=${y}&x=${x}&channel=${channel}${this.model.color === "joint" ? `&source=${source}` : ""}`);
    } catch (error) {
      this.field = null;
      this.caption.textContent = error.message;
      return;
    }
    this.#draw();
    this.tell();
  }

  /** The offsets' frame on the face. */
  #mark() {
    const [height, width] = this.model.shape;
    const scale = Math.max(4, Math.ceil(900 / Math.max(height, width)));
    this.marks.width = width * scale;
    this.marks.height = height * scale;
    const context = this.marks.getContext("2d");
    const reach = this.#reach();
    const frame = (grow, color, line) => {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.strokeRect((this.x - grow) * scale, (this.y - grow) * scale, (2 * grow + 1) * scale, (2 * grow + 1) * scale);
    };
    frame(reach, "rgb(0 0 0 / 55%)", scale * 0.7);
    frame(reach, "#fff", scale * 0.3);
    context.fillStyle = "#ff6a13";
    context.fillRect(this.x * scale, this.y * scale, scale, scale);
    context.strokeStyle = "rgb(255 255 255 / 35%)";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo((this.x + 0.5) * scale, 0);
    context.lineTo((this.x + 0.5) * scale, (this.y - reach) * scale);
    context.moveTo((this.x + 0.5) * scale, (this.y + reach + 1) * scale);
    context.lineTo((this.x + 0.5) * scale, height * scale);
    context.moveTo(0, (this.y + 0.5) * scale);
    context.lineTo((this.x - reach) * scale, (this.y + 0.5) * scale);
    context.moveTo((this.x + reach + 1) * scale, (this.y + 0.5) * scale);
    context.lineTo(width * scale, (this.y + 0.5) * scale);
    context.stroke();
    this.where.textContent = `Pixel ${this.x}, ${this.y}`;
  }

  #reach() {
    return Math.max(1, ...(this.field?.offsets ?? []).flat().map(Math.abs));
  }

  #draw() {
    if (!this.field) return;
    this.#mark();
    const { offsets, weights, inside } = this.field;
    const reach = this.#reach();
    const side = 2 * reach + 1;
    const context = this.weights.getContext("2d");
    const cell = this.weights.width / side;
    const limit = Math.max(...weights.map(Math.abs), 1e-9);
    const paper = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches) ? [22, 25, 28] : [255, 255, 255];
    context.clearRect(0, 0, this.weights.width, this.weights.height);
    context.textAlign = "center";
    context.textBaseline = "middle";
    offsets.forEach(([dy, dx], index) => {
      const [left, top] = [(dx + reach) * cell, (dy + reach) * cell];
      const there = inside?.[index] ?? true;
      const color = there ? colorOf(weights[index], limit, paper) : paper;
      context.fillStyle = `rgb(${color.join(" ")})`;
      context.fillRect(left + 1.5, top + 1.5, cell - 3, cell - 3);
      if (cell < 62) return;
      const light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140;
      context.fillStyle = light ? "rgb(16 18 20 / 85%)" : "rgb(255 255 255 / 92%)";
      context.font = `${Math.min(30, cell / 3.6)}px ${getComputedStyle(document.body).fontFamily}`;
      context.fillText(there ? weights[index].toFixed(cell > 100 ? 3 : 2).replace("-", "−") : "–", left + cell / 2, top + cell / 2);
    });
    this.scale[0].textContent = `−${figure(limit, 2)}`;
    this.scale[1].textContent = `+${figure(limit, 2)}`;
    const sum = weights.reduce((total, one) => total + one, 0);
    this.caption.textContent = `Sum of the weights ${figure(sum)}, intercept ${figure(this.field.intercept).replace("-", "−")}`;
    const range = weights.length ? `, from ${figure(Math.min(...weights))} to ${figure(Math.max(...weights))}` : "";
    this.weights.setAttribute("aria-label", `Weights of pixel ${this.x}, ${this.y}: ${weights.length} of them${range}`);
  }

  #tell() {
    if (this.field && this.element.contains(document.activeElement)) speak(`${this.weights.getAttribute("aria-label")}. ${this.caption.textContent}.`);
  }
}
