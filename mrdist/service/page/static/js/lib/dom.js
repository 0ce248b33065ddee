// Helpers to make and change elements. Styles are set through the CSSOM: the page's policy forbids the attribute.

export const $ = (id) => document.getElementById(id);

/** Make an element: h("p", {class: "soft", onclick: f, style: {"--at": "5%"}}, "text", child, ...). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Fill a definition list: [[term, description], ...]; what is null is left out. */
export function facts(list, pairs) {
  list.replaceChildren(
    ...pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)])
      .flat(),
  );
}

/** Fill a list of figures, each pair in its own box. */
export function figures(list, pairs) {
  list.replaceChildren(
    ...pairs.filter(([, value]) => value !== null && value !== undefined).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** Announce a text to screen readers. */
export function speak(text) {
  $("spoken").textContent = text;
}

/** Show a message that disappears; an error stays until it is closed. */
export function message(text, { bad = false } = {}) {
  const close = () => box.remove();
  const box = h(
    "div",
    { class: bad ? "message bad" : "message" },
    h("p", {}, text),
    h("button", { class: "icon", type: "button", "aria-label": "Close this message", onclick: close }, "×"),
  );
  $("messages").append(box);
  while ($("messages").children.length > 3) $("messages").firstChild.remove();
  if (!bad) setTimeout(close, 6000);
}

/** Ask before an action that cannot be undone; resolves to true or false. */
export function confirmed(title, text, verb) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "dialog-title" }, title),
        h("p", { class: "soft" }, text),
        h(
          "div",
          { class: "row" },
          h("button", { class: "button", value: "no", autofocus: true }, "Keep it"),
          h("button", { class: "button danger main", value: "yes" }, verb),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Let a slider paint its track below the thumb and show its value in words. */
export function ruled(input, output, words) {
  const show = () => {
    input.style.setProperty("--at", `${(100 * (input.value - input.min)) / (input.max - input.min)}%`);
    output.textContent = words(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", show);
  show();
}

/** Run `work` one call at a time; of the calls made meanwhile, only the last one runs. */
export function latest(work) {
  let running = false;
  let waiting = null;
  return async function run(...given) {
    if (running) {
      waiting = given;
      return;
    }
    running = true;
    try {
      await work(...given);
    } finally {
      running = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        run(...next);
      }
    }
  };
}

/** Run `work` once no call has come for a while. */
export function settled(work, milliseconds) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

/** One tab stop for many buttons: the arrow keys go from one to the next. */
export function roving(container) {
  container.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...container.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (at < 0 || (step === undefined && event.key !== "Home" && event.key !== "End")) return;
    event.preventDefault();
    const next = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : (at + step + buttons.length) % buttons.length;
    buttons.forEach((button, index) => (button.tabIndex = index === next ? 0 : -1));
    buttons[next].focus();
    buttons[next].scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}
