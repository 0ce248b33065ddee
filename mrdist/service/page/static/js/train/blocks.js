// A map of the image: solved blocks show the target's face, the others the source's.

const FLASH = 700; // milliseconds until a new block's glow has faded
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class BlockMap {
  constructor(canvas) {
    this.canvas = canvas;
    this.grid = null;
    this.done = new Set();
    this.lit = new Map(); // block -> when it came
    this.faces = null;
    this.drawing = false;
    addEventListener("themechange", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** The blocks as the service describes them; `done` is a string of 0 and 1 in raster order. */
  setGrid({ shape, block, grid, done }) {
    this.grid = { shape, block, grid };
    this.canvas.style.setProperty("--aspect", String(shape[1] / shape[0]));
    this.done = new Set();
    for (let index = 0; index < done.length; index += 1) if (done[index] === "1") this.done.add(index);
    this.#resize();
  }

  setFaces(source, target) {
    this.faces = source && { source, target };
    this.draw();
  }

  add(indices) {
    const now = performance.now();
    for (const index of indices) {
      if (this.done.has(index)) continue;
      this.done.add(index);
      if (!calm.matches) this.lit.set(index, now);
    }
    this.draw();
  }

  #resize() {
    const width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    const height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.draw();
  }

  draw() {
    if (this.drawing || !this.grid) return;
    this.drawing = true;
    requestAnimationFrame((now) => {
      this.drawing = false;
      this.#paint(now);
      if (this.lit.size) this.draw();
    });
  }

  #box(index) {
    const { shape, block, grid } = this.grid;
    const [row, column] = [Math.floor(index / grid[1]), index % grid[1]];
    const [sy, sx] = [this.canvas.height / shape[0], this.canvas.width / shape[1]];
    const top = row * block[0];
    const left = column * block[1];
    const x = Math.round(left * sx);
    const y = Math.round(top * sy);
    return [x, y, Math.round(Math.min(shape[1], left + block[1]) * sx) - x, Math.round(Math.min(shape[0], top + block[0]) * sy) - y];
  }

  #paint(now) {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.filter = "none";
    context.globalAlpha = 1;
    context.fillStyle = colorOf("--well");
    context.fillRect(0, 0, width, height);
    if (this.faces) {
      context.globalAlpha = 0.3;
      context.filter = "grayscale(1)";
      context.drawImage(this.faces.source, 0, 0, width, height);
      context.filter = "none";
      context.globalAlpha = 1;
    }
    const accent = colorOf("--accent");
    context.save();
    context.beginPath();
    for (const index of this.done) context.rect(...this.#box(index));
    context.clip();
    if (this.faces) context.drawImage(this.faces.target, 0, 0, width, height);
    else {
      context.fillStyle = accent;
      context.fillRect(0, 0, width, height);
    }
    context.restore();
    context.fillStyle = accent;
    for (const [index, since] of this.lit) {
      const left = 1 - (now - since) / FLASH;
      if (left <= 0) this.lit.delete(index);
      else {
        context.globalAlpha = 0.75 * left * left;
        context.fillRect(...this.#box(index));
      }
    }
    this.#rule(context);
  }

  /** Hairlines around the blocks that are still to come. */
  #rule(context) {
    const [rows, columns] = this.grid.grid;
    context.globalAlpha = 0.3;
    context.strokeStyle = colorOf("--edge");
    context.lineWidth = 1;
    context.beginPath();
    for (let index = 0; index < rows * columns; index += 1) {
      if (this.done.has(index)) continue;
      const [x, y, w, h] = this.#box(index);
      context.rect(x + 0.5, y + 0.5, w - 1, h - 1);
    }
    context.stroke();
    context.globalAlpha = 1;
  }
}

/** The colour of a style sheet variable in the current theme. */
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

function colorOf(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
