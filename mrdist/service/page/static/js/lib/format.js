// Numbers and times as text.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (value) => number.format(value);
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** How many a dataset has: people, or images of whatever it is linked to. */
export const crowd = (number, { linked }) => (linked ? plural(number, "image") : plural(number, "person", "people"));

export function bytes(value) {
  if (value === null || value === undefined) return null;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return null;
  if (value < 1) return "under a second";
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

/** A number with three significant digits. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  return Number(value).toPrecision(digits);
}

/** Percents of its phase that a job has done, with what blocks have done that are not finished. */
export const percent = (job) => (job.state === "done" ? 100 : Math.floor(100 * (job.share ?? (job.blocks ? job.blocks_done / job.blocks : 0))));

export function ago(time) {
  if (!time) return "";
  const passed = (Date.now() - Date.parse(time)) / 1000;
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.round(passed / 60)} min ago`;
  if (passed < 86400) return `${Math.round(passed / 3600)} h ago`;
  return new Date(time).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

export const clock = (time) => new Date(time).toLocaleTimeString("en", { hour12: false });

const labels = new Map();

/** Learn what the page calls options. */
export function nameOptions(options) {
  for (const { name, label } of options) labels.set(name, label);
}

/** A sentence of the service in words of the page, which has no switches: “Alphas to try” for --alphas. */
export const worded = (sentence) => sentence.replace(/--([a-z][a-z0-9-]*)/g, (_, name) => `“${labels.get(name.replaceAll("-", "_")) ?? name.replaceAll("-", " ")}”`);

export function moment(time) {
  return time ? new Date(time).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }) : null;
}
