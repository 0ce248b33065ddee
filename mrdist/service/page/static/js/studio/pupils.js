// The two pupils, set by two clicks or from the keyboard, and moved afterwards.

const USUAL = [[0.36, 0.42], [0.64, 0.42]]; // usual place in a portrait, as fractions of the picture

export class Pupils {
  /** `changed(points)` is called with [x1, y1, x2, y2] in pixels of the picture when both are set. */
  constructor(view, marks, changed) {
    this.view = view;
    this.marks = marks;
    this.changed = changed;
    this.places = [];
    this.size = [1, 1];
    this.#listen();
  }

  get placing() {
    return this.view.classList.contains("placing");
  }

  /** Begin with marks on the known pupils, or without marks. */
  begin(size, points = null) {
    this.size = size;
    this.places = points ? [[points[0] / size[0], points[1] / size[1]], [points[2] / size[0], points[3] / size[1]]] : [];
    this.view.classList.add("placing");
    this.view.tabIndex = 0;
    this.#show();
    (this.places.length ? this.marks[0] : this.view).focus();
  }

  end() {
    this.view.classList.remove("placing");
    this.view.removeAttribute("tabindex");
    this.#show();
  }

  #show() {
    this.marks.forEach((mark, index) => {
      const place = this.places[index];
      mark.hidden = !this.placing || place === undefined;
      if (place === undefined) return;
      const [x, y] = place;
      mark.style.setProperty("--x", `${100 * x}%`);
      mark.style.setProperty("--y", `${100 * y}%`);
      const side = index === 0 ? "left" : "right";
      mark.setAttribute("aria-label", `Pupil on the ${side} of the picture, at ${Math.round(x * this.size[0])}, ${Math.round(y * this.size[1])}; the arrow keys move it`);
    });
  }

  #put(index, x, y) {
    this.places[index] = [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
    this.#show();
  }

  #tell() {
    if (this.places.length < 2) return;
    const [left, right] = [...this.places].sort((one, other) => one[0] - other[0]);
    this.changed([left, right].flatMap(([x, y]) => [x * this.size[0], y * this.size[1]]).map((value) => Math.round(10 * value) / 10));
  }

  #listen() {
    const at = (event) => {
      const box = this.view.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    this.view.addEventListener("pointerdown", (event) => {
      if (!this.placing || event.button !== 0 || this.places.length >= 2 || this.marks.includes(event.target)) return;
      event.preventDefault();
      this.#put(this.places.length, ...at(event));
      this.marks[this.places.length - 1].focus();
      this.#tell();
    });
    this.view.addEventListener("keydown", (event) => {
      if (!this.placing || event.target !== this.view || !["Enter", " ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
      event.preventDefault();
      USUAL.forEach(([x, y], index) => this.#put(index, x, y));
      this.marks[0].focus();
      this.#tell();
    });
    this.marks.forEach((mark, index) => {
      let dragging = false;
      mark.addEventListener("pointerdown", (event) => {
        dragging = true;
        mark.setPointerCapture(event.pointerId);
      });
      mark.addEventListener("pointermove", (event) => dragging && this.#put(index, ...at(event)));
      for (const name of ["pointerup", "pointercancel"])
        mark.addEventListener(name, () => {
          if (dragging) this.#tell();
          dragging = false;
        });
      mark.addEventListener("keydown", (event) => {
        const step = event.shiftKey ? 10 : 1;
        const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
        if (move === undefined) return;
        event.preventDefault();
        const [x, y] = this.places[index];
        this.#put(index, x + move[0] / this.size[0], y + move[1] / this.size[1]);
        this.#tell();
      });
    });
  }
}
