// One model: weights, maps, provenance and actions.
import { get, modelPath, part, remove, rowsWith, thumbnail } from "../lib/api.js";
import { $, confirmed, facts, h, message } from "../lib/dom.js";
import { bytes, count, moment } from "../lib/format.js";
import { fieldName, hasField, hasWeights, kind, methodName } from "../lib/methods.js";
import { loadBitmap } from "../train/watch.js";
import { Explorer } from "./explorer.js";

export async function showDetail(model, dataset, deleted) {
  const box = $("detail");
  box.dataset.model = model.name;
  const explorer = h("div", {});
  const list = h("dl", { class: "facts" });
  const importance = hasField(model) && map(model, "importance.png", "Importance: where it changes the face", dataset);
  box.replaceChildren(
    h("div", { class: "part row between" }, h("div", {}, h("h2", { id: "detail-title" }, model.name), h("p", { class: "soft small" }, kind(model))), actions(model, deleted)),
    h(
      "div",
      { class: "part detail" },
      h("div", {}, h("h3", {}, "What each pixel sees"), explorer),
      h(
        "div",
        { class: "stack wide" },
        h("div", { class: "maps" }, importance, map(model, "intercept.png", "Intercept of every pixel")),
        h("div", {}, h("h3", {}, "Where it comes from"), list),
      ),
    ),
    ...(hasField(model) ? [h("details", { class: "part" }, h("summary", {}, "All weights, tap by tap"), h("div", { class: "scroll" }, h("img", { src: modelPath(model.name, "coefficients.png"), alt: "A picture of the weights for each place in the receptive field", loading: "lazy" })))] : []),
  );
  tellFacts(list, model, {});
  get(`/models/${part(model.name)}`).then((details) => box.dataset.model === model.name && tellFacts(list, details, details.provenance ?? {}));
  if (!hasWeights(model)) {
    explorer.replaceChildren(h("p", { class: "soft" }, `In ${methodName(model.method)} no pixel has weights of its own, so there is no receptive field to show.`));
    return;
  }
  try {
    const row = dataset && (await firstRow(model, dataset));
    const face = row ? await loadBitmap(thumbnail(dataset, row.row, model.source)) : await createImageBitmap(new ImageData(model.shape[1], model.shape[0]));
    if (box.dataset.model === model.name) explorer.replaceChildren(new Explorer(model, face).element);
  } catch (error) {
    if (box.dataset.model === model.name) explorer.replaceChildren(h("p", { class: "soft" }, error.message));
  }
}

async function firstRow(model, dataset) {
  const [row] = (await rowsWith(dataset, "test", [model.source], 1)).concat(await rowsWith(dataset, null, [model.source], 1));
  return row;
}

/** A map of the model; a transparent one lies on a face. */
function map(model, file, caption, dataset = null) {
  const style = { "--aspect": String(model.shape[1] / model.shape[0]) };
  const picture = h("div", { class: "map", style }, h("img", { class: "face", src: modelPath(model.name, file), alt: caption, loading: "lazy", style }));
  if (dataset) firstRow(model, dataset).then((row) => row && picture.prepend(h("img", { class: "face under", src: thumbnail(dataset, row.row, model.source), alt: "", style })));
  return h("figure", {}, picture, h("figcaption", {}, caption));
}

function actions(model, deleted) {
  const forget = async () => {
    const whole = model.group ?? model.name;
    const what = model.group ? "All mappings that were trained with it" : `Its ${bytes(model.bytes) ?? "weights"}`;
    if (!(await confirmed(`Delete the model ${whole}?`, `${what} are removed from the catalogue and cannot be restored.`, "Delete the model"))) return;
    try {
      await remove(`/models/${part(whole)}`);
      message(`${whole} is deleted.`);
      deleted();
    } catch (error) {
      message(error.message, { bad: true });
    }
  };
  return h(
    "div",
    { class: "row" },
    h("a", { class: "button slim", href: modelPath(model.name, "download?format=zip"), download: "" }, "Download store"),
    hasWeights(model) && h("a", { class: "button slim", href: modelPath(model.name, "download?format=csr"), download: "" }, "Download sparse matrix"),
    h("button", { class: "button slim danger", type: "button", "data-needs": "admin", onclick: forget }, "Delete"),
    h("a", { class: "button slim main", href: `/?model=${part(model.name)}` }, "Try it in the Studio"),
  );
}

function tellFacts(list, model, provenance) {
  const chosen = model.cross_validation?.chosen;
  facts(list, [
    ["Method", methodName(model.method)],
    ["Trained with", model.group && `all mappings of ${model.group}`],
    ["Receptive field", fieldName(model)],
    ["Alpha", model.alpha === null || model.alpha === undefined ? null : `${model.alpha}${chosen ? " (cross-validation)" : ""}`],
    ["Colour", model.channels > 1 ? model.color : "gray"],
    ["Image", `${model.shape.join(" × ")} pixels`],
    ["Weights", model.nonzeros !== null && model.nonzeros !== undefined ? count(model.nonzeros) : model.parameters ? count(model.parameters) : null],
    ["Size", bytes(model.bytes)],
    ["Trained", moment(model.created)],
    ["Trained by", model.user],
    ["Dataset", model.dataset],
    ...flat(provenance).filter(([name, value]) => name !== "Images" || value !== model.dataset),
  ]);
}

/** Nested facts in one list: {"versions": {"numpy": "2.4"}} becomes ["versions numpy", "2.4"]. */
function flat(object, before = "") {
  return Object.entries(object).flatMap(([name, value]) => {
    const plain = `${before}${name.replaceAll("_", " ")}`;
    const words = plain[0].toUpperCase() + plain.slice(1);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return flat(value, `${words} `);
    return [[words, Array.isArray(value) ? value.join(", ") : String(value)]];
  });
}
