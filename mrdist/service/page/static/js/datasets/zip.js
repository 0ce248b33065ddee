// The files of a zip, unpacked here in the browser: the service never unpacks what a stranger has packed.

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const TAIL = 66_000; // the end record and its longest comment
const STORED = 0;
const DEFLATED = 8;

/** The files of a zip: [{path, open()}]; `open` resolves to a Blob of at most `most` bytes, or throws. */
export async function filesOf(zip, most) {
  const tail = new DataView(await zip.slice(Math.max(0, zip.size - TAIL)).arrayBuffer());
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== END) end -= 1;
  if (end < 0) throw new Error(`${zip.name} is no zip, or it is not whole.`);
  const [count, size, start] = [tail.getUint16(end + 10, true), tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
  if (start === 0xffffffff || count === 0xffff) throw new Error(`${zip.name} is too large to be read here; unpack it and choose the folder.`);
  const list = new DataView(await zip.slice(start, start + size).arrayBuffer());
  const files = [];
  for (let at = 0; at + 46 <= list.byteLength && list.getUint32(at, true) === ENTRY; ) {
    const [flags, how, packed, unpacked] = [list.getUint16(at + 8, true), list.getUint16(at + 10, true), list.getUint32(at + 20, true), list.getUint32(at + 24, true)];
    const [named, extra, comment, place] = [list.getUint16(at + 28, true), list.getUint16(at + 30, true), list.getUint16(at + 32, true), list.getUint32(at + 42, true)];
    const path = new TextDecoder(flags & 0x800 ? "utf-8" : "windows-1252").decode(new Uint8Array(list.buffer, at + 46, named)).replaceAll("\\", "/");
    if (!path.endsWith("/")) files.push({ path, size: unpacked, open: () => unpack(zip, { path, flags, how, packed, place }, most) });
    at += 46 + named + extra + comment;
  }
  return files;
}

async function unpack(zip, { path, flags, how, packed, place }, most) {
  if (flags & 1) throw new Error(`${path} is encrypted`);
  const head = new DataView(await zip.slice(place, place + 30).arrayBuffer());
  const start = place + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const content = zip.slice(start, start + packed);
  if (how === STORED) return content;
  if (how !== DEFLATED) throw new Error(`${path} is packed in an unknown way`);
  const reader = content.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const pieces = [];
  let length = 0; // counted, since what an archive says of itself need not be true
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(pieces);
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw new Error(`${path} is larger than the limit`);
    }
    pieces.push(value);
  }
}
