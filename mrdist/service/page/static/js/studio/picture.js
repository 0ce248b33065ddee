// A photograph as the page holds it: what is shown, what is sent while one tries, and the file itself for the download.

const LARGEST = 1400; // longest side of what is shown and tried on; the download is made from the file itself

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
    const canvas = new OffscreenCanvas(Math.round(whole.width * scale), Math.round(whole.height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    const sent = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.93 });
    return new Picture(file, name, await createImageBitmap(sent), sent, scale);
  }

  /** The pupils as the service takes them, for what is sent or for the file itself. */
  pupils(whole = false) {
    return this.points?.map((value) => (whole ? value / this.scale : value).toFixed(1)).join(",") ?? null;
  }
}
