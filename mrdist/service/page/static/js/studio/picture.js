// A photograph in the page: what is shown, what is sent for previews, and the file itself for the download.

const LARGEST = 800; // longest side of the shown and sent copy; the download is made from the file itself
const SMALL = 320; // longest side of the copy for all models of the list

/** Scale a picture down to a longest side. */
function scaled(bitmap, longest, type) {
  const scale = longest / Math.max(bitmap.width, bitmap.height);
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type, quality: 0.93 });
}

export class Picture {
  constructor(file, name, bitmap, sent, scale) {
    Object.assign(this, { file, name, bitmap, sent, scale, points: null, example: null });
  }

  static async open(file, name) {
    let whole;
    try {
      whole = await createImageBitmap(file);
    } catch {
      throw new Error(`${name} is not a picture that this browser can show; choose a PNG, JPEG or WebP file.`);
    }
    const scale = Math.min(1, LARGEST / Math.max(whole.width, whole.height));
    if (scale === 1) return new Picture(file, name, whole, file, 1);
    const sent = await scaled(whole, LARGEST, "image/jpeg");
    whole.close();
    return new Picture(file, name, await createImageBitmap(sent), sent, scale);
  }

  /** The pupils as the service takes them, for what is sent or for the file itself. */
  pupils(whole = false) {
    return this.points?.map((value) => (whole ? value / this.scale : value).toFixed(1)).join(",") ?? null;
  }

  /** A small copy with its pupils; `points` are the pupils in the shown copy. */
  async small(points) {
    const scale = Math.min(1, SMALL / Math.max(this.bitmap.width, this.bitmap.height));
    const file = scale === 1 ? this.sent : await scaled(this.bitmap, SMALL, "image/jpeg");
    return { file, points: points.map((value) => (value * scale).toFixed(1)).join(",") };
  }
}

/** Draw the face of a picture into a square canvas; without pupils the whole picture counts as face. */
export function drawFace(canvas, bitmap, points) {
  let [x, y, side] = [0, 0, Math.min(bitmap.width, bitmap.height)];
  if (points) {
    const [x1, y1, x2, y2] = points;
    side = Math.hypot(x2 - x1, y2 - y1) / 0.36; // as in the frame of the trainings
    x = (x1 + x2) / 2 - side / 2;
    y = (y1 + y2) / 2 - 0.4 * side;
  }
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, x, y, side, side, 0, 0, canvas.width, canvas.height);
}
