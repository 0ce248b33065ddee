// Comparisons of methods that were trained on the same people: a table, what it shows for sure, and its picture.
import { comparisonPath, get, part, remove } from "../lib/api.js";
import { $, confirmed, h, message } from "../lib/dom.js";
import { bytes, count, plural, seconds } from "../lib/format.js";
import { how } from "../lib/methods.js";

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const nameOf = (row) => (row.method === "identity" ? "the unchanged face" : how(row)) + (row.strength === null || row.strength === undefined ? "" : `, strength ${row.strength}`);
const COLUMNS = [
  { name: "Method", value: nameOf, show: (value) => value },
  { name: "Alpha", value: (row) => row.alpha, show: String },
  { name: "Error", hint: "MSE relative to that of the unchanged face", value: (row) => row.relative_mse, show: percent, leads: "mse" },
  { name: "In the face", hint: "the same within the face", value: (row) => row.face_relative_mse, show: percent, leads: "face_mse" },
  { name: "PSNR", hint: "in decibels", value: (row) => row.psnr, show: (value) => value.toFixed(2) },
  { name: "SSIM", value: (row) => row.ssim, show: (value) => value.toFixed(4), leads: "ssim" },
  { name: "Numbers", hint: "weights and intercepts", value: (row) => row.nonzeros ?? row.parameters, show: count },
  { name: "Size", value: (row) => row.bytes, show: bytes },
  { name: "Training", value: (row) => row.train_seconds, show: seconds },
];
const MEASURES = { mse: "error", face_mse: "error in the face", ssim: "SSIM" };

/** Show the comparisons of the catalogue, and the one of the address first. */
export async function showComparisons() {
  const { comparisons } = await get("/comparisons");
  $("comparisons").hidden = comparisons.length === 0;
  if (comparisons.length === 0) return;
  const asked = new URLSearchParams(location.search).get("comparison");
  $("comparison").replaceChildren(...comparisons.map((name) => h("option", {}, name)));
  $("comparison").value = comparisons.includes(asked) ? asked : comparisons[0];
  $("comparison").onchange = showComparison;
  await showComparison();
  if (asked) $("comparisons").scrollIntoView();
}

async function showComparison() {
  const name = $("comparison").value;
  const found = await get(`/comparisons/${part(name)}`).catch((error) => ({ problem: error.message }));
  if ($("comparison").value !== name) return;
  if (found.problem) {
    $("comparison-what").textContent = found.problem;
    $("comparison-table").replaceChildren();
    $("comparison-more").replaceChildren();
    return;
  }
  $("comparison-what").textContent = `${found.source} → ${found.target}, on ${plural(found.people.length, "person", "people")} of the part “${found.split}”${found.complete ? "" : "; a job is still at it"}. All were trained on the same people.`;
  $("comparison-table").replaceChildren(
    h("thead", {}, h("tr", {}, ...COLUMNS.map(({ name: column, hint }) => h("th", { scope: "col", title: hint }, column)))),
    h("tbody", {}, ...found.methods.map((row) => h("tr", { title: row.remark }, ...COLUMNS.map((column) => cellOf(row, column))))),
  );
  const leading = Object.keys(found.verdicts).map((measure) => h("li", {}, h("b", {}, `Least ${MEASURES[measure] ?? measure}: `.replace("Least SSIM", "Most SSIM")), verdict(found, measure)));
  $("comparison-more").replaceChildren(
    h("p", { class: "soft small" }, "Marked are the best of a column and all that cannot be told apart from it by these people."),
    h("ul", {}, ...leading),
    ...(found.complete ? [h("img", { class: "comparison-picture", src: comparisonPath(name, "picture.png"), alt: `Errors of the methods, and errors against sizes, of ${name}`, loading: "lazy" })] : []),
    h("div", {}, h("button", { class: "button slim danger", type: "button", "data-needs": "admin", onclick: () => forget(name) }, "Delete the comparison")),
  );
}

/** Which methods lead, by the names of the table. */
function verdict({ methods, people }, measure) {
  const leaders = methods.filter((row) => row.leads?.[measure]).map(nameOf);
  const on = `on ${plural(people.length, "person", "people")}`;
  return leaders.length > 1 ? `${new Intl.ListFormat("en").format(leaders)} cannot be told apart ${on}` : `${leaders[0]}, ahead of all others ${on}`;
}

function cellOf(row, { value, show, leads }) {
  const found = value(row);
  if (found === null || found === undefined) return h("td", { class: "soft" }, "–");
  return h("td", { class: leads && row.leads?.[leads] ? "best" : null }, show(found));
}

async function forget(name) {
  if (!(await confirmed(`Delete the comparison ${name}?`, "It is removed with the models that were trained for it.", "Delete the comparison"))) return;
  try {
    await remove(`/comparisons/${part(name)}`);
    message(`${name} is deleted.`);
  } catch (error) {
    message(error.message, { bad: true });
  }
  await showComparisons();
}
