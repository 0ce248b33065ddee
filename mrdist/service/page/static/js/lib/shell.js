// What every page does: shows what is running, signs out, shows the sentence of a problem that nobody caught.
import { get, remove, Problem } from "./api.js";
import { $, message } from "./dom.js";
import { plural } from "./format.js";

addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  message(event.reason.message, { bad: true });
});

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
  const share = job.blocks ? ` · ${Math.floor((100 * job.blocks_done) / job.blocks)} %` : "";
  $("running").textContent = jobs.length === 1 ? `${job.name}${share}` : plural(jobs.length, "job");
  $("running").href = jobs.length === 1 ? `/train?job=${job.id}` : "/train";
  $("running").setAttribute("aria-label", `Running: ${$("running").textContent}`);
}

if (document.body.dataset.page !== "login") {
  showRunning();
  setInterval(showRunning, 4000);
}

/** Fill an empty page: a headline, a paragraph, what to press, and a drawing of blocks. */
export function showEmpty(title, text, ...actions) {
  const box = $("empty");
  const head = document.createElement("div");
  const h1 = document.createElement("h1");
  h1.textContent = title;
  const p = document.createElement("p");
  p.textContent = text;
  const row = document.createElement("div");
  row.className = "row";
  row.append(...actions);
  head.append(h1, p, row);
  const drawing = document.createElement("div");
  drawing.className = "pictures";
  drawing.setAttribute("aria-hidden", "true");
  for (let cell = 0; cell < 36; cell += 1) {
    const y = Math.floor(cell / 6) - 2;
    const x = (cell % 6) - 3;
    const block = document.createElement("i");
    if (x === 0 && y === 0) block.className = "hot";
    else if (Math.abs(x) <= 1 && Math.abs(y) <= 1) block.className = "warm";
    drawing.append(block);
  }
  box.className = "panel empty";
  box.replaceChildren(head, drawing);
  box.hidden = false;
}
