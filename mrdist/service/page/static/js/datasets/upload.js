// Own photographs: a folder or a zip goes to the catalogue's sources, and the page says what an ingest would make of it.
import { get, part, request } from "../lib/api.js";
import { $, facts, h, message, speak } from "../lib/dom.js";
import { bytes, count, plural } from "../lib/format.js";
import { filesOf } from "./zip.js";

const AT_ONCE = 4;
const ending = (path) => path.slice(path.lastIndexOf(".")).toLowerCase();

/** Letters that the catalogue takes: é becomes e, and what has no such form a dash. */
const plain = (part_) => part_.normalize("NFKD").replace(/\p{M}/gu, "").replace(/[^A-Za-z0-9 ._-]+/g, "-").replace(/^[^A-Za-z0-9_]+/, "");

export class Upload {
  /** `taken` is called with the name of a source whose photographs are all there. */
  constructor(taken) {
    this.taken = taken;
    this.limits = null;
    for (const id of ["own-folder", "own-zip"]) $(id).addEventListener("change", () => this.#choose([...$(id).files].map((file) => ({ path: file.webkitRelativePath || file.name, size: file.size, open: async () => file }))));
    $("own").addEventListener("dragover", (event) => event.preventDefault());
    $("own").addEventListener("drop", async (event) => {
      event.preventDefault();
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
      this.#choose((await Promise.all(entries.map(walk))).flat());
    });
  }

  /** Show what can be sent. */
  tell(limits) {
    this.limits = limits;
    $("own-limits").textContent = `Up to ${count(limits.files)} photographs of ${bytes(limits.file_bytes)} each: ${limits.endings.map((each) => each.slice(1)).join(", ")}.`;
  }

  async #choose(files) {
    if (!this.limits || this.busy || files.length === 0) return;
    this.busy = true;
    try {
      const zip = files.length === 1 && ending(files[0].path) === ".zip" ? await files[0].open() : null;
      const found = zip ? await filesOf(zip, this.limits.file_bytes) : files;
      await this.#send(zip ? zip.name.replace(/\.zip$/i, "") : null, found);
    } catch (error) {
      message(error.message, { bad: true });
    } finally {
      this.busy = false;
      $("own-bar").hidden = true;
    }
  }

  async #send(given, files) {
    const left = new Map();
    const shown = files.filter(({ path }) => !path.split("/").some((name) => name.startsWith(".") || name === "__MACOSX"));
    const wanted = [];
    for (const file of shown) {
      if (!this.limits.endings.includes(ending(file.path))) left.set(file.path, "no photograph");
      else if (file.size > this.limits.file_bytes) left.set(file.path, `larger than ${bytes(this.limits.file_bytes)}`);
      else wanted.push(file);
    }
    if (wanted.length === 0) throw new Error("There are no photographs in it.");
    if (wanted.length > this.limits.files) throw new Error(`There are ${count(wanted.length)} photographs in it; at most ${count(this.limits.files)} are taken.`);
    const tops = new Set(wanted.map(({ path }) => (path.includes("/") ? path.slice(0, path.indexOf("/")) : "")));
    const top = tops.size === 1 ? [...tops][0] : "";
    const source = (plain(given ?? top).toLowerCase().replace(/[^a-z0-9._-]+/g, "-") || "photographs").slice(0, 63);
    const names = wanted.map(({ path }) => (top && !given ? path.slice(top.length + 1) : path).split("/").map(plain).join("/"));
    $("own-bar").hidden = false;
    let sent = 0;
    const queue = wanted.map((file, index) => [file, names[index]]);
    const work = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [file, path] = next;
        try {
          const form = new FormData();
          form.append("photograph", await file.open(), "photograph");
          form.append("path", path);
          await request("POST", `/sources/${part(source)}/photographs`, { form });
        } catch (error) {
          if ([403, 507].includes(error.status)) throw error;
          left.set(file.path, error.message);
        }
        sent += 1;
        $("own-bar").firstChild.style.setProperty("--share", `${(100 * sent) / wanted.length}%`);
        $("own-bar").setAttribute("aria-valuenow", String(Math.round((100 * sent) / wanted.length)));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    speak(`${plural(wanted.length - [...left.keys()].filter((path) => wanted.some((file) => file.path === path)).length, "photograph")} sent.`);
    await this.taken(source);
    await understand(source, left);
  }
}

/** All files of something that was dropped. */
async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ path: entry.fullPath.replace(/^\//, ""), size: file.size, open: async () => file }];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map(walk))).flat();
}

/** Say what an ingest of a source would make of it; `left` are files that did not even get there. */
export async function understand(source, left = new Map()) {
  const box = $("understood");
  box.hidden = !source;
  if (!source) return;
  const layout = $("i-layout").value;
  try {
    const found = await get(`/sources/${part(source)}/people${layout ? `?layout=${part(layout)}` : ""}`);
    if ($("i-source").value !== source) return;
    const list = h("dl", { class: "facts" });
    facts(list, [
      ["People", `${count(found.people)}${found.takes === found.people ? "" : `, ${plural(found.takes, "row")}`}`],
      ["With every expression", count(found.whole)],
      ["Photographs", Object.entries(found.labels).map(([label, number]) => `${count(number)} ${label}`).join(" · ")],
      ["To train on, to test on", `${count(found.splits.train ?? 0)}, ${count(found.splits.test ?? 0)}`],
      ["Names of the files", found.layout],
    ]);
    const reasons = [...left, ...Object.entries(found.left_out)];
    const number = left.size + found.n_left_out;
    box.replaceChildren(h("h3", {}, `What ${source} holds`), list, ...(number ? [h("details", {}, h("summary", {}, `${plural(number, "file")} left out or not whole`), h("ul", { class: "small soft" }, ...reasons.slice(0, 200).map(([what, why]) => h("li", {}, `${what}: ${why}`))))] : []));
  } catch (error) {
    box.replaceChildren(h("p", { class: "notice" }, error.message));
  }
}
