// The view of a job: its map, its progress, and its scores at the end.
import { follow, get, part, post, remove, request, rowsWith, testScores, thumbnail } from "../lib/api.js";
import { $, confirmed, facts, figures, h, message, settled, speak } from "../lib/dom.js";
import { clock, count, figure, percent, plural, seconds, worded } from "../lib/format.js";
import { work } from "../lib/methods.js";
import { BlockMap } from "./blocks.js";

const STATES = { queued: "Waiting for its turn", running: "Running", stopping: "Stopping", done: "Done", failed: "Failed", cancelled: "Stopped" };
export const over = (job) => ["done", "failed", "cancelled"].includes(job.state);
export const stateName = (job) => STATES[job.state];

export async function loadBitmap(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`no picture at ${url}`);
  return createImageBitmap(await response.blob());
}

export class Watch {
  /** `gone` is called when the job was deleted, `ended` when it has ended. */
  constructor(gone, ended) {
    this.map = new BlockMap($("blocks"));
    this.gone = gone;
    this.ended = ended;
    this.stop = () => {};
    const keep = settled(() => this.#keepNote(), 600);
    $("watch-note").addEventListener("input", keep);
    $("watch-note").addEventListener("submit", (event) => event.preventDefault());
    $("copy-command").addEventListener("click", () => this.#copy());
    $("watch-log").addEventListener("toggle", () => this.#readLog());
    setInterval(() => this.job && !$("watch").hidden && !over(this.job) && this.#tellTimes(), 1000);
  }

  async #keepNote() {
    const tags = $("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
    await request("PATCH", `/jobs/${part(this.job.id)}`, { json: { note: $("note").value.trim() || null, tags } });
    this.ended();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.job.command);
      message("The command line is copied.");
    } catch {
      getSelection().selectAllChildren($("watch-command"));
      message("The command line is selected; copy it with the keyboard.");
    }
  }

  async #readLog() {
    if (!$("watch-log").open || !this.job) return;
    const { id } = this.job;
    const { lines } = await get(`/jobs/${part(id)}/log`);
    if (this.job.id !== id) return;
    const list = $("log");
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    list.replaceChildren(...lines.map(({ time, level, message: words }) => h("li", { class: level }, h("time", { datetime: time }, clock(time)), h("span", {}, words))), ...(lines.length ? [] : [h("li", {}, h("span", { class: "soft" }, "Nothing yet."))]));
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  async open(id) {
    this.stop();
    this.spoken = -1;
    this.facesOf = null;
    this.faces = null;
    this.map.setFaces(null);
    $("watch-map").hidden = true;
    this.gridOf = null;
    this.job = null;
    $("watch-scores").hidden = true;
    this.#tell(await get(`/jobs/${part(id)}`));
    [$("note").value, $("tags").value] = [this.job.note ?? "", this.job.tags.join(", ")];
    if (over(this.job)) await this.#readBlocks();
    this.stop = over(this.job)
      ? () => {}
      : follow(id, {
          job: (job) => this.#tell(job),
          blocks: (done) => this.map.add(done),
          gone: () => this.gone(),
          connection: (state) => {
            $("watch-connection").textContent = state === "on" ? "" : "Connection lost; trying again …";
            if (state === "on") this.#readBlocks();
          },
        });
  }

  async #readBlocks() {
    const { id } = this.job;
    const blocks = await get(`/jobs/${part(id)}/blocks`).catch(() => ({}));
    if (this.job.id !== id) return;
    if (blocks.grid) this.gridOf = id;
    this.#showMap(blocks.grid ? blocks : this.#whole());
  }

  /** The map without blocks: the whole image is one block. */
  #whole() {
    if (!this.faces) return null;
    const { height, width } = this.faces[0];
    return { shape: [height, width], block: [height, width], grid: [1, 1], done: this.job.state === "done" ? "1" : "0" };
  }

