// Before and after in one place, with a divider to drag, below the importance map.

const percent = (value) => `${value.toFixed(2)}%`;

export class Stage {
  constructor(view, divider) {
    this.view = view;
    this.divider = divider;
    [this.before, this.after, this.overlay] = view.querySelectorAll("canvas");
    this.pictures = { before: null, after: null };
    this.strength = 1;
    this.place(50);
    this.#listen();
  }

  /** Move the divider to a percentage of the width. */
  place(at) {
    this.at = Math.min(100, Math.max(0, at));
    this.view.style.setProperty("--at", percent(this.at));
    this.divider.setAttribute("aria-valuenow", String(Math.round(this.at)));
    this.divider.setAttribute("aria-valuetext", `${Math.round(this.at)} % before, ${100 - Math.round(this.at)} % after`);
  }

  /** Show another photograph and drop the output of the last one. */
  open(picture) {
    this.pictures = { before: picture, after: null };
    for (const canvas of [this.before, this.after]) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    this.view.style.setProperty("--aspect", String(picture.width / picture.height));
    this.view.parentElement.style.setProperty("--aspect", String(picture.width / picture.height));
    this.before.getContext("2d").drawImage(picture, 0, 0);
    this.#blend();
  }

  /** Show the output of a model. */
  show(picture) {
    this.pictures.after = picture;
    this.#blend();
  }

  /** How much of the change is shown, 0 to 1: (1 - s) before + s after, which is exact for any refinement. */
  setStrength(strength) {
    this.strength = strength;
    this.#blend();
  }

  /** Lay an importance map over the picture: unchanged parts are dark, and a line surrounds the rest. */
  lay(map) {
    this.overlay.hidden = map === null;
    if (map === null) return;
    const scale = Math.max(1, Math.ceil(900 / Math.max(map.width, map.height)));
    const [width, height] = [map.width * scale, map.height * scale];
    this.overlay.width = width;
    this.overlay.height = height;
    const context = this.overlay.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(map, 0, 0, width, height);
    const image = context.getImageData(0, 0, width, height);
    const line = [255, 152, 89];
    const inside = new Uint8Array(width * height);
    for (let i = 0; i < inside.length; i += 1) inside[i] = image.data[4 * i] >= 64 ? 1 : 0;
    for (let i = 0; i < inside.length; i += 1) {
      const value = image.data[4 * i] / 255;
      const edge = inside[i] && (!inside[i - 2] || !inside[i + 2] || !inside[i - 2 * width] || !inside[i + 2 * width]);
      image.data.set(edge ? [...line, 235] : [10, 12, 14, 165 * (1 - value)], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }

  #blend() {
    const { before, after } = this.pictures;
    if (before === null) return;
    const context = this.after.getContext("2d");
    context.globalAlpha = 1;
    context.drawImage(before, 0, 0, this.after.width, this.after.height);
    if (after === null) return;
    context.globalAlpha = this.strength;
    context.drawImage(after, 0, 0, this.after.width, this.after.height);
  }

  #listen() {
    let dragging = false;
    const follow = (event) => {
      const box = this.view.getBoundingClientRect();
      this.place((100 * (event.clientX - box.left)) / box.width);
    };
    this.view.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.view.classList.contains("placing")) return;
      dragging = true;
      this.view.setPointerCapture(event.pointerId);
      follow(event);
      if (event.target !== this.divider) event.preventDefault();
    });
    this.view.addEventListener("pointermove", (event) => dragging && follow(event));
    for (const name of ["pointerup", "pointercancel"]) this.view.addEventListener(name, () => (dragging = false));
    this.divider.addEventListener("keydown", (event) => {
      const big = event.shiftKey ? 10 : 2;
      const to = {
        ArrowLeft: this.at - big,
        ArrowDown: this.at - big,
        ArrowRight: this.at + big,
        ArrowUp: this.at + big,
        PageDown: this.at - 10,
        PageUp: this.at + 10,
        Home: 0,
        End: 100,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.place(to);
    });
  }
}
