// The first steps in an empty catalogue.
import { follow, post } from "./api.js";
import { h, speak } from "./dom.js";
import { percent } from "./format.js";
import { showEmpty } from "./shell.js";

/** What a first dataset is unless somebody says otherwise: also the defaults of the form. */
export const FIRST = { name: "faces", generate: { images: 150, size: 128, labels: ["neutral", "happy", "surprised", "angry"], color: "rgb", seed: 0 } };

/** Offer to make a dataset and show its progress; then open the page for training. */
export function offerFaces() {
  const say = h("span", { class: "soft", role: "status" });
  const bar = h("div", { class: "bar-of", role: "progressbar", "aria-label": "Faces drawn", "aria-valuemin": "0", "aria-valuemax": "100", hidden: true, style: { width: "14rem" } }, h("i"));
  const button = h("button", { class: "button main", type: "button", "data-needs": "train", onclick: begin }, "Make synthetic faces");
  async function begin() {
    button.disabled = true;
    say.textContent = `Drawing ${FIRST.generate.images} people …`;
    bar.hidden = false;
    try {
      const { id } = await post("/datasets", FIRST);
      follow(id, {
        connection: () => {},
        blocks: () => {},
        gone: () => failed("The job was deleted."),
        job: (job) => {
          const share = percent(job);
          bar.firstChild.style.setProperty("--share", `${share}%`);
          bar.setAttribute("aria-valuenow", String(share));
          if (job.state === "done") {
            speak("The faces are drawn.");
            location.assign("/train");
          } else if (["failed", "cancelled"].includes(job.state)) failed(job.last_error ?? "The drawing was stopped.");
        },
      });
    } catch (error) {
      failed(error.message);
    }
  }
  function failed(sentence) {
    button.disabled = false;
    bar.hidden = true;
    say.textContent = sentence;
  }
  showEmpty(
    0,
    "Start with some faces",
    "There is no dataset in this catalogue yet. mrdist can draw people who do not exist, each with several expressions: enough to train a model in seconds and to see how everything works. You can import your own photographs under Datasets.",
    button,
    h("a", { class: "button", href: "/datasets#ingest", "data-needs": "train" }, "Use my own photographs"),
    bar,
    say,
  );
}

/** Offer to train the first model. */
export function offerTraining() {
  showEmpty(
    1,
    "Now train the first model",
    "A model learns what one expression becomes as another, from pairs of photographs of the same people. With a few hundred small faces it takes seconds.",
    h("a", { class: "button main", href: "/train", "data-needs": "train" }, "Train a model"),
    h("a", { class: "button", href: "/datasets" }, "Look at the faces"),
  );
}
