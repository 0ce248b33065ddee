// For every page: running jobs, sign-out, and messages of uncaught problems.
import { get, remove, Problem } from "./api.js";
import { $, h, message } from "./dom.js";
import { percent, plural } from "./format.js";

addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  message(event.reason.message, { bad: true });
});

// a picture that failed, because too many were requested at once, is requested once more; then an empty face stands for it
addEventListener(
  "error",
  ({ target }) => {
    if (!(target instanceof HTMLImageElement)) return;
    if (target.dataset.again) {
      if (target.classList.contains("face")) target.replaceWith(h("span", { class: "face", role: "img", "aria-label": `${target.alt}: no picture`, title: "There is no picture." }));
      return;
    }
    target.dataset.again = "yes";
    const { src } = target;
    setTimeout(() => (target.src = src), 1200);
  },
  true,
);

$("sign-out")?.addEventListener("click", async () => {
  await remove("/session");
  location.assign("/login");
});

async function showRunning() {
  if (document.hidden) return;
  const { jobs } = await get("/jobs?state=running&limit=20").catch(() => ({ jobs: [] }));
  $("running").hidden = jobs.length === 0;
  if (jobs.length === 0) return;
  const [job] = jobs;
  const share = job.blocks ? ` · ${percent(job)} %` : "";
  $("running").textContent = jobs.length === 1 ? `${job.name}${share}` : plural(jobs.length, "job");
  $("running").href = jobs.length === 1 ? `/train?job=${job.id}` : "/train";
  $("running").setAttribute("aria-label", `Running: ${$("running").textContent}`);
}

if (document.body.dataset.page !== "login") {
  showRunning();
  setInterval(showRunning, 4000);
}

const STEPS = ["Faces", "Training", "Studio"];

/** Fill an empty page: the step of three, a headline, a paragraph and buttons; only the first page has an ornament. */
export function showEmpty(step, title, text, ...actions) {
  if (document.body.dataset.page !== "studio") {
    $("empty").className = "panel part stack";
    $("empty").replaceChildren(h("h1", {}, title), h("p", { class: "soft" }, text), h("div", { class: "row" }, ...actions));
    $("empty").hidden = false;
    return;
  }
  const cells = Array.from({ length: 49 }, (_, cell) => {
    const [y, x] = [Math.floor(cell / 7) - 3, (cell % 7) - 3];
    return h("i", { class: x === 0 && y === 0 ? "hot" : Math.max(Math.abs(x), Math.abs(y)) === 1 ? "warm" : null });
  });
  const steps = STEPS.map((name, index) => h("li", { "aria-current": index === step ? "step" : null }, name));
  const head = h("div", {}, h("ol", { class: "steps" }, ...steps), h("h1", {}, title), h("p", {}, text), h("div", { class: "row" }, ...actions));
  $("empty").className = "panel empty";
  $("empty").replaceChildren(head, h("div", { class: "pictures", "aria-hidden": "true" }, ...cells));
  $("empty").hidden = false;
}
