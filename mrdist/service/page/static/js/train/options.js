// Options of `train` by method, as people see them. The service has the defaults and the checks.

export const METHODS = [
  ["mr", "Masked regression", "Each pixel from the few around it: small, fast, and good with a few dozen pairs."],
  ["pixel", "One pixel", "Each pixel from itself alone; a baseline."],
  ["l2", "Ridge on the whole image", "Each pixel from all pixels; solved with one unknown per training image."],
  ["kernel", "Kernel ridge", "Ridge on the whole image with a Gaussian kernel."],
  ["pca", "Principal components", "Regression on the first components of the source."],
  ["l1", "LASSO", "Learned sparsity: chooses the input pixels of each pixel. Slow."],
  ["l0", "Matching pursuit", "Learned sparsity with a limited number of weights per pixel. Slow."],
  ["mean", "Mean face", "The mean target, whatever the input: a baseline that others must beat."],
];

export const ALPHA = { mr: 0.4, pixel: 0.4, l2: 0.4, kernel: 0.01, l1: 0.001 };

const searched = ["mr", "pixel", "l2", "kernel", "l1"];

/** name, label, what it is by default, methods (null: all), whether it belongs to a cross-validation, choices. */
export const MORE = [
  { name: "dilation", label: "Dilation", usual: "1", methods: ["mr"] },
  { name: "components", label: "Components", usual: "32", methods: ["pca"] },
  { name: "nonzeros", label: "Weights per pixel", usual: "10", methods: ["l0"] },
  { name: "tolerance", label: "Training MSE to stop at", usual: "0", methods: ["l0"] },
  { name: "window", label: "Window of input pixels", usual: "all", methods: ["l1", "l0"] },
  { name: "max_iterations", label: "Maximum iterations", usual: "1000", methods: ["l1"] },
  { name: "gamma", label: "Gamma", usual: "from the distances", methods: ["kernel"] },
  { name: "folds", label: "Folds", usual: "5", methods: searched, search: true },
  { name: "rule", label: "Rule of the choice", choices: [["", "least error"], ["1se", "simplest within one standard error"], ["pixel", "a separate one per pixel"]], methods: searched, search: true },
  { name: "alphas", label: "Penalties to try", usual: "ten values", methods: searched, search: true, list: true },
  { name: "seed", label: "Seed of the folds", usual: "0", methods: searched, search: true },
  { name: "penalize_intercept", label: "Intercept", choices: [["", "penalised like a weight"], ["false", "free"]], methods: ["mr", "pixel", "l2", "kernel"] },
  { name: "split", label: "People to train on", choices: [["", "train"], ["all", "all"]], methods: null },
  { name: "dtype", label: "Data type of the weights", choices: [["", "float32"], ["float64", "float64"]], methods: null },
  { name: "block", label: "Block, rows and columns", usual: "as memory allows", methods: null, list: true },
  { name: "max_memory", label: "Memory of a worker", usual: "2GiB", methods: null, text: true },
];
