// Train: a new training, the job being watched, and all jobs.
import { get, part, request } from "./lib/api.js";
import { $, confirmed, h, message, settled } from "./lib/dom.js";
import { ago, percent, plural, worded } from "./lib/format.js";
import { offerFaces } from "./lib/begin.js";
import { loadMethods, work } from "./lib/methods.js";
import "./lib/shell.js";
import { TrainForm } from "./train/form.js";
import { Watch, jobActions, over, stateName } from "./train/watch.js";

const PAGE = 25; // jobs that are shown at once
const MOST = 1000;
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
let listed = [];
let many = PAGE;
async function showJobs() {
  const words = $("find-job").value.trim();
  const query = new URLSearchParams({ limit: many, ...(words && { search: words }) });
  const { jobs: told, next } = await get(`/jobs?${query}`);
  if (words !== $("find-job").value.trim()) return;
  // the panel hears of a change at once, and the table must not contradict it
  const jobs = told.map((job) => (job.id === watch.job?.id && over(watch.job) && !over(job) ? watch.job : job));
  const current = $("watch").hidden ? null : watch.job?.id;
  const key = JSON.stringify([current, jobs, next]);
  $("jobs-section").hidden = jobs.length === 0 && !words;
  $("no-jobs").hidden = jobs.length > 0;
  $("older-jobs").hidden = next === null || many >= MOST;
  listed = jobs;
  if (key === shown) return;
  shown = key;
  const held = $("jobs").contains(document.activeElement) ? document.activeElement.closest("tr").dataset.job : null;
  $("jobs").replaceChildren(...jobs.map(jobRow));
  if (held) $("jobs").querySelector(`tr[data-job="${CSS.escape(held)}"] .name`)?.focus(); // the keyboard stays in its row
}

function jobRow(job) {
  const share = percent(job);
  const open = (event) => {
    event.preventDefault();
    show(job.id);
    scrollTo({ top: 0 });
  };
  return h(
    "tr",
    { "data-job": job.id, class: over(job) ? "over" : null },
    h("td", {}, h("a", { class: "name", href: `/train?job=${part(job.id)}`, onclick: open }, job.name), job.tags.length > 0 && h("div", {}, ...job.tags.map((tag) => h("span", { class: "tag" }, tag))), job.note && h("p", { class: "note" }, job.note)),
    h("td", { class: "soft" }, work(job)),
    h("td", {}, h("span", { class: `state ${job.state}` }, stateName(job)), job.last_error && h("p", { class: "error" }, worded(job.last_error)), job.warnings.length > 0 && h("p", { class: "note" }, plural(job.warnings.length, "warning"))),
    h("td", { class: "part-done" }, h("div", { class: "bar-of", role: "progressbar", "aria-label": `${job.name}, blocks solved`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(share) }, h("i", { style: { "--share": `${share}%` } }))),
    h("td", { class: "soft when" }, h("span", {}, ago(job.submitted)), job.user && " ", job.user && h("span", {}, `by ${job.user}`)),
    h("td", {}, h("div", { class: "actions" }, ...jobActions(job, (changed) => (changed ? showJobs() : job.id === watch.job?.id && !$("watch").hidden ? show(null) : showJobs())))),
  );
}

$("find-job").addEventListener("input", settled(showJobs, 250));
$("older-jobs").addEventListener("click", () => {
  many = Math.min(many + PAGE, MOST);
  showJobs();
});
$("sweep-jobs").addEventListener("click", async () => {
  const ended = listed.filter(over).slice(0, 200);
  if (ended.length === 0) return message("None of the jobs shown has ended.");
  if (!(await confirmed(`Delete ${plural(ended.length, "job")}?`, "The records of the jobs shown that have ended are removed; their results stay under Models or Datasets.", "Delete the jobs"))) return;
  const asked = new URLSearchParams(ended.map(({ id }) => ["job", id]));
  const { deleted } = await (await request("DELETE", `/jobs?${asked}`)).json();
  message(`${plural(deleted.length, "job")} deleted.`);
  if (deleted.includes(watch.job?.id) && !$("watch").hidden) await show(null);
  else showJobs();
});

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
