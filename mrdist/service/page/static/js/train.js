// Train: a new training, the job being watched, and all jobs.
import { get, part } from "./lib/api.js";
import { $, h } from "./lib/dom.js";
import { ago } from "./lib/format.js";
import { offerFaces } from "./lib/begin.js";
import { loadMethods, work } from "./lib/methods.js";
import "./lib/shell.js";
import { TrainForm } from "./train/form.js";
import { Watch, jobActions, stateName } from "./train/watch.js";

const watch = new Watch(() => show(null), showJobs);
let form = null;

/** Watch a job (and keep it in the address), or go back to the form. */
async function show(id, { push = true } = {}) {
  if (push) history.pushState({}, "", id ? `/train?job=${part(id)}` : "/train");
  watch.stop();
  $("watch").hidden = !id;
  $("new").hidden = Boolean(id) || form === null;
  if (id) {
    try {
      await watch.open(id);
      if (push) $("watch-title").focus();
    } catch (error) {
      if (error.status !== 404) throw error;
      await show(null, { push: false });
    }
  }
  showJobs();
}

let shown = "";
async function showJobs() {
  const { jobs } = await get("/jobs?limit=100");
  const current = $("watch").hidden ? null : watch.job?.id;
  const key = JSON.stringify([current, jobs]);
  $("jobs-section").hidden = jobs.length === 0;
  if (key === shown) return;
  shown = key;
  const held = $("jobs").contains(document.activeElement) ? document.activeElement.closest("tr").dataset.job : null;
  $("jobs").replaceChildren(...jobs.map(jobRow));
  if (held) $("jobs").querySelector(`tr[data-job="${CSS.escape(held)}"] .name`)?.focus(); // the keyboard stays in its row
}

function jobRow(job) {
  const share = job.state === "done" ? 100 : job.blocks ? Math.floor((100 * job.blocks_done) / job.blocks) : 0;
  const open = (event) => {
    event.preventDefault();
    show(job.id);
    scrollTo({ top: 0 });
  };
  return h(
    "tr",
    { "data-job": job.id },
    h("td", {}, h("a", { class: "name", href: `/train?job=${part(job.id)}`, onclick: open }, job.name)),
    h("td", { class: "soft" }, work(job)),
    h("td", {}, h("span", { class: `state ${job.state}` }, stateName(job)), job.last_error && h("p", { class: "error" }, job.last_error)),
    h("td", { class: "part-done" }, h("div", { class: "bar-of", role: "progressbar", "aria-label": `${job.name}, blocks solved`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(share) }, h("i", { style: { "--share": `${share}%` } }))),
    h("td", { class: "soft" }, job.user ? `${ago(job.submitted)}, ${job.user}` : ago(job.submitted)),
    h("td", {}, h("div", { class: "actions" }, ...jobActions(job, (changed) => (changed ? showJobs() : job.id === watch.job?.id && !$("watch").hidden ? show(null) : showJobs())))),
  );
}

addEventListener("popstate", () => show(new URLSearchParams(location.search).get("job"), { push: false }));
document.querySelector('.sections a[aria-current="page"]').addEventListener("click", (event) => {
  if ($("watch").hidden || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  show(null);
});

const [{ datasets }, methods, { models }] = await Promise.all([get("/datasets"), loadMethods(), get("/models")]);
const ready = datasets.filter((one) => one.complete && one.labels.length > 1);
const asked = new URLSearchParams(location.search).get("job");
if (ready.length) {
  form = new TrainForm(ready, methods, models.map((one) => one.name), (job) => show(job.id));
} else if (!asked) offerFaces();
await show(asked, { push: false });
setInterval(() => document.hidden || showJobs(), 3000);
