// The methods of trainings, as the service describes them, and models in words.
import { get } from "./api.js";
import { nameOptions, plural } from "./format.js";

let methods = [];

/** Ask the service for the methods, before anything else here is used; that of a training which names none comes first. */
export async function loadMethods() {
  ({ methods } = await get("/methods"));
  nameOptions(methods.flatMap(({ options }) => options));
  return methods;
}

const known = (name) => methods.find((one) => one.name === name);

export const methodName = (name) => known(name)?.phrase ?? name;

/** Whether the pixels of a model have a receptive field: only then there is an importance map. */
export const hasField = (model) => model.layout === "masked";

/** Whether the pixels of a model have weights of pixels, which are a sparse matrix together. */
export const hasWeights = (model) => hasField(model) || model.layout === "sparse";

/** Whether it can be applied more or less strongly. */
export const hasDials = (model) => model.dials.length > 0;

/** The model of a name; of one that holds several mappings, the first of them. */
export const named = (models, name) => models.find((one) => one.name === name) ?? models.find((one) => one.group === name);

/** A receptive field, or several to choose from: "3 × 3, dilation 2". */
export function fieldName({ receptive_field: sides, dilation, pool }) {
  if (sides === undefined || sides === null) return null;
  const [apart, pools] = [[dilation ?? []].flat(), [pool ?? []].flat()];
  return [sides].flat().map((side) => `${side} × ${side}`).join(" or ")
    + (apart.some((taps) => taps > 1) ? `, dilation ${apart.join(" or ")}` : "")
    + (pools.some((reach) => reach > 0) ? `, pool ${pools.join(" or ")}` : "");
}

/** How a model is trained: its method, and its receptive field if the method has a choice of them, which says enough of the usual method. */
export function how(model) {
  const method = known(model.method);
  const field = method?.options.some(({ name }) => name === "receptive_field") ? fieldName(model) : null;
  return [field === null || method !== methods[0] ? methodName(model.method) : null, field].filter(Boolean).join(", ");
}

/** A short description of a model: "neutral → happy, 3 × 3". */
export const kind = (model) => `${model.source} → ${model.target}, ${how(model)}`;

/** What a model takes: any photograph, in which it finds the face, or pictures of its own size alone. */
export const takes = (model) => (model.aligns ? "any photograph" : `only pictures of ${[...model.shape].reverse().join(" × ")}`) + (model.channels > 1 ? "" : ", in gray");

/** The same of what a job does, whose options may be left out. */
export function work({ verb, options }) {
  if (verb === "ingest") return `photographs of ${options.source}`;
  if (!options.source) return options.images ? plural(options.images, "synthetic person", "synthetic people") : verb;
  const target = options.target ?? "all and back";
  if (verb !== "train") return `${options.source} → ${target}, ${verb}`;
  const method = known(options.method) ?? methods[0];
  const usual = Object.fromEntries(method.options.map((option) => [option.name, option.default]));
  return kind({ method: method.name, ...usual, ...options, target });
}