  #showMap(blocks) {
    $("watch-map").hidden = blocks === null;
    if (blocks) this.map.setGrid(blocks);
  }

  async #readFaces() {
    const { id, options } = this.job;
    if (this.facesOf === id || !options.images || !options.source) return;
    this.facesOf = id;
    try {
      const rows = (await rowsWith(options.images, "test", [options.source, options.target], 1)).concat(await rowsWith(options.images, null, [options.source, options.target], 1));
      const faces = await Promise.all([options.source, options.target].map((label) => loadBitmap(thumbnail(options.images, rows[0].row, label))));
      if (this.job.id !== id) return;
      this.faces = faces;
      this.map.setFaces(...faces);
      if (this.gridOf !== id) this.#showMap(this.#whole());
    } catch {
      // without faces the map shows plain blocks
    }
  }

  #tell(job) {
    const before = this.job;
    this.job = job;
    if (job.blocks && this.gridOf !== job.id) this.#readBlocks();
    this.#readFaces();
    const { options } = job;
    $("watch-title").textContent = job.name;
    $("watch-what").textContent = options.source && options.images ? `${options.images}: ${work(job)}` : work(job);
    $("watch-state").className = `state ${job.state}`;
    $("watch-state").textContent = STATES[job.state];
    const share = percent(job);
    $("watch-share").textContent = `${share} %`;
    $("watch-phase").textContent = job.state === "running" ? (job.phase ?? "starting the workers …") : job.state === "queued" && job.after.length ? `until ${job.dataset ?? "its dataset"} is made` : "";
    $("watch-bar").classList.toggle("unknown", job.state === "running" && share === 0);
    this.heard = performance.now();
    $("watch-blocks").textContent = job.blocks ? `${count(job.blocks_done)} of ${plural(job.blocks, "block")}` : "";
    $("watch-bar").firstChild.style.setProperty("--share", `${share}%`);
    $("watch-bar").setAttribute("aria-valuenow", String(share));
    $("blocks").setAttribute("aria-label", `Map of the image: ${share} % of it solved`);
    this.#tellTimes();
    $("watch-command").textContent = job.command;
    $("watch-warnings").hidden = job.warnings.length === 0;
    $("watch-warnings").replaceChildren(...job.warnings.map((words) => h("p", { class: "notice mild" }, worded(words))));
    this.#readLog();
    $("watch-error").hidden = !job.last_error;
    if (job.last_error) $("watch-error").replaceChildren(h("p", { class: "notice" }, worded(job.last_error)));
    facts($("watch-options"), Object.entries(options).map(([name, value]) => [name.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : String(value)]));
    this.#tellActions();
    this.#say(before, share);
    if (job.state === "done" && before?.state !== "done") this.#tellScores();
    if (over(job) && before && !over(before)) {
      this.stop();
      this.#readBlocks();
      this.ended();
    }
  }

  /** Times go on between two blocks, which may be far apart. */
  #tellTimes() {
    const { job } = this;
    const taken = job.started ? (Date.parse(job.finished ?? new Date().toISOString()) - Date.parse(job.started)) / 1000 : null;
    const left = job.seconds_left === null ? null : Math.max(0, job.seconds_left - (performance.now() - this.heard) / 1000);
    figures($("watch-figures"), [
      ["images a second", job.images_per_second ? (job.images_per_second < 10 ? job.images_per_second.toFixed(1) : count(job.images_per_second)) : over(job) ? null : "–"],
      ["time left", over(job) ? null : (seconds(left) ?? "–")],
      ["time taken", seconds(taken)],
    ]);
  }

  /** Announce every tenth of the progress, not every block. */
  #say(before, share) {
    const tenth = Math.floor(share / 10);
    if (before?.state !== this.job.state) speak(`${this.job.name}: ${STATES[this.job.state]}.`);
    else if (tenth > this.spoken && this.job.state === "running") speak(`${share} % solved.`);
    this.spoken = Math.max(tenth, this.spoken);
  }

  #tellActions() {
    const { job } = this;
    const key = `${job.state} ${job.dashboard}`;
    if ($("watch-actions").dataset.key === key && $("watch-actions").dataset.job === job.id) return;
    Object.assign($("watch-actions").dataset, { key, job: job.id });
    $("watch-actions").replaceChildren(
      ...[
        job.dashboard && !over(job) && h("a", { class: "button slim", href: job.dashboard, target: "_blank", rel: "noreferrer" }, "Dask’s dashboard"),
        ...jobActions(job, (changed) => (changed ? this.open(changed.id) : this.gone())),
        job.state === "done" && job.verb === "compare" && h("a", { class: "button main slim", href: `/models?comparison=${part(job.name)}#comparisons` }, "See the comparison"),
        job.state === "done" && job.model && h("a", { class: "button slim", href: `/models?model=${part(job.model)}` }, "Look inside"),
        job.state === "done" && job.model && h("a", { class: "button main slim", href: `/?model=${part(job.model)}` }, "Try it in the Studio"),
      ].filter(Boolean),
    );
  }

  /** The error of every mapping that was trained at once, each of them when it is known. */
  async #tellMappings(list) {
    const { job } = this;
    const { models } = await get("/models");
    const made = models.filter((one) => one.group === job.model);
    const errors = new Map(made.map((model) => [model, "…"]));
    for (const model of [null, ...made]) {
      if (model) {
        const { model: scores, identity } = await testScores(model.name, job.options.images).catch(() => ({}));
        errors.set(model, identity ? `${Math.round((100 * scores.mse) / identity.mse)} %` : "–");
      }
      if (this.job.id !== job.id) return;
      figures(list, made.map((one) => [`${one.source} → ${one.target}, of the unchanged error`, errors.get(one)]));
    }
  }

  async #tellScores() {
    const { job } = this;
    const box = $("watch-scores");
    if (!job.model) return;
    const list = h("dl", { class: "figures slight" });
    box.replaceChildren(h("h2", {}, "On people that it was not trained on"), list);
    box.hidden = false;
    figures(list, [["", "scoring …"]]);
    if (job.options.target === undefined || job.options.target === "all") return this.#tellMappings(list);
    try {
      const { model, identity } = await testScores(job.model, job.options.images);
      if (this.job.id !== job.id) return;
      figures(list, [
        ["of the error of the unchanged face", identity ? `${Math.round((100 * model.mse) / identity.mse)} %` : null],
        ["PSNR", `${figure(model.psnr)} dB`],
        ["SSIM", figure(model.ssim)],
        ["R²", figure(model.r2)],
      ]);
    } catch (error) {
      box.replaceChildren(h("p", { class: "soft small" }, error.message));
    }
  }
}

/** The buttons for a job's state; `done(job or null)` is called after an action succeeded. */
export function jobActions(job, done) {
  const path = `/jobs/${part(job.id)}`;
  const button = (words, needs, work) =>
    h("button", { class: "button slim", type: "button", "data-needs": needs, "aria-label": `${words} ${job.name}`, onclick: (event) => run(event.currentTarget, work) }, words);
  const run = async (pressed, work) => {
    pressed.disabled = true;
    try {
      await work();
    } catch (error) {
      message(error.message, { bad: true });
    } finally {
      pressed.disabled = false;
    }
  };
  const cancel = async () => done(await post(`${path}/cancel`));
  const resume = async () => done(await post(`${path}/resume`));
  const forget = async () => {
    if (!(await confirmed(`Delete the job ${job.name}?`, "Its record is removed; its results stay under Models or Datasets.", "Delete the job"))) return;
    await remove(path);
    done(null);
  };
  return [
    ["queued", "running"].includes(job.state) && button("Stop", "train", cancel),
    ["failed", "cancelled"].includes(job.state) && button("Resume", "train", resume),
    over(job) && button("Delete", "admin", forget),
  ].filter(Boolean);
}
